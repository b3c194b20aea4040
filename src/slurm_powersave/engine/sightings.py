"""Numbers the readings and calls, and remembers for each node in which order they came."""

from collections.abc import Iterable

from slurm_powersave.decide.node.guard import is_registered, is_used
from slurm_powersave.model.nodes import SlurmNode, SlurmSnapshot
from slurm_powersave.model.seen import Seen
from slurm_powersave.ports.journal import Sights


class Sightings:
    """What the guard is told about a node's past. It is kept in the journal, so a lost journal loses it."""

    def __init__(self, journal: Sights) -> None:
        self._journal = journal
        self._seen = journal.seen()
        # From 1 on: the first call of all is newer than what is assumed of an unknown node (`_raise`).
        self._number = max((max(vars(seen).values()) for seen in self._seen.values()), default=1)

    def next(self) -> int:
        """Return the number of a reading or call that begins now."""
        self._number += 1
        return self._number

    def of(self, node: str) -> Seen:
        """Return what was seen of a node. An unknown node counts as registered, because it may have been."""
        return self._seen.get(node) or Seen(registered=max(self._number, 1))

    def read(self, number: int, snapshot: SlurmSnapshot) -> None:
        """Take in a reading that began with this number."""
        self._raise(number, ((name, _kinds(node)) for name, node in snapshot.nodes.items()))

    def note(self, nodes: Iterable[str], kind: str) -> None:
        """Take in a call for nodes, or what we have told Slurm of them."""
        number = self.next()
        self._raise(number, ((name, (kind,)) for name in nodes))

    def _raise(self, number: int, found: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        changed = {}
        for name, kinds in found:
            # As in `of`: a node that was unknown until now counts as registered before this.
            before = self._seen.get(name) or Seen(registered=max(number - 1, 1))
            after = before.raised(number, *kinds)
            if after != self._seen.get(name):
                changed[name] = after
        if changed:
            # The journal first: nothing may rest on what it does not hold.
            self._journal.save_seen(changed)
            self._seen |= changed


def _kinds(node: SlurmNode) -> tuple[str, ...]:
    kinds = []
    if is_registered(node) and not node.has("POWER_DOWN"):
        # Nothing new is seen of one that is on its way down: what came before the order came before it.
        kinds.append("registered")
    if is_used(node):
        kinds.append("used")
    return tuple(kinds)
