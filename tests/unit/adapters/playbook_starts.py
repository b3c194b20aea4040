"""What a test sees of a play instead of its start."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible import playbooks
from slurm_powersave.model.nodes import RunRecord


def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], Path, Mapping[str, str]]]:
    """Catch what would be started."""
    calls: list[tuple[Sequence[str], Path, Mapping[str, str]]] = []

    def start(
        argv: Sequence[str], directory: Path, *, env: Mapping[str, str], run_id: str, kind: str, cwd: Path
    ) -> RunRecord:
        calls.append((argv, directory, env))
        return RunRecord(run_id, kind, str(directory), 1, 1)

    monkeypatch.setattr(playbooks, "start_detached", start)
    return calls
