"""A state directory as one file, and back."""

import io
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.adapters.terraform import state_file
from slurm_powersave.commands import backup, restore
from slurm_powersave.decide.node import brake
from slurm_powersave.model.errors import ConfigError, LockedError, RefusedError, TerraformError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request, RunRecord, ShardRun
from tests.unit.commands.backup_host import Host, files, state


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "host")
    made.deploy()
    return made


def test_all_is_there_again(host: Host) -> None:
    before = files(host.state)
    made = backup.make(host.site)
    assert made.path.parent == host.state / "backups"
    kept = host.root / "kept.tar.gz"
    shutil.move(made.path, kept)
    shutil.rmtree(host.state)
    done = host.restore(kept)
    assert (done.moved, done.wrote_cluster_file, done.cluster_file_differs) == (None, False, False)
    assert files(host.state) == before
    journal = host.journal()
    assert journal.node_records()["demo-1"].server_id == "id-demo-1"
    assert journal.brake() == brake.RESTORED, "it knows nothing of what was made since"
    journal.close()
    asked = (host.root / "asked").read_text().split()
    assert [Path(line).name for line in asked] == ["base", "nodes-001"], "terraform init in each"


def test_a_brake_that_a_person_has_to_release_stays(host: Host) -> None:
    journal = host.journal()
    journal.set_brake(brake.passed(5, 5))
    journal.close()
    host.restore(backup.make(host.site).path, force=True)
    journal = host.journal()
    assert journal.brake() == brake.passed(5, 5)
    journal.close()


def test_nobody_else_can_read_any_of_it(host: Host) -> None:
    old = os.umask(0)
    try:
        made = backup.make(host.site, host.root / "b.tar.gz")
        host.restore(made.path, force=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    for path in [host.state, *host.state.rglob("*")]:
        if ".terraform" not in path.parts:  # the stand-in makes it
            assert not path.stat().st_mode & 0o077, path


def test_the_journal_is_whole_while_others_write(host: Host) -> None:
    stop, written = threading.Event(), 0

    def write() -> None:
        nonlocal written
        journal = host.journal()
        while not stop.is_set():
            journal.add_request(Request(f"r{written}", Mode.RESUME, "demo-1", 1.0), 1.0)
            written += 1
        journal.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        made = [backup.make(host.site, host.root / f"b{number}.tar.gz").path for number in range(3)]
    finally:
        stop.set()
        thread.join()
    host.restore(made[-1], force=True)
    journal = host.journal()
    requests = journal._rows("SELECT id FROM requests ORDER BY rowid")
    journal.close()
    assert [row["id"] for row in requests] == [f"r{number}" for number in range(len(requests))]
    assert 0 < len(requests) <= written


def test_a_state_is_taken_when_it_is_whole(host: Host) -> None:
    path = host.state / "terraform/local/nodes-001/terraform.tfstate"
    path.write_text(state("demo-1", "demo-2")[:50])
    writes = threading.Timer(0.3, lambda: path.write_text(state("demo-1", "demo-2")))
    writes.start()
    made = backup.make(host.site)
    writes.join()
    host.restore(made.path, force=True)
    assert path.read_text() == state("demo-1", "demo-2")


def test_a_state_that_stays_broken_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "_STEADY", 0.1)
    (host.state / "terraform/base/terraform.tfstate").write_text("{")
    with pytest.raises(TerraformError, match="state can't be read"):
        backup.make(host.site)
    assert not list((host.state).glob(".staging-*"))


def test_the_newest_are_kept(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    place = host.root / "place"
    place.mkdir()
    (place / "mine.txt").write_text("")
    for second in range(4):
        monkeypatch.setattr(backup.time, "time", lambda second=second: 2e9 + second)
        made = backup.make(host.site, place, keep=2)
    assert len(made.removed) == 1
    assert sorted(path.name[-7:] for path in place.iterdir()) == [".tar.gz", ".tar.gz", "ine.txt"]


def test_through_a_pipe(host: Host) -> None:
    out = io.BytesIO()
    backup.send(host.site, out)
    assert not list(host.state.glob("backups/*")) and not list(host.state.glob(".staging-*"))
    out.seek(0)
    restore.restore(out, "-", host.file, lambda text: None, wiring.archive(), wiring.site, force=True)
    assert (host.state / "keys/munge.key").stat().st_size == 64


def test_logs_are_for_people_only(host: Host) -> None:
    def add(place: Path) -> None:
        (place / "logs").mkdir()
        (place / "logs/slurmctld.log").write_text("slurmctld started\n")

    made = backup.make(host.site, add=add)
    assert "logs/slurmctld.log" in made.manifest.members
    host.restore(made.path, force=True)
    assert not (host.state / "logs").exists()


def test_without_a_journal_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to back up"):
        backup.make(Host(tmp_path / "empty").site)


def test_a_place_that_can_not_be_written_to_is_told(host: Host) -> None:
    with pytest.raises(ConfigError, match="can't be written"):
        backup.make(host.site, host.root / "nowhere/b.tar.gz")
    with pytest.raises(ConfigError, match="--keep"):
        backup.make(host.site, host.root / "b.tar.gz", keep=3)


# Restoring


def test_a_state_directory_that_is_in_the_way_is_moved_aside_by_force_only(host: Host) -> None:
    made = backup.make(host.site, host.root / "b.tar.gz")
    (host.state / "known_hosts").write_text("since then\n")
    with pytest.raises(RefusedError, match="already"):
        host.restore(made.path)
    assert (host.state / "known_hosts").read_text() == "since then\n"
    done = host.restore(made.path, force=True)
    assert done.moved and (done.moved / "known_hosts").read_text() == "since then\n"
    assert (host.state / "known_hosts").read_text().startswith("demo-login")


def test_not_below_a_running_engine(host: Host) -> None:
    made = backup.make(host.site, host.root / "b.tar.gz")
    lock = EngineLock(host.cluster.layout.lock)
    with pytest.raises(LockedError):
        host.restore(made.path, force=True)
    lock.release()


def test_on_a_new_host_the_cluster_file_comes_from_the_backup(host: Host, tmp_path: Path) -> None:
    made = backup.make(host.site, tmp_path / "b.tar.gz")
    text = host.file.read_text()
    host.file.unlink()
    shutil.rmtree(host.root / "state")
    done = host.restore(made.path)
    assert done.wrote_cluster_file and host.file.read_text() == text
    host.file.write_text(text + "# edited\n")
    assert host.restore(made.path, force=True).cluster_file_differs
    assert host.file.read_text().endswith("# edited\n")


def test_another_clusters_backup_is_refused(host: Host) -> None:
    made = backup.make(host.site, host.root / "b.tar.gz")
    host.file.write_text(host.file.read_text().replace("cluster_name: demo", "cluster_name: other"))
    before = files(host.state)
    with pytest.raises(RefusedError, match="of cluster demo"):
        host.restore(made.path, force=True)
    assert files(host.state) == before


def test_a_failing_init_changes_nothing(host: Host) -> None:
    made = backup.make(host.site, host.root / "b.tar.gz")
    (host.state / "known_hosts").write_text("since then\n")
    host.terraform(rc=1)
    with pytest.raises(TerraformError, match="init failed"):
        host.restore(made.path, force=True)
    assert (host.state / "known_hosts").read_text() == "since then\n"
    assert sorted(path.name for path in host.root.iterdir() if "state" in path.name) == ["state"]


def test_what_was_under_way_is_over(host: Host) -> None:
    journal = host.journal()
    journal.add_request(Request("r1", Mode.RESUME, "demo-2", 1.0), 1.0)
    op = journal.new_operation("r1", "demo-2", Mode.RESUME, "applying", 1.0)
    journal.plan_request("r1", [op], [], 1.0)
    journal.save_run(ShardRun(RunRecord("x", "apply", "/gone", 1, 1), "local/nodes-001", (op.id,)))
    journal.add_request(Request("r2", Mode.SUSPEND, "demo-1", 2.0), 2.0)
    journal.close()
    host.restore(backup.make(host.site).path, force=True)
    journal = host.journal()
    assert not journal.open_operations() and not journal.runs() and not journal.unplanned_requests()
    (ended,) = journal.operations_of("r1")
    assert ended.outcome == "cancelled" and "backup" in ended.text
    assert "backup" in journal.refusals("r2")[0][1]
    journal.close()


ALIGNED = [
    ("both know it", ("local/nodes-001", "a"), {"demo-2": "a"}, ("local/nodes-001", "a")),
    ("only the state knows it", ("", ""), {"demo-2": "a"}, ("local/nodes-001", "a")),
    ("only the journal knows it", ("local/nodes-001", "a"), {}, ("", "a")),
    ("the state knows another: the cloud will tell", ("", "b"), {"demo-2": "a"}, ("local/nodes-001", "a")),
]


@pytest.mark.parametrize(("name", "record", "held", "after"), ALIGNED, ids=[case[0] for case in ALIGNED])
def test_journal_and_states_are_made_of_one_mind(
    host: Host, name: str, record: tuple[str, str], held: dict[str, str], after: tuple[str, str]
) -> None:
    host.record("demo-2", *record)
    (host.state / "terraform/local/nodes-001/terraform.tfstate").write_text(state("demo-1", **held))
    host.restore(backup.make(host.site).path, force=True)
    journal = host.journal()
    found = journal.node_records()["demo-2"]
    journal.close()
    assert (found.shard, found.server_id) == after
