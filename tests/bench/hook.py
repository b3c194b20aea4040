"""How long a hook keeps slurmctld: wall time of one call, one after the other, on this machine's disk.

Usage: python -m tests.bench.hook [CALLS]; prints JSON.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.hook_scripts import SYSTEM_PATH, HookScripts


def measure(calls: int) -> dict[str, float]:
    """Call the resume hook so many times; return milliseconds."""
    # Not /tmp, which may be in memory: syncing is what takes the time.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        hooks = HookScripts(Path(scratch))
        job = {"SLURM_JOB_ID": "1"}
        took = []
        for number in range(calls):
            begin = time.perf_counter()
            # Without a time limit: with one, Python looks only after 15, 31, 63 ms whether it has ended.
            with hooks.start("resume", f"n{number}", env=job) as process:
                code = process.wait()
            took.append((time.perf_counter() - begin) * 1000)
            if code != 0:
                raise SystemExit(f"call {number} ended with {code}; PATH of the hook: {SYSTEM_PATH}")
        if len(hooks.requests()) != calls:
            raise SystemExit("not every call left its request")
    steps = statistics.quantiles(took, n=100, method="inclusive")
    return {"calls": calls, "p50_ms": round(steps[49], 1), "p99_ms": round(steps[98], 1)}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)))
