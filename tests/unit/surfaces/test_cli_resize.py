"""`resize`: what is refused, what a person sees, and the exit codes."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.commands import deploy, scale_command
from slurm_powersave.commands.watch_file import digest
from slurm_powersave.config.settings import load
from slurm_powersave.decide.commands.play_plan import HostPlan, PlayPlan, file_change
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.decide.slurm_files.slurm_conf import HEADER
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.nodes import NodeRecord
from slurm_powersave.model.records import Drain
from slurm_powersave.surfaces.cli import terminal
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.site import MemoryLoginHost, MemoryPlays, MemoryProgram, put_in
from slurm_powersave.testing.slurm import MemorySlurm

from .conftest import CLUSTER, Command


class Planned(MemorySlurm):
    """A Slurm, and what the play says in check mode, one answer after the other; then that all is well."""

    plans: list[PlayPlan]
    playing: MemoryPlays
    host: MemoryLoginHost


OFF = ("IDLE", "CLOUD", "POWERED_DOWN")


@pytest.fixture
def slurm(cluster_file: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> Planned:
    """A deployed cluster: demo-1 is up and protected; what Ansible would do to Slurm is done at once."""
    cluster = load(cluster_file)
    made = Planned(MemoryClock(time.time()), cluster.nodes(), lambda mode, nodes: None)
    made.set_flags("demo-1", "IDLE", "CLOUD")
    made.protected = frozenset({"demo-1"})

    def play(name: str, inventory: object, extra: object) -> int:
        now = load(cluster_file)
        assert name == "resize.yml"
        made.configure(now.nodes(), now.persistent())
        for node in now.persistent():
            made.set_flags(node, "IDLE", "CLOUD")
        return 0

    made.host = MemoryLoginHost()
    made.playing = MemoryPlays(play, lambda *_: made.plans.pop(0) if made.plans else PlayPlan())
    put_in(
        monkeypatch.setattr,
        slurm=made,
        clouds={},
        plays=made.playing,
        terraform_program=MemoryProgram(),
        login_host=made.host,
    )
    base = cluster.layout.base
    base.mkdir(parents=True)
    (base / "terraform.tfstate").write_text("{}")
    made.plans = []
    (cluster_file.parent / "state/keys").mkdir()
    (cluster_file.parent / "state/keys/id_ed25519").touch()
    (cluster_file.parent / "state/keys/munge.key").touch()
    journal.save_nodes(NodeRecord(cluster.node_spec(name)) for name in cluster.nodes())
    deploy.write_inventory(wiring.site(cluster))
    slurm_conf_in_use.save(wiring.site(cluster).store())
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
        "min_nodes: Slurm powers up demo-[2-3], and the engine creates what has no server",
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
    monkeypatch.setattr(scale_command, "_ENGINE", 0.3)
    edit(cluster_file, "min_nodes: 1", "min_nodes: 3")
    result = command("resize", "--yes")
    assert result.exit_code == 1
    assert "has not loaded this cluster file" in result.stderr
    assert slurm.protected == {"demo-1"}


def test_a_slurm_conf_that_slurm_cant_read_is_written_anew(
    command: Command, slurm: MemorySlurm, monkeypatch: Any
) -> None:
    files = LiveFiles({"slurm.conf": HEADER}, unreadable="MaxArraySise")
    slurm.host.files = files
    assert "1. change files" in command("resize", "--dry-run").stdout


def test_a_slurm_conf_of_somebody_else_is_not_replaced(
    command: Command, slurm: MemorySlurm, monkeypatch: Any
) -> None:
    files = LiveFiles({"slurm.conf": "# do not touch\nNodeName=site\n"})
    slurm.host.files = files
    result = command("resize", "--dry-run")
    assert result.exit_code == 7 and "-# do not touch" in result.stderr


def test_what_was_edited_by_hand_is_shown(command: Command, slurm: MemorySlurm, monkeypatch: Any) -> None:
    files = LiveFiles({"slurm.conf": f"{HEADER}Epilog=/x\n"}, {"slurm.conf": HEADER})
    slurm.host.files = files
    assert "+Epilog=/x" in command("resize", "--dry-run").stdout


def plan(path: str, daemon: str = "", does: str = "", after: str = "b", host: str = "demo-login") -> PlayPlan:
    """What a play would do to one file of one host, and to one daemon."""
    files = {path: file_change(path, "a\n", f"{after}\n")}
    return PlayPlan({host: HostPlan(files, {daemon: does} if daemon else {})})


def test_a_file_that_differs_and_no_node_is_told_as_that(command: Command, slurm: Planned) -> None:
    slurm.plans = [plan("/etc/slurm/gres.conf", "slurmctld", "reconfigures")]
    said = command("resize", "--dry-run").stdout
    assert "/etc/slurm/gres.conf changes on demo-login:\n  --- /etc/slurm/gres.conf (now)" in said
    assert "\n  -a\n  +b\n" in said and "slurmctld reconfigures on demo-login, and slurmd" in said
    assert "1. change files: slurmctld reconfigures" in said and "enlarge" not in said
    slurm.plans = [plan("/usr/lib/slurm-powersave/site-prolog", "slurmd", "restarts", host="demo-1")]
    said = command("resize", "--dry-run").stdout
    assert "slurmd restarts on demo-1" in said and "1. change files: slurmctld goes on as it is" in said


@pytest.mark.parametrize(
    ("now", "rc", "why"),
    [
        (plan("/etc/slurm/gres.conf", "slurmctld", "reconfigures"), 0, ""),
        (plan("/etc/slurm/gres.conf", "slurmctld", "reconfigures", "c"), 7, "gres.conf on demo-login"),
        (plan("/etc/slurm/gres.conf", "slurmctld", "restarts"), 7, "slurmctld on demo-login"),
    ],
    ids=["same", "text", "daemon"],
)
def test_what_was_not_shown_is_not_done(
    command: Command,
    slurm: Planned,
    cluster_file: Path,
    engine: EngineLock,
    monkeypatch: Any,
    now: PlayPlan,
    rc: int,
    why: str,
) -> None:
    engine.tell_file(digest(cluster_file))
    played: list[str] = []
    slurm.playing.play = lambda name, inventory, extra: played.append(name) or 0
    monkeypatch.setattr(terminal, "confirm", lambda question, yes: True)
    slurm.plans = [plan("/etc/slurm/gres.conf", "slurmctld", "reconfigures"), now]
    result = command("resize")
    assert (result.exit_code, bool(played)) == (rc, rc == 0), result.stderr
    assert why in result.stderr


def test_what_the_play_would_refuse_is_shown_and_not_begun(command: Command, slurm: Planned) -> None:
    slurm.plans = [replace(plan("/etc/slurm/slurm.conf"), refused="demo-login: MaxArraySise")]
    result = command("resize", "--yes")
    assert result.exit_code == 6 and "MaxArraySise" in result.stderr and "+b" in result.stdout


def test_an_address_that_was_given_stays_and_that_is_said(
    command: Command, slurm: MemorySlurm, cluster_file: Path
) -> None:
    edit(cluster_file, "10.0.1.1-10.0.1.4", "10.0.2.1-10.0.2.4")
    said = command("resize", "--dry-run").stdout
    assert "demo-[1-4]: the address that a name was once given stays (of demo-1: 10.0.1.1)" in said
    assert "Nothing to do" in said


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
    works, slurm.playing.play = slurm.playing.play, lambda name, inventory, extra: 2
    assert command("resize", "--yes").exit_code == 6
    slurm.playing.play = works
    assert not (cluster_file.parent / "state/cluster-files").exists(), "it was not applied"
    assert "1. change files: slurmctld reconfigures" in command("resize", "--yes").stdout
    (kept,) = (cluster_file.parent / "state/cluster-files").iterdir()
    assert kept.read_text() == cluster_file.read_text()
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
    journal.save_drains([Drain("demo-2", "reimage 7f", "slurm-powersave: reimage [reimage 7f]")])
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
    lock = EngineLock(cluster_file.parent / "state/command.lock", command="resize --yes", user="ann")
    result = command("resize")
    lock.release()
    assert result.exit_code == 3
    assert "is running: resize --yes by ann, process " in result.stderr


def test_deploy_leaves_nodes_in_use_to_it(
    command: Command, slurm: MemorySlurm, cluster_file: Path, monkeypatch: Any
) -> None:
    cluster_file.write_text(CLUSTER.replace("demo-[1-4]", "demo-[2-4]").replace("10.0.1.1-", "10.0.1.2-"))
    result = command("deploy", "--yes")
    assert result.exit_code == 7
    assert "not powered down and drained: demo-1" in result.stderr and "resize" in result.stderr
