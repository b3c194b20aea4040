"""What a slurmd says of itself: it is believed neither of that node nor of another one."""

import contextlib
import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime

import pytest

from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.processes.process import Completed, run
from slurm_powersave.adapters.slurm import reading, slurm_text
from slurm_powersave.adapters.slurm.commands import ScontrolSlurm, local_shell, ssh_shell
from slurm_powersave.model.errors import SlurmError
from tests.permits import permits
from tests.slurmctld import Slurmctld, line

HONEST = {name: line(name, "ALLOCATED+CLOUD") for name in ("n1", "n2", "n3", "n4", "n5")}
IDLE = "State=IDLE+CLOUD+POWERED_DOWN ThreadsPerCore=1 "

# What the slurmd of n3 says that its operating system is.
SYSTEMS = {
    "a state": f"Linux {IDLE}",
    "a state and more": f"Linux RealMemory=9 {IDLE}BootTime=None Reason=x [root@2026-11-21T01:02:03]",
    "a state, then a line of nobody": f"Linux {IDLE}\nfoo",
    "a state, then an empty line": f"Linux {IDLE}\n",
    "another node": f"Linux\n{line('n2', 'IDLE+CLOUD+POWERED_DOWN')}\nfoo",
    "another node, in the rest of its own line": f"Linux {IDLE}\nNodeName=n2 OS=Linux",
    "a node that does not exist, in the rest": f"Linux {IDLE}\nNodeName=n9 OS=Linux",
    "itself once more": f"Linux\n{line('n3', 'IDLE+CLOUD')}\nfoo",
    "nobody's line": "Linux\nhello",
    "the end of the nodes": "Linux\n==jobs==\n5|RUNNING|n1|None\n==jobs==\n",
    "another node is unknown": "Linux\nNode n2 not found\nfoo",
    "it is unknown": "Linux\nNode n3 not found\nfoo",
    "a line of a job": "Linux\n7|RUNNING|n1|None",
    "a carriage return": f"Linux\r{line('n2', 'IDLE+CLOUD+POWERED_DOWN')}",
    "other ends of lines": "Linux".join("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029") + line("n2", "IDLE+CLOUD"),
    "very much": "x" * 100_000,
    "very much that looks like a state": " State=" + "A" * 100_000,
    "very many that look like a state": " State=A" * 10_000,
    "flags without end": " State=" + "A+" * 50_000,
    "a NUL": "Linux\0",
    "an escape": f"\x1b]52;c;aGk=\x07 {IDLE}",
}
HARMLESS = {"a carriage return", "other ends of lines"}
"""They are in one line with a state of its own that Slurm wrote, or are no state."""


def with_liar(system: str) -> dict[str, str]:
    """A cluster in which n3 lies."""
    return HONEST | {"n3": line("n3", "ALLOCATED+CLOUD", system=system)}


@pytest.mark.parametrize("asked", [(), ("n1", "n2", "n3", "n4", "n5"), ("n2", "n3"), ("n3",)], ids=str)
@pytest.mark.parametrize("lie", SYSTEMS)
def test_a_liar_is_unreadable_and_nobody_else(lie: str, asked: tuple[str, ...]) -> None:
    began = time.thread_time()
    slurm = ScontrolSlurm(Slurmctld(with_liar(SYSTEMS[lie])))
    for _ in range(3):
        snapshot = slurm.snapshot(asked)
        others = set(asked or HONEST) - {"n3"}
        assert set(snapshot.nodes) - {"n3"} == others, "the honest ones are read"
        assert all(node.flags == {"ALLOCATED", "CLOUD"} for node in snapshot.nodes.values())
        assert snapshot.unreadable == {"n3"} or (lie in HARMLESS and not snapshot.unreadable)
    assert time.thread_time() - began < 3


def test_it_is_named_once_and_is_served_again_when_it_speaks_sense(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_AGAIN", 0.05)
    host = Slurmctld(with_liar(SYSTEMS["another node"]))
    slurm = ScontrolSlurm(host)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert slurm.snapshot().unreadable == {"n3"}
            time.sleep(0.06)
        host.nodes = dict(HONEST)
        assert slurm.snapshot().unreadable == set()
    told = [record.getMessage() for record in caplog.records]
    assert len([text for text in told if "n3 is unreadable" in text]) == 1
    assert len([text for text in told if "n3 is readable again" in text]) == 1
    assert not any(sign in text for text in told for sign in "\n\x1b")


def test_a_known_liar_costs_the_others_nothing() -> None:
    host = Slurmctld({f"n{i}": line(f"n{i}") for i in range(500)} | {"n77": line("n77", system="x\ny")})
    slurm = ScontrolSlurm(host)
    names = sorted(host.nodes)
    assert slurm.snapshot(names).unreadable == {"n77"}
    assert len(host.asked) < 25
    before = len(host.asked)
    assert slurm.snapshot(names).unreadable == {"n77"}
    assert len(host.asked) == before + 1


def test_many_liars_are_found_a_few_at_a_time() -> None:
    liars = {f"n{i}" for i in range(0, 500, 25)}
    host = Slurmctld(
        {f"n{i}": line(f"n{i}") for i in range(500)} | {n: line(n, system="x\ny") for n in liars}
    )
    slurm = ScontrolSlurm(host)
    for _ in range(20):
        before = len(host.asked)
        with contextlib.suppress(SlurmError):  # at first there is a liar in each part
            snapshot = slurm.snapshot(sorted(host.nodes))
            assert snapshot.unreadable >= liars and not liars & snapshot.nodes.keys()
        assert len(host.asked) - before <= reading._QUESTIONS + 1
    assert snapshot.unreadable == liars and len(snapshot.nodes) == 480


def test_where_questions_take_long_each_reading_goes_on_where_the_last_one_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_QUESTIONS", 4)
    nodes = {f"n{number}": line(f"n{number}") for number in range(256)}
    host = Slurmctld(nodes | {"n77": line("n77", system="x\ny")})
    slurm = ScontrolSlurm(host)
    readable = []
    for _ in range(8):
        readable.append(len(slurm.snapshot(sorted(nodes)).nodes))
    assert readable[0] >= 128 and readable[-1] == 255 and readable == sorted(readable)
    # What others wait for meanwhile is not held up by it.
    assert set(slurm.snapshot(["n1", "n2"]).nodes) == {"n1", "n2"}


def test_two_that_lie_for_each_other_are_both_unreadable() -> None:
    lie = "Linux {}\nNodeName={} OS=x"
    nodes = HONEST | {
        "n2": line("n2", system=lie.format(IDLE, "n3")),
        "n3": line("n3", system=lie.format(IDLE, "n2")),
    }
    snapshot = ScontrolSlurm(Slurmctld(nodes)).snapshot()
    assert snapshot.unreadable == {"n2", "n3"} and set(snapshot.nodes) == {"n1", "n4", "n5"}


def test_a_node_in_no_partition_is_read_and_one_that_does_not_exist_is_not() -> None:
    host = Slurmctld(HONEST, alone=["n5"])
    assert set(ScontrolSlurm(host).snapshot().nodes) == set(HONEST)
    host.nodes["n3"] = line("n3", system=SYSTEMS["a node that does not exist, in the rest"])
    snapshot = ScontrolSlurm(host, known=[*HONEST, "n7"]).snapshot()
    assert snapshot.unreadable == {"n3"} and set(snapshot.nodes) == {"n1", "n2", "n4", "n5"}


def test_an_answer_that_is_too_long_is_one_nodes_fault() -> None:
    host = Slurmctld(with_liar("x" * 1_000_000))
    host.limit = 500_000
    slurm = ScontrolSlurm(host, known=tuple(HONEST))
    assert slurm.snapshot().unreadable == {"n3"} and len(slurm.snapshot().nodes) == 4


BAD_JOBS = [
    "\u00b2|RUNNING|n3|x",
    f"{'9' * 5000}|RUNNING|n3|x",
    "7|RUNNING|n3",
    "7|running|n3|x",
    "7|RUNNING\x1b[2J|n3|x",
    "|RUNNING|n3|x",
    "-7|RUNNING|n3|x",
]


@pytest.mark.parametrize("asked", [(), tuple(HONEST)], ids=["all", "some"])
@pytest.mark.parametrize("job", BAD_JOBS)
def test_a_job_that_cannot_be_read_makes_its_nodes_unreadable(job: str, asked: tuple[str, ...]) -> None:
    host = Slurmctld(HONEST, [job, "8|RUNNING|n[1-2]|None", "9|PENDING||Resources"])
    snapshot = ScontrolSlurm(host).snapshot(asked)
    assert snapshot.unreadable == {"n3"}
    assert {job.id: job.nodes for job in snapshot.jobs} == {8: ("n1", "n2")} | ({} if asked else {9: ()})


@pytest.mark.parametrize(
    "hostlist", ["$(id)", "--help", "n[1-99999999]", "n[1-2", "n1;id", "n" * 5000 + "[1"]
)
def test_a_job_with_strange_nodes_voids_the_reading(hostlist: str) -> None:
    """squeue does not choose by the text of the line, so this one does not, either."""

    class Host(Slurmctld):
        def runs_on(self, job: str, names: object) -> bool:
            return True

    snapshot = ScontrolSlurm(Host(HONEST, [f"7|RUNNING|{hostlist}|x"])).snapshot()
    assert snapshot.unreadable == set(HONEST) and not snapshot.nodes


def test_a_reason_that_no_program_could_be_given_is_not_read() -> None:
    """What somebody has set is put back after a reboot: as an argument of scontrol, and through ssh."""
    end = " Reason=disk\0full [root@2026-11-21T01:02:03]"
    host = Slurmctld(HONEST | {"n3": line("n3", "IDLE+CLOUD+DRAIN", end=end)})
    snapshot = ScontrolSlurm(host).snapshot()
    assert snapshot.unreadable == {"n3"} and len(snapshot.nodes) == 4


def test_a_reason_without_end_is_cut_to_what_can_be_put_back() -> None:
    end = f" Reason={chr(39) * 60_000} [root@2026-11-21T01:02:03]"
    host = Slurmctld({"n1": line("n1", "IDLE+CLOUD+DRAIN", end=end)})
    reason = ScontrolSlurm(host).snapshot().nodes["n1"].reason
    assert 1000 < len(reason) < 10_000 and set(reason) == {"'"}
    run = ssh_shell(process.run, ["echo"])
    ScontrolSlurm(run).update_nodes(["n1"], state="DRAIN", reason=reason, permits=permits("DRAIN", ["n1"]))


@pytest.mark.parametrize("reason", ["a\ud800b", "x" * 200_000], ids=["half a character", "very long"])
def test_an_argument_that_no_program_takes_is_a_refusal_and_ends_nothing(reason: str) -> None:
    slurm = ScontrolSlurm(ssh_shell(process.run, ["echo"]))
    with pytest.raises(SlurmError, match="can't be given these arguments"):
        slurm.update_nodes(["n1"], state="DRAIN", reason=reason, permits=permits("DRAIN", ["n1"]))


def test_names_that_cannot_be_folded_are_asked_for_in_parts() -> None:
    """Linux passes no argument of more than 128 KiB; one liar must not make all nodes unreadable."""

    class Host(Slurmctld):
        def __call__(self, argv: Sequence[str], timeout: float) -> Completed:
            assert len(argv[2]) < 120_000
            return super().__call__(argv, timeout)

    names = [f"n{number}-of-the-east-wing" for number in range(6000)]
    host = Host({name: line(name) for name in names} | {"n7": line("n7", system="x\ny")})
    slurm = ScontrolSlurm(host, known=tuple(host.nodes))
    for _ in range(4):
        snapshot = slurm.snapshot()
    assert snapshot.unreadable == {"n7"} and len(snapshot.nodes) == 6000


def test_hostlists_that_together_name_too_many() -> None:
    class Host(Slurmctld):
        def runs_on(self, job: str, names: object) -> bool:
            return False

    host = Host(HONEST, [f"{number}|RUNNING|x[1-60000]|None" for number in range(1, 2000)])
    began = time.thread_time()
    assert len(ScontrolSlurm(host).snapshot().jobs) < 6
    assert time.thread_time() - began < 5


def test_a_slurm_that_answers_nothing_sensible_is_given_up() -> None:
    host = Slurmctld({f"n{number}": "garbage" for number in range(1000)})
    slurm = ScontrolSlurm(host, known=tuple(host.nodes))
    with pytest.raises(SlurmError, match="no answer can be read"):
        slurm.snapshot()
    assert len(host.asked) < 40


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(list(SYSTEMS)[:13], 2)))
def test_two_liars_at_once(first: str, second: str) -> None:
    nodes: Mapping[str, str] = with_liar(SYSTEMS[first]) | {
        "n4": line("n4", "ALLOCATED+CLOUD", system=SYSTEMS[second])
    }
    snapshot = ScontrolSlurm(Slurmctld(nodes)).snapshot()
    assert set(snapshot.nodes) == {"n1", "n2", "n5"} and snapshot.unreadable == {"n3", "n4"}
    assert all(node.flags == {"ALLOCATED", "CLOUD"} for node in snapshot.nodes.values())


# When slurmctld began, and where jobs began: what the engine reckons with.

CONFIG = "{now}\nBatchStartTimeout = {batch} sec\nBOOT_TIME = {began}\nMessageTimeout = {message} sec\n"
HONEST_CONFIG = {"now": "2026-11-28T13:24:43", "batch": "10", "began": "2026-11-28T13:24:19", "message": "60"}


@pytest.mark.parametrize(
    "lie",
    [
        {"batch": "9" * 400},
        {"batch": "9" * 5000},
        {"batch": "\u00b2"},
        {"batch": "-5"},
        {"batch": "1_0"},
        {"message": "9" * 5000},
        {"message": "None"},
        {"began": "0001-01-01T00:00:00"},
        {"began": "0001-01-01T00:00:00", "now": "0001-01-01T00:01:00"},
        {"began": "9999-12-31T23:59:59", "now": "9999-12-31T23:59:59"},
        {"now": "x" * 5000},
    ],
)
def test_a_start_of_slurmctld_that_makes_no_sense_ends_nothing(lie: dict[str, str]) -> None:
    """They are added to, and taken from, moments: what is too large is an OverflowError there."""
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, CONFIG.format(**HONEST_CONFIG | lie), ""))
    with pytest.raises(SlurmError, match="the start time"):
        slurm.last_start()


def test_hosts_of_jobs_are_names() -> None:
    hosts = ("c1", "$(id)", "--help", "../c2", "c3\x1b[2J", "c" * 5000)
    text = "".join(f"2026-11-28T13:24:00 {host}\n" for host in hosts)
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, text, ""))
    first, last = datetime(2026, 11, 28, 13, 23), datetime(2026, 11, 28, 13, 25)
    assert slurm.started_on(first, last) == {"c1"}


def given_back(reason: str) -> str:
    """What becomes of a reason that is read, kept in the journal, and set again by a real program."""
    end = f" Reason={reason} [root@2026-11-21T01:00:00]"
    read = slurm_text.parse_node(line("n1", "IDLE+CLOUD+DRAIN", end=end))
    assert read
    slurm = ScontrolSlurm(local_shell(lambda argv, timeout: run(["echo", *argv], timeout=timeout)))
    slurm.update_nodes(["n1"], state="DRAIN", reason=read.reason, permits=permits("DRAIN", ["n1"]))
    ssh = ScontrolSlurm(ssh_shell(run, ["echo"]))
    ssh.update_nodes(["n1"], state="DRAIN", reason=read.reason, permits=permits("DRAIN", ["n1"]))
    return read.reason


REASONS = {
    "very many quotes": "'" * 60_000,
    "very many controls": "\x01" * 60_000,
    "very many of three bytes": "\u3042" * 60_000,
}


@pytest.mark.parametrize("reason", REASONS.values(), ids=REASONS.keys())
def test_any_reason_can_be_given_back(reason: str) -> None:
    """A NUL, or more than an argument may have, would end the engine at each try."""
    assert "\0" not in given_back(reason)
    assert len(given_back(reason)) <= 4000


def test_a_reason_of_an_older_journal_can_be_given_back() -> None:
    slurm = ScontrolSlurm(local_shell(lambda argv, timeout: run(["true", *argv], timeout=timeout)))
    slurm.update_nodes(["n1"], reason="a\0b")
    slurm.reboot(["n1"], reason="a\0b")
