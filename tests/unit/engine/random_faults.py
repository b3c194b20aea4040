"""What goes wrong in random stories: the engine dies, clocks are set, servers stop, the cloud is away."""

from dataclasses import replace
from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import rule

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.nodes import Limit
from slurm_powersave.testing.world import STEP
from tests.unit.engine.checks import TROUBLES, run, servers
from tests.unit.engine.jolts import stand_still
from tests.unit.engine.random_people import NODES, People


class Faults(People):
    """A cloud with moods, and a mortal engine."""

    # Time and death

    @rule(confirmed=st.booleans())
    def the_journal_is_lost(self, confirmed: bool) -> None:
        self.fuse.armed, self.forgetful = False, True
        self.world.journal = SqliteJournal(":memory:")
        self.fuse.watch("journal")
        self.world.crash()
        if confirmed:
            self.world.journal.confirm(self.world.clock.now())

    @rule(nodes=st.sets(NODES, min_size=1), asked=st.booleans())
    def slurm_calls_running_nodes_off(self, nodes: set[str], asked: bool) -> None:
        """slurmctld has lost its state; the servers say what runs there, or nothing."""
        if self.world.journal.unplanned_requests():
            return  # a call of Slurm's that nobody has read yet is newer than the last look at a job
        for name in nodes - {op.node for op in self.world.journal.open_operations()}:
            node = self.world.slurm.node(name)
            if node.up and node.in_use:
                self.world.playbooks.steps[name] = True if asked else None
                self.lied[name] = self.world.clock.now()
                flags = frozenset({"IDLE", "CLOUD", "POWERED_DOWN"})
                self.world.slurm.put(replace(node, flags=flags))

    @rule(node=NODES, status=st.sampled_from(["SHUTOFF", "ERROR", "SUSPENDED", "RESCUE", "ACTIVE"]))
    def a_server_stops(self, node: str, status: str) -> None:
        if status == "SHUTOFF":
            self.lied.pop(node, None)  # nothing runs there any more
        for server_id in servers(self.world).get(node, []):
            self.world.cloud.set_status(server_id, status)

    @rule(
        node=NODES,
        how=st.sampled_from(["silent", "SHUTOFF", "SUSPENDED", "only its slurmd has ended"]),
        minutes=st.sampled_from([0, 2, 5]),
    )
    def slurm_can_not_reach_a_node(self, node: str, how: str, minutes: int) -> None:
        """It was up; its job is requeued."""
        self.submit({node})
        run(self.world, 15, STEP)
        seen = self.world.slurm.node(node)
        if not seen.up or node in {*self.lied, *self.set_by_hand}:
            return
        if how == "silent":
            self.world.silent.add(node)
        elif how.isupper():
            self.a_server_stops(node, how)
        self.world.slurm.requeue(node)
        flags = frozenset({"DOWN", "CLOUD", "NOT_RESPONDING"})
        self.world.slurm.put(replace(seen, flags=flags, reason="Not responding", reason_by="slurm"))
        run(self.world, 60 * minutes, 1)

    @rule(node=NODES)
    def it_answers_again(self, node: str) -> None:
        self.world.silent.discard(node)
        self._heard(node)

    def _heard(self, name: str) -> None:
        """A slurmd that runs on registers when it can."""
        node = self.world.slurm.node(name)
        runs = self.world.boots(self.world.cluster.node_spec(name))
        if runs and node.has("DOWN") and node.has("NOT_RESPONDING") and node.reason == "Not responding":
            self.world.slurm.register(name, booted=False)

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, 7.0, 25.0]))
    def time_passes(self, seconds: float) -> None:
        run(self.world, seconds, STEP)

    @rule()
    def crash(self) -> None:
        self.fuse.armed = False
        self.world.crash()

    @rule(seconds=st.sampled_from([-7200, -60, -1, 1, 60, 3600]))
    def the_clock_is_set(self, seconds: float) -> None:
        self.world.clock.jump(seconds)

    @rule(seconds=st.sampled_from([3, 20, 120]), away=st.booleans(), booted=st.booleans())
    def the_engine_does_nothing(self, seconds: float, away: bool, booted: bool) -> None:
        """It is stopped, or away; its host may be booted in the meantime."""
        stand_still(seconds, self.world)
        if away and booted:
            self.world.clock.reboot()
        if away:
            self.fuse.armed = False
            self.world.crash()

    @rule(kind=st.sampled_from(sorted(TROUBLES)), after=st.integers(1, 12), instead=st.booleans())
    def an_error_is_met(self, kind: str, after: int, instead: bool) -> None:
        """The host of the engine is in trouble at one of its next effects."""
        self.fuse.light(after, kind, instead=instead)

    @rule(
        after=st.integers(1, 12),
        still=st.sampled_from([0, 3, 20, 120]),
        clock=st.sampled_from([-7200, 0, 3600]),
    )
    def a_step_is_interrupted(self, after: int, still: float, clock: float) -> None:
        """The engine stands still, and the clock is set, in the middle of one of its next steps."""
        self.fuse.halt(after, partial(self._interrupt, still, clock))

    def _interrupt(self, still: float, clock: float) -> None:
        stand_still(still, self.world)
        self.world.clock.jump(clock)

    # Faults

    @rule(node=NODES, how=st.sampled_from(["locked", "stuck", ""]), seconds=st.sampled_from([0, 60, 200]))
    def a_server_is_not_deleted(self, node: str, how: str, seconds: float) -> None:
        """Somebody has locked it, or its deletion is accepted and does not end."""
        cloud = self.world.cloud
        for server_id in servers(self.world).get(node, []):
            (cloud.locked.add if how == "locked" else cloud.locked.discard)(server_id)
            (cloud.undying.add if how == "stuck" else cloud.undying.discard)(server_id)
        if how and servers(self.world).get(node):
            run(self.world, seconds, 1)

    @rule(node=NODES, on=st.booleans(), seconds=st.sampled_from([0, 30]))
    def a_play_hangs(self, node: str, on: bool, seconds: float) -> None:
        (self.world.playbooks.hangs.add if on else self.world.playbooks.hangs.discard)(node)
        if on and self.world.slurm.node(node).powering_up:
            run(self.world, seconds, STEP)

    @rule(node=NODES, text=st.sampled_from(["Quota exceeded for cores", "No valid host was found", ""]))
    def create_fault(self, node: str, text: str) -> None:
        self.world.cloud.create_faults.pop(node, None)
        if text:
            self.world.cloud.create_faults[node] = text

    @rule(node=NODES, on=st.booleans())
    def error_fault(self, node: str, on: bool) -> None:
        self.world.cloud.error_faults.pop(node, None)
        if on:
            self.world.cloud.error_faults[node] = "Build of instance aborted"

    @rule(flavor=st.sampled_from(["small", "large"]), on=st.booleans())
    def no_room_for(self, flavor: str, on: bool) -> None:
        (self.world.cloud.full.add if on else self.world.cloud.full.discard)(flavor)

    @rule(instances=st.sampled_from([0, 1, 2, None]))
    def quota(self, instances: int | None) -> None:
        self.world.cloud.limits = {"instances": Limit(instances, 0), "cores": Limit(9, 0)}

    @rule(node=NODES, on=st.booleans())
    def boot_fault(self, node: str, on: bool) -> None:
        (self.world.cloud.never_boots.add if on else self.world.cloud.never_boots.discard)(node)

    @rule(on=st.booleans())
    def slurm_unreachable(self, on: bool) -> None:
        self.world.slurm.unreachable = "Unable to contact slurm controller" if on else ""

    @rule(node=NODES, on=st.booleans())
    def node_unreadable(self, node: str, on: bool) -> None:
        (self.world.slurm.unreadable.add if on else self.world.slurm.unreadable.discard)(node)

    @rule(on=st.booleans())
    def cloud_unreachable(self, on: bool) -> None:
        self.world.cloud.unreachable = "503 Service Unavailable" if on else ""

    @rule(shard=st.sampled_from(["mem/nodes-001", "mem/nodes-002"]), on=st.booleans())
    def state_locked(self, shard: str, on: bool) -> None:
        (self.world.terraform.locked.add if on else self.world.terraform.locked.discard)(shard)

    @rule(shard=st.sampled_from(["mem/nodes-001", "mem/nodes-002"]), on=st.booleans())
    def state_unreadable(self, shard: str, on: bool) -> None:
        broken = self.world.terraform.broken_shards
        (broken.add if on else broken.discard)(shard)

    @rule(node=NODES)
    def server_vanishes(self, node: str) -> None:
        for server_id in servers(self.world).get(node, []):
            self.world.cloud.vanish(server_id)
            self.gone.add(node)
