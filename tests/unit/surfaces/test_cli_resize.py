"""`resize`: what is refused, what a person sees, and the exit codes."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.adapters.lock import EngineLock
from slurm_powersave.decide.live_files import LiveFiles
from slurm_powersave.decide.settings import load
from slurm_powersave.decide.slurm_conf import HEADER
from slurm_powersave.engine import accepting, applied, deploy, preflight, resizing
from slurm_powersave.engine.watch import digest
from slurm_powersave.model.nodes import NodeRecord
from slurm_powersave.model.records import Drain
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.slurm import MemorySlurm

from .conftest import CLUSTER, Command

OFF = ("IDLE", "CLOUD", "POWERED_DOWN")


@pytest.fixture
def slurm(cluster_file: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> MemorySlurm:
    """A deployed cluster: demo-1 is up and protected; what Ansible would do to Slurm is done at once."""
    cluster = load(cluster_file)
    made = MemorySlurm(MemoryClock(time.time()), cluster.nodes(), lambda mode, nodes: None)
    made.set_flags("demo-1", "IDLE", "CLOUD")
    made.protected = frozenset({"demo-1"})

    def play(site: object, name: str, extra: object) -> int:
        now = load(cluster_file)
        assert name == "resize.yml"
        made.configure(now.nodes(), now.persistent())
        for node in now.persistent():
            made.set_flags(node, "IDLE", "CLOUD")
        return 0

    monkeypatch.setattr(connect, "slurm", lambda cluster: made)
    monkeypatch.setattr(connect, "clouds", lambda cluster: {})
    monkeypatch.setattr(accepting, "run_playbook", play)
    (cluster_file.parent / "state/keys").mkdir()
    (cluster_file.parent / "state/keys/id_ed25519").touch()
    (cluster_file.parent / "state/keys/munge.key").touch()
    journal.save_nodes(NodeRecord(cluster.desired(name)) for name in cluster.nodes())
    deploy.write_inventory(cluster)
    applied.save(cluster)
    return made


@pytest.fixture
def engine(cluster_file: Path) -> Any:
    """A running engine that has read the file as it will be."""
    lock = EngineLock(cluster_file.parent / "state/engine.lock")
    yield lock
    lock.release()


def edit(cluster_file: Path, old: str, new: str) -> None:
    """Change the file."""
    assert old in CLUSTER
    cluster_file.write_text(CLUSTER.replace(old, new))


def test_a_cluster_that_was_never_deployed(command: Command) -> None:
    result = command("resize")
    assert result.exit_code == 2
    assert "slurm-powersave deploy" in result.stderr


def test_nothing_to_do_needs_no_engine(command: Command, slurm: MemorySlurm) -> None:
    result = command("resize")
    assert (result.exit_code, result.stdout) == (0, "Nothing to do: the cluster is as its file says.\n")


def test_a_dry_run_shows_the_steps_and_changes_nothing(
    command: Command, slurm: MemorySlurm, cluster_file: Path, journal: SqliteJournal
) -> None:
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    result = command("resize", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "1. enlarge slurm.conf demo-[2-3]: slurmctld reconfigures",
        "2. enlarge power up demo-[2-3]",
    ]
    assert slurm.protected == {"demo-1"}
    shown = json.loads(command("resize", "--dry-run", "--json").stdout)
    assert (shown["resized"], shown["dry_run"], len(shown["steps"])) == (False, True, 2)


def test_without_an_engine_nothing_is_begun(command: Command, slurm: MemorySlurm, cluster_file: Path) -> None:
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    result = command("resize", "--yes")
    assert result.exit_code == 1
    assert "no engine is running" in result.stderr
    assert slurm.protected == {"demo-1"}


def test_an_engine_that_has_another_file_is_waited_for_and_named(
    command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock, monkeypatch: Any
) -> None:
    monkeypatch.setattr(resizing, "_ENGINE", 0.3)
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    result = command("resize", "--yes")
    assert result.exit_code == 1
    assert "has not loaded this cluster file" in result.stderr
    assert slurm.protected == {"demo-1"}


def test_a_slurm_conf_that_slurm_cant_read_is_written_anew(
    command: Command, slurm: MemorySlurm, monkeypatch: Any
) -> None:
    files = LiveFiles({"slurm.conf": HEADER}, unreadable="MaxArraySise")
    monkeypatch.setattr(preflight, "_live_files", lambda cluster: files)
    assert "1. enlarge slurm.conf" in command("resize", "--dry-run").stdout


def test_a_slurm_conf_of_somebody_else_is_not_replaced(
    command: Command, slurm: MemorySlurm, monkeypatch: Any
) -> None:
    files = LiveFiles({"slurm.conf": "# do not touch\nNodeName=site\n"})
    monkeypatch.setattr(preflight, "_live_files", lambda cluster: files)
    result = command("resize", "--dry-run")
    assert result.exit_code == 7 and "-# do not touch" in result.stderr


def test_what_was_edited_by_hand_is_shown(command: Command, slurm: MemorySlurm, monkeypatch: Any) -> None:
    files = LiveFiles({"slurm.conf": f"{HEADER}Epilog=/x\n"}, {"slurm.conf": HEADER})
    monkeypatch.setattr(preflight, "_live_files", lambda cluster: files)
    assert "+Epilog=/x" in command("resize", "--dry-run").stdout


def test_it_grows(command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock) -> None:
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    engine.tell_file(digest(cluster_file))
    result = command("resize", "--yes", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["nodes"] == {"demo-2": "up", "demo-3": "up"}
    assert "demo-2           enlarge     up" in result.stderr
    assert slurm.protected == {"demo-1", "demo-2", "demo-3"}
    assert "Nothing to do" in command("resize").stdout


def test_without_an_answer_nothing_is_changed(
    command: Command, slurm: MemorySlurm, cluster_file: Path
) -> None:
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    result = command("resize")
    assert result.exit_code == 1
    assert "--yes" in result.stderr and slurm.protected == {"demo-1"}


def test_a_play_that_failed_is_run_again(
    command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock, monkeypatch: Any
) -> None:
    edit(cluster_file, 'Default: "YES"', 'Default: "YES", MaxTime: "60"')
    engine.tell_file(digest(cluster_file))
    with monkeypatch.context() as broken:
        broken.setattr(accepting, "run_playbook", lambda site, name, extra: 2)
        assert command("resize", "--yes").exit_code == 6
    assert "1. enlarge slurm.conf: slurmctld reconfigures" in command("resize", "--yes").stdout
    assert "Nothing to do" in command("resize").stdout


def test_what_somebody_else_has_drained_has_an_exit_code_of_its_own(
    command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock
) -> None:
    slurm.set_flags("demo-1", "IDLE", "CLOUD", "DRAIN", reason="disk")
    edit(cluster_file, "min_nodes: 1", "min_nodes: 0")
    result = command("resize", "--yes")
    assert result.exit_code == 10
    assert "demo-1 is left alone: DRAIN was set by" in result.stdout
    assert slurm.node("demo-1").reason == "disk" and slurm.protected == {"demo-1"}


def test_time_is_up(
    command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock, journal: SqliteJournal
) -> None:
    slurm.set_flags("demo-1", "ALLOCATED", "CLOUD")
    edit(cluster_file, "min_nodes: 1", "min_nodes: 0")
    engine.tell_file(digest(cluster_file))
    result = command("resize", "--yes", "--timeout", "0")
    assert result.exit_code == 11, result.stderr
    assert slurm.node("demo-1").has("DRAIN") and set(journal.drains()) == {"demo-1"}
    again = command("resize", "--abort")
    assert again.exit_code == 0 and "undrained" in again.stdout
    assert not slurm.node("demo-1").has("DRAIN") and not journal.drains()


def test_abort_without_a_resize(command: Command, slurm: MemorySlurm, journal: SqliteJournal) -> None:
    journal.save_drains([Drain("demo-2", "reimage 7f", "slurm-powersave: reimage [reimage 7f]", 1.0)])
    result = command("resize", "--abort", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"released": []})
    assert set(journal.drains()) == {"demo-2"}, "not a resize's"


@pytest.mark.parametrize("argv", [("--yes",), ("--dry-run",)])
def test_it_writes_nothing_for_another_version_of_slurm(
    command: Command, slurm: MemorySlurm, cluster_file: Path, engine: EngineLock, argv: tuple[str, ...]
) -> None:
    slurm.version = "26.05.5"
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    engine.tell_file(digest(cluster_file))
    result = command("resize", *argv)
    assert result.exit_code == 2
    assert "slurmctld on demo-login runs Slurm 26.05.5, the cluster file says 22.05" in result.stderr
    assert f'Set slurm_version: "26.05" in {cluster_file}' in result.stderr
    assert slurm.protected == {"demo-1"}
    assert command("resize", "--abort").exit_code == 0


def test_a_second_one_is_refused(command: Command, slurm: MemorySlurm, cluster_file: Path) -> None:
    lock = EngineLock(cluster_file.parent / "state/resize.lock", "a resize")
    result = command("resize")
    lock.release()
    assert result.exit_code == 3
    assert "a resize is running already: process " in result.stderr


def test_deploy_leaves_nodes_in_use_to_it(
    command: Command, slurm: MemorySlurm, cluster_file: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(deploy.connect, "command", lambda cluster: type("T", (), {"check": lambda s: "1"})())
    cluster_file.write_text(CLUSTER.replace("demo-[1-4]", "demo-[2-4]").replace("10.0.1.1-", "10.0.1.2-"))
    result = command("deploy", "--yes")
    assert result.exit_code == 7
    assert "not powered down and drained: demo-1" in result.stderr and "resize" in result.stderr
