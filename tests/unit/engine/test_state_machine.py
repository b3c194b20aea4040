"""Anything may happen in any order: the invariants hold all the way, and at rest all are of one mind.

`make test` runs forty short stories, the same every time; `make test-all` three thousand new ones.
"""

import math
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.decide.node.admin_state import NO_REASON
from slurm_powersave.decide.node.failure_policy import FOREVER
from slurm_powersave.engine.reconcile.own_account import OWN_ROWS
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Limit
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.testing.world import STEP, MemoryWorld, cluster
from tests.unit.engine.checks import (
    TROUBLES,
    Fuse,
    assert_agreed,
    assert_one_outcome_each,
    coarsely,
    run,
    servers,
)
from tests.unit.engine.jolts import stand_still

NAMES = ("n1", "n2", "n3")
NODES = st.sampled_from(NAMES)
REST = {"quota": 20, "capacity": 20, "node-local": 20, "unknown": 20, "config": 20, "auth": 20}


class Cluster(RuleBasedStateMachine):
    """Three nodes, their users, operators, a cloud with moods, and a mortal engine."""

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
            hold = self.world.journal.holds().get(name)
            if hold and hold.until >= FOREVER:
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
        runs = self.world.boots(self.world.cluster.desired(name))
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

    # What must hold

    @invariant()
    def no_invariant_was_broken(self) -> None:
        assert not self.wrong, self.wrong
        assert all(len(ids) == 1 for ids in servers(self.world).values())

    @invariant()
    def every_planned_request_has_one_operation_a_node(self) -> None:
        pairs = [(op.request, op.node) for op in self.world.journal.history(limit=1000)]
        assert len(pairs) == len(set(pairs))

    @invariant()
    def nothing_goes_on_our_own_account_that_may_run_a_job(self) -> None:
        acts = self.world.journal.acts_since(0.0, OWN_ROWS)
        assert not [act for act in acts if act.at > self.lied.get(act.node, act.at)], acts

    @invariant()
    def a_dead_server_is_started_again_once(self) -> None:
        acts = self.world.journal.acts_since(0.0, [Row.DEAD])
        started = [act.subject for act in acts if act.act == Act.REBOOT]
        assert len(started) == len(set(started)), acts

    def teardown(self) -> None:
        world = self.world
        self.fuse.armed = False
        self.nothing_goes_on_our_own_account_that_may_run_a_job()
        self.lied.clear()
        world.playbooks.steps.clear()
        world.journal.set_brake("")
        world.cloud.create_faults.clear()
        world.cloud.error_faults.clear()
        world.cloud.never_boots.clear()
        world.cloud.locked.clear()
        world.cloud.undying.clear()
        world.playbooks.hangs.clear()
        for apply in world.terraform.runs.values():
            if apply.ends == math.inf:  # a journal that is lost knows nothing of it; its provider gives up
                apply.interrupt()
        world.cloud.full.clear()
        world.cloud.limits.clear()
        world.cloud.unreachable = world.slurm.unreachable = ""
        world.slurm.unreadable.clear()
        world.terraform.locked.clear()
        world.terraform.broken_shards.clear()
        world.silent.clear()
        for server in world.cloud.alive():
            if server.status == "RESCUE":
                world.cloud.set_status(server.id, "ACTIVE")
        for name in servers(world):
            self._heard(name)
        coarsely(world, 30)
        self._all_go_on()
        coarsely(world, 1000, step=2)  # until what nobody wants is deleted
        self._all_go_on()  # those that were on their way
        for name in servers(world):
            if world.slurm.node(name).has(
                "POWERED_DOWN"
            ):  # it does not answer, so a person says that it may go
                world.request(Mode.SUSPEND, name, source="operator")
        coarsely(world, 350)  # longer than any rest, and than two rounds of comparing
        for node in self.gone:
            # slurmctld would have found it not responding, and its administrator powers it down.
            if world.slurm.node(node).up and not servers(world).get(node):
                world.slurm.requeue(node)
                world.slurm.suspend(node)
        coarsely(world, 60)
        self._a_person_does_what_status_says()
        world.settle(400)
        assert not self.wrong, self.wrong
        assert_one_outcome_each(world)
        assert_agreed(world)
        assert not world.journal.holds()


_FEW = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
_MANY = settings(_FEW, max_examples=500, stateful_step_count=60, derandomize=False)

TestCluster = Cluster.TestCase
TestCluster.settings = _FEW


@pytest.mark.slow
@pytest.mark.parametrize("_part", range(6))  # several of them share the processors
def test_many_more_stories(_part: int) -> None:
    run_state_machine_as_test(Cluster, settings=_MANY)
