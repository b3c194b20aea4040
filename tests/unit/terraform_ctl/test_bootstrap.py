"""The control host's first boot, with an apt whose lock somebody else holds."""

import os
import subprocess
from pathlib import Path

import pytest

BOOTSTRAP = Path(__file__).resolve().parents[3] / "terraform_ctl/bootstrap.sh"

APT = """#!/bin/sh
echo "apt-get $*" >>{log}
[ "$1" = update ] || [ -s {log}.lists ] || {{ echo 'E: Unable to locate package' >&2; exit 100; }}
left=$(cat {log}.held)
if [ "$left" -gt 0 ]; then echo $((left - 1)) >{log}.held; echo 'E: Could not get lock' >&2; exit 100; fi
[ "$1" != update ] || echo lists >{log}.lists
"""


def boot(directory: Path, *, held: int) -> tuple[int, list[str]]:
    """Run the script up to the toolkit; return its exit code and what it called.

    `held` is how many calls of apt-get find the lock taken. The package lists are empty.
    """
    log, tools = directory / "log", directory / "bin"
    tools.mkdir()
    (directory / "log.held").write_text(str(held))
    scripts = {
        "apt-get": APT.format(log=log),
        "sleep": f'#!/bin/sh\necho "sleep $1" >>{log}\n',
        "python3": f"#!/bin/sh\necho python3 >>{log}\nexit 7\n",
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    done = subprocess.run(
        ["sh", str(BOOTSTRAP), "toolkit.whl"],
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, log.read_text().splitlines()


@pytest.mark.parametrize("held", [0, 1, 5])
def test_it_waits_for_the_lock_and_reads_the_lists_first(tmp_path: Path, held: int) -> None:
    rc, called = boot(tmp_path, held=held)
    words = [line.split()[1] for line in called if line.startswith("apt-get")]
    assert words[-2:] == ["update", "install"]
    assert called.count("sleep 20") == held
    assert (rc, called[-1]) == (7, "python3"), "then comes the toolkit"


def test_it_ends_where_nothing_can_be_installed(tmp_path: Path) -> None:
    rc, called = boot(tmp_path, held=99)
    assert rc == 1 and "python3" not in called
    assert 10 < called.count("sleep 20") < 20
