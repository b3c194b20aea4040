"""Which SSH host key of a server is believed. Pure.

cloud-init prints the keys on the console when a disk boots for the first time; until then nobody but the
system has written there. Afterwards whoever is root in the server may print whatever he likes. So a key is
taken once for each disk, from the first whole block, and stays as long as the disk does.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pin:
    """What is recorded of a host."""

    keys: frozenset[str]
    """Each as `type base64`."""
    disk: str = ""
    """Whose they are (NodeRecord.disk); empty: recorded by a version that did not say."""


def believed(pin: Pin | None, disk: str, *, kept: bool) -> bool:
    """Tell whether the recorded keys are those of this disk, so that no console is asked.

    `kept`: what is done to the server leaves its disk as it is.
    """
    return pin is not None and (pin.disk == disk if pin.disk else kept)


def offered(pin: Pin | None, blocks: Sequence[str], *, renewed: bool) -> Sequence[str]:
    """Choose from the different blocks that a console shows, in their order, those that may be the disk's.

    A new server has the first. A server whose disk was made anew (`renewed`) may still show what it printed
    before: up to its old keys all is old. If more than one is left, somebody else has printed one of them.
    """
    if not renewed:
        return blocks[:1]
    old = pin.keys if pin else frozenset()
    last = max(
        (place for place, block in enumerate(blocks) if not old.isdisjoint(keys_of(block))), default=-1
    )
    return blocks[last + 1 :]


def keys_of(block: str) -> frozenset[str]:
    """Return the keys of a block, without their comments."""
    return frozenset(" ".join(line.split()[:2]) for line in block.splitlines() if line.strip())
