"""Directories whose names everybody knows: what somebody else has made there is not used."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.place import own_place

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
pytestmark = [pytest.mark.root]


def _link(place: Path) -> None:
    (place.parent / "elsewhere").mkdir()
    place.symlink_to(place.parent / "elsewhere")


def _another(place: Path) -> None:
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)


def _open(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


PLANTED = pytest.mark.parametrize("plant", [_link, _another, _open])


@PLANTED
def test_of_the_tests(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    plant(tmp_path / "place")
    with pytest.raises(PermissionError, match="not ours alone"):
        own_place(tmp_path / "place")
    assert own_place(own_place(tmp_path / "ours")) == tmp_path / "ours"


def run(script: str, tmp_path: Path, **environment: str) -> str:
    """Start a program beside others that do nothing, should it get so far."""
    for name in ("debootstrap", "setpriv", "unshare", "pivot_root", "terraform"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
    done = subprocess.run([ROOT / script], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


@PLANTED
def test_of_the_fresh_machine(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    place, victim = tmp_path / "place", tmp_path / "victim"
    plant(place)
    victim.write_text("of root")
    (place / "lock").symlink_to(victim)
    assert "not root's alone" in run("tools/fresh.sh", tmp_path, SLURM_POWERSAVE_FRESH=str(place))
    assert victim.read_text() == "of root"


@PLANTED
def test_of_the_openstack_lab(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    place, mark = tmp_path / "place", tmp_path / "mark"
    plant(place)
    (place / "state").mkdir()
    (place / "state/hook").write_text(str(tmp_path / "program"))
    (tmp_path / "program").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (tmp_path / "program").chmod(0o755)
    assert "not ours alone" in run("tests/openstack/lab/down", tmp_path, OSLAB_DIR=str(place))
    assert not mark.exists() and not (place / "state/.lock").exists()
