"""What of a login node the attacks need: a spool that is another user's, and files of root beside it."""

import base64
import os
import pwd
import select
import shutil
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "slurmscripts"
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
"""One that other users may run, too: a login node has it."""
OTHER = pwd.getpwnam("nobody")
"""In the place of SlurmUser."""


def request(nodes: str = "n1", name: str = "") -> tuple[str, str]:
    """Make a request; return its id and its text."""
    name = name or str(uuid.uuid4())
    argument = base64.b64encode(nodes.encode()).decode()
    lines = [
        "slurm-powersave-request 1",
        f"id {name}",
        "mode resume",
        "time 1.0",
        "argc 1",
        f"argv {argument}",
    ]
    return name, "\n".join([*lines, "end\n"])


def tree(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Describe all below a directory: owner, group, mode, content."""
    found = {}
    for path in sorted(root.rglob("*")):
        seen = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
        found[str(path.relative_to(root))] = (seen.st_uid, seen.st_gid, seen.st_mode, content)
    return found


class LoginNode:
    """`etc` is root's; `var/spool` is the other user's, as a deploy leaves it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Where everybody may read them, as after a deploy.
        for program in SOURCES.glob("*.py"):
            shutil.copy(program, root)
        self.etc, self.var = root / "etc", root / "var"
        self.spool, self.ready = self.var / "spool", self.var / "run" / "ready"
        for directory in (self.etc, self.var, self.var / "run"):
            directory.mkdir(mode=0o755)
        (self.etc / "shadow").write_text("root's own")
        (self.etc / "shadow").chmod(0o600)
        (self.etc / "profile.d").mkdir()
        (self.etc / "profile.d" / "site.sh").write_text("umask 022")
        old = time.time() - 100_000
        for path in (self.etc / "profile.d" / "site.sh", self.etc / "shadow"):
            os.utime(path, (old, old))
        for directory in (self.spool, *(self.spool / name for name in ("tmp", "new", "refused")), self.ready):
            self.theirs(directory)
        self.before = tree(self.etc)

    def theirs(self, path: Path) -> Path:
        """Make a directory of the other user."""
        path.mkdir(mode=0o700)
        os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
        return path

    def file(self, path: Path, text: str) -> Path:
        """Make a file of the other user."""
        path.write_text(text)
        os.chown(path, OTHER.pw_uid, OTHER.pw_gid)
        return path

    def link(self, path: Path, target: str) -> None:
        """Put a symbolic link of the other user in the place of whatever is there."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        os.lchown(path, OTHER.pw_uid, OTHER.pw_gid)

    def call(self, nodes: str = "n1") -> str:
        """Leave a request, as a hook does; return its id."""
        name, text = request(nodes)
        self.file(self.spool / "new" / name, text)
        return name

    def reader(self, *options: str, sinfo: str = "/bin/false") -> list[str]:
        """Return the argv of the reader."""
        argv = [PYTHON, str(self.root / "reader.py"), "--spool", str(self.spool)]
        return [*argv, "--ready", str(self.ready), "--sinfo", sinfo, *options]

    def unharmed(self) -> bool:
        """Tell whether everything of root is as it was."""
        return tree(self.etc) == self.before


class Run:
    """A reader as root, spoken to as the control host does."""

    def __init__(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        self.said = b""
        self.half = b""

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                stream.close()

    def say(self, line: str) -> None:
        """Send a line."""
        assert self.process.stdin
        self.process.stdin.write(line.encode() + b"\n")

    def lines(
        self, seconds: float = 1.5, enough: Callable[[list[str]], bool] = lambda lines: False
    ) -> list[str]:
        """Return what it says within some seconds, pings left out; earlier if it ends, or that is enough."""
        assert self.process.stdout
        deadline, found = time.monotonic() + seconds, list[str]()
        while not enough(found) and (left := deadline - time.monotonic()) > 0:
            if not select.select([self.process.stdout], [], [], left)[0]:
                break
            chunk = os.read(self.process.stdout.fileno(), 1 << 16)
            if not chunk:
                break
            *whole, self.half = (self.half + chunk).split(b"\n")
            found += [line.decode() for line in whole if line != b"ping"]
        return found

    def end(self) -> str:
        """Close the connection; return what it said on standard error."""
        assert self.process.stdin and self.process.stderr
        self.process.stdin.close()
        self.process.wait(5)
        return self.process.stderr.read().decode()
