"""What scontrol and squeue print."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.adapters.slurm.slurm_text import parse_job, parse_node, read_nodes
from slurm_powersave.model.nodes import NodeFacts
from tests.unit.adapters.node_line import line


def test_a_node_as_printed() -> None:
    node = parse_node(line())
    assert node and node.name == "c1" and node.flags == {"IDLE", "CLOUD"} and node.reason == ""
    assert node.boot_time == time.mktime((2026, 11, 21, 1, 0, 1, 0, 0, -1))
    assert node.configured == NodeFacts(2, 1000)


def test_a_node_that_never_booted() -> None:
    node = parse_node(line("IDLE+CLOUD+POWERED_DOWN", boot="None"))
    assert node and node.boot_time is None and node.going_down


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
    assert node and node.name == "c1" and node.flags == {"ALLOCATED", "CLOUD"} and node.boot_time


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
