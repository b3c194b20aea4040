"""The cluster's slurmctld without an engine: its hooks write to the spool, and nobody acts on it."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from slurm_powersave import wiring
from slurm_powersave.adapters.requests.spool import parse_named
from slurm_powersave.model.hostlist import expand_any, fold
from slurm_powersave.model.nodes import SlurmNode
from slurm_powersave.model.slurm_version import Version
from tests.e2e.harness import CONF, OFF, Live

SPOOL = "/var/spool/slurm-powersave/new"
_NEVER = 3600
"""A SuspendTime, in seconds, that no test lives to see."""
_PLAIN = frozenset({"IDLE", "CLOUD"})


class Real:
    """What the contract cases ask of a Slurm (tests/contract)."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self.nodes, self.version = live.cluster.nodes(), Version.of(live.slurm)
        self.slurm = wiring.site(live.cluster).slurm()

    def submit(self, *nodes: str, reboot: bool = False) -> int:
        options = f"-w {','.join(nodes)} -N{len(nodes)} {'--reboot' if reboot else ''}"
        # Not to a file: a node that was booted by hand has none of its mounts.
        sbatch = f"sbatch --parsable -o /dev/null {options} --wrap 'sleep 600'"
        job = int(self._live.login(sbatch))
        self._live.wait("it has its nodes", lambda: self._live.job(job)["JobState"] != "PENDING", 10)
        return job

    def end_jobs(self) -> None:
        self._live.login("scancel -u root", check=False)

    def type(self, *words: str) -> None:
        """Run `scontrol` with these words."""
        self._live.login("scontrol " + " ".join(words))

    def let_pass(self, seconds: float) -> None:
        time.sleep(seconds)

    def hooks(self) -> list[tuple[str, str]]:
        files = self._live.login(f'cd {SPOOL} && for f in *; do echo "== $f"; cat "$f"; done', check=False)
        calls = []
        for part in files.split("== ")[1:]:
            name, _, text = part.partition("\n")
            if text:
                request = parse_named(name, (text.rstrip("\n") + "\n").encode())
                calls.append((request.mode.value, request.hostlist))
        return calls

    def forget_hooks(self) -> None:
        self._live.login(f"rm -f {SPOOL}/*")

    def comment(self, job: int) -> str:
        found = re.search(
            r"AdminComment=(.*?) *$", self._live.login(f"scontrol show job {job}"), re.MULTILINE
        )
        return found[1] if found else ""

    def boot(self, *nodes: str) -> None:
        """Boot servers again and start slurmd, as the engine would; return when slurmd runs."""
        servers = self._live.servers()

        def one(node: str) -> None:
            self._live.cloud("reboot", servers[node])
            self._live.wait(f"slurmd runs on {node}", lambda: self.start_slurmd(node), 30)

        self._all(one, nodes)

    def start_slurmd(self, node: str, verb: str = "start") -> bool:
        """Start or restart slurmd; False if the node can't be reached yet."""
        command = f"systemctl {verb} munge slurmd && systemctl is-active slurmd"
        return self._live.ssh(self._live.cluster.node_spec(node).address, command, check=False) == "active"

    def register(self, *nodes: str) -> None:
        """Let slurmd register again, without a boot."""
        self._all(lambda node: self.start_slurmd(node, "restart"), nodes)

    def _all(self, do: Callable[[str], object], nodes: Sequence[str]) -> None:
        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(do, nodes))

    def look(self) -> Mapping[str, SlurmNode]:
        """Read the nodes."""
        return self.slurm.snapshot(self.nodes).nodes

    def wait_for(self, *flags: str, nodes: Sequence[str]) -> None:
        """Wait until nodes show all these flags."""

        def so() -> bool:
            found = self.look()
            return all(found[node].flags >= set(flags) for node in nodes)

        self._live.wait(f"{','.join(nodes)} {'+'.join(flags)}", so, 15)

    def tidy(self) -> None:
        """Make all nodes up and idle again, whatever was done to them; their servers stay."""

        def idle() -> bool:
            states = self.look()
            left = {name: node for name, node in states.items() if node.flags - {"PLANNED"} != _PLAIN}
            if stale := [name for name, node in states.items() if node.reason and name not in left]:
                self.slurm.update_nodes(stale, reason=" ")
            for name, node in left.items():
                if node.powering_up:
                    self.boot(name)
                elif node.has("DOWN", "DRAIN", "REBOOT_REQUESTED", "REBOOT_ISSUED", "POWERING_DOWN"):
                    self._live.login(f"scontrol update nodename={name} state=RESUME", check=False)
                elif node.has(OFF):
                    self.register(name)
            return not left

        self.end_jobs()
        reservations = "scontrol -o show reservation | grep -o '^ReservationName=[^ ]*'"
        self._live.login(f"{reservations} | xargs -rn1 scontrol delete", check=False)
        self._live.wait("all nodes are up and idle", idle, 60)
        self.forget_hooks()


@contextmanager
def awake(live: Live) -> Iterator[Real]:
    """All nodes up, none of them ever suspended, and no engine; the engine runs again afterwards."""
    live.rest()
    usual = live.cluster.power_save.suspend_time or 0
    _suspend_after(live, usual, _NEVER)
    try:
        live.command("resume", fold(live.cluster.nodes()), "--wait", timeout=120)
        live.stop_engine()
        subject = Real(live)
        subject.forget_hooks()
        yield subject
        subject.tidy()
    finally:
        live.login(f"rm -f {SPOOL}/*")
        _suspend_after(live, _NEVER, usual)
        live.start_engine()


def _suspend_after(live: Live, before: int, seconds: int) -> None:
    change = f"s/ SuspendTime={before} / SuspendTime={seconds} /"
    live.login(f"sed -i '{change}' {CONF} && scontrol reconfigure")


def named(calls: Sequence[tuple[str, str]], mode: str) -> list[str]:
    """Name the nodes of all calls of a hook."""
    return [node for called, hostlist in calls if called == mode for node in expand_any(hostlist)]
