"""What three versions of Slurm really printed (tests/recorded), and what we make of it."""

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.process import Completed
from slurm_powersave.adapters.slurm import ScontrolSlurm
from slurm_powersave.adapters.slurm_text import parse_nodes, unknown_nodes
from slurm_powersave.model.errors import SlurmError

RECORDED = Path(__file__).parents[2] / "recorded"
EXPECTED = yaml.safe_load((RECORDED / "expected.yml").read_text())
VERSIONS = sorted(path.name for path in RECORDED.iterdir() if path.is_dir())


def printed(version: str, name: str) -> Completed:
    """What a command printed, with its exit code and standard error."""
    out, _, end = (RECORDED / version / name).read_text().rpartition("rc=")
    code, _, errors = end.partition("\n")
    return Completed(int(code), out, re.sub(r"^err: ", "", errors, flags=re.MULTILINE))


class Shell:
    """Answers with what was recorded, one answer a call."""

    def __init__(self, *answers: Completed) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __call__(self, argv: Sequence[str], timeout: float) -> Completed:
        self.asked.append(" ".join(argv))
        return self.answers.pop(0)


def snapshot_of(version: str, nodes: str = "nodes.txt") -> Completed:
    """An answer to our script of both commands."""
    both = printed(version, nodes), printed(version, "jobs.txt")
    return Completed(0, f"{both[0].out}==jobs==\n{both[1].out}==jobs==\n", "")


def test_three_versions_are_recorded() -> None:
    assert VERSIONS == ["22.05", "24.11", "26.05"]


@pytest.mark.parametrize("version", VERSIONS)
def test_nodes_and_jobs(version: str) -> None:
    snapshot = ScontrolSlurm(Shell(snapshot_of(version))).snapshot()
    assert set(snapshot.nodes) == set(EXPECTED["nodes"])
    for name, wanted in EXPECTED["nodes"].items():
        node = snapshot.nodes[name]
        assert node.flags == frozenset(wanted["flags"].split("+")), name
        told = (node.reason, node.reason_by, node.comment)
        assert told == tuple(wanted.get(key, "") for key in ("reason", "reason_by", "comment")), name
        assert (node.boot_time is not None) is wanted.get("booted", False), name
        assert node.promised
        assert (node.promised.cpus, node.promised.real_memory) == (EXPECTED["cpus"], EXPECTED["real_memory"])
    jobs = {job.id: [job.state, ",".join(job.nodes), job.reason] for job in snapshot.jobs}
    assert jobs == EXPECTED["jobs"]
    assert {job.id for job in snapshot.jobs if job.waiting} == {3, 4}


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= "24.11"])
def test_the_text_says_what_the_json_says(version: str) -> None:
    told: dict[str, Any] = json.loads(printed(version, "nodes.json").out)["nodes"][0]
    node = next(node for node in parse_nodes(printed(version, "nodes.txt").out) if node.name == told["name"])
    assert (node.reason, node.reason_by, node.comment) == (
        told["reason"],
        told["reason_set_by_user"],
        told["comment"],
    )
    assert node.flags == frozenset(told["state"])
    assert node.boot_time == told["boot_time"]["number"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_that_slurmctld_does_not_know_is_left_out_and_the_others_are_read(version: str) -> None:
    unknown = printed(version, "unknown-node.txt")
    assert unknown_nodes(unknown.out) == {"nosuch-1"}
    shell = Shell(unknown, snapshot_of(version))
    snapshot = ScontrolSlurm(shell).snapshot(["e2e-6", "nosuch-1"])
    assert "e2e-6" in snapshot.nodes and "nosuch-1" not in snapshot.nodes
    assert "nosuch" in shell.asked[0] and "nosuch" not in shell.asked[1]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_that_only_squeue_does_not_know(version: str) -> None:
    """It was removed between the two commands."""
    nodes, jobs = printed(version, "nodes.txt"), printed(version, "unknown-jobs.txt")
    assert jobs.rc == 1
    shell = Shell(Completed(1, f"{nodes.out}==jobs==\n", jobs.err), snapshot_of(version))
    assert "e2e-2" in ScontrolSlurm(shell).snapshot(["e2e-2", "nosuch-1"]).nodes


def test_names_that_go_while_they_are_read_end_it() -> None:
    answers = [Completed(1, f"Node n{number} not found\n", "") for number in range(9)]
    with pytest.raises(SlurmError, match="come and go"):
        ScontrolSlurm(Shell(*answers)).snapshot([f"n{number}" for number in range(9)])


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= "24.11"])
def test_a_reboot_that_slurm_skips_is_an_error_although_the_exit_code_is_0(version: str) -> None:
    skipped = printed(version, "reboot-of-a-node-that-is-off.txt")
    assert skipped.rc == 0
    with pytest.raises(SlurmError, match="Skipping reboot of nodes e2e-6"):
        ScontrolSlurm(Shell(skipped)).reboot(["e2e-6"], reason="reimage")


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_hooks_wrote(version: str) -> None:
    """The resume files of all versions are JSON with the jobs that wait."""
    files = re.findall(r"^resume_file (\S+)$", (RECORDED / version / "spool.txt").read_text(), re.MULTILINE)
    told = [json.loads(base64.b64decode(file)) for file in files]
    assert told and all("jobs" in one for one in told)
    key = "all_nodes" if version == "22.05" else "all_nodes_resume"
    assert all(key in one for one in told)
