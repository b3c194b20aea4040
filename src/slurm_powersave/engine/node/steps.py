"""One step of each operation: what its phase waits for, and what comes next.

Each handler reads, returns early when there is nothing to do yet, and then acts once; so an engine
that was killed goes on where the journal says.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node.admin_state import NO_REASON, set_by, state_by_admin
from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.registration import Stage, registration
from slurm_powersave.engine.faults import Faults
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.node.deletions import Deletions
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.node.limits import Limits
from slurm_powersave.engine.node.reboots import Reboots
from slurm_powersave.engine.node.restarts import Restarts
from slurm_powersave.engine.node.ways import Ways
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.pausing import HELD, Pausing
from slurm_powersave.engine.runs.batches import Batches
from slurm_powersave.engine.world import World
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Failure, Operation, Server, SlurmNode
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.server_status import OFF

log = logging.getLogger("slurm_powersave")


class Steps:
    """The handlers by phase. Those of PLANNING to DELETING are the batches' own."""

    def __init__(
        self,
        world: World,
        operations: Operations,
        batches: Batches,
        guard: Guarding,
        pauses: Pausing,
        faults: Faults,
    ) -> None:
        self._faults = faults
        self._world, self._ops, self._batches, self._guard = world, operations, batches, guard
        self._timing = world.timing
        self._pauses = pauses
        self._calls = NodeCalls(world)
        self._limits = Limits(world, operations)
        self.ways = Ways(world, operations, self._calls, batches.results.by_server_id)
        self.reboots = Reboots(world, operations, self._calls, guard, self.ways)
        self._restarts = Restarts(world, operations, self._calls, guard)
        self._deletions = Deletions(world, operations, batches, self._calls, guard, self.ways)
        self._handlers: dict[str, Callable[[Operation], None]] = {
            phases.WAITING: self._waiting,
            phases.ASKING: self._asking,
            phases.CHECKING: self._checking,
            phases.RECOVERING: self._recovering,
            phases.BOOTING: self._booting,
            phases.REGISTERING: self._registering,
            **self._deletions.handlers,
        }

    def step(self) -> None:
        """Give every operation its chance to go on."""
        for op in self._ops:
            if self._ops.get(op.id) is not op:
                continue  # an earlier one's step has changed it
            with self._faults.during(op.id):
                self._step(op)
        for op in self._ops.in_phase(*phases.GOING):
            with self._faults.during(op.id):
                self._deletions.look(op, held=self._held(op))

    def _step(self, op: Operation) -> None:
        if op.phase not in phases.IN_BATCH and (later := self._ops.superseded(op)):
            self._give_up(op, later)
        elif not self._paused(op) and not self._limits.over(op) and (handler := self._handler(op)):
            handler(self._ops.get(op.id) or op)  # it may say by now what it waits for

    def _held(self, op: Operation) -> bool:
        return op.phase in HELD and bool(self._pauses.why(op.node))

    def _give_up(self, op: Operation, later: Operation) -> None:
        """End what brings a node up for the delete behind it; where Slurm has lost patience it has failed."""
        if op.mode is Mode.RESUME and later.mode is Mode.RESUME_FAIL and op.phase not in phases.NOT_BEGUN:
            limit = self._world.cluster.power_save.resume_timeout
            text = f"Slurm gave the node up: it was {op.phase} when ResumeTimeout ({limit} s) was over"
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))
        else:
            self._ops.finish(op, phases.CANCELLED, f"given up for operation {later.id}")

    def _paused(self, op: Operation) -> bool:
        """Tell whether an operation waits until a person lets it go on; what has no server may end."""
        if not self._held(op):
            return False
        if op.phase == phases.DELETE_QUEUED and self._calls.servers(op) == ():
            return False
        if op.failure is None and (
            failure := self._pauses.too_late(op, self._ops.age(op), self._pauses.why(op.node))
        ):
            self._ops.fail(op, failure)
        return True

    def _handler(self, op: Operation) -> Callable[[Operation], None] | None:
        own = self.reboots.handlers if op.mode is Mode.REBOOT else {}
        own = self._restarts.handlers if op.kind is Kind.RESTART else own
        return own.get(op.phase) or self._handlers.get(op.phase)

    def _waiting(self, op: Operation) -> None:
        if self._ops.queue(op.node)[0].id == op.id:
            self._ops.begin(op)

    def _asking(self, op: Operation) -> None:
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None:
            return
        if op.mode is Mode.RESUME:
            if node.has("POWERING_UP"):
                self._ops.move(op, phases.CHECKING)
            elif (admin_state := state_by_admin(node)) and not self._guard.forced(op):
                text = (
                    f"{set_by(node, admin_state)} ({node.reason or NO_REASON}); --force powers it up as it is"
                )
                self._ops.finish(op, phases.REFUSED, text)
            elif node.has("POWERED_DOWN"):
                if admin_state:
                    self._calls.remember_admin_state(node, admin_state)
                if backoff := self._world.journal.node_backoffs().get(op.node):
                    # An operator's word ends the rest; a DRAIN that somebody else set stays.
                    if (
                        node.has("DRAIN")
                        and node.reason == backoff.reason
                        and failure_policy.is_ours(backoff.reason)
                    ):
                        self._calls.tell(op, "RESUME")
                    self._world.journal.drop_node_backoff(backoff.node)
                self._calls.tell(op, "POWER_UP")
                self._ops.move(op, phases.CHECKING)
            elif node.up:
                self._ops.finish(op, phases.DONE, "it is up already")
            elif not node.going_down:
                flags = node.state
                self._ops.finish(op, phases.REFUSED, f"Slurm shows {flags}: {node.reason or 'no reason'}")
        else:
            self._ask_to_go(op, node)

    def _ask_to_go(self, op: Operation, node: SlurmNode) -> None:
        """A person's suspend: Slurm is asked, unless something protects the node and it is not forced."""
        answer = self._guard.asked_to_go(op)
        if answer is None:
            return
        if isinstance(answer, Refusal):
            self._ops.finish(op, phases.REFUSED, answer.why)
            return
        if not (node.going_down or node.powering_up):
            if admin_state := state_by_admin(node):
                self._calls.remember_admin_state(node, admin_state)
            self._guard.record(answer, op.id)
            self._calls.tell(op, answer.act, permits=[answer])
        self._ops.move(op, phases.CHECKING)

    def _checking(self, op: Operation) -> None:
        servers = self._calls.servers(op)
        snapshot = self._world.slurm_view.snapshot(op.asked)
        if snapshot is None or servers is None or op.node in snapshot.unreadable:
            return
        if not servers:
            self._calls.forget_server(op)
        node = snapshot.nodes.get(op.node)
        flags = node.state if node else "no such node"
        late = self._ops.waited(op, self._world.slurm_view.began) > self._timing.slurm_lag
        if op.mode is Mode.RESUME:
            if (backoff := self._world.journal.node_backoffs().get(op.node)) and self._world.in_backoff(
                backoff
            ):
                self._ops.fail(op, Failure(backoff.failure, backoff.reason))
            elif node and node.powering_up and self._boots_again(op, servers):
                return
            elif node and node.powering_up:
                self._ready(op, servers)
            elif node and node.up:
                self._ops.finish(op, phases.DONE, "it is up already")
            elif late and node and node.has("POWERED_DOWN") and self._ask_again(op):
                return
            elif late:
                self._ops.finish(op, phases.CANCELLED, f"Slurm no longer waits for it ({flags})")
        elif servers:
            self._deletions.check(op, servers)
        elif node and node.in_use:
            self._ops.finish(op, phases.REFUSED, f"in use: Slurm shows {flags}")
        elif node and (node.going_down or node.powering_up):
            self._ops.move(op, phases.RELEASING)
        elif late:
            self._ops.finish(op, phases.REFUSED, f"Slurm does not power it down ({flags})")

    def _ready(self, op: Operation, servers: tuple[Server, ...]) -> None:
        """Slurm waits for the node: what is left of an old server has to go first."""
        if not servers:
            self._ops.move(op, phases.QUEUED, text="")
        elif (found := self._deletions.permits(op, servers)) and not isinstance(found, Refusal):
            self._ops.move(op, phases.DELETE_QUEUED, text="")
        elif isinstance(found, Refusal) and op.text != found.why:
            log.warning("op=%s node=%s waits: %s", op.id, op.node, found.why)
            self._ops.update(op, text=found.why)

    def _ask_again(self, op: Operation) -> bool:
        """An operator's POWER_UP that Slurm has refused or forgotten is given again for a while."""
        request = self._world.journal.request(op.request)
        if not request or request.source != "operator" or self._ops.age(op) > self._timing.power_up_for:
            return False
        self._ops.move(op, phases.ASKING)
        return True

    def _boots_again(self, op: Operation, servers: tuple[Server, ...]) -> bool:
        """`sbatch --reboot` calls ResumeProgram for a node that is up (with a job id and no resume file)."""
        server_id = self._world.record(op.node).server_id
        cloud = self._calls.cloud(op)
        if cloud is None or [server.id for server in servers] != [server_id]:
            return False
        permit = self._guard.reboot_for_job(op, servers[0])
        if not isinstance(permit, Permit):
            return False
        self._guard.record(permit, op.id)
        if not self._calls.say(op, "reboot", lambda: cloud.reboot(server_id, permit)):
            return False
        self._ops.move(op, phases.BOOTING, server_id=server_id)
        return True

    def _recovering(self, op: Operation) -> None:
        if self._ops.waited(op) < self._timing.slurm_lag:
            return  # an apply that was started in the last moment may not hold the state's lock yet
        if self._world.terraform.busy(op.shard) or self._batches.busy(op.shard):
            return
        state = self._calls.state(op.shard)
        if state is None:
            return
        held = state.get(op.node)
        servers = self._calls.servers(op)
        if servers is None:
            return
        creating = op.mode.brings_up and op.failure is None
        alive = [server for server in servers if held and server.id == held.id]
        record = self._world.record(op.node)
        if creating and op.row.update:
            self._updated_or_not(op, alive)
        elif creating and held and not held.tainted and alive and alive[0].status == "ACTIVE":
            node = replace(record.node, generation=record.node.generation + 1)
            self._world.save(replace(record, node=node, shard=op.shard, server_id=held.id))
            self._ops.move(op, phases.BOOTING, server_id=held.id)
        elif held or servers:
            server_id = held.id if held else servers[0].id
            self._world.save(replace(record, shard=op.shard if held else "", server_id=server_id))
            self._ops.move(op, phases.DELETE_QUEUED)
        else:
            self._ops.move(op, phases.QUEUED if creating else phases.VERIFYING)

    def _updated_or_not(self, op: Operation, alive: list[Server]) -> None:
        """Terraform's change in place ended unseen: the cloud tells what the server is now."""
        if alive and alive[0].status in ("REBUILD", "RESIZE"):
            return
        if alive and alive[0].status == "ACTIVE" and getattr(alive[0], op.row.update) == op.target:
            self._batches.results.updated(op)
        else:
            self._ops.move(op, phases.RESTORING, text=f"{op.kind} to {op.target} was interrupted")

    def _booting(self, op: Operation) -> None:
        """Whether it answers is asked, and told, by `Plays`; here is seen what the cloud says of it."""
        servers = self._calls.servers(op)
        if servers is None:
            return
        waited = self._ops.waited(op, self._calls.listed_at(op))
        for server in servers:
            if server.status == "ERROR" or server.status in OFF:
                text = server.fault or f"the server is {server.status}"
                self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))
                return
        if not servers and waited > self._timing.slurm_lag:
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, "the server has vanished"))

    def _registering(self, op: Operation) -> None:
        node = self._world.slurm_view.node(op.node, op.asked)
        limit = self._world.cluster.failure.registration_timeout
        if node is None:
            return
        seen, waited = registration(node), self._ops.waited(op, self._world.slurm_view.began)
        if seen.stage is Stage.READY:
            record = self._world.record(op.node)
            if record.failures:
                self._world.save(replace(record, failures=0))
            self._calls.reason_again(op, node)
            self._ops.finish(op, phases.DONE, seen.text)
        elif seen.stage is Stage.GIVEN_UP:
            self._ops.finish(op, phases.CANCELLED, seen.text)
        elif seen.stage in (Stage.REFUSED, Stage.TIMED_OUT):
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, seen.text))
        elif waited > limit:
            text = f"slurmd is running but did not register within {limit:g} s ({seen.text})"
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))

    def may_delete(self, op: Operation) -> bool:
        """Read the state again just before the act: it may have changed while the operation waited."""
        return self._deletions.may_delete(op)
