"""The command as a whole: help, version, errors, quick start."""

import errno
import subprocess
import sys
import time

import pytest
import typer

from slurm_powersave import __version__
from slurm_powersave.model.errors import LockedError
from slurm_powersave.surfaces.cli import check
from slurm_powersave.surfaces.cli.main import app

from .conftest import Command


def test_version(command: Command) -> None:
    assert command("--version").stdout == f"slurm-powersave {__version__}\n"


def test_help_names_every_command(command: Command) -> None:
    text = command("--help").stdout
    for name in typer.main.get_command(app).commands:
        assert f"  {name} " in text


def test_an_unknown_command_is_a_usage_error(command: Command) -> None:
    result = command("resum", "demo-1")
    assert result.exit_code == 2
    assert "resume" in result.stderr


def test_every_command_that_ends_has_json() -> None:
    def leaves(found: object, way: str) -> list[tuple[str, object]]:
        below = getattr(found, "commands", None)
        if below is None:
            return [(way, found)]
        return [leaf for name, one in below.items() for leaf in leaves(one, f"{way} {name}")]

    without = [
        way
        for way, leaf in leaves(typer.main.get_command(app), "")
        if not any("--json" in param.opts for param in leaf.params)
    ]
    assert without == [" engine run"]


def test_our_errors_have_no_traceback_but_with_debug(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> None:
        raise LockedError("locked", where="state", why="pid 1", todo="Wait.")

    monkeypatch.setattr(check, "session", locked)
    result = command("check")
    assert (result.exit_code, result.stderr) == (3, "slurm-powersave: state: locked: pid 1\n  Wait.\n")
    assert isinstance(command("--debug", "check").exception, LockedError)


def test_a_full_disk_has_no_traceback_either(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/state/inventory/hosts.yml")

    monkeypatch.setattr(check, "session", full)
    result = command("check")
    assert result.exit_code == 1
    assert result.stderr == "slurm-powersave: /state/inventory/hosts.yml: No space left on device\n"
    assert isinstance(command("--debug", "check").exception, OSError)


def test_help_loads_nothing_heavy() -> None:
    heavy = ("pydantic", "yaml", "rich.table", "sqlite3", "openstack", "ansible_runner", "hostlist")
    code = (
        "import sys; from slurm_powersave.surfaces import cli;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_closed_pipe_is_no_error() -> None:
    argv = [
        sys.executable,
        "-m",
        "slurm_powersave.surfaces.cli.main",
        "nodes",
        "expand",
        "--any",
        "n[1-60000]",
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (process.poll(), process.stderr.read()) == (0, b"")


TELLS = """
import signal, subprocess, sys
from slurm_powersave.surfaces.cli.main import take_signals
take_signals()
child = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
print(subprocess.check_output([sys.executable, "-c", child], text=True).strip(), flush=True)
signal.raise_signal(signal.SIGINT)
print("went on", flush=True)
try:
    signal.raise_signal(signal.SIGTERM)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_what_a_script_has_started_with_an_ampersand_hears_sigterm_and_its_children_sigint() -> None:
    argv = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", TELLS]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.stdout.split() == ["False", "went", "on", "interrupted"], done.stderr
