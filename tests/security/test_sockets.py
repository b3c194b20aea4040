"""Directories for sockets are ours alone: nobody else's ssh or provider is talked to in the place of ours."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.ssh import sockets
from slurm_powersave.adapters.ssh.login_host import SshLoginHost
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.testing.world import cluster

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state directory whose path leaves room for sockets, as a real one does."""
    sockets._temporary.cache_clear()
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as place:
        yield Path(place)
    sockets._temporary.cache_clear()


def control_path(state: Path) -> Path:
    """Where the shared connection of a cluster has its socket."""
    ssh = SshLoginHost(cluster(state_dir=state)).shared_argv()
    (path,) = (word.partition("=")[2] for word in ssh if word.startswith("-oControlPath="))
    return Path(path)


def ours_alone(path: Path) -> bool:
    """Tell whether nobody else can enter a directory."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def test_it_is_in_the_state_directory(short: Path) -> None:
    assert control_path(short).parent == short / "ssh"
    assert ours_alone(short / "ssh")
    assert control_path(short) == control_path(short)


def _link(path: Path) -> None:
    elsewhere = path.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    path.symlink_to(elsewhere)


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def _open(path: Path) -> None:
    path.mkdir()
    path.chmod(0o755)


def _group(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def _another(path: Path) -> None:
    path.mkdir(mode=0o700)
    os.chown(path, NOBODY, NOBODY)


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


PLANTED: dict[str, Callable[[Path], None]] = {
    "link": _link,
    "dangling link": _dangling,
    "file": Path.touch,
    "socket": _socket,
    "open to all": _open,
    "open to a group": _group,
    "another's": _another,
}
"""What somebody may have put in its place."""
WAYS = [
    pytest.param(plant, id=way, marks=[pytest.mark.root] if plant is _another else [])
    for way, plant in PLANTED.items()
]


@pytest.mark.parametrize("plant", WAYS)
def test_what_somebody_put_there_is_refused(short: Path, plant: Callable[[Path], None]) -> None:
    plant(short / "ssh")
    with pytest.raises(ConfigError, match=r"directory of this user with mode 0700|can't be made"):
        control_path(short)


def test_a_predictable_directory_of_temporary_files_is_not_used(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another user's fake connection sharing wanted: a link at a name that everybody knows."""
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    (short / "fake").mkdir(mode=0o700)
    (short / f"slurm-powersave-{os.getuid()}").symlink_to(short / "fake")
    for state in (short / "state", short / ("deep" * 30)):
        state.mkdir()
        path = control_path(state)
        assert path.parent.resolve() != short / "fake"
        assert ours_alone(path.parent)


@pytest.mark.parametrize("length", [40, 80, 93, 200])
@pytest.mark.parametrize("where", ["state directory", "TMPDIR"])
def test_a_long_path_leaves_room_for_what_ssh_adds(
    short: Path, monkeypatch: pytest.MonkeyPatch, length: int, where: str
) -> None:
    deep = Path(str(short) + "/" + "d" * (length - len(str(short)) - 1))
    deep.mkdir()
    state = deep if where == "state directory" else short / ("x" * 120)
    state.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    path = control_path(state)
    assert ours_alone(path.parent)
    # ssh binds PATH.XXXXXXXXXXXXXXXX, then gives it its name.
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"{path}.{'x' * 16}")


@pytest.mark.root
def test_a_state_directory_of_somebody_else_is_not_written_to(short: Path) -> None:
    state = short / "state"
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    assert ours_alone(control_path(state).parent)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o1777])
def test_a_state_directory_in_which_others_may_write_has_none(short: Path, mode: int) -> None:
    """Whoever may write there may exchange a directory between our look and ssh's."""
    state = short / "state"
    state.mkdir()
    state.chmod(mode)
    path = control_path(state)
    assert state not in path.parents and ours_alone(path.parent)
    assert list(state.iterdir()) == []


def test_a_cluster_that_is_not_there_yet_gets_no_state_directory(short: Path) -> None:
    control_path(short / "state")
    assert not (short / "state").exists()


def test_a_temporary_one_has_another_name_each_time_and_goes_with_its_process(short: Path) -> None:
    code = "from pathlib import Path; from slurm_powersave.adapters.ssh.sockets import directory; "
    code += (
        f"print(directory(Path('/none'), Path('/none/ssh')), directory(Path('/n'), Path('/n/{'x' * 99}')))"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(short)}
    seen = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        first, second = done.stdout.split()
        assert first == second
        seen.append(first)
    assert seen[0] != seen[1]
    assert list(short.iterdir()) == []


def test_a_name_that_ssh_would_read_in_its_own_way_is_not_taken(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("%h", "a b", "a$HOME", "~x"):
        place = short / name
        place.mkdir()
        sockets._temporary.cache_clear()
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        assert control_path(short / "none").parent.parent == Path("/tmp")


# The demo's provider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.syspath_prepend(str(ROOT / "demo/provider"))
    monkeypatch.delitem(sys.modules, "main", raising=False)
    import main  # type: ignore[import-not-found]

    yield main
    sys.modules.pop("main", None)


def test_nobody_but_root_can_make_the_provider_s_directory_of_root(provider: object) -> None:
    path = Path(provider.private_path(0))  # type: ignore[attr-defined]
    assert path.parent == Path("/run")
    found = path.parent.stat()
    assert found.st_uid == 0 and not found.st_mode & 0o022


@pytest.mark.parametrize("plant", WAYS)
def test_the_provider_refuses_what_somebody_put_there(
    short: Path, provider: object, monkeypatch: pytest.MonkeyPatch, plant: Callable[[Path], None]
) -> None:
    place = short / "provider"
    plant(place)
    monkeypatch.setattr(provider, "private_path", lambda user: str(place))
    with pytest.raises((SystemExit, FileExistsError)):
        provider.private_directory()  # type: ignore[attr-defined]
    # What Terraform starts first looks at it by itself, and goes without it.
    launch = (ROOT / "demo/provider/launch.py").read_text().replace("\nmain()\n", "\n")
    names: dict[str, object] = {}
    exec(compile(launch, "launch.py", "exec"), names)
    assert names["call"](str(place / "x.warm")) is False  # type: ignore[operator]
