"""`python -m tests.bench [PART...]`: measure, write build/bench.json, print a table.

Parts: hook, journal, resume, slow-start, together, changes, idle, openstack; without names all of them. A
cluster of its own is made for them, on the local cloud and for the last one on the lab, and removed at the
end; it needs root.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.bench import hook
from tests.bench.cluster import PLACE, Bench
from tests.bench.table import print_table
from tests.e2e.harness import CHECKOUT

RESULT = CHECKOUT / "build" / "bench.json"


def main(words: list[str]) -> int:
    """Measure the parts named, or all."""
    with_cluster: dict[str, Callable[[Bench], dict[str, Any]]] = {
        "idle": Bench.idle,
        "journal": Bench.journal,
        "resume": Bench.resume,
        "together": Bench.together,
        "changes": Bench.changes,
        "slow-start": Bench.slow_start,
    }
    known = ["hook", *with_cluster, "openstack"]
    if unknown := sorted(set(words) - set(known)):
        print(f"bench: no such part: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    parts = words or known
    if os.geteuid() != 0 and set(parts) - {"hook"}:
        print("bench: containers need root: sudo make bench, or: python -m tests.bench hook", file=sys.stderr)
        return 2
    found: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "load_before": os.getloadavg()[0],
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }
    }
    if "hook" in parts:
        _say("hook: 1,000 calls")
        found["hook"] = hook.measure(1000)
    if "openstack" in parts:
        # Imported here: the SDK takes a second.
        from tests.bench import openstack

        _say("openstack")
        found["openstack"] = openstack.measure(PLACE, _say)
        _keep(found)
    if set(parts) & set(with_cluster):
        with Bench(_say) as bench:
            for name, measure in with_cluster.items():
                if name in parts:
                    _say(name)
                    found[name] = measure(bench)
                    _keep(found)
    _keep(found)
    print_table(found)
    _say(f"written to {RESULT.relative_to(CHECKOUT)}")
    return 0


def _keep(found: dict[str, Any]) -> None:
    """Write what was measured so far: an interrupted run has not been for nothing."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
