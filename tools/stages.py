"""Run the stages of `make test`, side by side where they leave a core idle, and say where the time went.

Each stage is run even if another failed; the exit code is 1 if any did. A stage's output goes to
build/test/STAGE.log and is shown whole when it ends; a stage that runs alone shows it at once.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "build" / "test"
BUDGET, QUICK_BUDGET = 18 * 60, 3 * 60
"""Seconds for `make test` and `make test-quick` on two quiet cores with the guest images at hand."""
LIMIT = 20 * 60
"""Seconds that `make test` may take at most."""
_SLOWEST = 10
_PYTEST = (sys.executable, "-m", "pytest")


@dataclass(frozen=True)
class Stage:
    """One part of the tests."""

    name: str
    argv: tuple[str, ...]
    share: float
    """Seconds of BUDGET that are its own."""
    beside: frozenset[str] = frozenset()
    """The stages that it may run beside."""
    nice: int = 0
    """Of a stage that only computes: it takes what those that wait for a cluster leave."""


_UNIT = ("tests/unit", "tests/contract", "tests/security")
_QUICK = frozenset({"lint", "unit"})
STAGES = (
    # The longest first. Its servers come and go one by one, so it leaves a third of two cores.
    Stage("openstack", (*_PYTEST, "tests/openstack"), 400, beside=_QUICK),
    Stage("unit", (*_PYTEST, "-n", "3", *_UNIT), 300, _QUICK | {"openstack"}, nice=10),
    Stage("lint", (sys.executable, "tools/lint.py"), 60, _QUICK | {"openstack"}, nice=10),
    # They mostly wait for Slurm's timers, so more clusters than cores save time.
    Stage("e2e", (*_PYTEST, "-n", "4", "--dist", "loadscope", "tests/e2e"), 620),
    Stage("fresh", ("tools/fresh.sh",), 600, beside=frozenset({"openstack"}), nice=5),
)


WHOLE = {"lint", "unit", "openstack", "e2e"}
"""The stages of `make test`."""


@dataclass
class Run:
    """A stage that has been started."""

    stage: Stage
    process: "subprocess.Popen[bytes]"
    began: float
    seconds: float = 0.0
    code: int | None = None

    @property
    def log(self) -> Path:
        """Where its output is."""
        return PLACE / f"{self.stage.name}.log"

    def progress(self) -> str:
        """Say how far it is."""
        percents = re.findall(rb"\[ *(\d+)%\]", self.log.read_bytes()) if self.log.exists() else []
        far = f", {int(percents[-1])} %" if percents else ""
        return f"{self.stage.name} ({time.monotonic() - self.began:.0f} s{far})"


@dataclass
class Stages:
    """Starts stages, waits for them, and shows what they print."""

    waiting: list[Stage]
    marks: str
    running: list[Run] = field(default_factory=list)
    ended: list[Run] = field(default_factory=list)
    interrupted: bool = False
    """Set by a signal; an exception could come between the start of a process and its entry in `running`."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._alone = len(self.waiting) == 1

    def run(self) -> None:
        """Run them all."""
        PLACE.mkdir(parents=True, exist_ok=True)
        said = time.monotonic()
        while (self.waiting or self.running) and not self.interrupted:
            for stage in [one for one in self.waiting if self._fits(one)]:
                if self._fits(stage):
                    self._start(stage)
            time.sleep(0.1)
            for run in [one for one in self.running if one.process.poll() is not None]:
                self._end(run)
                said = time.monotonic()
            if not self._alone and time.monotonic() - said >= 60:
                self._say("running: " + ", ".join(run.progress() for run in self.running))
                said = time.monotonic()
        if self.interrupted:
            self._stop()

    def _fits(self, stage: Stage) -> bool:
        return all(run.stage.name in stage.beside for run in self.running)

    def _start(self, stage: Stage) -> None:
        self.waiting.remove(stage)
        times = PLACE / f"{stage.name}.times"
        times.unlink(missing_ok=True)
        chosen = ("-m", self.marks) if self.marks and stage.argv[: len(_PYTEST)] == _PYTEST else ()
        environment = os.environ | {"SLURM_POWERSAVE_TIMES": str(times)}
        log = None if self._alone else (PLACE / f"{stage.name}.log").open("wb")
        try:
            process = subprocess.Popen(
                (*stage.argv, *chosen),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,  # Ctrl-C reaches it through `_stop`, and only once
                preexec_fn=None if self._alone else lambda: os.nice(stage.nice),
            )
        finally:
            if log:
                log.close()
        self.running.append(Run(stage, process, time.monotonic()))
        self._say(f"{stage.name} begins")

    def _end(self, run: Run) -> None:
        run.seconds, run.code = time.monotonic() - run.began, run.process.returncode
        self.running.remove(run)
        self.ended.append(run)
        how = "ok" if run.code == 0 else f"FAILED (exit code {run.code})"
        self._say(f"{run.stage.name} has ended after {run.seconds:.0f} s: {how}")
        if not self._alone:
            self._show(run)

    def _show(self, run: Run) -> None:
        sys.stdout.flush()
        sys.stdout.buffer.write(run.log.read_bytes() + b"\n")
        sys.stdout.flush()

    def _say(self, text: str) -> None:
        print(f"=== {_clock(time.monotonic() - self.began)} {text}", flush=True)

    def interrupt(self, number: int, frame: object) -> None:
        """Handle a signal; the second one waits for nobody."""
        if self.interrupted:
            self._signal(signal.SIGKILL)
        self.interrupted = True

    def _signal(self, number: signal.Signals) -> None:
        for run in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.process.pid, number)

    def _stop(self) -> None:
        """End what is running, and show how far it came. pytest takes its clusters away first."""
        self._signal(signal.SIGINT)
        for run in list(self.running):
            run.process.wait()
            self._end(run)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:2}:{int(seconds) % 60:02}"


# Where the time went


def facts(run: Run) -> Iterator[dict[str, object]]:
    """Read what tests/times.py has noted of a stage; a stage that was killed may have left half a line."""
    path = PLACE / f"{run.stage.name}.times"
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def slowest(runs: Sequence[Run], kind: str) -> list[tuple[float, str]]:
    """Return the slowest tests or clusters with their seconds, the slowest first."""
    total: dict[str, float] = defaultdict(float)
    for run in runs:
        for fact in facts(run):
            if kind in fact:
                total[str(fact[kind])] += float(str(fact["seconds"]))
    return sorted(((seconds, name) for name, seconds in total.items()), reverse=True)[:_SLOWEST]


def summary(runs: Sequence[Run], seconds: float, budget: float | None, *, shares: bool) -> Iterator[str]:
    """Say how each stage ended, where the time went, and which stage took more than its share.

    `budget` is what all stages together may take, None if it is not known.
    """
    for title, kind in (
        ("the slowest tests, with what they set up themselves", "test"),
        ("the slowest clusters, as they are set up", "cluster"),
    ):
        found = slowest(runs, kind)
        if found:
            yield f"=== {title} ==="
            yield from (f"{took:7.1f} s  {name}" for took, name in found)
    yield "=== where the time went ==="
    for run in runs:
        share = f"of {run.stage.share:4.0f} s" if shares else ""
        ended = "ok" if run.code == 0 else f"FAILED (exit code {run.code})"
        late = "  MORE THAN ITS SHARE" if shares and run.seconds > run.stage.share else ""
        yield f"{run.stage.name:10} {run.seconds:6.0f} s {share}  {ended}{late}"
    yield f"{'all':10} {seconds:6.0f} s {f'of {budget:4.0f} s' if budget else ''}"
    # Loud, no failure: machines differ by a third.
    for run in runs:
        if shares and run.seconds > run.stage.share:
            yield (
                f"*** {run.stage.name} took {run.seconds:.0f} s, and its share is {run.stage.share:.0f} s."
                " Unless this machine is slow or busy: make its slowest tests faster, or mark some `slow`."
            )
    if budget == BUDGET and seconds > LIMIT:
        most = LIMIT // 60
        yield f"*** All stages together took {seconds / 60:.1f} minutes; {most} are the most they may."


def main() -> int:
    """Run the stages named as arguments."""
    names = [stage.name for stage in STAGES]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stages", nargs="+", choices=names)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--slow", action="store_true", help="also the tests marked slow")
    which.add_argument("--quick", action="store_true", help="only what needs no root and few plays")
    arguments = parser.parse_args()

    marks = "" if arguments.slow else "not slow and not root and not plays" if arguments.quick else "not slow"
    stages = Stages([stage for stage in STAGES if stage.name in arguments.stages], marks)
    signal.signal(signal.SIGTERM, stages.interrupt)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, stages.interrupt)
    stages.run()
    if stages.interrupted:
        print("interrupted", file=sys.stderr)
        return 130

    whole = BUDGET if set(arguments.stages) == WHOLE and not arguments.slow else None
    budget = QUICK_BUDGET if arguments.quick else whole
    lines = summary(stages.ended, time.monotonic() - stages.began, budget, shares=not arguments.slow)
    print(*lines, sep="\n")
    if os.geteuid() != 0 and {"e2e", "openstack"} & set(arguments.stages):
        print("Not root: the tests that make containers were skipped, as named above.")
    return int(any(run.code != 0 for run in stages.ended))


if __name__ == "__main__":
    sys.exit(main())
