"""Debian packages and Python wheels for guests, which have no way to the outside; kept in a cache.

A guest gets packages as a repository of its own apt: whatever installs packages does it as anywhere.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.guests import CHECKOUT
from tests.e2e.play_lab import Lab

CACHE = Path("/var/cache/slurm-powersave/tests")
GUEST = "/var/local/packages"
"""Where a guest has them."""
SOURCE = f"echo 'deb [trusted=yes] file:{GUEST} ./' >/etc/apt/sources.list"
"""The command that tells a guest's apt of them."""
_FIELDS = (
    "Package",
    "Version",
    "Architecture",
    "Multi-Arch",  # without it apt finds nothing for `perl:any`
    "Depends",
    "Pre-Depends",
    "Provides",
    "Conflicts",
    "Breaks",
)

# The image says what is there already and where the rest comes from, the machine how that is reached.
# A release that is in the making may be past its date on a mirror.
_APT = """
{access}
Dir "{image}";
Dir::Etc::Parts "/dev/null";
Dir::State::status "{place}/status";
Dir::State::lists "{place}/lists";
Dir::Cache "{place}/cache";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Check-Valid-Until "false";
Acquire::Languages "none";
Debug::NoLocking "true";
"""


def packages(image: str, names: Sequence[str]) -> Path:
    """Return a directory with these packages and what they need beyond an image, with an index for apt.

    The packages themselves are in it even if the image has them: a guest may have removed them.
    """
    place = CACHE / f"packages-{_key(image, *names, *_FIELDS)}"
    with _lock():
        if (place / "Packages").exists():
            return place
        for directory in ("lists/partial", "cache/archives/partial"):
            (place / directory).mkdir(parents=True, exist_ok=True)
        (place / "status").write_text(_without((Path(image) / "var/lib/dpkg/status").read_text(), names))
        access = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
        lines = [line for line in access.splitlines() if line.startswith(("Acquire::http", "Acquire::https"))]
        (place / "apt.conf").write_text(_APT.format(access="\n".join(lines), image=image, place=place))
        env = os.environ | {"APT_CONFIG": str(place / "apt.conf"), "DEBIAN_FRONTEND": "noninteractive"}
        for argv in (["update"], ["install", "--yes", "--download-only", *names]):
            done = subprocess.run(
                ["apt-get", "-qq", *argv], env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        index = []
        for deb in sorted((place / "cache/archives").glob("*.deb")):
            deb.rename(place / deb.name)
            index.append(_entry(place / deb.name))
        for directory in ("lists", "cache"):
            subprocess.run(["rm", "-rf", place / directory], check=True)
        (place / "Packages").write_text("\n".join(index))
    return place


def _without(status: str, names: Sequence[str]) -> str:
    """Leave packages out of what dpkg knows as installed."""
    out = {f"Package: {name}" for name in names}
    return "\n\n".join(part for part in status.split("\n\n") if part.partition("\n")[0] not in out)


def _entry(deb: Path) -> str:
    """Write a package's part of the index (deb(5), and what apt wants besides)."""
    argv = ["dpkg-deb", "--field", str(deb), *_FIELDS]
    fields = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{fields}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"


def wheels() -> Path:
    """Return a directory with the wheels that the toolkit needs, in the versions of requirements.lock."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    lock = CHECKOUT / "requirements.lock"
    place = CACHE / f"wheels-{_key(lock.read_text(), *project['dependencies'], sys.version)}"
    with _lock():
        if not (place / "complete").exists():
            place.mkdir(parents=True, exist_ok=True)
            _pip("wheel", "--wheel-dir", str(place), "--constraint", str(lock), *project["dependencies"])
            (place / "complete").touch()
    return place


def give(lab: Lab, name: str, source: Path, target: str) -> None:
    """Copy a directory into a guest."""
    lab.on(name, unpack(target), given=archive(source))


def archive(source: Path) -> bytes:
    """Return a directory's content, for `unpack` on a guest."""
    argv = ["tar", "--create", "--directory", str(source), "."]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def unpack(target: str) -> str:
    """Return the command that makes a directory of an archive on its standard input."""
    return f"mkdir -p {target} && tar --extract --directory {target}"


def repository(lab: Lab, name: str, wanted: Sequence[str]) -> None:
    """Give a guest a repository of packages."""
    give(lab, name, packages(lab.image, wanted), GUEST)
    lab.on(name, f"{SOURCE} && apt-get -qq update")


def toolkit(place: Path) -> Path:
    """Build the wheel of this checkout from what git knows of it: an old `build` would get into it."""
    source = place / "source"
    source.mkdir(parents=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        check=True,
    ).stdout
    names = b"\0".join(
        name for name in listed.split(b"\0") if name and (CHECKOUT / os.fsdecode(name)).exists()
    )
    archive = subprocess.run(
        ["tar", "--create", "--null", "--files-from=-"],
        cwd=CHECKOUT,
        input=names,
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["tar", "--extract", "--directory", str(source)], input=archive, check=True)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(source))
    (made,) = place.glob("*.whl")
    return made


def _pip(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _key(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


class _lock:
    """Two workers do not fetch the same at once."""

    def __enter__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._file = (CACHE / ".lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
