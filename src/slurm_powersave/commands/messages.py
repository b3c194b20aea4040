"""How a long command speaks with the person who has started it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Dialog:
    """How we speak with the person: a line, a plan, and a question that may be answered no."""

    say: Callable[[str], None]
    show: Callable[[str], None]
    ask: Callable[[str], bool]
    unasked: bool = False
    """--yes is given: `ask` answers yes by itself. What --yes does not cover needs another option."""
