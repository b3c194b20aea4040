"""`pause` and `continue`, and what `status` says of pauses and of the brake."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.decide.node import brake
from slurm_powersave.model.errors import CloudError, SlurmError
from slurm_powersave.model.nodes import Flavor, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.model.records import Done, Pause
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.testing.site import put_in

from .conftest import Command


@dataclass
class Parts:
    """A Slurm and a cloud at once: demo-2 and demo-3 are off, of which demo-2 has a server."""

    slurm_error: str = ""
    cloud_error: str = ""
    read: int = 0
    off: frozenset[str] = field(default=frozenset({"IDLE", "CLOUD", "POWERED_DOWN"}))

    def snapshot(self) -> SlurmSnapshot:
        self.read += 1
        if self.slurm_error:
            raise SlurmError(self.slurm_error)
        up = SlurmNode("demo-1", frozenset({"IDLE", "CLOUD"}))
        nodes = {name: SlurmNode(name, self.off) for name in ("demo-2", "demo-3")}
        return SlurmSnapshot(0.0, nodes | {"demo-1": up})

    def running_version(self) -> Version:
        return Version.of("22.05.8")

    def flavors(self) -> dict[str, Flavor]:
        return {"small": Flavor("small", 1, 1024)}

    def servers(self) -> list[Server]:
        if self.cloud_error:
            raise CloudError(self.cloud_error)
        return [Server("s1", "demo-1", "ACTIVE"), Server("s2", "demo-2", "ACTIVE")]


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """What the commands read."""
    found = Parts()
    put_in(monkeypatch.setattr, slurm=found, clouds={"local": found})
    return found


@pytest.fixture(autouse=True)
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call as alice, with sudo."""
    monkeypatch.setenv("SUDO_USER", "alice")


@pytest.fixture(autouse=True)
def settled(journal: SqliteJournal) -> None:
    """A cluster that has been looked at for a while: the brake of a new journal is released."""
    journal.set_brake("")


def act(number: int, row: Row = Row.OWN, *, ago: float = 0.0) -> Done:
    """A server that was deleted."""
    return Done(
        time.time() - ago, "", f"demo-{number}", Act.DELETE, f"old-{number}", row, "POWERED_DOWN for 900 s"
    )


# pause


def test_the_whole_cluster(command: Command, journal: SqliteJournal) -> None:
    result = command("pause", "the switch is replaced")
    assert result.exit_code == 0, result.stderr
    pause = journal.pauses()[""]
    assert pause.why == "the switch is replaced" and pause.by.startswith("alice (sudo, as ")
    assert abs(pause.at - time.time()) < 60
    assert "paused: the whole cluster, by alice" in result.stdout
    assert "requests are kept" in result.stdout
    assert "longer than 900 s (half of ResumeTimeout) is given back to Slurm" in result.stdout
    assert "To go on: slurm-powersave continue\n" in result.stdout


def test_a_pool(command: Command, journal: SqliteJournal) -> None:
    result = command("pause", "compute", "new image")
    assert result.exit_code == 0, result.stderr
    assert list(journal.pauses()) == ["compute"]
    assert "paused: pool compute, by alice" in result.stdout
    assert "To go on: slurm-powersave continue compute\n" in result.stdout


def test_pause_as_json(command: Command, journal: SqliteJournal) -> None:
    value = json.loads(command("pause", "compute", "why", "--json").stdout)
    assert value["resumes_given_back_after"] == 900
    assert value["paused"] | {"at": 0, "by": ""} == {
        "pool": "compute",
        "why": "why",
        "by": "",
        "at": 0,
        "file": None,
    }


def test_a_second_pause_says_what_it_replaces(command: Command, journal: SqliteJournal) -> None:
    journal.save_pause(Pause("", "first", "bob", 1.0))
    assert "this replaces the pause by bob: first" in command("pause", "second").stderr
    assert journal.pauses()[""].why == "second"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gpu", "why"), "no pool gpu\n  It has compute."),
        ((), "no reason is given"),
        (("",), "the reason is empty"),
        (("compute", " \n"), "the reason is empty"),
        (("compute",), "no reason is given for the pause of pool compute"),
        (("the", "switch", "is"), "quotation marks"),
    ],
)
def test_a_mistake_pauses_nothing(
    command: Command, journal: SqliteJournal, words: tuple[str, ...], said: str
) -> None:
    result = command("pause", *words)
    assert result.exit_code == 2 and said in result.stderr
    assert not journal.pauses()


def test_a_reason_of_several_lines_is_one_line(command: Command, journal: SqliteJournal) -> None:
    command("pause", "a\nb \x1b[31m c")
    assert "\x1b" not in journal.pauses()[""].why and "\n" not in journal.pauses()[""].why


def test_without_sudo_it_is_the_user(
    command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER")
    command("pause", "why")
    assert journal.pauses()[""].by and "sudo" not in journal.pauses()[""].by


# continue, without the brake


def test_nothing_is_paused(command: Command, outside: Parts) -> None:
    result = command("continue")
    assert (result.exit_code, result.stdout) == (0, "nothing is paused\n")
    assert not outside.read, "nobody is asked for what is not shown"


def test_all_pauses_end(command: Command, journal: SqliteJournal, cluster_file: Path) -> None:
    file = cluster_file.parent / "state" / "pause"
    file.write_text("by\nhand\n")
    journal.save_pause(Pause("", "first", "bob", 1.0))
    journal.save_pause(Pause("compute", "second", "carol", 1.0))
    result = command("continue")
    assert result.exit_code == 0, result.stderr
    assert not journal.pauses() and not file.exists()
    assert f"ended: the whole cluster, by the file {file}: by hand\n  removed {file}\n" in result.stdout
    assert "ended: the whole cluster, by bob at " in result.stdout
    assert "ended: pool compute, by carol at " in result.stdout
    assert "still paused" not in result.stdout


def test_a_pools_pause_ends_and_the_clusters_stays(
    command: Command, journal: SqliteJournal, cluster_file: Path
) -> None:
    file = cluster_file.parent / "state" / "pause"
    file.touch()
    journal.save_pause(Pause("compute", "second", "carol", 1.0))
    result = command("continue", "compute")
    assert result.exit_code == 0 and not journal.pauses() and file.exists()
    assert f"still paused: the whole cluster, by the file {file}: no reason given\n" in result.stdout
    assert "nothing is paused" not in result.stdout


def test_an_unknown_pool(command: Command, journal: SqliteJournal) -> None:
    result = command("continue", "gpu")
    assert result.exit_code == 2 and "It has compute." in result.stderr
    journal.save_pause(Pause("gpu", "it has left the cluster file since", "bob", 1.0))
    assert command("continue", "gpu").exit_code == 0 and not journal.pauses()


def test_a_file_that_stays_ends_nothing(command: Command, journal: SqliteJournal, cluster_file: Path) -> None:
    file = cluster_file.parent / "state" / "pause"
    file.mkdir()
    journal.save_pause(Pause("", "first", "bob", 1.0))
    result = command("continue")
    assert result.exit_code == 1 and str(file) in result.stderr
    assert journal.pauses()


def test_continue_as_json(command: Command, journal: SqliteJournal) -> None:
    journal.save_pause(Pause("compute", "second", "carol", 1.0))
    ended = {"pool": "compute", "why": "second", "by": "carol", "at": 1.0, "file": None}
    value = json.loads(command("continue", "--json").stdout)
    assert value == {"ended": [ended], "paused": [], "brake": None, "released": False}


# continue, with the brake on


@pytest.fixture
def braked(journal: SqliteJournal, outside: Parts) -> str:
    """The brake is on after five deletions, and the cluster is paused; return why."""
    for number in range(5):
        journal.add_act(act(number))
    journal.add_act(act(7, Row.HOOK))
    journal.add_act(act(8, ago=700.0))
    journal.save_pause(Pause("", "first", "bob", 1.0))
    why = brake.passed(5, 5)
    journal.set_brake(why)
    return why


def test_without_confirm_the_brake_is_shown_only(
    command: Command, journal: SqliteJournal, braked: str
) -> None:
    result = command("continue")
    assert result.exit_code == 7
    assert f"the brake is on: {braked}\n" in result.stdout
    assert "servers whose nodes Slurm shows as POWERED_DOWN: 1\n" in result.stdout
    assert [line.split() for line in result.stdout.splitlines() if line.startswith("demo-2")] == [
        ["demo-2", "s2", "ACTIVE"]
    ]
    assert "in the last 10 minutes: 5\n" in result.stdout
    assert "delete old-4" in result.stdout
    assert "old-7" not in result.stdout and "old-8" not in result.stdout
    assert "slurm-powersave continue --confirm" in result.stderr and "--pauses" in result.stderr
    assert journal.brake() == braked and journal.pauses()


def test_confirm_releases_it(command: Command, journal: SqliteJournal, braked: str) -> None:
    result = command("continue", "--confirm")
    assert result.exit_code == 0, result.stderr
    assert "demo-2  s2      ACTIVE" in result.stdout
    assert "the brake is released\n" in result.stdout and "ended: the whole cluster" in result.stdout
    assert journal.brake() == "" and abs(journal.confirmed() - time.time()) < 60
    assert not journal.pauses()


def test_pauses_end_without_the_brake(command: Command, journal: SqliteJournal, braked: str) -> None:
    result = command("continue", "--pauses")
    assert result.exit_code == 0 and journal.brake() == braked and not journal.pauses()


def test_confirm_is_for_the_whole_cluster(command: Command, journal: SqliteJournal, braked: str) -> None:
    assert command("continue", "compute", "--confirm").exit_code == 2
    assert command("continue", "--pauses", "--confirm").exit_code == 2
    assert journal.brake() == braked and journal.pauses()


def test_what_can_not_be_read_is_said(command: Command, braked: str, outside: Parts) -> None:
    outside.slurm_error, outside.cloud_error = "no answer", "401"
    result = command("continue")
    assert result.exit_code == 7
    assert "POWERED_DOWN: not known\n" in result.stdout
    assert json.loads(command("continue", "--json").stdout)["brake"]["servers"] is None
    assert "slurm could not be read, so the list may lack servers: no answer" in result.stderr
    assert "cloud local could not be read, so the list may lack servers: 401" in result.stderr


def test_a_cloud_without_an_adapter_is_said(
    command: Command, braked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(monkeypatch.setattr, slurm=Parts(), clouds={})
    assert "cloud local could not be read" in command("continue").stderr


def test_the_brake_as_json(command: Command, journal: SqliteJournal, braked: str) -> None:
    result = command("continue", "--json")
    assert result.exit_code == 7 and json.loads(result.stderr)["error"]["why"] == braked
    value = json.loads(result.stdout)
    assert value["brake"]["why"] == braked and value["brake"]["ends_by_itself"] is False
    assert value["brake"]["servers"] == [{"node": "demo-2", "server": "s2", "status": "ACTIVE"}]
    assert [one["subject"] for one in value["brake"]["acts"]] == [f"old-{number}" for number in range(5)]
    assert (value["released"], value["ended"], len(value["paused"])) == (False, [], 1)
    value = json.loads(command("continue", "--confirm", "--json").stdout)
    assert value["released"] and len(value["ended"]) == 1


def test_a_brake_that_ends_by_itself_says_so(
    command: Command, journal: SqliteJournal, outside: Parts
) -> None:
    journal.set_brake(brake.NEW)
    assert (
        "ends by itself when Slurm, clouds and states have agreed for 30 minutes"
        in command("continue").stdout
    )


# status


def test_status_names_pauses_and_brake(
    command: Command, journal: SqliteJournal, braked: str, cluster_file: Path
) -> None:
    file = cluster_file.parent / "state" / "pause"
    file.write_text("by hand")
    text = command("status").stdout
    assert f"paused: the whole cluster, by the file {file}: by hand\n" in text
    assert "paused: the whole cluster, by bob at " in text and "To go on: slurm-powersave continue\n" in text
    assert f"the brake is on: {braked}\n" in text and "slurm-powersave continue --confirm" in text
    value = json.loads(command("status", "--json").stdout)
    assert [one["file"] for one in value["pauses"]] == [str(file), None]
    assert value["brake"] == {"why": braked, "ends_by_itself": False}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no reason given"),
        (b"\x1b[31mred\xff\nsecond\x00 line\n", "\\x1b[31mred\ufffd second\\x00 line"),
        (b"x" * 100_000, "x" * 200),
    ],
)
def test_whatever_stands_in_the_file_is_one_short_line(
    command: Command, outside: Parts, cluster_file: Path, content: bytes, said: str
) -> None:
    file = cluster_file.parent / "state" / "pause"
    file.write_bytes(content)
    assert f"paused: the whole cluster, by the file {file}: {said}\n" in command("status").stdout


def test_a_file_that_can_not_be_read_pauses_too(command: Command, outside: Parts, cluster_file: Path) -> None:
    (cluster_file.parent / "state" / "pause").mkdir()
    assert "state/pause: Is a directory\n" in command("status").stdout


def test_status_says_nothing_of_what_is_not(command: Command, outside: Parts) -> None:
    text = command("status").stdout
    assert "paused" not in text and "brake" not in text
    value = json.loads(command("status", "--json").stdout)
    assert (value["pauses"], value["brake"]) == ([], None)
