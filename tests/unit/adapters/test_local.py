"""The adapter of the local cloud, against a command that answers what the test says."""

import json
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters.local_cloud.cloud import LocalCloud
from slurm_powersave.model.errors import CloudError, ConfigError, FailureClass
from slurm_powersave.model.nodes import Flavor, Server
from tests.permits import permit

FOUND = {
    "id": "1234",
    "name": "n1",
    "status": "ACTIVE",
    "address": "10.0.0.1",
    "image": "default",
    "flavor": "small",
    "tags": ["cluster=demo", "node=n1"],
    "host_key": "ssh-ed25519 AAAA",
    "fault": "",
    "boots": 1,
}


class Command:
    """A stand-in for demo/local_cloud/cli.py: answers by verb, and notes what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.answers, self.asked = directory / "answers.json", directory / "asked"
        self.path = directory / "cli.py"
        self.path.write_text(
            "import json, sys\n"
            f"argv, answers = sys.argv[3:], json.load(open({str(self.answers)!r}))\n"
            f"print(json.dumps(argv), file=open({str(self.asked)!r}, 'a'))\n"
            "code, text = answers[argv[0]]\n"
            "print(text)\n"
            "sys.exit(code)\n"
        )

    def answer(self, code: int = 0, **verbs: Any) -> None:
        """Set what the verbs answer."""
        texts = {verb: (code, json.dumps(answer)) for verb, answer in verbs.items()}
        self.answers.write_text(json.dumps(texts))

    def calls(self) -> list[list[str]]:
        """Return the verbs and arguments so far."""
        return [json.loads(line) for line in self.asked.read_text().splitlines()]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def cloud(command: Command, tmp_path: Path) -> LocalCloud:
    return LocalCloud("demo", {"root": str(tmp_path / "cloud"), "cli": str(command.path)})


def test_servers_are_found_by_our_clusters_tag(cloud: LocalCloud, command: Command) -> None:
    command.answer(list=[FOUND])
    assert cloud.servers() == [
        Server(
            "1234", "n1", "ACTIVE", "10.0.0.1", "default", "small",
            frozenset({"cluster=demo", "node=n1"}), "ssh-ed25519 AAAA",
        )
    ]  # fmt: skip
    assert command.calls() == [["list", "--tag", "cluster=demo"]]


def test_a_server_of_somebody_else_is_not_ours_to_see_or_delete(cloud: LocalCloud, command: Command) -> None:
    command.answer(show={**FOUND, "tags": ["cluster=other"]}, delete=None)
    assert cloud.server("1234") is None
    with pytest.raises(CloudError, match="not ours"):
        cloud.delete("1234", permit("delete", "1234"))
    assert "delete" not in {call[0] for call in command.calls()}


def test_a_delete_is_by_id_and_may_be_repeated(cloud: LocalCloud, command: Command) -> None:
    command.answer(show=FOUND, delete=None)
    cloud.delete("1234", permit("delete", "1234"))
    assert command.calls()[-1] == ["delete", "1234"]
    command.answer(show=None)
    assert cloud.server("1234") is None
    cloud.delete("1234", permit("delete", "1234"))


def test_flavors(cloud: LocalCloud, command: Command) -> None:
    command.answer(flavors={"small": {"vcpus": 1, "ram": 1024, "disk": 10}})
    assert cloud.flavors() == {"small": Flavor("small", 1, 1024, 10)}


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("quota", FailureClass.QUOTA), ("capacity", FailureClass.CAPACITY), ("host", FailureClass.UNKNOWN)],
)
def test_errors_have_a_class(cloud: LocalCloud, command: Command, kind: str, failure: FailureClass) -> None:
    command.answer(1, list={"error": {"kind": kind, "text": "no more", "server": ""}})
    with pytest.raises(CloudError, match="no more") as caught:
        cloud.servers()
    assert caught.value.failure is failure


def test_no_answer_is_an_error(cloud: LocalCloud, command: Command) -> None:
    command.answers.write_text("not json")
    with pytest.raises(CloudError, match="did not answer"):
        cloud.servers()


def test_a_cloud_without_a_root_is_refused() -> None:
    with pytest.raises(ConfigError, match="root"):
        LocalCloud("demo", {})
