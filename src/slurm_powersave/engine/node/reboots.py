"""Reboot requests: what the reason asks for, done to a node that Slurm has emptied and set down.

Slurm drains the node (ASAP) and waits for its jobs; when it is idle it becomes DOWN+REBOOT_ISSUED and
RebootProgram is called. Until then nothing is touched, and a refusal gives the node back as it was.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.decide.node import reboot as reasons
from slurm_powersave.decide.node.admin_state import set_by, state_by_admin
from slurm_powersave.decide.node.drift import image_of, moved
from slurm_powersave.decide.node.guard import Refusal
from slurm_powersave.decide.node.registration import Stage, registration
from slurm_powersave.decide.node.way import Way
from slurm_powersave.engine.node.calls import NodeCalls
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.node.ways import Ways
from slurm_powersave.engine.operations import Operations
from slurm_powersave.engine.world import World
from slurm_powersave.model import machine, phases
from slurm_powersave.model.errors import CloudError, ConfigError, FailureClass
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Failure, Operation, Server, SlurmNode
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.model.server_status import GONE, OFF

log = logging.getLogger("slurm_powersave")

_LONGEST_COMMENT = 200
_REBOOT = ("REBOOT_REQUESTED", "REBOOT_ISSUED")
_STOPPED = OFF - GONE


class Reboots:
    """The handlers of reboot requests; those that they share with other modes are in `Steps`."""

    def __init__(
        self, world: World, operations: Operations, calls: NodeCalls, guard: Guarding, ways: Ways
    ) -> None:
        self._world, self._ops, self._calls, self._guard = world, operations, calls, guard
        self._timing = world.timing
        self._ways = ways
        self._tried: dict[str, float] = operations.until_end({})
        """Operation -> when a command of its was last refused."""
        self.handlers: dict[str, Callable[[Operation], None]] = {
            phases.ASKING: self._asking,
            phases.DRAINING: self._draining,
            phases.CHECKING: self._checking,
            phases.REFUSING: self._refusing,
            phases.UPDATE_QUEUED: self._update_queued,
            phases.RESTORING: self._restoring,
            phases.REGISTERING: self._registering,
        }

    # Before Slurm has emptied the node

    def _asking(self, op: Operation) -> None:
        """An operator's request: Slurm is asked, in the way that keeps what others have set."""
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None or not self._due(op):
            return
        flags = node.state
        words = self._asked(op) or "reboot"
        try:
            wish = self._wish(op, words)
        except (CloudError, ConfigError) as error:
            self._later(op, error.line)
            return
        admin_state = state_by_admin(node)
        if wish.refused:
            self._ops.finish(op, phases.REFUSED, wish.refused)
        elif node.going_down:
            image = self._world.next_spec(op.node).image
            text = f"powered down: Slurm calls nothing for it; its next resume takes the image {image}"
            self._ops.finish(op, phases.DONE, text)
        elif node.has(*_REBOOT):
            self._ops.move(op, phases.DRAINING)
        elif node.powering_up:
            self._ops.finish(op, phases.REFUSED, f"it is coming up ({flags}); try again when it is up")
        elif node.has("RESERVED", "MAINTENANCE"):
            text = f"reserved ({flags}); `scontrol reboot` by hand does it all the same"
            self._ops.finish(op, phases.REFUSED, text)
        elif admin_state and wish.kind is not Kind.REBOOT and not self._guard.forced(op):
            text = f"{set_by(node, admin_state)}: {node.reason}; --force does it all the same"
            self._ops.finish(op, phases.REFUSED, text)
        elif self._ask_slurm(op, node, words, admin_state):
            self._ops.move(op, phases.DRAINING)
        else:
            self._later(op, "")

    def _ask_slurm(self, op: Operation, node: SlurmNode, words: str, admin_state: str) -> bool:
        """Run `scontrol reboot`; the DRAIN or DOWN that an administrator has set is kept, with its reason."""
        if admin_state:
            self._calls.remember_admin_state(node, admin_state)
        reason = node.reason if admin_state else words.removesuffix(f" {reasons.FORCE}")
        reboot = self._world.slurm.reboot
        return self._calls.say(
            op, "scontrol reboot", lambda: reboot([op.node], reason=reason, admin_state=admin_state)
        )

    def _draining(self, op: Operation) -> None:
        """Slurm waits for the node's jobs. Its hook call ends this; so does a look every half minute."""
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None:
            return
        if node.has("REBOOT_ISSUED"):
            self._ops.move(op, phases.CHECKING)
        elif (
            not node.has(*_REBOOT)
            and self._ops.waited(op, self._world.slurm_view.began) > self._timing.slurm_lag
        ):
            # By a reading that is so new, not by the first one after Slurm was asked.
            flags = node.state
            self._ops.finish(op, phases.CANCELLED, f"the reboot was called off (Slurm shows {flags})")

    # When it has

    def _checking(self, op: Operation) -> None:
        servers = self._calls.servers(op)
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None or servers is None:
            return
        waited = self._ops.waited(op, self._world.slurm_view.began)  # also between two tries
        if not self._due(op):
            return
        if not node.has("REBOOT_ISSUED"):
            if waited > self._timing.slurm_lag:
                flags = node.state
                self._ops.finish(op, phases.CANCELLED, f"Slurm does not reboot it ({flags})")
            return
        try:
            wish = self._wish(op, self._asked(op) or node.reason)
        except (CloudError, ConfigError) as error:
            self._later(op, error.line)
            return
        admin_state = self._world.journal.admin_states().get(op.node)
        if wish.refused:
            self._refuse(op, wish.refused)
        elif admin_state and wish.kind is not Kind.REBOOT and not self._guard.forced(op):
            self._refuse(
                op, f"not {wish.kind}d: somebody else had set {admin_state.state} ({admin_state.reason})"
            )
        else:
            # Where slurmd runs RebootProgram a node does what it was told by this word.
            itself = not self._world.cluster.reboot_from_controller and reasons.is_reboot(node.reason)
            self._begin(self._ops.update(op, action=wish.kind, target=wish.target), servers, itself=itself)

    def _asked(self, op: Operation) -> str:
        """The words of an operator's request; a hook's are in Slurm's reason."""
        request = self._world.journal.request(op.request)
        return request.action if request and request.source == "operator" else ""

    def _wish(self, op: Operation, words: str) -> reasons.Wish:
        cloud, known = self._world.recorded_spec(op.node).cloud, self._world.cloud_offers
        pool = self._world.next_spec(op.node)
        first = reasons.words(words).partition(" ")[0].lower()
        flavors = known.flavors(cloud) if first != "reboot" else None
        node = self._world.record(op.node).node
        found = reasons.wish(
            words,
            node,
            pool,
            images=known.images(cloud, reasons.images(words, pool)) if first != "reboot" else None,
            flavors=flavors,
            configured=self._world.slurm_view.configured(op.node),
        )
        return reasons.in_place(found, node, flavors)

    def _begin(self, op: Operation, servers: tuple[Server, ...], *, itself: bool = False) -> None:
        if not servers:
            # Nothing is there to be rebooted: a new server is what the node needs.
            self._calls.forget_server(op)
            self._ops.move(op, phases.QUEUED, action=Kind.REPLACE)
        elif op.kind is Kind.REPLACE:
            self._ops.move(op, phases.DELETE_QUEUED)
        elif op.kind is Kind.REBOOT and itself:
            self._ops.move(op, phases.BOOTING, server_id=self._world.record(op.node).server_id)
        elif op.kind is Kind.REBOOT:
            self._reboot(op)
        elif self._is_on(op, servers):
            self._ops.move(op, phases.UPDATE_QUEUED)

    def _is_on(self, op: Operation, servers: tuple[Server, ...]) -> bool:
        """Start a server that somebody has switched off: one that is off stays so when it is changed."""
        cloud, record = self._calls.cloud(op), self._world.record(op.node)
        server = next((one for one in servers if one.id == record.server_id), None)
        if cloud is None or server is None or server.status not in {*_STOPPED, "REBOOT"}:
            return True
        limit = self._world.cluster.failure.boot_timeout
        if self._ops.waited(op) > limit:
            text = f"its server was off and has not started within {limit:g} s"
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))
        elif server.status in _STOPPED and (permit := self._permit(op, Act.REBOOT)):
            log.info("op=%s node=%s server=%s is off: started first", op.id, op.node, server.id)
            started = self._calls.say(op, "start", lambda: cloud.reboot(server.id, permit))
            self._later(op, "")
            self._tried[op.id] += 0.0 if started else self._timing.start_again
        return False

    def _reboot(self, op: Operation) -> None:
        cloud = self._calls.cloud(op)
        server_id = self._world.record(op.node).server_id
        if cloud is None:
            self._refuse(op, "a cloud without an adapter can't reboot a server")
        elif (permit := self._permit(op, Act.REBOOT)) is None:
            return
        elif self._calls.say(op, "reboot", lambda: cloud.reboot(server_id, permit)):
            self._ops.move(op, phases.BOOTING, server_id=server_id)
        else:
            self._later(op, "")

    def _permit(self, op: Operation, act: Act) -> Permit | None:
        """Ask the guard; without its permit the operation ends, or waits until Slurm can be read."""
        answer = self._guard.by_reboot(op, act, op.asked)
        if answer is None:
            return None
        if isinstance(answer, Permit):
            self._guard.record(answer, op.id)
            return answer
        self._ops.finish(op, phases.CANCELLED, answer.why)
        return None

    def _update_queued(self, op: Operation) -> None:
        """Choose between Terraform (the engine's loop batches these) and the server's id."""
        way = self._ways.of(op)
        servers = self._calls.servers(op)
        if way is Way.WAIT or servers is None or not self.may_update(op):
            return
        if not servers:
            self._begin(op, servers)
            return
        if way is Way.TERRAFORM:
            return
        node = self._world.record(op.node).node
        cloud = self._calls.cloud(op)
        if cloud is None:
            # Terraform sees no change in the same image, and there is nobody else to ask.
            self._ops.move(op, phases.DELETE_QUEUED, action=Kind.REPLACE)
            return
        change, act = (cloud.rebuild, Act.REBUILD) if op.kind is Kind.REIMAGE else (cloud.resize, Act.RESIZE)
        server_id = self._world.record(op.node).server_id
        permit = self._permit(op, act)
        if permit is None:
            return
        try:
            ref = self._world.cloud_offers.ref(node.cloud, op.row.update, op.target)
            change(server_id, op.target, permit)
        except CloudError as error:
            if machine.is_at_fault(error):
                raise
            self._ops.move(op, phases.RESTORING, text=f"{op.kind} to {op.target} failed: {error}")
            return
        record = self._world.record(op.node)
        pool = self._world.spec_with_flavor(op.node, op.target)
        self._world.save(moved(record, op.row.update, op.target, ref, pool))
        self._ops.move(op, phases.BOOTING, server_id=server_id)

    def may_update(self, op: Operation) -> bool:
        """Look once more, just before: only a node that Slurm has set down for its reboot is touched."""
        answer = self._guard.by_reboot(op, Act.REBOOT, op.asked)
        if isinstance(answer, Refusal):
            self._ops.finish(op, phases.CANCELLED, answer.why)
        return isinstance(answer, Permit)

    def _restoring(self, op: Operation) -> None:
        """A change failed: a server that is as it was boots again, so that Slurm gets its node back."""
        servers = self._calls.servers(op)
        if servers is None or not self._due(op):
            return
        record = self._world.record(op.node)
        alive = next((server for server in servers if server.id == record.server_id), None)
        if alive and alive.status in ("REBOOT", "REBUILD", "RESIZE"):
            return
        as_before = alive and (image_of(alive, record.node.image), alive.flavor) in {
            (record.node.image, record.node.flavor),
            ("", ""),
        }
        if alive and alive.status == "ACTIVE" and as_before:
            self._reboot(self._ops.update(op, action=Kind.REBOOT, target=""))
        else:
            fault = alive.fault if alive else "the server has vanished"
            failure = failure_policy.classify(op.text)
            self._ops.fail(op, Failure(failure, op.text if fault in op.text else f"{op.text}; {fault}"))

    # Giving the node back

    def _refuse(self, op: Operation, why: str) -> None:
        log.warning("op=%s node=%s refused: %s", op.id, op.node, why)
        self._ops.move(op, phases.REFUSING, text=why)

    def _refusing(self, op: Operation) -> None:
        """RESUME drops a reason that is given with it (22.05.8): the refusal is told in the Comment."""
        node = self._world.slurm_view.node(op.node, op.asked)
        if node is None or not self._due(op):
            return
        commented = self._comment(op, f"refused: {op.text}")
        if not commented or (node.has("REBOOT_ISSUED") and not self._calls.tell(op, "RESUME")):
            self._later(op, "")
        else:
            self._restore_admin_state(
                op, replace(node, flags=node.flags - {"DRAIN", "DOWN", "REBOOT_ISSUED"})
            )
            self._ops.finish(op, phases.REFUSED)

    def _registering(self, op: Operation) -> None:
        node = self._world.slurm_view.node(op.node, op.asked)
        limit = self._world.cluster.failure.registration_timeout
        if node is None or not self._due(op):
            return
        seen, waited = registration(node), self._ops.waited(op, self._world.slurm_view.began)
        timed_out = node.has("DOWN") and "reboot timed out" in node.reason
        if seen.stage in (Stage.GIVEN_UP, Stage.TIMED_OUT):
            self._ops.finish(op, phases.CANCELLED, seen.text)
        elif seen.stage is Stage.REFUSED:
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, seen.text))
        elif timed_out and not node.has("NOT_RESPONDING"):
            # It came too late for Slurm's own patience, but it is there.
            if not self._calls.tell(op, "RESUME"):
                self._later(op, "")
        elif seen.stage is Stage.READY and not node.has(*_REBOOT):
            self._back(op, node)
        elif waited > limit:
            text = f"slurmd is running but did not register within {limit:g} s ({seen.text})"
            self._ops.fail(op, Failure(FailureClass.NODE_LOCAL, text))

    def _back(self, op: Operation, node: SlurmNode) -> None:
        record = self._world.record(op.node)
        if record.failures:
            self._world.save(replace(record, failures=0))
        if not self._restore_admin_state(op, node):
            self._later(op, "")
        elif op.text:
            self._comment(op, op.text)
            self._ops.finish(op, phases.FAILED)
        else:
            if failure_policy.is_ours(node.comment):
                self._calls.say(op, "comment", lambda: self._world.slurm.update_nodes([op.node], comment=""))
            self._ops.finish(op, phases.DONE)

    def _restore_admin_state(self, op: Operation, node: SlurmNode) -> bool:
        """What somebody else had set, and the reboot took away, is put back; so is its reason."""
        admin_state = self._world.journal.admin_states().get(op.node)
        if admin_state and not (node.has(admin_state.state) and node.reason == admin_state.reason):
            return self._calls.set_again(op, node, admin_state)
        if not admin_state and node.has("DRAIN") and node.reason.endswith(reasons.ISSUED):
            # A reconfigure in between made Slurm forget nextstate=RESUME (22.05.8); or somebody drained the
            # node too shortly before for us to have seen it.
            if reasons.is_command(node.reason):
                return self._calls.tell(op, "RESUME")
            update, reason = self._world.slurm.update_nodes, reasons.words(node.reason)
            return self._calls.say(op, "reason", lambda: update([op.node], reason=reason))
        if not admin_state and reasons.is_stale(node):
            # Difference.REASON_STAYS: the next plain `scontrol reboot` would show it as its own.
            update = self._world.slurm.update_nodes
            return self._calls.say(op, "reason", lambda: update([op.node], reason=" "))
        return True

    def _comment(self, op: Operation, text: str) -> bool:
        clean = failure_policy.plain(text, _LONGEST_COMMENT)
        comment = f"{failure_policy.REASON_PREFIX} {clean} [op {op.id}]"
        update = self._world.slurm.update_nodes
        return self._calls.say(op, "comment", lambda: update([op.node], comment=comment))

    def _due(self, op: Operation) -> bool:
        return self._world.now() - self._tried.get(op.id, float("-inf")) >= self._timing.slurm_again

    def _later(self, op: Operation, why: str) -> None:
        if why and op.id not in self._tried:
            log.warning("op=%s node=%s %s: tried again", op.id, op.node, why)
        self._tried[op.id] = self._world.now()
