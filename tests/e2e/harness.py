"""A real cluster on the local cloud, deployed once for all end-to-end tests."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.slurm.slurm_text import parse_node
from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.model.nodes import Operation, SlurmNode
from slurm_powersave.model.phases import JOINED
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has
from tests.e2e.cluster_file import CLUSTER_FILE
from tests.e2e.connection import Connection
from tests.e2e.guests import CHECKOUT, MAIN_SLURM, guest_image
from tests.evidence import Evidence, kept, operations, tail

LOCAL_CLOUD = CHECKOUT / "demo" / "local_cloud" / "cli.py"
OFF = "POWERED_DOWN"
CONF = "/etc/slurm/slurm.conf /etc/slurm/slurm-powersave.d/written/slurm.conf"
"""slurm.conf, and how it was written: a test that edits both does what a deploy would have done."""


class Live:
    """The cluster below one directory, its engine, and what a test does to them."""

    python = sys.executable
    """What our command and the engine are run with."""
    module = "slurm_powersave.surfaces.cli.main"

    def __init__(
        self,
        root: Path,
        name: str = "e2e",
        bridge: str = "br-sps-test",
        network: str = "10.80",
        slurm: str = MAIN_SLURM,
    ) -> None:
        """`network` is the first half of all addresses, `slurm` the version of Slurm."""
        self.root, self.file, self.slurm = root, root / "cluster.yml", slurm
        self.name, self.bridge, self.network = name, bridge, network
        self.image = ""
        self.environment: dict[str, str] | None = None
        """Of our command and the engine; None: this process's own."""
        self.made = False
        """Whether it is deployed, as far as `make` and `remove` know."""
        self._engine: subprocess.Popen[bytes] | None = None
        self._left: Evidence = {}
        self._connection = Connection(root, f"{network}.0.10")

    # Making and removing

    def make(self, **changes: Any) -> None:
        """Build image and mirror, deploy, start the engine; `changes` are those of `write`."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.image = guest_image(self.slurm)
        self.write(**changes)
        subprocess.run([sys.executable, CHECKOUT / "demo/provider/mirror", self.root / "mirror"], check=True)
        self.command("deploy", "--yes", timeout=300)
        self.start_engine()
        self.made = True

    def write(
        self,
        *,
        fast_start: bool = True,
        suspend_time: int = 5,
        terraform: str = "terraform",
        image: str = "default",
        reboot_from_controller: bool = True,
        login: int = 10,
        restart_after: int = 300,
        silent_after: int = 1800,
    ) -> None:
        """Write the cluster file; what was deployed is not touched.

        `image` is the pool's: default or newer, the same under two names. `login` is the last part of the
        login node's address.
        """
        text = CLUSTER_FILE.format(
            checkout=CHECKOUT,
            image=self.image,
            pool_image=image,
            name=self.name,
            slurm=self.slurm,
            bridge=self.bridge,
            network=self.network,
            fast_start=str(fast_start).lower(),
            suspend_time=suspend_time,
            terraform=terraform,
            reboot_from_controller=str(reboot_from_controller).lower(),
            login=login,
            restart_after=restart_after,
            silent_after=silent_after,
        )
        self.file.write_text(text)

    def remove(self) -> None:
        """Take away everything that this or a killed run has made."""
        self.made = False
        self.stop_engine(signal.SIGKILL)
        self._connection.close()
        argv = [sys.executable, LOCAL_CLOUD, "--root", self.root / "cloud", "clean"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        self.forget()

    def forget(self) -> None:
        """Delete the directory; what it would tell of a test that has failed is kept."""
        self._left = kept(self._files())
        subprocess.run(["rm", "-rf", self.root], check=True)

    @property
    def cluster(self) -> Cluster:
        """The cluster file as it is now."""
        return load(self.file)

    # Our command and the engine

    def argv(self, *words: str) -> list[str]:
        """Return the argv of our command for this cluster."""
        return [self.python, "-m", self.module, "--cluster", str(self.file), *words]

    def command(self, *words: str, timeout: float = 60, rc: int = 0) -> str:
        """Run our command and return its output; AssertionError if it leaves with another code."""
        done = subprocess.run(
            self.argv(*words),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=self.environment,
        )
        assert done.returncode == rc, (words, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout + done.stderr

    def start_engine(self, *before: str) -> None:
        """Start the engine, by another program if one is named, and wait until it holds the lock."""
        with (self.root / "engine.log").open("ab") as log:
            self._engine = subprocess.Popen(
                [*before, *self.argv("engine", "run")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
            )
        self.wait("the engine runs", lambda: lock.holder(self.root / "state/engine.lock"), 15)

    def stop_engine(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the engine, also one that an earlier run has left."""
        if self._engine is None:
            found = lock.holder(self.root / "state/engine.lock")
            if found and found.get("pid"):
                os.kill(int(str(found["pid"])), how)
            return
        self._engine.send_signal(how)
        self._engine.wait(20)
        self._engine = None

    def kill_engine(self, *, with_terraform: bool = False) -> None:
        """SIGKILL the engine; then its running terraform, too, as a crash of the host would."""
        self.stop_engine(signal.SIGKILL)
        journal = self.journal()
        try:
            for run in journal.runs() if with_terraform else []:
                os.killpg(run.record.pid, signal.SIGKILL)
        finally:
            journal.close()

    def kill_stream(self) -> None:
        """SIGKILL the ssh that carries the requests."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.engine_pid), "-f", "slurm-powersave/reader"],
            capture_output=True,
            text=True,
            check=True,
        )
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def cut_network(self, cut: bool) -> None:
        """Take the bridge down, or up again."""
        subprocess.run(["ip", "link", "set", self.bridge, "down" if cut else "up"], check=True)

    def slurm_has(self, difference: Difference) -> bool:
        """Tell whether this cluster's version of Slurm does it."""
        return has(Version.of(self.slurm), difference)

    @property
    def engine_pid(self) -> int:
        """The engine's process."""
        assert self._engine
        return self._engine.pid

    def log(self) -> str:
        """Return what the engine has logged."""
        return (self.root / "engine.log").read_text()

    # Slurm

    def login(self, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell command on the login node and return its output."""
        return self.ssh(f"{self.network}.0.10", command, check=check, timeout=timeout)

    def ssh(self, address: str, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell command on a machine of the cluster and return its output."""
        return self._connection.run(address, command, check=check, timeout=timeout)

    def sbatch(self, options: str, script: str = "hostname") -> int:
        """Submit a batch job; its output goes to /mnt/ohpc/ID.out."""
        return int(self.login(f"sbatch --parsable -o /mnt/ohpc/%A.out {options} --wrap '{script}'"))

    def job(self, job: int) -> dict[str, str]:
        """Read a job's fields; empty when Slurm has forgotten it."""
        text = self.login(f"scontrol -o show job {job}", check=False)
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def job_done(self, job: int, seconds: float = 60) -> None:
        """Wait until a job has completed; AssertionError if it ends in another way."""
        ended = ("FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")

        def done() -> bool:
            state = self.job(job).get("JobState", "")
            assert state not in ended, (job, state)
            return state == "COMPLETED"

        self.wait(f"job {job} has completed", done, seconds)

    def node(self, name: str) -> SlurmNode:
        """Read a node."""
        found = parse_node(self.login(f"scontrol -o show node {name}"))
        assert found
        return found

    def nodes(self) -> dict[str, SlurmNode]:
        """Read all nodes of the cluster."""
        found = map(parse_node, self.login("scontrol -o show node").splitlines())
        return {node.name: node for node in found if node}

    def boots(self, *nodes: str) -> dict[str, str]:
        """Return the boot ids of nodes, as they themselves tell them; the longest-lived proof of no touch."""
        found = {}
        for name in nodes:
            address = f"{self.network}.1.{name.rpartition('-')[2]}"
            found[name] = self.ssh(address, "cat /proc/sys/kernel/random/boot_id")
        return found

    def idle(self, *nodes: str) -> None:
        """Bring nodes up and keep them: until `rest` they are not suspended."""
        expression = ",".join(nodes)
        self.except_from_suspend(expression)
        self.command("resume", expression, "--wait", "--timeout", "60", timeout=70)
        self.wait("Slurm counts them as up", lambda: self.up(*nodes), 20)

    def except_from_suspend(self, expression: str) -> None:
        """Set SuspendExcNodes; empty: none."""
        line = f"echo SuspendExcNodes={expression} | tee -a {CONF} >/dev/null" if expression else ":"
        self.login(f"sed -i '/^SuspendExcNodes=/d' {CONF}; {line}; scontrol reconfigure")

    # The cloud and the journal

    def cloud(self, *words: str) -> Any:
        """Run the local cloud's command."""
        argv = [sys.executable, str(LOCAL_CLOUD), "--root", str(self.root / "cloud"), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def servers(self) -> dict[str, str]:
        """Return the compute nodes' servers: name -> id."""
        listed = self.cloud("list", "--tag", f"cluster={self.name}")
        return {server["name"]: server["id"] for server in listed if server["name"] != f"{self.name}-login"}

    def fault(self, kind: str, node: str, *, times: int = 1, text: str = "") -> None:
        """Order a fault of the cloud for a node."""
        extra = ["--text", text] if text else []
        self.cloud("fault", "add", kind, "--match", node, "--times", str(times), *extra)

    def journal(self) -> SqliteJournal:
        """Open the journal."""
        return SqliteJournal(self.root / "state/journal.db")

    def newest(self, node: str, mode: str = "resume") -> Operation:
        """Return a node's newest operation of a mode; one that only joined another has nothing to tell."""
        journal = self.journal()
        try:
            ops = journal.history(node, 50)
            return next(op for op in ops if op.mode == mode and op.outcome != JOINED)
        finally:
            journal.close()

    def refusals(self) -> list[tuple[str, str]]:
        """Return what was refused of the newest requests."""
        journal = self.journal()
        try:
            return journal.recent_refusals()
        finally:
            journal.close()

    def open_operations(self) -> list[Operation]:
        """Return what is under way."""
        journal = self.journal()
        try:
            return journal.open_operations()
        finally:
            journal.close()

    def phases(self) -> dict[str, str]:
        """Return the phase of each node that an operation is under way for."""
        return {operation.node: operation.phase for operation in self.open_operations()}

    # Waiting

    def wait(self, what: str, done: Callable[[], object], seconds: float) -> None:
        """Wait until something is so; AssertionError if it is not."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                raise AssertionError(f"timed out after {seconds:g} s, waiting for this: {what}")
            time.sleep(0.3)

    def up(self, *nodes: str) -> bool:
        """Tell whether Slurm counts all these nodes as up."""
        return all(self.node(name).up for name in nodes)

    def evidence(self) -> Evidence:
        """What a test that has failed tells of this cluster."""
        if not self.root.exists():
            return self._left
        asked = "scontrol -o show node; squeue"
        return {**self._files(), "Slurm": lambda: self.login(asked, check=False, timeout=10)}

    def _files(self) -> Evidence:
        return {
            "operations": lambda: operations(self.root / "state/journal.db"),
            "engine's log": lambda: tail(self.root / "engine.log"),
        }

    def rest(self) -> None:
        """Bring the cluster to rest: no job, no fault, no node up, nothing under way."""
        self.cloud("fault", "clear")
        self.login("scancel -u root", check=False)

        def quiet() -> bool:
            states = self.nodes()
            # Released while it was off, a node is NOT_RESPONDING, and after a reconfigure no job gets it.
            stuck = [n for n, node in states.items() if node.flags >= {OFF, "IDLE", "NOT_RESPONDING"}]
            idle = [n for n, node in states.items() if node.up and not node.in_use] + stuck
            idle += [n for n in self.servers() if n in states and OFF in states[n].flags]
            if idle:
                self.login(f"scontrol update nodename={','.join(idle)} state=POWER_DOWN", check=False)
            off = all(OFF in node.flags and not node.has("DRAIN", "DOWN") for node in states.values())
            return off and not stuck and not self.servers() and not self.open_operations()

        self.wait("the cluster is at rest", quiet, 90)
