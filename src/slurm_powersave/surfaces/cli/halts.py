"""Pauses and the brake as lines and as JSON: why the engine changes nothing, or less than usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm_powersave.surfaces.cli import render

if TYPE_CHECKING:
    from slurm_powersave.model.records import Done
    from slurm_powersave.ports.journal import Journal
    from slurm_powersave.ports.state_store import StateStore

WHOLE = ""
"""Stands for the whole cluster in place of a pool's name."""


@dataclass(frozen=True)
class Halt:
    """A pause, by the command or by the file."""

    pool: str
    why: str
    by: str
    at: float | None
    """Seconds since the epoch; None for a pause by the file."""
    file: Path | None = None

    @property
    def what(self) -> str:
        """Say what is paused."""
        return f"pool {self.pool}" if self.pool else "the whole cluster"

    @property
    def line(self) -> str:
        """All of it in one line."""
        if self.file:
            return f"{self.what}, by the file {self.file}: {self.why}"
        since = f" at {render.clock(self.at)}" if self.at is not None else ""
        return f"{self.what}, by {self.by}{since}: {self.why}"

    def value(self) -> dict[str, Any]:
        """Return it as it stands in JSON output; `pool` is null for the whole cluster."""
        file = str(self.file) if self.file else None
        return {
            "pool": self.pool or None,
            "why": self.why,
            "by": self.by or None,
            "at": self.at,
            "file": file,
        }


def halts(store: StateStore, journal: Journal) -> list[Halt]:
    """Return all pauses, that of the whole cluster first."""
    found = [Halt(one.pool, one.why, one.by, one.at) for _, one in sorted(journal.pauses().items())]
    if (said := store.paused()) is not None:
        found.insert(0, Halt(WHOLE, said, "", None, store.pause_file))
    return found


def pause_lines(found: Sequence[Halt]) -> list[str]:
    """Say what is paused, for `status`."""
    lines = [f"paused: {one.line}" for one in found]
    if found:
        lines.append("  Requests are kept. To go on: slurm-powersave continue")
    return lines


def brake_value(why: str) -> dict[str, Any] | None:
    """Return the brake as it stands in JSON output; null while it is off."""
    from slurm_powersave.decide.node import brake

    return {"why": why, "ends_by_itself": brake.ends_by_itself(why)} if why else None


def brake_lines(why: str) -> list[str]:
    """Say why the brake is on, for `status`."""
    if not why:
        return []
    return [
        f"the brake is on: {why}",
        f"  {brake_means(why)}",
        "  To see what it keeps: slurm-powersave continue. To release it: slurm-powersave continue --confirm",
    ]


def brake_means(why: str) -> str:
    """Say what the brake does, and how it ends."""
    from slurm_powersave.decide.node import brake

    text = (
        "Until it is released, the engine destroys nothing without a request of Slurm's or of a person's."
        " Requests are carried out as always."
    )
    if brake.ends_by_itself(why):
        minutes = brake.AGREED / 60
        text += f" It ends by itself when Slurm, clouds and states have agreed for {minutes:.0f} minutes."
    return text


def act_cells(done: Done) -> tuple[str, ...]:
    """Return a destroying act as a row of a table under ACT_COLUMNS."""
    act = f"{done.act} {done.subject}"
    return render.clock(done.at), done.node or "-", act, done.row, done.operation or "-", done.evidence


ACT_COLUMNS = ("WHEN", "NODE", "ACT", "BASIS", "OPERATION", "EVIDENCE")
