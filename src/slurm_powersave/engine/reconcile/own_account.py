"""What is destroyed without a call of Slurm's or a person's word: how long we look first, and the brake."""

import logging
from collections.abc import Callable, Collection

from slurm_powersave.decide.node import brake, guard, guard_dead
from slurm_powersave.decide.node.guard import Answer, Look, Refusal
from slurm_powersave.engine.reconcile.silent_servers import Silences
from slurm_powersave.engine.world import World
from slurm_powersave.model.nodes import SlurmSnapshot
from slurm_powersave.model.permit import LIFE, Act, Permit, Row
from slurm_powersave.model.server_status import OFF

log = logging.getLogger("slurm_powersave")

OWN_ROWS = (Row.OWN, Row.DEAD)
"""What the brake counts."""


class OwnAccount:
    """For how long each node was POWERED_DOWN in all readings, and whether the brake is on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timing = world.timing
        self._off: dict[str, float] = {}
        """Node -> since when every reading has shown it POWERED_DOWN, on the monotonic clock."""
        self._looked = float("-inf")
        self._agreed_since: float | None = None
        self._granted: dict[str, float] = {}
        """Server -> when its deletion was last allowed, on the monotonic clock; many are asked at once."""
        self._confirmed = world.journal.confirmed()
        self._done = self._lately()
        """Server -> when it was destroyed, on the monotonic clock; nothing from before a person confirmed."""
        self.ask: Callable[[Look], Look] = lambda look: look
        """Lets the server say whether jobs run there."""
        self.silences = Silences(world)

    def take_in(self, snapshot: SlurmSnapshot) -> None:
        """Take in a reading of all nodes."""
        now = self._world.clock.monotonic()
        if now - self._looked > self._timing.account_blind:
            self._off.clear()
            self._agreed_since = None
        self._looked = now
        off = {name for name, node in snapshot.nodes.items() if node.has("POWERED_DOWN")}
        self._off = {name: self._off.get(name, now) for name in off}

    def off_for(self, node: str) -> float:
        """Return for how many seconds every reading has shown a node POWERED_DOWN."""
        now = self._world.clock.monotonic()
        if now - self._looked > self._timing.account_blind:
            return 0.0
        return now - self._off.get(node, now)

    def deletion(self, look: Look) -> Answer:
        """Say whether a server may be deleted on our own account."""
        if isinstance(answer := self.dead(look, Act.DELETE), Permit):
            return answer
        wanted = self._world.cluster.failure.unclaimed_after
        seconds = self.off_for(look.name)
        if seconds >= wanted and look.server.status not in OFF and look.steps is None:
            look = self.ask(look)
        return self._braked(look, lambda why: guard.delete_on_own_account(look, seconds, wanted, why))

    def dead(self, look: Look, act: Act) -> Answer:
        """Say whether a dead server may be started again (REBOOT), given up (POWER_DOWN), then deleted."""
        silence, failure = self.silences.of(look.name, look.server.id), self._world.cluster.failure
        if act is Act.DELETE:
            return self._braked(look, lambda why: guard_dead.delete(look, silence, why))
        rule, wanted = guard_dead.restart, float(failure.restart_after)
        if act is Act.POWER_DOWN:
            rule, wanted = guard_dead.give_up, float(failure.silent_after)
        return self._braked(look, lambda why: rule(look, silence, wanted, why))

    def _braked(self, look: Look, judge: Callable[[str], Answer]) -> Answer:
        """Ask for the brake only when nothing else forbids: asking may set it."""
        if isinstance(answer := judge(""), Refusal):
            return answer
        answer = judge(self.brake(look.server.id))
        if isinstance(answer, Permit):
            self._granted[look.server.id] = self._world.clock.monotonic()
        return answer

    # The brake

    def did(self, permit: Permit) -> None:
        """Take in what was destroyed; what was not on our own account does not count."""
        if permit.row in OWN_ROWS:
            self._done[permit.subject] = self._world.clock.monotonic()

    def _lately(self) -> dict[str, float]:
        """Read what earlier engines have destroyed within the window."""
        times, begin = self._world.times, self._world.now() - brake.COUNTED_SECONDS
        acts = self._world.journal.acts_since(times.earlier_date(begin), OWN_ROWS)
        confirmed = times.earlier(self._confirmed)
        return {act.subject: moment for act in acts if (moment := times.earlier(act.at)) > confirmed}

    def brake(self, server_id: str = "") -> str:
        """Return why nothing is destroyed on our own account now; empty while this server may be."""
        now = self._world.clock.monotonic()
        if (confirmed := self._world.journal.confirmed()) != self._confirmed:
            self._confirmed = confirmed
            self._done, self._granted = {}, {}
        self._granted = {one: at for one, at in self._granted.items() if now - at < LIFE}
        self._done = {one: at for one, at in self._done.items() if now - at < brake.COUNTED_SECONDS}
        if server_id in self._granted:
            return ""
        if why := self._world.journal.brake():
            return why
        # One that was counted when its node was given up is not counted again when it is deleted.
        others = (self._done.keys() | self._granted.keys()) - {server_id}
        servers = sum(bool(record.server_id) for record in self._world.records.values())
        if why := brake.passed(len(others), servers):
            log.error("the brake is on: %s. See: slurm-powersave continue", why)
            self._world.journal.set_brake(why)
        return why

    def agree(self, differing: Collection[str]) -> None:
        """Take in whether Slurm, clouds and states say the same of every server now."""
        why = self._world.journal.brake()
        now = self._world.clock.monotonic()
        if differing or not brake.ends_by_itself(why):
            self._agreed_since = None
            return
        if self._agreed_since is None:
            self._agreed_since = now
        if now - self._agreed_since >= brake.AGREED:
            log.info("the brake is released: all have agreed for %.0f minutes (%s)", brake.AGREED / 60, why)
            self._world.journal.set_brake("")
