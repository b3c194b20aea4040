"""Looks at servers whose nodes Slurm has set DOWN: by SSH once a minute, Slurm and cloud at each reading.

Nobody waits for an answer over SSH; a later reading has it. All counts are on the monotonic clock and begin
anew when one look has found a server alive, or when it could not be looked at for a while.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from slurm_powersave.decide.node.silence import DEAD, ONCE, Silence, Standing, is_down, is_network, standing
from slurm_powersave.engine.world import World
from slurm_powersave.model.nodes import Server, SlurmNode
from slurm_powersave.model.permit import Act, Row

_ASKERS = 32
_GOING_DOWN = ("POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN")


@dataclass(frozen=True)
class Watched:
    """What the looks at a server have found so far. Moments are on the monotonic clock."""

    server: str
    """Its id; empty if it is gone."""
    began: float
    """When the node was found DOWN, in seconds since the epoch: for people, and for the next engine."""
    standing: Standing = Standing.UNKNOWN
    dead_from: float = 0.0
    """From when every look has found it dead."""
    fell: float | None = None
    """When it fell silent; unlike `dead_from` it stays as it is while the network is to blame.

    None: it did not, or was off first, and is silent because it boots.
    """
    looked: float = float("-inf")


class Silences:
    """Remembers what the looks have found."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timing = world.timing
        self._watched: dict[str, Watched] = {}
        self._asked: dict[str, tuple[float, Future[bool | None]]] = {}
        """Node -> when its sshd was last asked, and the answer."""
        self._told: dict[str, tuple[float, bool | None]] = {}
        """Node -> the last answer, and when it was asked for."""
        self._askers = ThreadPoolExecutor(max_workers=_ASKERS, thread_name_prefix="silent")
        self._known = world.journal.notices()
        """What an earlier engine has seen: since when a server is silent tells whether it is the network."""
        self.networks: frozenset[str] = frozenset()
        """The pools in which it is the network."""

    def take_in(self, nodes: Mapping[str, SlurmNode], servers: Mapping[str, Server | None]) -> None:
        """Take in a reading.

        Args:
            nodes: what Slurm shows of all nodes whose clouds could be read.
            servers: their servers; None for one that is gone. One with two servers is in neither.
        """
        now = self._world.now()
        wanted = {name for name, server in servers.items() if self._is_wanted(nodes.get(name), server)}
        self._watched = {
            name: one for name, one in self._watched.items() if name in wanted or name not in servers
        }
        self._ask([name for name in wanted if servers[name]], now)
        for name in wanted:
            self._look(name, nodes[name], servers[name], now)
        self._known = {name: known for name, known in self._known.items() if name not in servers}
        self._judge_networks(servers, now)

    def _is_wanted(self, node: SlurmNode | None, server: Server | None) -> bool:
        """Tell whether a server is to be looked at: its node is DOWN, or we have given it up."""
        if node is None:
            return False
        return is_down(node) or bool(server and node.has(*_GOING_DOWN) and self.given_up(server.id))

    def _ask(self, names: Collection[str], now: float) -> None:
        self._asked = {name: asked for name, asked in self._asked.items() if name in names}
        self._told = {name: told for name, told in self._told.items() if name in names}
        for name in names:
            asked = self._asked.get(name)
            if asked is None or (asked[1].done() and now - asked[0] >= self._timing.ssh_look):
                ask = self._world.playbooks.answers_ssh
                self._asked[name] = now, self._askers.submit(ask, self._world.recorded_spec(name))
        wait([answer for _, answer in self._asked.values()], self._timing.ssh_wait)
        for name, (at, answer) in self._asked.items():
            if answer.done():
                self._told[name] = at, answer.result()

    def _look(self, name: str, node: SlurmNode, server: Server | None, now: float) -> None:
        at, answers = self._told.get(name, (now, None))
        heard = is_down(node) and not node.has("NOT_RESPONDING")
        found = standing(server.status if server else "", answers, heard=heard)
        before = self._watched.get(name)
        if before is None or before.server != (server.id if server else ""):
            before = self._new(name, server, now)
        looked = at if found is Standing.SILENT else now
        if found is Standing.UNKNOWN:
            self._watched[name] = before  # it was not looked at: the gap counts, if it becomes too long
            return
        dead = before.standing in DEAD
        self._watched[name] = replace(
            before,
            standing=found,
            looked=looked,
            dead_from=before.dead_from
            if dead and looked - before.looked <= self._timing.ssh_blind
            else looked,
            fell=self._fell(before, found, looked),
        )

    def _new(self, name: str, server: Server | None, now: float) -> Watched:
        server_id = server.id if server else ""
        known = self._known.get(name)
        if known and known.server == server_id:
            return Watched(server_id, known.at, fell=self._world.times.earlier(known.at))
        return Watched(server_id, self._world.wall(), fell=now)

    def _fell(self, before: Watched, found: Standing, looked: float) -> float | None:
        if before.standing in DEAD:
            return before.fell
        if found is not Standing.SILENT:
            return None
        # What is looked at for the first time fell silent when its node did, maybe before this engine's time.
        return before.fell if before.standing is Standing.UNKNOWN else looked

    def _judge_networks(self, servers: Mapping[str, Server | None], now: float) -> None:
        sizes: dict[str, int] = defaultdict(int)
        fell: dict[str, list[float]] = defaultdict(list)
        for name, server in servers.items():
            sizes[self._world.recorded_spec(name).pool] += server is not None
        for name, one in self._watched.items():
            if one.standing is Standing.SILENT and one.fell is not None:
                fell[self._world.recorded_spec(name).pool].append(one.fell)
        self.networks = frozenset(pool for pool, times in fell.items() if is_network(times, sizes[pool]))
        for name, one in self._watched.items():
            if self._world.recorded_spec(name).pool in self.networks:
                self._watched[name] = replace(one, dead_from=now)  # what the network hides does not count

    # What is known

    def watched(self) -> Mapping[str, Watched]:
        """Return the nodes that are looked at."""
        return self._watched

    def of(self, node: str, server_id: str) -> Silence:
        """Return what is known of a server now."""
        one = self._watched.get(node)
        now = self._world.now()
        fresh = one is not None and one.server == server_id and now - one.looked <= self._timing.ssh_blind
        return Silence(
            one.standing if one and fresh else Standing.UNKNOWN,
            max(one.looked - one.dead_from, 0.0) if one and fresh else 0.0,
            self._world.recorded_spec(node).pool in self.networks,
            self._done(server_id, Act.REBOOT, self._world.now() - ONCE),
            self.given_up(server_id),
        )

    def given_up(self, server_id: str) -> bool:
        """Tell whether we have had its node powered down because it was dead."""
        return self._done(server_id, Act.POWER_DOWN, float("-inf"))

    def _done(self, server_id: str, what: Act, since: float) -> bool:
        acts = self._world.journal.acts_on(server_id) if server_id else []
        earlier = self._world.times.earlier
        return any((act.act, act.row) == (what, Row.DEAD) and earlier(act.at) >= since for act in acts)
