"""What is measured on a real cluster of the local cloud, with an engine that runs."""

import contextlib
import fcntl
import os
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.bench import changes
from tests.bench.spread import spread
from tests.bench.timeline import Life, Stopwatch
from tests.e2e.harness import OFF, Live
from tests.place import own_place

PLACE = Path("/var/tmp/slurm-powersave-bench")
HOOKS = "/usr/lib/slurm-powersave"
ROUNDS = 5
TOGETHER_ROUNDS = 3


class Bench:
    """A cluster for measuring: nodes stay until they are told to go, and Terraform's calls are timed."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stack = contextlib.ExitStack()
        self.live = Live(PLACE / "cluster", name="bench", bridge="br-sps-bench", network="10.81")
        self._watch = Stopwatch(PLACE / "cluster" / "stopwatch")

    def __enter__(self) -> "Bench":
        own_place(PLACE)
        lock = self._stack.enter_context((PLACE / "lock").open("w"))
        # A second run would take the first one's bridge.
        fcntl.flock(lock, fcntl.LOCK_EX)
        self._stack.callback(self.live.remove)
        try:
            self.live.remove()
            self._watch.make()
            self._say("making a cluster of its own")
            self.live.make(suspend_time=3600, terraform=str(self._watch.program))
            # The first node of a cluster also waits for `terraform init` of its shard.
            self._power_up("bench-1")
            self._all_off()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop_engine(signal.SIGTERM)
        self._stack.close()

    # Parts

    def journal(self) -> dict[str, Any]:
        """From the hook's first moments on the slurmctld host to the record in the journal here."""
        # Nodes that do not exist: what is measured is the way, and nothing follows from it.
        loop = f"for i in $(seq 40); do {HOOKS}/resume nosuch-$i; sleep 0.1; done"
        self.live.login(f"su -s /bin/sh slurm -c '{loop}'")
        self.live.wait("all have come", lambda: len(self._ways()) == 40, 20)
        return {"hook_to_journal_s": spread(self._ways(), 3)}

    def _ways(self) -> list[float]:
        with contextlib.closing(sqlite3.connect(self.live.root / "state/journal.db")) as db:
            rows = db.execute("SELECT received - time FROM requests WHERE hostlist LIKE 'nosuch-%'")
            return [row[0] for row in rows]

    def resume(self) -> dict[str, Any]:
        """One node from nothing, five times over, with a batch job that waits for it; fast start is on."""
        lives = [self._life() for _ in range(ROUNDS)]
        phases = {name: spread([life.phases[name] for life in lives]) for name in lives[0].phases}
        return {
            "request_to_apply_s": spread([life.to_apply for life in lives]),
            "phases_s": phases,
            "spent_s": {key: spread([life.spent[key] for life in lives]) for key in lives[0].spent},
            "total_s": spread([life.total for life in lives]),
            "own_s": spread([life.own for life in lives]),
            "own_with_plan_s": spread([life.own_with_plan for life in lives]),
            "sbatch_s": _starts(lives),
        }

    def slow_start(self) -> dict[str, Any]:
        """The same without fast start: Slurm starts the job at its next scan."""
        self.live.write(fast_start=False, suspend_time=3600, terraform=str(self._watch.program))
        self.live.command("deploy", "--yes", timeout=300)
        self.live.stop_engine(signal.SIGTERM)
        self.live.start_engine()
        return {"sbatch_s": _starts([self._life() for _ in range(ROUNDS)])}

    def together(self) -> dict[str, Any]:
        """Four hook calls at the same moment, each for one node, against one call for four."""
        ones, fours = [], []
        for _ in range(TOGETHER_ROUNDS):
            ones.append(self._four(f"for i in 1 2 3 4; do {HOOKS}/resume bench-$i & done; wait"))
            fours.append(self._four(f"{HOOKS}/resume bench-[1-4]"))
        ratio = statistics.median(ones) / statistics.median(fours)
        return {
            "four_calls_s": spread(ones),
            "one_call_s": spread(fours),
            "ratio": round(ratio, 2),
        }

    def changes(self) -> dict[str, Any]:
        """Reimage, resize and reboot of nodes that are up."""
        build = ("image", "build", "--base", "default", "--name", changes.PREPARED, "--yes")
        self.live.command(*build, timeout=300)
        found = changes.measure(self.live, changes.LOCAL)
        self._all_off()
        return found

    def _four(self, calls: str) -> float:
        # Slurm calls the hook, too, a second later at most; by then these nodes are under way.
        began = float(
            self.live.login(
                f"date +%s.%N; su -s /bin/sh slurm -c '{calls}';"
                " scontrol update nodename=bench-[1-4] state=POWER_UP"
            )
        )
        nodes = [f"bench-{number}" for number in (1, 2, 3, 4)]
        self.live.wait("four nodes are up", lambda: self.live.up(*nodes), 120)
        self.live.wait("nothing is under way", lambda: not self.live.open_operations(), 20)
        ended = max(self._done(node) for node in nodes)
        self._all_off()
        return ended - began

    def idle(self) -> dict[str, Any]:
        """An engine that has nothing to do, for a minute; what it calls is counted as its own."""
        time.sleep(10)
        before = _cpu_seconds(self.live.engine_pid)
        time.sleep(60)
        after = _cpu_seconds(self.live.engine_pid)
        status = Path(f"/proc/{self.live.engine_pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return {
            "cpu_percent": round((after - before) / 60 * 100, 2),
            "resident_mb": round(resident / 1024, 1),
        }

    # What they are made of

    def _life(self) -> Life:
        """Submit a job for a node that is off; when the job is done, take the node away."""
        script = self.live.root / "cloud/share/first-line"
        script.write_text("#!/bin/sh\ndate +%s.%N\nsleep 1\n")
        output = self.live.login(
            "date +%s.%N; sbatch --parsable -w bench-1 -o /mnt/ohpc/%j.out /mnt/ohpc/first-line"
        )
        began, job = output.split()
        self.live.job_done(int(job), 180)
        first_line = float(self.live.login(f"cat /mnt/ohpc/{job}.out"))
        self.live.wait("nothing is under way", lambda: not self.live.open_operations(), 20)
        op = self.live.newest("bench-1")
        journal = self.live.journal()
        try:
            request = journal.request(op.request)
            received = journal.received(op.request)
        finally:
            journal.close()
        assert request and received
        ready = float(self._guest_ready("bench-1"))
        life = Life.of(op, float(began), request.time, received, first_line, ready, self._watch.calls())
        self._all_off()
        return life

    def _guest_ready(self, node: str) -> str:
        """When the guest could be reached: sshd listens, and its host key is on the console."""
        units = "systemctl show -P ActiveEnterTimestamp --timestamp=us+utc ssh guest-hostkey"
        address = self.live.cluster.node_spec(node).address
        stamps = self.live.ssh(address, f'{units} | grep . | while read -r t; do date -d "$t" +%s.%N; done')
        return max(stamps.split())

    def _power_up(self, node: str) -> None:
        self.live.login(f"scontrol update nodename={node} state=POWER_UP")
        self.live.wait(f"{node} is up", lambda: self.live.up(node), 120)
        self.live.wait("nothing is under way", lambda: not self.live.open_operations(), 20)

    def _done(self, node: str) -> float:
        """When the newest resume of a node was done."""
        return max(
            phase.at for op in self._resumes(node)[:1] for phase in op.phases if phase.phase == op.outcome
        )

    def _resumes(self, node: str) -> list[Any]:
        journal = self.live.journal()
        try:
            return [op for op in journal.history(node, 20) if op.mode == "resume" and op.outcome == "done"]
        finally:
            journal.close()

    def _all_off(self) -> None:
        def off() -> bool:
            nodes = self.live.nodes()
            on = [name for name, node in nodes.items() if node.up and not node.in_use]
            if on:
                self.live.login(f"scontrol update nodename={','.join(on)} state=POWER_DOWN")
            return not on and all(OFF in node.flags for node in nodes.values())

        self.live.wait("all nodes are off", off, 120)
        self.live.wait("nothing is under way", lambda: not self.live.open_operations(), 30)


def _starts(lives: list[Life]) -> dict[str, Any]:
    return {
        "to_hook": spread([life.submit_to_hook for life in lives]),
        "hook_to_up": spread([life.total for life in lives]),
        "up_to_first_line": spread([life.up_to_first_line for life in lives]),
        "total": spread([life.submit_to_first_line for life in lives]),
    }


def _cpu_seconds(pid: int) -> float:
    """Seconds of processor that a process has used, with those of its ended children (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
