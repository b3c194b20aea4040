"""Anything may happen in any order: the invariants hold all the way, and at rest all are of one mind.

`make test` runs forty short stories, the same every time; `make test-all` three thousand new ones.
"""

import math

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from slurm_powersave.engine.reconcile.own_account import OWN_ROWS
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.permit import Act, Row
from tests.unit.engine.checks import assert_agreed, assert_one_outcome_each, coarsely, servers
from tests.unit.engine.random_faults import Faults


class Cluster(Faults):
    """Three nodes, their users, operators, a cloud with moods, and a mortal engine."""

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
        assert not world.journal.node_backoffs()


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
