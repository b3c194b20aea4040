"""Asks the guard for permits: gathers what was read, and records the evidence of each act."""

import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from slurm_powersave.decide.node import guard
from slurm_powersave.decide.node.guard import Answer, Look, Refusal
from slurm_powersave.decide.node.reboot import FORCE
from slurm_powersave.engine.reconcile.own_account import OwnAccount
from slurm_powersave.engine.world import World
from slurm_powersave.model.nodes import Operation, Server
from slurm_powersave.model.permit import Act, Permit, Row
from slurm_powersave.model.records import Done

log = logging.getLogger("slurm_powersave")


class Guarding:
    """The guard's questions, as the parts of the engine ask them."""

    def __init__(self, world: World, own: OwnAccount) -> None:
        self._world, self._own = world, own
        self._timing = world.timing
        self._steps: dict[str, tuple[float, Future[bool | None]]] = {}
        """Server id -> when it was asked whether jobs run there, and its answer."""
        self._askers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="steps")

    def deletions(
        self, op: Operation, servers: Sequence[Server], newer_than: int, since: float = float("-inf")
    ) -> list[Answer] | None:
        """Say for each server whether it may be deleted for an operation; None while that can't be read.

        Args:
            op: the operation.
            servers: the servers.
            newer_than: the number of a reading that is too old, as are those before it.
            since: a moment of the monotonic clock; a reading that began before it is too old.
        """
        answers = []
        for server in servers:
            look = self._look(op.node, server, newer_than, since)
            if look is None:
                return None
            answers.append(self._deletion(op, look))
        return answers

    def _deletion(self, op: Operation, look: Look) -> Answer:
        request = self._world.journal.request(op.request)
        match guard.evidence_wanted(op, request.source if request else ""):
            case Row.FAILED_CREATION:
                answer = guard.delete_failed_creation(look, op)
                return (
                    answer if isinstance(answer, Permit) else _first(guard.delete_failed_change(look), answer)
                )
            case Row.FAILED_CHANGE:
                return guard.delete_failed_change(look)
            case Row.BEFORE_CREATION:
                return self._before_creation(op, look)
            case Row.REBOOT:
                return self._rebooted(op, look, Act.DELETE)
            case Row.PERSON:
                return self._by_person(op, look)
            case Row.OWN:
                return self._own.deletion(look)
            case _:
                return self._by_hook(look)

    def _before_creation(self, op: Operation, look: Look) -> Answer:
        """A server of this same request is a failed try, after which another flavor is tried."""
        answer = guard.delete_failed_creation(look, op)
        return self._old_server(look) if isinstance(answer, Refusal) else answer

    def _old_server(self, look: Look) -> Answer:
        """The server itself is only asked where nothing else permits its deletion."""
        answer = guard.delete_before_creation(look)
        if isinstance(answer, Refusal) and look.slurm and look.slurm.powering_up:
            answer = guard.delete_before_creation(self.asked(look))
        return answer

    def _by_hook(self, look: Look) -> Answer:
        """Slurm may already wait for the node again: then the old server has to go first."""
        if look.slurm and look.slurm.powering_up:
            return self._old_server(look)
        answer = guard.delete_by_hook(look)
        if isinstance(answer, Refusal) and look.seen.pushed:
            # Slurm calls because we have powered the node down: its dead server goes by what made us do so.
            return _first(self._own.dead(look, Act.DELETE), answer)
        return answer

    def restart(self, op: Operation, servers: Sequence[Server]) -> Answer | None:
        """Say whether the server of a node that is DOWN may be started again; None: it can't be read."""
        if len(servers) != 1:
            return Refusal(f"it has {len(servers) or 'no'} servers")
        look = self._look(op.node, servers[0], op.asked)
        return self._own.dead(look, Act.REBOOT) if look else None

    def _by_person(self, op: Operation, look: Look) -> Answer:
        protected, force = self._protected(op.node), self.forced(op)
        if look.slurm and look.slurm.powering_up and not force and op.node not in protected:
            return self._old_server(look)
        return guard.delete_by_person(look, protected=protected, force=force)

    def forced(self, op: Operation) -> bool:
        """Tell whether a person has used --force."""
        request = self._world.journal.request(op.request)
        return bool(request and request.source == "operator" and request.action.split()[-1:] == [FORCE])

    def asked_to_go(self, op: Operation) -> Answer | None:
        """Say whether Slurm may be asked to power a node down because a person wants it."""
        look = self._look(op.node, self._recorded(op), op.asked)
        if look is None:
            return None
        return guard.power_down_by_person(look, protected=self._protected(op.node), force=self.forced(op))

    def _protected(self, node: str) -> tuple[str, ...]:
        """The min_nodes of the cluster file as it is now; none if the node is no longer in the file."""
        return self._world.cluster.persistent() if node in self._world.cluster else ()

    def by_reboot(self, op: Operation, act: Act, newer_than: int) -> Answer | None:
        """Say whether a server may be changed for a reboot request; None while that can't be read."""
        look = self._look(op.node, self._recorded(op), newer_than)
        return self._rebooted(op, look, act) if look else None

    def _rebooted(self, op: Operation, look: Look, act: Act) -> Answer:
        admin_state = self._world.journal.admin_states().get(op.node)
        return guard.by_reboot(look, act, admin_state=admin_state, force=self.forced(op))

    def reboot_for_job(self, op: Operation, server: Server) -> Answer | None:
        """Say whether `sbatch --reboot` asks for the server's reboot."""
        look, request = self._look(op.node, server, op.asked), self._world.journal.request(op.request)
        if look is None or request is None:
            return None
        return guard.reboot_for_job(look, job=request.job_id, resume_file=request.resume_file)

    def telling(self, op: Operation, act: Act) -> Answer | None:
        """Say whether Slurm may be told what ends the jobs of a node that has failed."""
        look = self._look(op.node, self._recorded(op), op.asked)
        return guard.power_down_force(look, act) if look else None

    def forget(self, node: str, server_id: str, cloud: str) -> Answer:
        """Say whether an entry may leave a state: by a listing that is newer than the question."""
        view = self._world.cloud_views.get(cloud)
        if view is None:
            return Refusal(f"cloud {cloud} has no adapter that could say whether server {server_id} is gone")
        listed = view.servers(since=self._world.now() - self._timing.listing_age)
        return guard.forget(node, server_id, None if listed is None else {s.id for s in listed}, view.reading)

    def close(self) -> None:
        """End the threads that ask nodes."""
        self._askers.shutdown(cancel_futures=True)

    def record(self, permit: Permit, operation: str = "") -> None:
        """Write the evidence to the history, before the act is begun."""
        done = Done(
            self._world.wall(),
            operation,
            permit.node,
            permit.act,
            permit.subject,
            permit.row,
            permit.evidence,
        )
        self._world.journal.add_act(done)
        self._own.did(permit)
        log.info(
            "op=%s node=%s %s of %s permitted: %s (%s)",
            operation or "-", permit.node, permit.act, permit.subject, permit.row, permit.evidence,
        )  # fmt: skip

    def asked(self, look: Look) -> Look:
        """Ask the server itself whether jobs run there. Nothing waits for it: a later look has the answer."""
        now, server = self._world.clock.monotonic(), look.server
        at, answer = self._steps.get(server.id, (float("-inf"), None))
        if answer is None or (answer.done() and now - at >= self._timing.job_steps_again):
            self._steps = {
                one: asked
                for one, asked in self._steps.items()
                if now - asked[0] < self._timing.job_steps_kept
            }
            answer = self._askers.submit(
                self._world.playbooks.runs_steps, self._world.recorded_spec(look.name)
            )
            self._steps[server.id] = (now, answer)
            with contextlib.suppress(TimeoutError):
                answer.result(self._timing.job_steps_wait)
        return guard.with_steps(look, answer.result() if answer.done() else None)

    def look(self, node: str, server: Server, since: float) -> Look | None:
        """Gather what readings since a moment tell of a node and its server; None if there are none."""
        return self._look(node, server, 0, since)

    def _look(self, node: str, server: Server, newer_than: int, since: float = float("-inf")) -> Look | None:
        view = self._world.slurm_view
        snapshot = view.snapshot(newer_than, since)
        if snapshot is None or node in snapshot.unreadable:
            return None
        jobs = tuple(job for job in snapshot.jobs if node in job.nodes)
        cloud = self._world.cloud_views.get(self._world.recorded_spec(node).cloud)
        readings = (view.reading, cloud.reading if cloud else 0)
        return Look(node, snapshot.nodes.get(node), jobs, self._world.seen.of(node), readings, server)

    def _recorded(self, op: Operation) -> Server:
        return Server(self._world.record(op.node).server_id, op.node, "")


def _first(second: Answer, first: Refusal) -> Answer:
    """Return the second answer if it is a permit or only waits; otherwise the first, which says more."""
    return first if isinstance(second, Refusal) and not second.waits else second
