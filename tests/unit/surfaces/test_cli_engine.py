"""`slurm-powersave engine run`: what stops it from starting, and what ends it."""

import signal
import threading
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.commands import serve
from slurm_powersave.config.settings import Cluster

from .conftest import Command


def test_a_cluster_that_was_never_deployed(command: Command) -> None:
    result = command("engine", "run")
    assert result.exit_code == 2
    assert "slurm-powersave deploy" in result.stderr


def test_a_second_engine_says_who_holds_the_lock_and_leaves(command: Command, cluster_file: Path) -> None:
    state = cluster_file.parent / "state"
    (state / "keys").mkdir()
    (state / "keys" / "id_ed25519").touch()
    lock = EngineLock(state / "engine.lock")
    result = command("engine", "run")
    lock.release()
    assert result.exit_code == 3
    assert "an engine is running already: process " in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_it_to_stop(
    command: Command, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stopped = []

    def run(cluster: Cluster, stop: threading.Event) -> None:
        signal.raise_signal(number)
        stopped.append(stop.wait(5))

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setattr(serve, "run", run)
    try:
        assert command("engine", "run").exit_code == 0
    finally:
        for one, action in before.items():
            signal.signal(one, action)
    assert stopped == [True]
