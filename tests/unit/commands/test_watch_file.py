"""The cluster file changes while the engine runs."""

import errno
import logging
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.commands.watch_file import LOOK, Watch, digest
from slurm_powersave.config.settings import load
from slurm_powersave.model.errors import JournalError, MachineError
from tests.unit.surfaces import conftest

CLUSTER = conftest.CLUSTER.replace("adapter: local", "adapter: local\n    settings: {root: ./cloud}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A cluster file without mistakes."""
    for directory in ("base", "nodes", "state"):
        (tmp_path / directory).mkdir()
    file = tmp_path / "all.yml"
    file.write_text(CLUSTER)
    return file


class Looks:
    """Looks at a file again and again."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, 0.0
        self.watch = Watch(wiring.site(load(path)), "")
        assert self.several() == [False, False, False]
        assert self.watch.content == digest(path)

    def several(self, times: int = 3) -> list[bool]:
        """Look so often, a bit more than LOOK apart."""
        found = []
        for _ in range(times):
            self.now += LOOK + 0.1
            found.append(self.watch.changed(self.now))
        return found


def test_a_change_counts_when_it_was_seen_twice(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks(path)
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 2"))
    with caplog.at_level(logging.INFO):
        assert looks.several() == [False, True, False]
    assert looks.watch.cluster.persistent() == ("demo-1", "demo-2")
    assert looks.watch.content == digest(path)
    assert "cluster file: node_pools.compute: " in caplog.text and "'min_nodes': 2" in caplog.text


def test_a_login_address_that_was_not_deployed_is_not_taken(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(path)
    base = looks.watch.cluster.layout.base
    base.mkdir(parents=True)
    state = base / "terraform.tfstate"
    state.write_text('{"outputs": {"login": {"value": {"id": "x", "address": "10.0.0.10"}}}}')
    path.write_text(CLUSTER.replace("address: 10.0.0.10", "address: 10.0.0.99"))
    assert looks.several() == [False, False, False]
    assert looks.watch.cluster.login.address == "10.0.0.10"
    assert "is not used" in caplog.text and "no deploy has given it 10.0.0.99" in caplog.text
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 2"))
    assert looks.several() == [False, True, False]
    state.write_text("{")
    path.write_text(CLUSTER.replace("address: 10.0.0.10", "address: 10.0.0.99"))
    assert looks.several() == [False, True, False], "a state that can't be read tells nothing"


def test_a_change_that_could_not_be_judged_is_judged_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host has no open files left at the very moment."""
    looks = Looks(path)
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 2"))
    with monkeypatch.context() as short:

        def full() -> set[str]:
            raise JournalError("unable to open database file")

        short.setattr(looks.watch, "_used", full)
        assert looks.several(1) == [False]
        for _ in range(2):
            with pytest.raises(JournalError):
                looks.several(1)
    assert looks.several(1) == [True]
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 3"))
    with monkeypatch.context() as short:
        short.setattr("slurm_powersave.config.yaml_file.read_text", no_files)
        assert looks.several(1) == [False]
        for _ in range(2):
            with pytest.raises(MachineError):
                looks.several(1)
    assert looks.several(1) == [True]
    assert len(looks.watch.cluster.persistent()) == 3


def no_files(path: Path) -> str:
    raise OSError(errno.EMFILE, "Too many open files")


def test_what_is_still_being_written_is_waited_for(path: Path) -> None:
    looks = Looks(path)
    for number in (2, 3, 4):
        path.write_text(CLUSTER.replace("min_nodes: 1", f"min_nodes: {number}"))
        assert looks.several(1) == [False]
    assert looks.several(1) == [True]
    assert len(looks.watch.cluster.persistent()) == 4


def test_a_mistake_is_said_once_and_the_old_content_stays(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looks = Looks(path)
    before = looks.watch.content
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 9"))
    assert looks.several(5) == [False] * 5
    assert caplog.text.count("is not used") == 1
    assert looks.watch.content == before
    path.write_text(CLUSTER)
    assert looks.several() == [False] * 3, "back again: nothing has changed"
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 0"))
    assert looks.several() == [False, True, False]


def test_another_cluster_is_not_taken(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    looks = Looks(path)
    path.write_text(CLUSTER.replace("state_dir: state", "state_dir: elsewhere"))
    assert looks.several() == [False] * 3
    assert "can't change" in caplog.text


def test_a_cloud_that_has_servers_does_not_go(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch(wiring.site(load(path)), digest(path), lambda: {"local"})
    path.write_text(CLUSTER.replace("  local:", "  other:"))
    assert [watch.changed(now) for now in (2.0, 4.0, 6.0)] == [False] * 3
    assert "there are servers in local" in caplog.text


def test_an_adapter_that_this_version_does_not_have_is_a_mistake(path: Path) -> None:
    looks = Looks(path)
    path.write_text(CLUSTER.replace("adapter: local", "adapter: vapour"))
    assert looks.several() == [False] * 3


def test_a_comment_changes_nothing_but_is_known(path: Path) -> None:
    looks = Looks(path)
    path.write_text(f"# weekend\n{CLUSTER}")
    assert looks.several() == [False] * 3
    assert looks.watch.content == digest(path), "resize asks whether this is what the engine has read"


def test_a_file_that_is_gone_for_a_moment(path: Path) -> None:
    looks = Looks(path)
    path.unlink()
    assert looks.several() == [False] * 3
    path.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 2"))
    assert True in looks.several()
