"""What scontrol and squeue print, and what they are told."""

import time
from collections.abc import Sequence
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.slurm.commands import LAST_GOOD, ScontrolSlurm, forgiving, ssh_shell
from slurm_powersave.adapters.slurm.slurm_text import parse_job, parse_node, read_nodes
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.job_note import JobNote
from slurm_powersave.model.nodes import NodeFacts
from slurm_powersave.model.slurm_version import Version
from tests.permits import permits
from tests.slurmctld import answer

# 22.05.8, `scontrol -o show node`, as printed.
LINE = (
    "NodeName=c1 Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUEfctv=2 CPUTot=2 CPULoad=0.12 "
    "AvailableFeatures=(null) ActiveFeatures=(null) Gres=(null) NodeAddr=10.79.1.1 NodeHostName=c1 "
    "Version=22.05.8 OS=Linux 6.1.0-13-amd64 #1 SMP PREEMPT_DYNAMIC Debian 6.1.55-1 (2023-09-29) "
    "RealMemory=1000 AllocMem=0 FreeMem=512 Sockets=2 Boards=1 State={state} ThreadsPerCore=1 TmpDisk=0 "
    "Weight=1 Owner=N/A MCS_label=N/A Partitions=main BootTime={boot} SlurmdStartTime=2026-11-21T01:00:02 "
    "LastBusyTime=2026-11-21T01:00:03 CfgTRES=cpu=2,mem=1000M,billing=2 AllocTRES= CapWatts=n/a "
    "CurrentWatts=0 AveWatts=0 ExtSensorsJoules=n/s ExtSensorsWatts=0 ExtSensorsTemp=n/s{end}"
)


def line(state: str = "IDLE+CLOUD", boot: str = "2026-11-21T01:00:01", end: str = " ") -> str:
    """A node's line."""
    return LINE.format(state=state, boot=boot, end=end)


def test_a_node_as_printed() -> None:
    node = parse_node(line())
    assert node and node.name == "c1" and node.flags == {"IDLE", "CLOUD"} and node.reason == ""
    assert node.configured == NodeFacts(2, 1000)


def test_a_node_that_never_booted() -> None:
    node = parse_node(line("IDLE+CLOUD+POWERED_DOWN", boot="None"))
    assert node and node.going_down


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (" Reason=bad DIMM [root@2026-11-21T01:02:03]", "bad DIMM"),
        (" Reason=bad [slot 3] DIMM [root@2026-11-21T01:02:03]", "bad [slot 3] DIMM"),
        (" Reason=slurm-powersave: (quota) x; rests until 14:05:00 [op 1a2b] [slurm@2026-11-21T01:02:03]",
         "slurm-powersave: (quota) x; rests until 14:05:00 [op 1a2b]"),
        (" Reason=slurm-powersave: (quota) x [op 1a2b]", "slurm-powersave: (quota) x [op 1a2b]"),
        (" Reason=bad DIMM [root@2026-11-21T01:02:03] Comment=ask Ann", "bad DIMM"),
        (" Reason=bad DIMM [root@2026-11-21T01:02:03] Comment=a Extra=b InstanceId=i-1", "bad DIMM"),
        (" Reason=ResumeTimeout reached [slurm@2026-11-21T01:02:03] ", "ResumeTimeout reached"),
        (" Reason=a=b c=d [root@2026-11-21T01:02:03]", "a=b c=d"),
        (" Reason=server is State=BUILD, NodeName=c9 [root@2026-11-21T01:02:03]",
         "server is State=BUILD, NodeName=c9"),
        (" Comment=ask Ann", ""),
        (" Reason=our own [root@2026-11-21T01:02:03] ReservationName=window", "our own"),
        (" Reason=our own [root@2026-11-21T01:02:03] Extra=a ReservationName=w Topology=t:b", "our own"),
        (" Reason=our own [root@2026-11-21T01:02:03] OfALaterVersion=x", "our own"),
        (" Reason=see [ann@2026-11-21T01:02:03] there [root@2026-11-22T01:02:03] Comment=c",
         "see [ann@2026-11-21T01:02:03] there"),
        (" Reason=not by a person ReservationName=window", "not by a person"),
    ],
)  # fmt: skip
def test_reasons(end: str, reason: str) -> None:
    node = parse_node(line("IDLE+CLOUD+DRAIN", end=end))
    assert node and node.reason == reason and node.flags == {"IDLE", "CLOUD", "DRAIN"}


@pytest.mark.parametrize(
    "end",
    [
        " Reason=see State=IDLE NodeName=c9 BootTime=None [root@2026-11-21T01:02:03]",
        " Comment=was State=DOWN",
        " Reason=x [root@2026-11-21T01:02:03] Comment=State=DOWN NodeName=c9",
    ],
)
def test_words_of_people_are_no_state(end: str) -> None:
    node = parse_node(line("ALLOCATED+CLOUD", end=end))
    assert node and node.name == "c1" and node.flags == {"ALLOCATED", "CLOUD"}


@given(st.text(alphabet=st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), max_size=60))
def test_any_reason_leaves_the_state_as_it_is(text: str) -> None:
    node = parse_node(line("ALLOCATED+CLOUD", end=f" Reason={text} [root@2026-11-21T01:02:03]"))
    assert node and node.flags == {"ALLOCATED", "CLOUD"} and node.name == "c1"


@pytest.mark.parametrize(
    ("end", "comment"),
    [
        (" Comment=ask Ann", "ask Ann"),
        (" Comment=ask Ann [ann@2026-11-21T01:02:03]", "ask Ann [ann@2026-11-21T01:02:03]"),
        (" Reason=x [root@2026-11-21T01:02:03] Comment=was State=DOWN, see BootTime= Extra=e",
         "was State=DOWN, see BootTime="),
        (' Comment=cc Extra={"a":1} InstanceId=iid InstanceType=typ', "cc"),
        (" Comment=cc ReservationName=r1", "cc"),
        (" Comment=cc OfALaterVersion=x", "cc"),
        (" Extra=Comment=no", ""),
        (" Reason=x Comment=y [root@2026-11-21T01:02:03]", ""),
    ],
)  # fmt: skip
def test_comments(end: str, comment: str) -> None:
    node = parse_node(line(end=end))
    assert node and node.comment == comment


@pytest.mark.parametrize(
    "system",
    [
        "Linux State=DOWN+POWERED_DOWN ThreadsPerCore=1 TmpDisk=0",
        "Linux  RealMemory=9 State=IDLE ThreadsPerCore=1 Reason=x Comment=y",
    ],
)
def test_a_slurmd_that_says_a_state_is_not_believed(system: str) -> None:
    """What slurmd sends as its operating system stands in front of the state."""
    text = line("ALLOCATED+CLOUD").replace("OS=Linux", f"OS={system}")
    assert parse_node(text) is None
    assert "a line that can't be read" in read_nodes(text).odd


def test_a_slurmd_that_says_a_size_is_not_believed() -> None:
    node = parse_node(line().replace("OS=Linux", "OS=Linux CPUTot=64 RealMemory=9"))
    assert node and node.configured is None


def test_a_node_that_is_listed_twice_makes_the_reading_void() -> None:
    assert "two lines for node 'c1'" in read_nodes(f"{line()}\n{line('DOWN+CLOUD')}\n").odd


def test_a_node_that_was_not_asked_for_makes_the_reading_void() -> None:
    assert "'c1', which was not asked for" in read_nodes(f"{line()}\n", ["c2"]).odd
    assert read_nodes("", ["c2"]).odd == "not a line for every node"
    found = read_nodes(f"{line()}\nNode c2 not found\n", ["c1", "c2"])
    assert (set(found.nodes), found.unknown, found.odd) == ({"c1"}, {"c2"}, "")


@pytest.mark.parametrize(
    "text", ["", " ", "NodeName=", "No nodes in the system", "slurm_load_node error", "State=IDLE"]
)
def test_a_line_that_is_no_node(text: str) -> None:
    assert parse_node(text) is None


def test_jobs() -> None:
    job = parse_job("17|PENDING||BeginTime")
    assert job and (job.id, job.state, job.nodes, job.reason) == (17, "PENDING", (), "BeginTime")
    job = parse_job("18|CONFIGURING|c[1-2],d7|None")
    assert job and job.nodes == ("c1", "c2", "d7")
    assert parse_job("") is None and parse_job("JOBID|STATE|NODES|REASON") is None


class Shell:
    """Answers with what it is given, and notes what it was asked."""

    def __init__(self, *answers: Completed) -> None:
        self.answers, self.asked = list(answers), list[Sequence[str]]()

    def __call__(self, argv: Sequence[str], timeout: float) -> Completed:
        self.asked.append(argv)
        return self.answers.pop(0)


NODES = f"{line()}\n{line('DOWN+CLOUD').replace('c1', 'c2')}\n"


def test_a_snapshot() -> None:
    def shell(argv: Sequence[str], timeout: float) -> Completed:
        parts = (NODES, 0), ("5|RUNNING|c1|None\n", 0), ("c1\nc2\nc1\n", 0)
        return answer(argv[2], *parts, noise="Welcome!\n")

    snapshot = ScontrolSlurm(shell).snapshot()
    assert set(snapshot.nodes) == {"c1", "c2"} and [job.id for job in snapshot.jobs] == [5]
    assert abs(snapshot.taken - time.time()) < 5 and not snapshot.unreadable


@pytest.mark.parametrize(
    "done",
    [
        Completed(None, "", "no answer within 10 s"),
        Completed(255, "", "ssh: connect to host 10.79.0.10 port 22: No route to host"),
        Completed(0, "", ""),
        Completed(0, NODES, ""),
        Completed(0, f"{NODES}\n==jobs==\n5|RUNNING|c1|None\n==jobs==\n", ""),
    ],
)
def test_half_an_answer_is_none(done: Completed) -> None:
    with pytest.raises(SlurmError):
        ScontrolSlurm(Shell(done)).snapshot()


NO_SLURM = "slurm_load_node error: Unable to contact slurm controller (connect failure)"


@pytest.mark.parametrize(
    ("parts", "errors"),
    [
        ((("", 1), ("", 0), ("", 0)), NO_SLURM),
        ((("", 0), ("", 0), ("", 0)), NO_SLURM),
        (((NODES, 0), ("", 1), ("", 0)), "slurm_load_jobs error: Unable to contact slurm controller"),
        (((NODES, 0), ("", 127), ("c1\nc2\n", 0)), "sh: 1: squeue: not found"),
    ],
)
def test_a_slurmctld_that_does_not_answer(parts: Sequence[tuple[str, int]], errors: str) -> None:
    def shell(argv: Sequence[str], timeout: float) -> Completed:
        return answer(argv[2], *parts, err=errors)

    with pytest.raises(SlurmError, match=errors.split(":")[0]):
        ScontrolSlurm(shell).snapshot(["c1", "c2"])


def test_nodes_are_told_in_one_hostlist() -> None:
    shell = Shell(Completed(0, "", ""))
    ScontrolSlurm(shell).update_nodes(
        ["c1", "c2", "c4"],
        state="DRAIN",
        reason="slurm-powersave: x y",
        permits=permits("DRAIN", ["c1", "c2", "c4"]),
    )
    assert shell.asked == [
        ["scontrol", "update", "nodename=c[1-2,4]", "state=DRAIN", "reason=slurm-powersave: x y"]
    ]


def test_a_refusal_is_told_in_slurms_words() -> None:
    shell = Shell(Completed(1, "", "slurm_update error: Invalid node state specified\n"))
    with pytest.raises(SlurmError, match="Invalid node state specified"):
        ScontrolSlurm(shell).update_nodes(["c1"], state="RESUME")


def test_a_refusal_with_exit_code_0_is_one() -> None:
    shell = Shell(Completed(0, "", "slurm_update error: Invalid job id specified\n"))
    with pytest.raises(SlurmError):
        ScontrolSlurm(shell).update_job(7, StartTime="now")


def shown(job: str, *more: str) -> str:
    """What `scontrol show job` prints of a job."""
    lines = [f"JobId={job} JobName=x", "UserId=alice(1000) GroupId=alice(1000) MCS_label=N/A"]
    lines += ["JobState=RUNNING Reason=None Dependency=(null)", *more, "WorkDir=/home/alice"]
    return "\n   ".join(lines) + "\n\n"


TASK_8 = shown("8 ArrayJobId=7", "AdminComment=a ")


@pytest.mark.parametrize(
    ("out", "note"),
    [
        (shown("7"), JobNote("RUNNING")),
        (shown("7", "AdminComment=slurm-powersave: x "), JobNote("RUNNING", "slurm-powersave: x")),
        (shown("7", "Comment=AdminComment=y ", "AdminComment=z "), JobNote("RUNNING", "z")),
        (TASK_8 + shown("7 ArrayJobId=7", "AdminComment=b "), JobNote("RUNNING", "b")),
        (TASK_8 + shown("7 ArrayJobId=7"), JobNote("RUNNING")),
        (shown("7", "AdminComment=made up", "AdminComment=real "), JobNote("RUNNING", "2 lines")),
        ("No jobs in the system", JobNote("")),
    ],
)  # fmt: skip
def test_what_is_noted_of_a_job(out: str, note: JobNote) -> None:
    assert ScontrolSlurm(lambda argv, timeout: Completed(0, out, "")).job_note(7) == note


def test_nothing_is_left_to_the_remote_shell() -> None:
    asked: list[Sequence[str]] = []

    def run(argv: Sequence[str], *, timeout: float) -> Completed:
        asked.append(argv)
        return Completed(0, "", "")

    ScontrolSlurm(ssh_shell(run, ["ssh", "login"], "sudo -n")).update_job(7, AdminComment="a'; rm -rf / #")
    assert asked[0][:3] == ["ssh", "login", "--"]
    assert asked[0][3] == "sudo -n scontrol update jobid=7 'AdminComment=a'\"'\"'; rm -rf / #'"


@pytest.mark.parametrize(
    ("value", "nodes"),
    [("(null)", set()), ("n[1-2],m1", {"n1", "n2", "m1"}), ("n[1-2]:1,m1:1", {"n1", "n2", "m1"})],
)
def test_the_nodes_that_are_never_suspended(value: str, nodes: set[str]) -> None:
    text = f"SuspendExcNodes         = {value}\nSuspendExcParts         = n9\n"
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, text, ""))
    assert slurm.suspend_exc_nodes() == nodes


@pytest.mark.parametrize("value", ["n[1-", "$(id)", "n[1-99999999]", f"n[{'9' * 5000}]"])
def test_suspend_exc_nodes_that_make_no_sense(value: str) -> None:
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, f"SuspendExcNodes = {value}\n", ""))
    with pytest.raises(SlurmError, match="SuspendExcNodes"):
        slurm.suspend_exc_nodes()


def test_the_timeouts_with_which_slurmctld_runs() -> None:
    text = (
        "ResumeRate              = 0 nodes/min\n"
        "ResumeTimeout           = 90 sec\n"
        "SuspendTime             = INFINITE\n"
        "SuspendTimeout          = 15 sec\n"
        "SlurmctldTimeout        = 120 sec\n"
    )
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, text, ""))
    assert slurm.power_timers() == {"ResumeTimeout": 90, "SuspendTimeout": 15}
    text = "SuspendTime             = 300 sec\n"
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, text, ""))
    assert slurm.power_timers() == {"SuspendTime": 300}
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, "ResumeTimeout = soon\n", ""))
    assert slurm.power_timers() == {}


@pytest.mark.parametrize("text", ["22.05.8", "24.11.5", "26.05.0-0rc1", "27.05.1"])
def test_the_version_is_the_one_of_slurmctld(text: str) -> None:
    shell = Shell(
        Completed(
            0, f"SLURM_CONF              = /etc/slurm/slurm.conf\nSLURM_VERSION           = {text}\n", ""
        )
    )
    found = ScontrolSlurm(shell).running_version()
    assert (found, found.text) == (Version.of(text), text)
    assert shell.asked == [["scontrol", "show", "config"]]


@pytest.mark.parametrize(
    ("done", "why"),
    [
        (Completed(0, "SLURM_VERSION           = \x1b[2J26.05\n", ""), r"SLURM_VERSION is '\\x1b\[2J26\.05'"),
        (Completed(0, f"SLURM_VERSION           = {'9' * 5000}\n", ""), "SLURM_VERSION is '9{40}'"),
        (Completed(0, "ClusterName             = demo\n", ""), "there is no SLURM_VERSION"),
        (Completed(0, "", ""), "there is no SLURM_VERSION"),
        (Completed(None, "", "no answer within 10 s"), "no answer within 10 s"),
        (
            Completed(1, "", "slurm_load_ctl_conf error: Unable to contact slurm controller"),
            "Unable to contact",
        ),
    ],
)
def test_a_version_that_can_not_be_read(done: Completed, why: str) -> None:
    with pytest.raises(SlurmError, match=why):
        ScontrolSlurm(Shell(done)).running_version()


CONFIG = """2026-11-28T13:24:43
Configuration data as of 2026-11-28T13:24:43
BatchStartTimeout       = 10 sec
BOOT_TIME               = 2026-11-28T13:24:19
MessageTimeout          = 60 sec
"""


def test_when_slurmctld_began() -> None:
    start = ScontrolSlurm(lambda argv, timeout: Completed(0, CONFIG, "")).last_start()
    assert (start.at, start.age, start.patience) == (datetime(2026, 11, 28, 13, 24, 19), 24.0, 20)


@pytest.mark.parametrize("out", ["", "2026-11-28T13:24:43\n", CONFIG.replace("2026-11-28T13:24:19", "N/A")])
def test_a_start_that_is_not_told(out: str) -> None:
    with pytest.raises(SlurmError, match="start time"):
        ScontrolSlurm(lambda argv, timeout: Completed(0, out, "")).last_start()


def test_on_which_hosts_jobs_began() -> None:
    out = "2026-11-28T13:23:48 c1\n2026-11-28T13:24:17 c2\n2026-11-28T13:24:18 c3\nN/A c4\n"
    slurm = ScontrolSlurm(lambda argv, timeout: Completed(0, out, ""))
    first, last = datetime(2026, 11, 28, 13, 23, 49), datetime(2026, 11, 28, 13, 24, 17)
    assert slurm.started_on(first, last) == {"c2"}


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("squeue: fatal: Unable to process configuration file", True),
        ("scontrol: error: Parsing error at unrecognized key: MaxArraySise", True),
        ("slurm_load_node error: Unable to contact slurm controller (connect failure)", False),
    ],
)
def test_a_broken_slurm_conf_does_not_keep_us_from_asking_a_slurmctld_that_is_well(
    words: str, again: bool
) -> None:
    asked = []

    def shell(argv: Sequence[str], timeout: float) -> Completed:
        asked.append(list(argv))
        return Completed(0, "fine", "") if argv[0] == "env" else Completed(1, "", words)

    done = forgiving(shell)(["scontrol", "ping"], 5.0)
    assert (done.rc == 0) is again
    assert asked[1:] == ([["env", f"SLURM_CONF={LAST_GOOD}", "scontrol", "ping"]] if again else [])


def test_without_a_good_copy_the_first_answer_is_told() -> None:
    words = "fatal: Unable to process configuration file"

    def shell(argv: Sequence[str], timeout: float) -> Completed:
        return Completed(1, "", "no such file" if argv[0] == "env" else words)

    assert forgiving(shell)(["squeue"], 5.0).err == words
