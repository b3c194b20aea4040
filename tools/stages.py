"""Run the stages of `make test` one after the other and say where the time went.

Each stage is run even if an earlier one failed; the exit code is 1 if any did.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def commands(stage: str, *, slow: bool) -> Sequence[str]:
    """Return the argv of a stage."""
    if stage == "lint":
        return (sys.executable, "tools/lint.py")
    # End-to-end tests mostly wait for Slurm's timers, so more clusters than cores save time.
    workers = {
        "unit": ("-n", "2", "tests/unit", "tests/contract"),
        "e2e": ("-n", "3", "--dist", "loadscope", "tests/e2e"),
        "openstack": ("tests/openstack",),
    }
    chosen = () if slow else ("-m", "not slow")
    return (sys.executable, "-m", "pytest", "--durations=15", "--durations-min=0.5", *chosen, *workers[stage])


def run(stage: str, *, slow: bool) -> tuple[str, int, float]:
    """Run one stage; return its name, exit code and seconds."""
    print(f"\n=== {stage} ===", flush=True)
    begin = time.monotonic()
    code = subprocess.run(commands(stage, slow=slow), cwd=ROOT, check=False).returncode
    return stage, code, time.monotonic() - begin


def main() -> int:
    """Run the stages named as arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="+", choices=("lint", "unit", "e2e", "openstack"))
    parser.add_argument("--slow", action="store_true", help="also the tests marked slow")
    arguments = parser.parse_args()

    results = [run(stage, slow=arguments.slow) for stage in arguments.stages]

    print("\n=== where the time went ===")
    for stage, code, seconds in results:
        print(f"{stage:8} {seconds:7.1f} s  {'ok' if code == 0 else f'failed (exit code {code})'}")
    print(f"{'all':8} {sum(seconds for _, _, seconds in results):7.1f} s")
    if os.geteuid() != 0 and {"e2e", "openstack"} & set(arguments.stages):
        print("Not root: the tests that make containers were skipped, as named above.")
    return int(any(code != 0 for _, code, _ in results))


if __name__ == "__main__":
    sys.exit(main())
