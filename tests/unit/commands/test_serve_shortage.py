"""The service on a host that has run out of file descriptors or of disk, for a while."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

_SHORT_OF_FILES = """
import json, os, resource, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.commands import service as here
from tests.waiting import within
from slurm_powersave.engine import recovery

cluster = here.lay_out(Path(sys.argv[1]))
here.connect_to_memory(cluster, setattr)
recovery.FIRST, recovery.LONGEST = 0.05, 0.2
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
running = here.Running(cluster)
assert within(20, lambda: here.connected(running)), running.told()
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
# The engine's own connections are closed, too: what the stream needs for another one is not there.
os.close(taken.pop())
here.end_readers()
time.sleep(3)
for one in taken:
    os.close(one)
assert within(30, lambda: here.connected(running)), running.told()
print(json.dumps(running.told()))
running.close()
"""


def test_an_engine_that_has_no_files_left_for_a_while(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _SHORT_OF_FILES, str(tmp_path), str(root)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["intake"].startswith("connected")
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 64


_FULL_DISK = """
import json, os, sys, time, uuid
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.unit.commands import service as here
from tests.waiting import within
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.engine import recovery
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request

place = Path(sys.argv[1])
cluster = here.lay_out(place)
here.connect_to_memory(cluster, setattr)
recovery.FIRST, recovery.LONGEST = 0.05, 0.5
running = here.Running(cluster)
assert within(30, lambda: here.connected(running)), running.told()
journal = SqliteJournal(cluster.layout.journal)
journal.add_request(Request("first", Mode.RESUME, "demo-[1-4],nobody", time.time(), "operator"), time.time())
with (place / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(b"x" * 4096)
    except OSError as error:
        assert error.errno == 28
    assert within(30, lambda: running.told().get("trouble")), running.told()
    said = running.told()["trouble"]
    time.sleep(2)
    filler.truncate(0)
assert within(30, lambda: not running.told().get("trouble")), running.told()
assert within(30, lambda: here.connected(running)), running.told()
assert within(30, lambda: journal.operations_of("first")), "the request is planned"
print(json.dumps({"said": said, "told": running.told()}))
running.close()
"""


@pytest.mark.root
def test_a_disk_that_is_full_for_a_while(tmp_path: Path) -> None:
    """A small disk of its own, in a mount namespace that nobody else sees."""
    root = Path(__file__).parents[3]
    mounted = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1" "$4"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, _FULL_DISK, str(root)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=root,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "full" in done.stdout or "No space" in done.stdout or "I/O error" in done.stdout, done.stdout
