"""The hooks as a site has them, rendered into a directory of a test's own."""

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from slurm_powersave.adapters.requests.spool import parse_named
from slurm_powersave.model.nodes import Request

SOURCES = Path(__file__).resolve().parent.parent / "slurmscripts"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CLOSED = 'exec "$0" "$@" 0<&- 1>&- 2>&-'
"""As slurmctld up to 22.05 calls hooks: with the descriptors 0 to 2 closed."""


class HookScripts:
    """Rendered hooks, their spool, and a `bin` whose programs stand before those of the system."""

    def __init__(self, root: Path, *, shell: str = "sh", **variables: Any) -> None:
        self.root = root
        self.shell = shell
        self.spool = root / "spool"
        self.new = self.spool / "new"
        self.ready = root / "ready"
        self.bin = root / "bin"
        for directory in (self.spool / "tmp", self.new, self.ready, self.bin):
            directory.mkdir(parents=True)
        site = {"spool": str(self.spool), "ready": str(self.ready), "path": f"{self.bin}:{SYSTEM_PATH}"}
        # As Ansible's template module does it.
        templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(SOURCES),
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            keep_trailing_newline=True,
        )
        for source in SOURCES.glob("*.sh.j2"):
            script = root / source.stem
            script.write_text(templates.get_template(source.name).render(slurm_powersave=site, **variables))
            script.chmod(0o755)

    def program(self, name: str, body: str) -> None:
        """Put a program before the system's."""
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def log_to(self, file: Path) -> None:
        """Let `logger` write to a file what it would tell syslog."""
        self.program("logger", f'printf "%s\\n" "$*" >>{file}')

    def start(
        self, hook: str, *arguments: str | bytes, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Call a hook as slurmctld does: nothing in the environment, descriptors closed."""
        argv: Sequence[str | bytes] = (
            "/bin/sh", "-c", CLOSED, f"/usr/bin/{self.shell}", str(self.root / f"{hook}.sh"), *arguments
        )  # fmt: skip
        return subprocess.Popen(argv, env=env or {}, **options)

    def call(
        self, hook: str, *arguments: str | bytes, env: Mapping[str, str] | None = None, **options: Any
    ) -> int:
        """Call a hook and return its exit code."""
        with self.start(hook, *arguments, env=env, **options) as process:
            try:
                return process.wait(30)
            finally:
                process.kill()

    def requests(self) -> list[Request]:
        """Read what is in new/, oldest first."""
        found = []
        for path in self.new.iterdir():
            with contextlib.suppress(FileNotFoundError):  # acknowledged in this moment
                found.append(parse_named(path.name, path.read_bytes()))
        return sorted(found, key=lambda request: request.time)

    def reader(self, *options: str) -> list[str]:
        """Return the argv of a reader of this spool."""
        argv = [sys.executable, str(SOURCES / "reader.py"), "--spool", str(self.spool)]
        return [*argv, "--ready", str(self.ready), "--sinfo", str(self.bin / "sinfo"), *options]
