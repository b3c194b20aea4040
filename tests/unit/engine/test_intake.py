"""The way from the intake to the journal, when the journal is in trouble."""

from collections import deque

import pytest

from slurm_powersave.engine.intake import pump
from slurm_powersave.model.errors import JournalError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from slurm_powersave.testing.world import MemoryWorld


class Once:
    """An intake that gives each request once, as the stream does in a process's life."""

    def __init__(self, *requests: Request) -> None:
        self._requests = list(requests)
        self.acknowledged: list[str] = []

    def receive(self) -> list[tuple[str, Request | str]]:
        given = [(request.id, request) for request in self._requests]
        self._requests = []
        return list(given)

    def acknowledge(self, request_id: str) -> None:
        self.acknowledged.append(request_id)


def test_a_journal_that_fails_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(2)
    intake = Once(Request("one", Mode.SUSPEND, "n1", 1.0), Request("two", Mode.SUSPEND, "n2", 2.0))
    left: deque[tuple[str, Request | str]] = deque()
    with monkeypatch.context() as full:

        def fail(*_: object) -> bool:
            raise JournalError("disk full")

        full.setattr(world.journal, "add_request", fail)
        with pytest.raises(JournalError):
            pump(intake, world.journal, world.clock, left)
    assert intake.acknowledged == []
    assert pump(intake, world.journal, world.clock, left) == 2
    assert intake.acknowledged == ["one", "two"] and not left
