"""Records what the programs of a version of Slurm print, for the tests of the parsers (tests/recorded).

    python -m tests.e2e.record 22.05 [24.11 ...]     as root; a cluster of containers for each version

A person writes tests/recorded/expected.yml by what stands there.
"""

import sys
import time
from pathlib import Path

from slurm_powersave.adapters.slurm.reading import SQUEUE
from tests.e2e.guests import CHECKOUT
from tests.e2e.harness import OFF, Live
from tests.place import own_place

PLACE = Path("/var/tmp/slurm-powersave-tests/record")
RECORDED = CHECKOUT / "tests" / "recorded"
# With words in it that a parser could take for fields of its own.
HOSTILE = "see State=IDLE NodeName=e2e-9 [slot 3] Comment=none"


def scenes(live: Live) -> None:
    """Bring each node into another state."""
    live.fault("slow-boot", "e2e-3")
    live.except_from_suspend("e2e-[1-2,5]")
    live.command("resume", "e2e-[1-2,5]", "--wait", timeout=90)
    live.login(
        "scontrol create reservation reservationname=window nodes=e2e-1 users=root duration=60 starttime=now"
    )
    live.login("scontrol update nodename=e2e-1 state=DRAIN reason='" + HOSTILE + "'")
    live.login("scontrol update nodename=e2e-1 comment='ask Ann'")
    extra = "extra=rack=7 instanceid=i-1 instancetype=small"
    live.login(f"scontrol update nodename=e2e-1 {extra}", check=False)  # from 23.11 on
    live.login("scontrol update nodename=e2e-5 state=DOWN reason='burnt out'")
    job = live.sbatch("-w e2e-2", "sleep 300")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING", 30)
    live.stop_engine()
    live.login("scontrol update nodename=e2e-4 state=POWER_UP")
    live.wait("it is coming", lambda: live.node("e2e-4").powering_up, 10)
    live.login("scontrol update nodename=e2e-4 state=POWER_DOWN_FORCE")
    live.wait("it is going", lambda: live.node("e2e-4").has("POWERING_DOWN"), 10)
    live.login(
        "scontrol update nodename=e2e-4 state=DRAIN reason='slurm-powersave: (quota) no cores left [op 1a2b]'"
    )
    live.sbatch("-w e2e-3")
    live.login("sbatch -o /dev/null --array=1-3 -w e2e-2 --exclusive --wrap hostname")
    live.login("sbatch -o /dev/null --hold --wrap hostname")
    live.wait("it is coming", lambda: live.node("e2e-3").powering_up, 10)
    assert OFF in live.node("e2e-6").flags


COMMANDS = {
    "nodes.txt": "scontrol -o show node",
    "nodes.json": "scontrol show node e2e-1 --json",
    "jobs.txt": SQUEUE,
    "sinfo.txt": "sinfo -a -h -N -o '%N %T'",
    "config.txt": "scontrol show config | grep -E '^(SLURM_VERSION|BOOT_TIME|SuspendExc|ClusterName)'",
    "version.txt": "scontrol --version",
    "slurmd-C.txt": "slurmd -C",
    "unknown-node.txt": "scontrol -o show node e2e-6,nosuch-1",
    "unknown-jobs.txt": f"{SQUEUE} -w e2e-2,nosuch-1",
    "reboot-of-a-node-that-is-off.txt": "scontrol reboot ASAP nextstate=RESUME reason=reimage e2e-6",
    "spool.txt": "cd /var/spool/slurm-powersave/new && grep -h -E '^(mode|argc|argv|resume_file)' *",
}
"""Each with its exit code and standard error, after what it printed."""


def record(version: str) -> None:
    """Make a cluster, its scenes, and the files."""
    own_place(PLACE.parent)
    live = Live(PLACE, bridge="br-sps-rec", network="10.85", slurm=version)
    live.remove()
    try:
        live.make()
        scenes(live)
        place = RECORDED / version
        place.mkdir(parents=True, exist_ok=True)
        for name, command in COMMANDS.items():
            text = live.login(f"({command}) 2>/tmp/err; echo rc=$?; sed 's/^/err: /' /tmp/err", check=False)
            (place / name).write_text(text + "\n")
        time.sleep(1)
    finally:
        live.remove()


if __name__ == "__main__":
    for one in sys.argv[1:]:
        record(one)
