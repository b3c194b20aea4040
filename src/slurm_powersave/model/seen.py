"""The order of what was seen of a node and of the calls for it, as numbers, because clocks jump."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Seen:
    """The number of the last reading or call of each kind; 0: none.

    Only their order has a meaning. So the numbers of a node whose state does not change need not be raised,
    and nothing is written to the journal.
    """

    registered: int = 0
    """Its slurmd had registered since its last resume."""
    used: int = 0
    """ALLOCATED or MIXED, and registered."""
    called: int = 0
    """SuspendProgram or ResumeFailProgram was called for it."""
    resumed: int = 0
    """ResumeProgram was called for it, or it was POWERING_UP without a call."""
    pushed: int = 0
    """We powered it down on our own account: the call that follows is no evidence of its own."""
    forced: int = 0
    """We told Slurm POWER_DOWN_FORCE after a failure."""

    def raised(self, number: int, *kinds: str) -> "Seen":
        """Raise these kinds to a number, unless all of them are the highest already."""
        highest = max(vars(self).values())
        if highest and all(getattr(self, kind) == highest for kind in kinds):
            return self
        return replace(self, **dict.fromkeys(kinds, number))
