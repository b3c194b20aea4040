"""Nodes that Slurm itself has set DOWN: their servers are looked at, started again once, and then replaced.

What may be done is the guard's to say (decide/node/guard_dead.py). What is the matter stands in the journal,
for `status`, until the node answers again.
"""

import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence

from slurm_powersave.decide.node import silence_text
from slurm_powersave.decide.node.guard import Look, Refusal
from slurm_powersave.decide.node.guard_dead import not_ours
from slurm_powersave.decide.node.silence import Standing, is_down
from slurm_powersave.engine.node.dead_jobs import DeadJobs
from slurm_powersave.engine.node.guarding import Guarding
from slurm_powersave.engine.pausing import Pausing
from slurm_powersave.engine.reconcile.own_account import OwnAccount
from slurm_powersave.engine.world import World, by_node
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.modes import Kind, Mode
from slurm_powersave.model.nodes import Request, Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.model.records import Notice

log = logging.getLogger("slurm_powersave")

_SUSPEND = "slurm-powersave suspend"


class DeadServers:
    """Acts on what the looks have found, once for each reading of Slurm and the clouds."""

    def __init__(self, world: World, guard: Guarding, own: OwnAccount, pauses: Pausing) -> None:
        self._world, self._guard, self._own, self._pauses = world, guard, own, pauses
        self._silences = own.silences
        self._jobs = DeadJobs(world)
        self._notices = world.journal.notices()
        self._told_at: dict[str, float] = {}
        """Node -> when Slurm was last told to power it down, on the monotonic clock."""
        self._networks: dict[str, str] = {}
        """The pools in which it is the network, and what is said of it."""

    def step(
        self,
        snapshot: SlurmSnapshot,
        nodes: Collection[str],
        servers: Sequence[Server],
        busy: Collection[str],
    ) -> None:
        """Look, act and warn.

        Args:
            snapshot: Slurm's nodes and jobs, all of them.
            nodes: the configured nodes whose clouds have all been read.
            servers: the servers that carry our cluster's tag.
            busy: nodes with an operation that has no outcome yet.
        """
        self._jobs.take_in(snapshot)
        listed = by_node(servers)
        known = {
            name: snapshot.nodes[name] for name in nodes if name in snapshot.nodes and len(listed[name]) < 2
        }
        single = {name: next(iter(listed[name]), None) for name in known}
        self._silences.take_in(known, single)
        self._say_networks(single)
        found, permits = [], []
        for name in self._silences.watched().keys() & known.keys():
            node, server = known[name], single[name]
            permit, kept = self._judge(node, server, snapshot, busy)
            permits += [permit] if permit else []
            found.append(self._notice(node, server, kept))
            self._explain(node, server)
        self._save([*found, *self._unheard(snapshot)], known.keys())
        self._restart([permit.node for permit in permits if permit.act is Act.REBOOT])
        self._give_up([permit for permit in permits if permit.act is Act.POWER_DOWN])

    # What is to be done

    def _judge(
        self, node: SlurmNode, server: Server | None, snapshot: SlurmSnapshot, busy: Collection[str]
    ) -> tuple[Permit | None, str]:
        """Return what the guard permits, or what keeps the engine from acting; neither: it is early."""
        look = (
            self._guard.look(node.name, server, self._world.slurm_view.began)
            if server and is_down(node)
            else None
        )
        if look is None:
            return None, ""
        if refused := not_ours(look):
            return None, refused.why
        if kept := self._kept(node.name, busy):
            return None, kept
        return self._due(look)

    def _kept(self, name: str, busy: Collection[str]) -> str:
        spec = self._world.recorded_spec(name)
        if spec.cloud not in self._world.clouds:
            return "its cloud has no adapter, so nobody can say what the server does"
        if name in busy:
            return "an operation on the node is under way"
        return self._networks.get(spec.pool) or self._pauses.why(name)

    def _due(self, look: Look) -> tuple[Permit | None, str]:
        silence, failure = self._silences.of(look.name, look.server.id), self._world.cluster.failure
        for act, wanted in ((Act.POWER_DOWN, failure.silent_after), (Act.REBOOT, failure.restart_after)):
            if silence.seconds >= wanted and not (act is Act.REBOOT and silence.restarted):
                answer = self._own.dead(look, act)
                return (None, answer.why) if isinstance(answer, Refusal) else (answer, "")
        return None, ""

    def _restart(self, names: Sequence[str]) -> None:
        """Ask for it like everybody else: the operation asks the guard again, with readings of its own."""
        if names:
            date = self._world.wall()
            request = Request(
                str(uuid.uuid4()), Mode.REBOOT, fold(names), date, source="reconcile", action=Kind.RESTART
            )
            self._world.journal.add_request(request, date)

    def _give_up(self, permits: Sequence[Permit]) -> None:
        """Power nodes down in Slurm; its call of SuspendProgram then deletes their servers."""
        now = self._world.now()
        due = [
            one
            for one in permits
            if now - self._told_at.get(one.node, float("-inf")) >= self._world.timing.dead_again
        ]
        if not due:
            return
        names = [permit.node for permit in due]
        for permit in due:
            self._guard.record(permit)
            self._told_at[permit.node] = now
        self._world.seen.note(names, "pushed")
        try:
            self._world.slurm.update_nodes(names, state="POWER_DOWN")
        except SlurmError as error:
            log.warning("nodes=%s POWER_DOWN: %s", fold(names), error)

    def _explain(self, node: SlurmNode, server: Server | None) -> None:
        """Tell the owners of the jobs that ran there, as soon as it is known what is the matter."""
        standing = self._silences.watched()[node.name].standing
        if self._jobs.on(node.name) and is_down(node) and standing is not Standing.UNKNOWN:
            said = silence_text.server(server.status if server else "", standing)
            self._jobs.explain(node.name, f"Slurm has set it DOWN ({node.reason}), {said}")

    # What is said

    def _say_networks(self, servers: Mapping[str, Server | None]) -> None:
        said = self._networks
        pools = [self._world.recorded_spec(name).pool for name, server in servers.items() if server]
        self._networks = {
            pool: silence_text.network(pool, pools.count(pool)) for pool in self._silences.networks
        }
        for pool in self._networks.keys() - said.keys():
            log.error("%s; `status` names the nodes", self._networks[pool])
        for pool in said.keys() - self._networks.keys():
            log.info("pool %s: no longer the network", pool)

    def _notice(self, node: SlurmNode, server: Server | None, kept: str) -> Notice:
        name, failure = node.name, self._world.cluster.failure
        watched = self._silences.watched()[name]
        text = silence_text.warning(
            node,
            server.status if server else "",
            self._silences.of(name, watched.server),
            kept,
            restart_after=failure.restart_after,
            silent_after=failure.silent_after,
        )
        forced = " --force" if name in self._world.cluster.persistent() else ""
        replaceable = server and is_down(node) and watched.standing is not Standing.RESCUED
        command = f"{_SUSPEND}{forced}" if replaceable else ""
        return Notice(name, watched.server, text, command, watched.began, self._jobs.on(name))

    def _unheard(self, snapshot: SlurmSnapshot) -> Iterator[Notice]:
        """Name nodes in use that Slurm does not hear; their jobs are noted while they are known."""
        for name in self._world.names:
            node = snapshot.nodes.get(name)
            if node and silence_text.is_unheard(node):
                before, text = self._notices.get(name), silence_text.IN_USE
                at = before.at if before and before.text == text else self._world.wall()
                server_id = self._world.record(name).server_id
                yield Notice(name, server_id, text, "", at, self._jobs.on(name))

    def _save(self, found: Sequence[Notice], read: Collection[str]) -> None:
        """Write what has changed; what could not be read stays as it was."""
        new = {notice.node: notice for notice in found}
        gone = [name for name in self._notices if name in read and name not in new]
        changed = [notice for name, notice in new.items() if self._notices.get(name) != notice]
        for notice in changed:
            before = self._notices.get(notice.node)
            if (before is None or before.text != notice.text) and not self._is_network(notice):
                log.warning("node=%s %s", notice.node, notice.text)
        for name in gone:
            log.info("node=%s nothing is the matter any more", name)
        if changed or gone:
            self._world.journal.save_notices(changed, gone)
        self._notices = {name: old for name, old in self._notices.items() if name not in gone} | new

    def _is_network(self, notice: Notice) -> bool:
        """Tell whether the network is to blame, which is said once for all of its nodes."""
        return self._world.recorded_spec(notice.node).pool in self._networks
