"""An engine of today on what the first release has left: a cluster in mid-work is taken over."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.journal.tables import SCHEMA_VERSION
from slurm_powersave.adapters.requests.spool import parse_named
from slurm_powersave.adapters.state_dir import archive, own_files
from slurm_powersave.commands import restore
from slurm_powersave.config.settings import load
from slurm_powersave.decide.node import brake
from slurm_powersave.engine.loop import Engine
from slurm_powersave.model import phases
from slurm_powersave.model.errors import ConfigError, RefusedError
from slurm_powersave.model.nodes import NodeProgress, RunResult, Server, StateServer
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.terraform import MemoryRun, run_record
from slurm_powersave.testing.world import MemoryWorld
from tests import first_release
from tests.unit.engine.checks import Fuse, assert_at_rest, coarsely, outcomes, run, servers

TAKEN_OVER = 1795905793.0
"""A second after the last thing that the old engine recorded."""
SHARD, RUN, UP_3 = "local/nodes-001", "acb12c4a", "5b0b42a8-2a1c-4d6c-9f39-2f2f2d1f7c11"
HEALTHY = {
    "up-1": ["721dd3d0-ddb1-4352-8f36-e4227b7c7eb0"],
    "up-2": ["7d34c144-d4eb-48bf-b1a3-34fec1cfc9b9"],
}
MADE = {"later": 0, "before": 0, "killed with a server": 1, "killed without one": 1}
"""What becomes of the apply that was to make up-3's server -> how many more are made."""


class Taken(MemoryWorld):
    """Slurm, cloud and Terraform as the recorded files say they were; the journal is the recorded one."""

    def __init__(self, state: Path, ends: str) -> None:
        self._state, self._ends = state, ends
        super().__init__(
            load(state.parent / "cluster.yml"), MemoryClock(TAKEN_OVER), SqliteJournal(state / "journal.db")
        )

    def new_engine(self) -> Engine:
        if not self.terraform.runs:
            self._lay_out()
        return super().new_engine()

    def _lay_out(self) -> None:
        old = wiring.site(self.cluster).terraform()
        for shard in old.shards("local"):
            self.terraform.maps[shard] = dict(old.nodes(shard))
            self.terraform.states[shard] = dict(old.servers(shard))
        records = self.journal.node_records()
        for name, server in self.terraform.states[SHARD].items():
            self._run_server(name, server.id, self.terraform.maps[SHARD][name].operation)
            assert records[name].server_id == server.id
        self._apply()
        self.slurm.hook = lambda mode, nodes: None  # those calls are in the journal
        for name in (*HEALTHY, "up-3"):
            job = self.slurm.submit(name)
            if name in HEALTHY:
                self.slurm.register(name)
                self.slurm.start(job)
        self.slurm.hook = self.hook

    def _run_server(self, name: str, server_id: str, operation: str) -> None:
        node = self.cluster.node_spec(name)
        tags = frozenset({
            "slurm-powersave", "cluster=up", "pool=compute", f"node={name}", "shard=nodes-001",
            f"operation={operation}",
        })  # fmt: skip
        key = f"ssh-ed25519 {first_release.key(name)}"
        server = Server(
            server_id, name, "ACTIVE", address=node.address, image=node.image, flavor=node.flavor,
            tags=tags, host_key=key,
        )  # fmt: skip
        self.cloud.add(server)

    def _apply(self) -> None:
        """Let the run that the journal names go on, or be over, as a process of its own does."""
        saved = next(iter(self.journal.runs()), None)  # none after a restore
        if "without" not in self._ends:
            self._run_server("up-3", UP_3, "194b62")
        now = self.clock.now()
        made = (now + 4.0 if self._ends == "later" else now - 1.0, NodeProgress("up-3", True, server_id=UP_3))
        if self._ends == "before":
            self.terraform.states[SHARD]["up-3"] = StateServer(UP_3)
        events = [] if "killed" in self._ends else [made]

        def end() -> RunResult:
            if "killed" in self._ends:
                return RunResult(False, "terraform was killed")
            self.terraform.states[SHARD]["up-3"] = StateServer(UP_3)
            return RunResult(True)

        self.terraform.runs[RUN] = MemoryRun(
            saved.record if saved else run_record("apply"), self.clock, made[0] + 0.2, events, end
        )
        self.terraform.runs[RUN].plan = (SHARD, {})


def taken(place: Path, ends: str) -> Taken:
    """Begin with a copy of the recorded files of its own."""
    return Taken(first_release.state_directory(place), ends)


@pytest.mark.parametrize("ends", MADE)
def test_what_was_under_way_ends_well_and_nothing_else_is_touched(tmp_path: Path, ends: str) -> None:
    world = taken(tmp_path / "old", ends)
    world.run(30)
    assert_taken_over(world, made=MADE[ends])
    assert_goes_down(world)


def assert_taken_over(world: Taken, made: int) -> None:
    """All three nodes are up; those that were keep their servers, and no request came a second time."""
    assert_at_rest(world)
    found = servers(world)
    assert {name: found[name] for name in HEALTHY} == HEALTHY and [*found] == ["up-1", "up-2", "up-3"]
    assert world.cloud.created == made and (made or found["up-3"] == [UP_3])
    for name in found:
        assert outcomes(world, name) == [("resume", "done")], "no node was asked for twice"
        assert world.slurm.node(name).flags == {"ALLOCATED", "CLOUD"}
    assert [job.state for job in world.slurm.jobs.values()] == ["RUNNING", "RUNNING", "CONFIGURING"]
    configured = {news.node for play in world.playbooks.runs.values() for _, news in play.events}
    assert configured <= {"up-3"}, "the nodes of running jobs are not configured once more"
    assert not world.told and not world.errors


def assert_goes_down(world: Taken) -> None:
    """Idle nodes are suspended as if there had been no upgrade."""
    for job in list(world.slurm.jobs):
        world.slurm.end(job)
    world.slurm.suspend("up-1", "up-2", "up-3")
    coarsely(world, 60)
    assert_at_rest(world)
    assert servers(world) == {}
    assert {outcomes(world, name)[-1] for name in ("up-1", "up-2", "up-3")} == {("suspend", "done")}


@pytest.mark.parametrize("ends", ["later", "killed with a server"])
def test_wherever_the_new_engine_is_killed_at_first_the_end_is_the_same(tmp_path: Path, ends: str) -> None:
    for at in range(1, 200, 3):
        world = taken(tmp_path / str(at), ends)
        fuse = Fuse(world, at)
        run(world, 40)
        world.told.clear()
        if fuse.armed:
            break
        assert_taken_over(world, made=MADE[ends])
    assert at > 10, "it was killed at many effects"


def changed(place: Path, *statements: tuple[str, tuple[object, ...]]) -> Path:
    """Lay the files out with another journal: no run is under way, and what is given."""
    state = first_release.state_directory(place)
    with closing(sqlite3.connect(state / "journal.db")) as db, db:
        for statement in (("DELETE FROM runs", ()), *statements):
            db.execute(*statement)
    return state


@pytest.mark.parametrize("phase", ["checking", "queued", "planning", "applying", "recovering"])
def test_a_creation_that_had_not_begun_is_made(tmp_path: Path, phase: str) -> None:
    state = changed(tmp_path / "old", ("UPDATE operations SET phase = ? WHERE outcome = ''", (phase,)))
    world = Taken(state, "killed without one")
    world.run(40)
    assert_taken_over(world, made=1)


@pytest.mark.parametrize("phase", ["booting", "configuring", "registering"])
def test_a_server_that_was_made_is_brought_up(tmp_path: Path, phase: str) -> None:
    state = changed(
        tmp_path / "old",
        ("UPDATE operations SET phase = ?, server_id = ? WHERE outcome = ''", (phase, UP_3)),
        ("UPDATE nodes SET server_id = ?, shard = ? WHERE name = 'up-3'", (UP_3, SHARD)),
    )
    world = Taken(state, "before")
    world.run(10)
    if phase == "registering":  # its play was over: its slurmd comes by itself
        world.slurm.register("up-3")
    world.run(20)
    assert_taken_over(world, made=0)


@pytest.mark.parametrize("phase", ["checking", "delete-queued", "delete-planning", "deleting", "verifying"])
def test_a_deletion_that_slurm_has_asked_for_is_done(tmp_path: Path, phase: str) -> None:
    at, server = TAKEN_OVER - 5, HEALTHY["up-1"][0]
    state = changed(
        tmp_path / "old",
        ("UPDATE operations SET outcome = 'cancelled' WHERE outcome = ''", ()),
        ("INSERT INTO requests VALUES ('s','suspend','up-1',?,'hook',NULL,'','',?,1)", (at, at)),
        (
            "INSERT INTO operations (id,request,node,mode,phase,created,since,shard,server_id)"
            " VALUES ('f1','s','up-1','suspend',?,?,?,?,?)",
            (phase, at, at, SHARD, server),
        ),
    )
    world = Taken(state, "killed without one")
    world.slurm.hook = lambda mode, nodes: None  # that call is in the journal
    world.slurm.end(1)
    world.slurm.suspend("up-1")
    world.slurm.hook = world.hook
    coarsely(world, 60)
    assert "up-1" not in servers(world) and servers(world)["up-2"] == HEALTHY["up-2"]
    assert outcomes(world, "up-1")[-1] == ("suspend", "done")
    assert not world.journal.open_operations()


@pytest.mark.parametrize("ends", ["later", "killed with a server"])
def test_a_server_that_never_boots_does_not_stay(tmp_path: Path, ends: str) -> None:
    """The call for up-3 is in the old journal, and nothing has shown the node registered since."""
    world = taken(tmp_path / "old", ends)
    world.silent.add("up-3")
    world.run(60)
    assert UP_3 not in servers(world).get("up-3", [])


def test_the_files_alone_say_what_a_new_engine_begins_with(tmp_path: Path) -> None:
    """The brake is off, as it was; nothing is recorded of when a node was last seen in use."""
    world = taken(tmp_path / "old", "later")
    assert world.journal.brake() == "" and world.cluster.slurm_version == "22.05"
    assert [(op.id, op.phase) for op in world.engine.operations] == [("194b62", phases.APPLYING)]
    assert [*world.engine._batches.shards.entries(SHARD)] == ["up-1", "up-2"]
    assert [*world.terraform.maps[SHARD]] == ["up-1", "up-2", "up-3"], "the apply that runs has read it"


def test_a_server_whose_deletion_nobody_asked_for_stays(tmp_path: Path) -> None:
    """Slurm has powered the node down and its call got lost: nothing proves that it is not in use."""
    world = taken(tmp_path / "old", "later")
    world.run(30)
    world.slurm.hook = lambda mode, nodes: None
    world.slurm.end(1)
    world.slurm.suspend("up-1")
    coarsely(world, 120)
    assert servers(world)["up-1"] == HEALTHY["up-1"]


def test_rests_of_the_old_release_last_as_long_as_it_said(tmp_path: Path) -> None:
    state = first_release.state_directory(tmp_path / "old")
    reason, until = "slurm-powersave: (quota) no cores [op f1]", TAKEN_OVER + 60
    with closing(sqlite3.connect(state / "journal.db")) as db, db:
        db.execute("INSERT INTO holds VALUES ('up-6','f1','quota',?,?,1)", (reason, until))
        db.execute("INSERT INTO drains VALUES ('up-6','f1',?,?)", (reason, TAKEN_OVER - 60))
        db.execute("INSERT INTO flavor_rests VALUES ('local','','large',?,'no host has room')", (until,))
    world = Taken(state, "later")
    world.slurm.set_flags("up-6", "CLOUD", "IDLE", "POWERED_DOWN", "DRAIN", reason=reason)
    world.run(50)
    assert world.slurm.node("up-6").has("DRAIN") and "up-6" in world.journal.node_backoffs()
    assert world.journal.flavor_backoffs()
    world.run(50)
    assert not world.slurm.node("up-6").has("DRAIN") and not world.journal.node_backoffs()


def test_requests_of_its_hooks_are_served_once(tmp_path: Path) -> None:
    """Those that were journalled and not planned, and those that still were in the spool."""
    world = taken(tmp_path / "old", "later")
    world.slurm.hook = lambda mode, nodes: None
    world.slurm.submit("up-4", "up-5")
    world.slurm.hook = world.hook
    asked = first_release.spool(tmp_path / "new")
    for _ in range(2):
        for request_id in asked:
            if asked[request_id] == "resume":
                request = parse_named(request_id, (tmp_path / "new" / request_id).read_bytes())
                world.journal.add_request(request, world.clock.wall())
        world.run(40)
        assert_at_rest(world)
        assert [sorted(outcomes(world, name)) for name in ("up-4", "up-5")] == [
            [("resume", "done"), ("resume", "joined")]
        ] * 2
    assert world.cloud.created == 2


# Its backup


class Stub:
    """A control host with a terraform that only notes where it was called."""

    def __init__(self, place: Path) -> None:
        self.place, self.asked, self.said = place, place / "asked", list[str]()
        place.mkdir()
        program = place / "terraform"
        program.write_text(f'#!/bin/sh\necho "$PWD" >>{self.asked}\nmkdir -p .terraform\n')
        program.chmod(0o755)
        self.program = program
        self.file = self.named(first_release.cluster_file(place))

    def named(self, file: Path) -> Path:
        """Name that terraform in a cluster file."""
        file.write_text(file.read_text().replace("binary: terraform", f"binary: {self.program}"))
        return file

    def restore(self, backup: Path, **options: bool) -> restore.Restored:
        with backup.open("rb") as source:
            return restore.restore(
                source, str(backup), self.file, self.said.append, wiring.archive(), wiring.site, **options
            )


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return Stub(tmp_path / "host")


def test_its_backup_is_whole_for_us(tmp_path: Path) -> None:
    manifest = archive.verify(first_release.backup(tmp_path / "old"))
    assert (manifest.cluster, manifest.version, manifest.journal, manifest.format) == ("up", "0.1.0", 3, 1)
    assert len(manifest.members) == 27


@pytest.mark.parametrize(
    ("journal_of_then", "ended"),
    [("backup.sql", ["done", "done"]), ("journal.sql", ["cancelled", "done", "done"])],
)
def test_its_backup_is_restored_and_what_it_does_not_record_is_said(
    stub: Stub, journal_of_then: str, ended: list[str]
) -> None:
    """One that was made before up-3 was asked for, or while its server was being made."""
    backup = first_release.backup(stub.place, journal_of_then)
    done = stub.restore(backup)
    assert not done.moved and done.cluster_file_differs and done.cluster.layout.root == stub.place / "state"
    told = "\n".join(stub.said)
    assert (
        f"is of version 3 and is converted to version {SCHEMA_VERSION}; it does not record when nodes" in told
    )
    called = [Path(line).name for line in stub.asked.read_text().split()]
    assert called == ["base", "nodes-001", "nodes-002"], "terraform init in each"
    own_files.refuse(done.cluster)
    with closing(SqliteJournal(done.cluster.layout.journal)) as journal:
        records = {name: one.server_id for name, one in journal.node_records().items() if one.server_id}
        assert records == {name: ids[0] for name, ids in HEALTHY.items()}
        assert journal.brake() == brake.RESTORED and not journal.runs() and not journal.open_operations()
        assert [op.outcome for op in journal.history(limit=9)] == ended
    assert [*wiring.site(done.cluster).terraform().servers(SHARD)] == [*HEALTHY]


def test_the_state_directory_of_that_release_is_moved_aside_for_its_backup(stub: Stub) -> None:
    first_release.state_directory(stub.place)
    stub.named(stub.file)
    backup = first_release.backup(stub.place)
    with pytest.raises(RefusedError, match="there is a state directory already"):
        stub.restore(backup)
    moved = stub.restore(backup, force=True).moved
    assert moved and (moved / "runs/acb12c4a/stdout.jsonl").exists()


def test_a_backup_of_that_release_that_is_damaged_changes_nothing(stub: Stub) -> None:
    backup = first_release.backup(stub.place)
    backup.write_bytes(backup.read_bytes()[:-200])
    with pytest.raises(ConfigError):
        stub.restore(backup)
    assert not (stub.place / "state").exists() and not stub.asked.exists()


def test_an_engine_on_a_restored_backup_knows_what_is_in_use(stub: Stub) -> None:
    """The backup is from before up-3 was asked for: its job gets its node; servers of running jobs stay."""
    state = stub.restore(first_release.backup(stub.place)).cluster.layout.root
    world = Taken(state, "before")
    world.run(60)
    assert_at_rest(world)
    assert {name: servers(world)[name] for name in HEALTHY} == HEALTHY
    assert [job.state for job in world.slurm.jobs.values()] == ["RUNNING", "RUNNING", "CONFIGURING"]
    assert world.slurm.node("up-3").flags == {"ALLOCATED", "CLOUD"}
