"""Reading Slurm and the clouds for `status`: one that fails hides nothing of the others."""

from collections.abc import Mapping, Sequence

import pytest

from slurm_powersave.commands.readings import read_slurm_and_clouds
from slurm_powersave.decide.preflight.slurm_running import Running
from slurm_powersave.model.errors import CloudError, PowersaveError, SlurmError
from slurm_powersave.model.nodes import Flavor, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.slurm_version import Version


class OneSlurm:
    """A Slurm with one node, or with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def snapshot(self) -> SlurmSnapshot:
        if self.error:
            raise self.error
        return SlurmSnapshot(0.0, {"n1": SlurmNode("n1", frozenset({"IDLE"}))})

    def running_version(self) -> Version:
        if self.error:
            raise self.error
        return Version.of("24.11.5")


class OneCloud:
    """A cloud with one server, or with an error."""

    def __init__(self, name: str, error: PowersaveError | None = None) -> None:
        self.name, self.error = name, error

    def servers(self) -> Sequence[Server]:
        if self.error:
            raise self.error
        return [Server(f"id-{self.name}", self.name, "ACTIVE")]

    def flavors(self) -> Mapping[str, Flavor]:
        if self.error:
            raise self.error
        return {"small": Flavor("small", 1, 512)}


def test_all_readable() -> None:
    seen = read_slurm_and_clouds(OneSlurm(), {"a": OneCloud("n1"), "b": OneCloud("n2")})
    assert seen.slurm is not None and set(seen.slurm) == {"n1"}
    assert {cloud: [one.name for one in servers] for cloud, servers in seen.servers.items()} == {
        "a": ["n1"],
        "b": ["n2"],
    }
    assert not seen.unreadable
    assert seen.running.version and seen.running.version.text == "24.11.5"


def test_slurm_unreadable() -> None:
    seen = read_slurm_and_clouds(OneSlurm(SlurmError("no answer")), {"a": OneCloud("n1")})
    assert seen.slurm is None and seen.servers
    assert seen.unreadable == {"slurm": "no answer"}
    assert seen.running == Running(trouble="no answer")


def test_one_cloud_unreadable_leaves_the_other() -> None:
    seen = read_slurm_and_clouds(OneSlurm(), {"a": OneCloud("n1"), "b": OneCloud("n2", CloudError("401"))})
    assert set(seen.servers) == {"a"} and seen.slurm
    assert seen.unreadable == {"cloud b": "401"}


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(KeyError):
        read_slurm_and_clouds(OneSlurm(KeyError("bug")), {})
