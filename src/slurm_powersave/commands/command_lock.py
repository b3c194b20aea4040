"""One command at a time changes servers and files of a cluster; the others are refused, or wait for it.

Commands that only ask the engine for something take no lock. The kernel drops the lock with its holder, so
one that was killed, or whose host is gone, holds up nobody.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_powersave.commands.act_records import caller
from slurm_powersave.config.layout import Layout
from slurm_powersave.model.errors import LockedError
from slurm_powersave.ports.lease import Held, Lease

_LOOK, _TELL = 0.2, 30.0
"""Seconds between two tries, and after which a person is told again what is waited for."""
_END = 30.0
"""Seconds within which a command that is interrupted must end."""


@dataclass(frozen=True)
class Patience:
    """How long a command waits for the one that holds the lock, and how it says so."""

    say: Callable[[str], None]
    limit: float | None = None
    """Seconds; None: without end."""


@contextmanager
def alone(layout: Layout, lease: Lease, command: str, patience: Patience | None = None) -> Iterator[None]:
    """Hold the lock of commands; without patience another holder is an error at once.

    Raises:
        LockedError: another command holds it, and did not end in time.
        MachineError: the lock file can't be opened or written.
    """
    was_there = layout.root.exists()
    held = _wait(layout.root, lease, command, patience)
    try:
        yield
    finally:
        if not was_there and is_bare(layout.root):
            # Nothing was begun. Whoever waits finds another file, or none, and opens it again.
            layout.command_lock.unlink(missing_ok=True)
            with suppress(OSError):
                layout.root.rmdir()
        held.release()


def end(lease: Lease, verb: str) -> None:
    """Interrupt the command of this name that holds the lock on this host, if one does.

    Raises:
        LockedError: it runs elsewhere, or does not end.
    """
    found = lease.holder() or {}
    if found.get("command", "").split()[:1] == [verb] and not lease.interrupt(_END):
        raise LockedError(f"the running {verb} does not end", where=lease.where, why=lease.describe())


def is_bare(root: Path) -> bool:
    """Tell whether there is no state directory, or one that holds nothing but the lock of commands."""
    try:
        return {path.name for path in root.iterdir()} <= {Layout(root).command_lock.name}
    except FileNotFoundError:
        return True


def keep_lock(path: Path, state: Path) -> None:
    """Give a state directory that takes the place of another the same lock: its holder keeps it."""
    place = Layout(state).command_lock
    place.unlink(missing_ok=True)
    with suppress(OSError):  # where there is no cluster file yet a restore holds none
        os.link(path, place)


def _wait(root: Path, lease: Lease, command: str, patience: Patience | None) -> Held:
    began = time.monotonic()
    last_shown = ""
    next_words = began
    while True:
        try:
            return _take(root, lease, command)
        except LockedError:
            now, holder = time.monotonic(), lease.describe()
            if patience is None or (patience.limit is not None and now - began >= patience.limit):
                raise
            if holder and (holder != last_shown or now >= next_words):
                patience.say(f"waiting for {holder} ({now - began:.0f} s); Ctrl-C ends the wait")
                last_shown, next_words = holder, now + _TELL
        time.sleep(_LOOK)


def _take(root: Path, lease: Lease, command: str) -> Held:
    while True:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            held = lease.take(command=command, user=caller())
        except LockedError as error:
            raise LockedError(
                "another command that changes this cluster is running",
                where=lease.where,
                why=error.why,
                todo="Nothing was changed. Wait until it has ended, or use --wait-lock, which waits for it.",
            ) from None
        if held.is_current():
            return held
        held.release()  # it was deleted, or moved away by a restore
