"""What three versions of Slurm really printed (tests/recorded), and what we make of it."""

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.slurm.commands import ScontrolSlurm
from slurm_powersave.adapters.slurm.slurm_text import no_such_node, read_names, read_nodes
from slurm_powersave.model.errors import SlurmError
from tests.slurmctld import Slurmctld

RECORDED = Path(__file__).parents[2] / "recorded"
EXPECTED = yaml.safe_load((RECORDED / "expected.yml").read_text())
VERSIONS = sorted(path.name for path in RECORDED.glob("[0-9]*"))


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


class Recorded(Slurmctld):
    """Prints nodes, jobs and names as they were recorded."""

    def __init__(self, version: str) -> None:
        lines = printed(version, "nodes.txt").out.splitlines()
        nodes = {line.split()[0].removeprefix("NodeName="): line for line in lines}
        super().__init__(nodes, printed(version, "jobs.txt").out.splitlines())


def test_three_versions_are_recorded() -> None:
    assert VERSIONS == ["22.05", "24.11", "26.05"]


@pytest.mark.parametrize("version", VERSIONS)
def test_nodes_and_jobs(version: str) -> None:
    snapshot = ScontrolSlurm(Recorded(version)).snapshot()
    assert set(snapshot.nodes) == set(EXPECTED["nodes"])
    for name, wanted in EXPECTED["nodes"].items():
        node = snapshot.nodes[name]
        assert node.flags == frozenset(wanted["flags"].split("+")), name
        told = (node.reason, node.reason_by, node.comment)
        assert told == tuple(wanted.get(key, "") for key in ("reason", "reason_by", "comment")), name
        assert node.configured
        assert (node.configured.cpus, node.configured.real_memory) == (
            EXPECTED["cpus"],
            EXPECTED["real_memory"],
        )
    jobs = {job.id: [job.state, ",".join(job.nodes), job.reason] for job in snapshot.jobs}
    assert jobs == EXPECTED["jobs"]
    assert {job.id for job in snapshot.jobs if job.waiting} == {3, 4}


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= "24.11"])
def test_the_text_says_what_the_json_says(version: str) -> None:
    told: dict[str, Any] = json.loads(printed(version, "nodes.json").out)["nodes"][0]
    node = read_nodes(printed(version, "nodes.txt").out).nodes[told["name"]]
    assert (node.reason, node.reason_by, node.comment) == (
        told["reason"],
        told["reason_set_by_user"],
        told["comment"],
    )
    assert node.flags == frozenset(told["state"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_that_slurmctld_does_not_know_is_left_out_and_the_others_are_read(version: str) -> None:
    unknown, jobs = printed(version, "unknown-node.txt"), printed(version, "unknown-jobs.txt")
    found = read_nodes(unknown.out, ["e2e-6", "nosuch-1"])
    assert (set(found.nodes), found.unknown, found.odd) == ({"e2e-6"}, {"nosuch-1"}, "")
    assert unknown.rc == 1 and jobs.rc == 1 and no_such_node(jobs.err)
    host = Recorded(version)
    snapshot = ScontrolSlurm(host).snapshot(["e2e-6", "nosuch-1"])
    assert set(snapshot.nodes) == {"e2e-6"} and not snapshot.unreadable
    assert "nosuch" in host.asked[0] and "nosuch" not in host.asked[1]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_that_only_squeue_does_not_know(version: str) -> None:
    """It was removed between the two commands."""

    class Removed(Recorded):
        def queue(self, words: Sequence[str]) -> tuple[str, int, str]:
            first, jobs = len(self.asked) == 1, printed(version, "unknown-jobs.txt")
            return ("", jobs.rc or 0, jobs.err) if first else super().queue(words)

    snapshot = ScontrolSlurm(Removed(version)).snapshot(["e2e-2"])
    assert set(snapshot.nodes) == {"e2e-2"} and [job.id for job in snapshot.jobs] == [1]


def test_names_that_go_while_they_are_read_end_it() -> None:
    class Going(Recorded):
        def queue(self, words: Sequence[str]) -> tuple[str, int, str]:
            return "", 1, "squeue: error: Invalid node name e2e-2\n"

    with pytest.raises(SlurmError, match="list of nodes changed"):
        ScontrolSlurm(Going("22.05")).snapshot(["e2e-2"])


@pytest.mark.parametrize("version", VERSIONS)
def test_sinfo_names_the_nodes(version: str) -> None:
    names = "\n".join(line.split()[0] for line in printed(version, "sinfo.txt").out.splitlines())
    assert read_names(names) == set(EXPECTED["nodes"])


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
