"""`reboot` and `reimage`: what they ask for, and what they refuse to ask."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.decide.node.reboot import asked, wish
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Flavor, NodeSpec
from slurm_powersave.surfaces.cli import follow

from .conftest import Command


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["reboot", "demo-2"], "reboot"),
        (["reboot", "demo-2", "--flavor", "m1.large"], "resize flavor=m1.large"),
        (["reimage", "demo-2"], "reimage"),
        (["reimage", "demo-2", "--image", "rocky-9.4"], "reimage image=rocky-9.4"),
        (["reimage", "demo-2", "--replace"], "reimage replace"),
        (["reimage", "demo-2", "--replace", "--image", "a"], "reimage image=a replace"),
        (["reimage", "demo-2", "--replace", "--force"], "reimage replace force"),
        (["reboot", "demo-2", "--flavor", "m1.large", "--force"], "resize flavor=m1.large force"),
    ],
)
def test_the_words_of_the_request(
    command: Command, journal: SqliteJournal, argv: list[str], words: str
) -> None:
    result = command(*argv)
    (request,) = journal.unplanned_requests()
    assert (result.exit_code, result.stdout) == (0, f"{request.id}\n")
    assert (request.mode, request.hostlist, request.source) == (Mode.REBOOT, "demo-2", "operator")
    assert request.action == words


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["reimage", "demo-2", "--image", "a b"], "'a b' can't be asked for"),
        (["reimage", "demo-2", "--image", "$(id)"], "--image"),
        (["reimage", "demo-2", "--image", "-x"], "--image"),
        (["reimage", "demo-2", "--image", "a=b"], "one word in Slurm's Reason"),
        (["reboot", "demo-2", "--flavor", 'm1";reboot'], "--flavor"),
        (["reimage", "demo-9"], "demo-9: not configured"),
        (["reimage"], "NODES or --outdated"),
        (["reimage", "demo-2", "--dry-run"], "need --outdated"),
        (["reimage", "demo-2", "--max-unavailable", "2"], "need --outdated"),
        (["reimage", "demo-2", "--at-most", "2"], "need --outdated"),
        (["reimage", "--outdated", "demo-2"], "--outdated can be used with --pool"),
        (["reimage", "--outdated", "--image", "a"], "--outdated can be used with --pool"),
        (["reimage", "--outdated", "--force"], "--outdated can be used with --pool"),
        (["reboot", "demo-2", "--force"], "--force goes with --flavor"),
    ],
)
def test_what_is_malformed_asks_for_nothing(
    command: Command, journal: SqliteJournal, argv: list[str], says: str
) -> None:
    result = command(*argv)
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert not journal.unplanned_requests()


def test_what_force_means_is_said(command: Command, journal: SqliteJournal) -> None:
    assert "are put back afterwards" in " ".join(command("reimage", "demo-2", "--force").stderr.split())
    assert "put back" not in command("reimage", "demo-2").stderr


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("kind", [Kind.REBOOT, Kind.REIMAGE, Kind.REPLACE, Kind.RESIZE])
def test_the_engine_reads_what_the_command_words(kind: Kind, force: bool) -> None:
    node = NodeSpec("n1", "p", "c", "old", "small", "", "10.0.0.1")
    target = {Kind.REBOOT: "", Kind.RESIZE: "large"}.get(kind, "new-2.1")
    flavors = {"large": Flavor("large", 2, 2000)}
    found = wish(
        asked(kind, target, force=force), node, node, images=["new-2.1"], flavors=flavors, configured=None
    )
    assert (found.kind, found.target, found.refused) == (kind, target, "")


@pytest.mark.parametrize(
    ("outcome", "text", "code"),
    [("done", "powered down: its next resume takes the image", 0), ("refused", "no image x", 7), ("", "", 0)],
)
def test_what_ends_at_once_is_told_without_wait(
    command: Command,
    journal: SqliteJournal,
    cluster_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
    text: str,
    code: int,
) -> None:
    def serve(seconds: float) -> None:
        for request in journal.unplanned_requests():
            operation = journal.new_operation(request.id, "demo-2", Mode.REBOOT, "asking", time.time())
            journal.plan_request(request.id, [operation], [], time.time())
            phase = "asking" if outcome else "draining"
            journal.save_operation(replace(operation, phase=phase, outcome=outcome, text=text))

    monkeypatch.setattr(follow.time, "sleep", serve)
    lock = EngineLock(cluster_file.parent / "state" / "engine.lock")
    result = command("reimage", "demo-2", "--image", "x")
    lock.release()
    assert result.exit_code == code, result.stderr
    assert (f"demo-2: {outcome}: {text}" in result.stderr) is bool(outcome)
