"""What users, Slurm, operators and administrators do in random stories."""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from slurm_powersave.decide.node.admin_state import NO_REASON
from slurm_powersave.decide.node.failure_policy import FOREVER
from slurm_powersave.model.modes import Mode
from slurm_powersave.testing.world import MemoryWorld, cluster
from tests.unit.engine.checks import Fuse, servers

NAMES = ("n1", "n2", "n3")
NODES = st.sampled_from(NAMES)
REST = {"quota": 20, "capacity": 20, "node-local": 20, "unknown": 20, "config": 20, "auth": 20}


class People(RuleBasedStateMachine):
    """Three nodes, their users, operators and administrators."""

    def __init__(self) -> None:
        super().__init__()
        pool = cluster(len(NAMES)).node_pools[0].model_dump(mode="json")
        self.world = MemoryWorld.of(
            len(NAMES),
            terraform={"apply_timeout": 100},
            node_pools=[pool | {"flavors": ["small", "large"]}],
            failure={
                "rest": REST,
                "boot_timeout": 15,
                "configure_timeout": 20,
                "registration_timeout": 15,
                "restart_after": 5,
                "silent_after": 100,
            },
        )
        self.world.slurm.resume_timeout = 90.0
        self.wrong: list[str] = []
        self.gone: set[str] = set()
        self.set_by_hand: dict[str, tuple[str, str]] = {}
        """Node -> what an administrator has set, and why."""
        self.forgetful = False
        """Whether the journal was lost."""
        self.lied: dict[str, float] = {}
        """Nodes whose job runs on although Slurm calls them off -> since when."""
        self._watch()
        self.fuse = Fuse(self.world)

    def _watch(self) -> None:
        cloud, slurm = self.world.cloud, self.world.slurm
        create, drop = cloud.create, cloud.drop

        def watched_create(entry, tags):  # type: ignore[no-untyped-def]
            if servers(self.world).get(entry.node.name):
                self.wrong.append(f"a second server for {entry.node.name}")
            self.lied.pop(entry.node.name, None)  # nothing runs on a new one
            return create(entry, tags)

        def watched_drop(server_id: str) -> None:
            for name in [server.name for server in cloud.alive() if server.id == server_id]:
                node = slurm.node(name)
                if name in self.lied:
                    self.wrong.append(
                        f"{node.name} deleted although it says that a job runs there, or nothing"
                    )
                if node.in_use and node.up:
                    self.wrong.append(f"{node.name} deleted in use: {sorted(node.flags)}")
            drop(server_id)

        cloud.create = watched_create  # type: ignore[method-assign]
        cloud.drop = watched_drop  # type: ignore[method-assign]

    # Users and Slurm

    @rule(nodes=st.sets(NODES, min_size=1))
    def submit(self, nodes: set[str]) -> None:
        free = [
            name
            for name in sorted(nodes)
            if self.world.slurm.node(name).has("IDLE")
            and not self.world.slurm.node(name).has("DRAIN", "POWERING_UP", "POWER_DOWN", "POWERING_DOWN")
        ]
        if free:
            self.world.slurm.submit(*free)

    @precondition(lambda self: self.world.slurm.jobs)
    @rule(choice=st.integers(0, 20))
    def end(self, choice: int) -> None:
        jobs = sorted(self.world.slurm.jobs)
        self.world.slurm.end(jobs[choice % len(jobs)])

    @rule(nodes=st.sets(NODES, min_size=1))
    def suspend(self, nodes: set[str]) -> None:
        idle = [
            name
            for name in sorted(nodes)
            if self.world.slurm.node(name).up and not self.world.slurm.node(name).in_use
        ]
        if idle:
            self.world.slurm.suspend(*idle)

    @rule(node=NODES)
    def power_down_while_coming_up(self, node: str) -> None:
        if self.world.slurm.node(node).powering_up:
            self.world.slurm.requeue(node)
            self.world.slurm.suspend(node)

    # Operators, and hooks that say it twice or too late

    @rule(mode=st.sampled_from([Mode.RESUME, Mode.SUSPEND]), node=NODES)
    def operator(self, mode: Mode, node: str) -> None:
        if node not in self.lied:  # a person's word is enough for one that Slurm calls off
            self.world.request(mode, node, source="operator")

    @rule(mode=st.sampled_from([Mode.RESUME, Mode.SUSPEND, Mode.RESUME_FAIL]), nodes=st.sets(NODES))
    def stray_hook(self, mode: Mode, nodes: set[str]) -> None:
        # Slurm's own call is enough for one that it calls off.
        self.world.request(mode, ",".join([*sorted(nodes - self.lied.keys()), "x9"]))

    # An administrator

    @rule(node=NODES, reason=st.sampled_from(["bad DIMM", "", "prüfen"]))
    def drains(self, node: str, reason: str) -> None:
        self._set_by_hand(node, "DRAIN", reason)

    @rule(node=NODES)
    def sets_down(self, node: str) -> None:
        if not self.world.slurm.node(node).powering_up:
            self.world.slurm.requeue(node)
            self._set_by_hand(node, "DOWN", "no fan")

    def _set_by_hand(self, name: str, state: str, reason: str) -> None:
        node = self.world.slurm.node(name)
        if node.has("POWER_DOWN", "DRAIN", "DOWN", "POWERING_UP"):
            return
        flags = (node.flags - {"IDLE"} if state == "DOWN" else node.flags) | {state}
        self.world.slurm.put(replace(node, flags=flags, reason=reason, reason_by="root"))
        self.set_by_hand[name] = (state, reason)

    def _all_go_on(self) -> None:
        """Lift all that was set by hand; Slurm refuses it of a node that comes or goes."""
        for name in self.world.cluster.nodes():
            node = self.world.slurm.node(name)
            # Slurm 22.05 forgets the reason at POWER_UP: without the journal nobody knows whose DRAIN it is.
            unknown = self.forgetful and node.has("DRAIN") and node.reason in ("", NO_REASON)
            if (name in self.set_by_hand or unknown) and not node.has(
                "POWERING_UP", "POWER_DOWN", "POWERING_DOWN"
            ):
                self.world.slurm.resume(name)

    def _a_person_does_what_status_says(self) -> None:
        """Lift what the engine leaves to persons: states that are not its own, and rests without an end."""
        for name in self.world.cluster.nodes():
            node = self.world.slurm.node(name)
            backoff = self.world.journal.node_backoffs().get(name)
            if backoff and backoff.until >= FOREVER:
                self.world.request(Mode.RESUME, name, source="operator")
            elif node.has("DOWN", "DRAIN") and not node.reason.startswith("slurm-powersave:"):
                self.world.slurm.resume(name)
                if servers(self.world).get(name):  # its slurmd runs, and says so
                    self.world.slurm.register(name, booted=False)

    @precondition(lambda self: self.set_by_hand)
    @rule(choice=st.integers(0, 20))
    def lets_it_go_on(self, choice: int) -> None:
        name = sorted(self.set_by_hand)[choice % len(self.set_by_hand)]
        if not self.world.slurm.node(name).has("POWERING_UP", "POWER_DOWN", "POWERING_DOWN"):
            self.world.slurm.resume(name)
            self.set_by_hand.pop(name)

    @rule(node=NODES)
    def powers_up(self, node: str) -> None:
        if self.world.slurm.node(node).has("POWERED_DOWN"):
            self.world.slurm.power_up(node)
