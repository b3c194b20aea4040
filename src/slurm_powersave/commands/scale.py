"""Bring the cluster to the size that its file says: `slurm-powersave resize`.

Every step looks at Slurm and the journal and does what is still to be done, so a resize that was ended
at any moment goes on when it is run again. Servers are made and deleted by the engine, as Slurm's hooks
ask for it; slurm.conf is written by playbooks/resize.yml.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.drain_nodes import Drains
from slurm_powersave.decide.commands.scale import Act, Change, Nodes, Step, steps
from slurm_powersave.decide.node import guard
from slurm_powersave.decide.node.admin_state import set_by, state_by_admin
from slurm_powersave.decide.node.drain import Stage
from slurm_powersave.decide.node.guard import Look
from slurm_powersave.model import node_state
from slurm_powersave.model.errors import LeftAloneError, PowersaveError, SlurmError, UnfinishedError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nodes import Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.seen import Seen
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.slurm import Slurm

_LOOK = 0.3
"""Seconds between two looks at Slurm while nodes come or go."""
_REPEAT = 5.0
"""Seconds after which a command that had no effect is given again."""
_RELEASE = 60.0
"""Seconds in which an abort ends all drains."""


@dataclass(frozen=True)
class News:
    """A node, or slurm.conf, has come to a step."""

    at: float
    """Seconds since the epoch."""
    node: str
    kind: Kind
    step: str
    seconds: float
    """Since the resize began."""
    text: str = ""


@dataclass
class ScaleContext:
    """What a resize works with."""

    slurm: Slurm
    journal: Journal
    clock: Clock
    pause: Callable[[float], None]
    apply: Callable[[Nodes, Nodes], None]
    """Write slurm.conf and let slurmctld take it; keep these nodes in it, and these protected."""
    servers: Callable[[], frozenset[str] | None]
    """Names of the servers that the clouds list; None if one could not be read."""
    tell: Callable[[News], None]
    required: Callable[[], None] = lambda: None
    """Raises UnfinishedError when no engine runs, which would make and delete the servers."""


@dataclass
class Scaling:
    """One run. `outcome` names what became of the nodes."""

    context: ScaleContext
    change: Change
    id: str
    timeout: float
    """Seconds that nodes may take to be drained, or to come up."""
    outcome: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._drains = Drains(self.context.journal, self.context.slurm, self.context.clock.wall)
        self._acts = Acts(self.context.journal, self.by, self.context.clock.wall)
        self._began = self.context.clock.monotonic()
        self._said: dict[str, str] = {}
        self._asked: dict[str, float] = {}
        self._left: dict[str, str] = dict(self.change.alone)
        self._late: set[str] = set()
        self._given: set[str] = set()
        """Nodes that need not stay up, and are elastic again."""
        self._failed: dict[str, str] = {}

    def run(self) -> None:
        """Do all steps.

        Raises:
            LeftAloneError: nodes that an administrator has set DRAIN or DOWN were left as they are.
            UnfinishedError: nodes were not drained in time.
            PowersaveError: a node did not come up; Slurm, Ansible or the journal failed.
        """
        journal = self.context.journal
        records = journal.node_records()
        journal.forget_nodes([name for name in self.change.gone if not records[name].server_id])
        journal.drop_drains(self.change.set_by_admin or {})
        for name, why in self._left.items():
            self._say(name, Kind.SHRINK, Stage.LEFT_ALONE, why)
        for step in steps(self.change):
            self._do(step)
        self._end()

    def _do(self, step: Step) -> None:
        match step.act:
            case Act.DRAIN:
                self._look_at(step.nodes)
            case Act.SLURM_CONF if step.kind is Kind.ENLARGE:
                self._slurm_conf(
                    step, (*self.change.removed,), (*self.change.removed, *self.change.unprotect)
                )
            case Act.SLURM_CONF:
                self._shrunk(step)
            case Act.POWER_UP:
                self._power_up(step.nodes)
            case Act.WAIT:
                pass  # node by node with what follows: one is not to wait for another's job
            case Act.POWER_DOWN:
                self._away(step.nodes)
            case Act.RELEASE:
                self._release(step.nodes, step.text)

    # What comes

    def _power_up(self, nodes: Nodes) -> None:
        """Wait until nodes are up; ask Slurm for those that nobody has asked for yet."""
        seen: set[str] = set()
        while open_ := [name for name in nodes if not self._settled(name)]:
            slurm = self._read(open_)
            for name in open_:
                if node := slurm.nodes.get(name):
                    self._coming(node, seen)
            if self._out_of_time():
                self._late.update(name for name in open_ if not self._settled(name))
                return
            self.context.required()
            self.context.pause(_LOOK)

    def _settled(self, name: str) -> bool:
        return self._said.get(name) == "up" or name in self._failed or name in self._left

    def _coming(self, node: SlurmNode, seen: set[str]) -> None:
        backoff = self.context.journal.node_backoffs().get(node.name)
        if node.up:
            self._say(node.name, Kind.ENLARGE, "up")
        elif state_by_admin(node):
            self._left[node.name] = _whose(node)
            self._say(node.name, Kind.ENLARGE, Stage.LEFT_ALONE, _whose(node))
        elif node.has("DRAIN", "DOWN", "FAIL") and node.going_down:
            why = backoff.reason if backoff else node.reason or node.state
            self._fail(node.name, why)
        elif node.powering_up:
            seen.add(node.name)
            op = next((op for op in self.context.journal.open_operations() if op.node == node.name), None)
            self._say(node.name, Kind.ENLARGE, op.phase if op else "powering up")
        elif node.has("POWERED_DOWN"):
            if node.name in seen:
                self._fail(node.name, "Slurm has given it up: slurm-powersave history says why")
            elif self._again(node.name):
                self._try(partial(self.context.slurm.update_nodes, [node.name], state="POWER_UP"))

    def _fail(self, name: str, why: str) -> None:
        self._failed[name] = why
        self._say(name, Kind.ENLARGE, "not up", why)

    # What goes

    def _away(self, nodes: Nodes) -> None:
        """Drain, wait, power down, and wait until the servers are gone: each node at its own pace."""
        while True:
            stages = self._look_at(nodes)
            if all(stage in (Stage.OFF, Stage.LEFT_ALONE) for stage in stages.values()):
                return
            if self._out_of_time():
                over = (Stage.OFF, Stage.LEFT_ALONE)
                self._late.update(name for name, stage in stages.items() if stage not in over)
                return
            self.context.required()
            self.context.pause(_LOOK)

    def _look_at(self, nodes: Nodes) -> dict[str, Stage]:
        """Read nodes, and do for each what can be done now."""
        slurm = self._read(nodes)
        stages = self._drains.stages(nodes, slurm)
        self._give_back(slurm, stages)
        self._try(
            lambda: self._drains.drain(
                [slurm.nodes[name] for name, stage in stages.items() if stage is Stage.OPEN],
                "shrink",
                self.by,
            )
        )
        for name, stage in stages.items():
            self._left.pop(name, None)
            if stage is Stage.UNREADABLE:
                self._say(name, Kind.SHRINK, stage, "what Slurm says of it can't be read")
                continue
            if stage is Stage.LEFT_ALONE:
                self._left[name] = _whose(slurm.nodes[name])
                self.context.journal.drop_drains([name])
            elif stage is Stage.DRAINED and self._again(name):
                self._try(partial(self._power_down, slurm.nodes[name], slurm))
            self._said_stage(slurm.nodes[name], stage)
        return stages

    def _power_down(self, node: SlurmNode, slurm: SlurmSnapshot) -> None:
        """Power down a node that is empty; its server goes by the hook that Slurm calls then."""
        jobs = tuple(job for job in slurm.jobs if node.name in job.nodes)
        look = Look(node.name, node, jobs, Seen(), (), Server("", node.name, ""))
        answer = guard.power_down_by_person(look, protected=(), force=False)
        if isinstance(answer, Permit):  # else its job is on it again: the next look sees that
            self._acts.record([answer])
            self.context.slurm.update_nodes([node.name], state=answer.act)

    def _give_back(self, slurm: SlurmSnapshot, stages: dict[str, Stage]) -> None:
        """A node that just need not stay up is done when it goes down: from then on it is an elastic one."""
        readable = [name for name, stage in stages.items() if stage is not Stage.UNREADABLE]
        for name in [name for name in readable if name in self.change.unprotect]:
            before, node = name in self._given, slurm.nodes[name]
            if stages[name] is Stage.OFF or (stages[name] is Stage.OPEN and node.going_down):
                self._try(partial(self._end_drain, name, slurm))
            if name in self._given:
                off = before and not node.has("POWER_DOWN", "POWERING_DOWN")
                stages[name] = Stage.OFF if off else Stage.GOING

    def _end_drain(self, name: str, slurm: SlurmSnapshot) -> None:
        if not self._drains.release([name], slurm)[1]:
            self._given.add(name)

    def _said_stage(self, node: SlurmNode, stage: Stage) -> None:
        words = {
            Stage.OPEN: "drain",
            Stage.DRAINED: "power down",
            Stage.GOING: "power down",
            Stage.BUSY: "drain",
        }
        text = self._left.get(node.name, "")
        if stage is Stage.BUSY:
            text = f"waiting: {node_state.joined(node.flags - {'CLOUD', 'DRAIN'})}"
        elif stage is Stage.COMING:
            text = "waiting until it is up"
        if stage is Stage.OFF and node.name in self._given:
            self._say(node.name, Kind.SHRINK, Act.RELEASE, "elastic from now on")
            return
        # POWER_DOWN wipes the DRAIN (22.05); setting it again is no step of its own.
        if not (stage is Stage.OPEN and (node.going_down or self._said.get(node.name) == "power down")):
            self._say(node.name, Kind.SHRINK, words.get(stage, stage), text)

    def _shrunk(self, step: Step) -> None:
        """Write slurm.conf without what has gone; what has not stays in it as it was."""
        listed = self.context.servers()
        stages = self._drains.stages(self.change.drained, self._read(self.change.drained))
        ready = {name for name, stage in stages.items() if stage is Stage.OFF}
        ready |= {*self.change.asleep, *self._given}
        if listed is None:
            self._late.update(self.change.removed)
            ready -= {*self.change.removed}
        else:
            ready -= {*self.change.removed} & listed
        if not ready & {*step.nodes}:
            return
        stay = tuple(name for name in self.change.removed if name not in ready)
        protected = tuple(name for name in self.change.unprotect if name not in ready)
        self._slurm_conf(step, stay, (*stay, *protected))
        gone = [name for name in self.change.removed if name in ready]
        self.context.journal.forget_nodes(gone)
        for name in gone:
            self._say(name, Kind.SHRINK, "left")

    def _release(self, nodes: Nodes, text: str) -> None:
        wanted = [name for name in nodes if name not in self._left and name not in self._late]
        while wanted:
            ended, wanted = self._drains.release(wanted, self._read(wanted))
            for name in ended:
                self._say(name, Kind.SHRINK, Act.RELEASE, text)
            if wanted and self._out_of_time():
                self._late.update(wanted)
                return
            if wanted:
                self.context.pause(_LOOK)

    # All steps

    @property
    def by(self) -> str:
        """Who drains."""
        return f"resize {self.id}"

    def _slurm_conf(self, step: Step, keep: Nodes, protected: Nodes) -> None:
        self._say(
            Act.SLURM_CONF,
            step.kind,
            "write",
            f"{fold(step.nodes)}: {step.text}" if step.nodes else step.text,
        )
        self.context.apply(keep, protected)
        self._say(Act.SLURM_CONF, step.kind, "done")

    def _read(self, nodes: Sequence[str]) -> SlurmSnapshot:
        """Read nodes, however long Slurm can't be read: nothing is decided meanwhile."""
        while nodes:
            try:
                found = self.context.slurm.snapshot(nodes)
            except SlurmError as error:
                if self._out_of_time():
                    raise
                self._say("slurmctld", Kind.SHRINK, "unreadable", error.what)
                self.context.pause(1.0)
            else:
                self._said.pop("slurmctld", None)
                return found
        return SlurmSnapshot(self.context.clock.wall(), {})

    def _try(self, command: Callable[[], None]) -> None:
        """Tell Slurm something; what it refuses is said, and tried again at a later look."""
        try:
            command()
        except SlurmError as error:
            self._say("slurmctld", Kind.SHRINK, "refused", error.line)

    def _again(self, name: str) -> bool:
        if self.context.clock.monotonic() - self._asked.get(name, float("-inf")) < _REPEAT:
            return False
        self._asked[name] = self.context.clock.monotonic()
        return True

    def _out_of_time(self) -> bool:
        return self.context.clock.monotonic() - self._began > self.timeout

    def _say(self, node: str, kind: Kind, step: str, text: str = "") -> None:
        if node != Act.SLURM_CONF and self._said.get(node) == step:
            return
        self._said[node] = step
        if node not in (Act.SLURM_CONF, "slurmctld"):
            self.outcome[node] = str(step)
        clock = self.context.clock
        self.context.tell(News(clock.wall(), node, kind, str(step), clock.monotonic() - self._began, text))

    def _end(self) -> None:
        if self._failed:
            raise PowersaveError(
                f"not up: {fold(self._failed)}",
                why=next(iter(self._failed.values())),
                todo="`slurm-powersave history` says more; the rest of the resize is done.",
            )
        if self._late:
            raise UnfinishedError(
                f"not finished in time: {fold(self._late)}",
                todo="What was done stays. Run it again, or end its drains with `resize --abort`.",
            )
        if self._left:
            raise LeftAloneError(
                f"left alone: {fold(self._left)}",
                why="; ".join(f"{name}: {why}" for name, why in list(self._left.items())[:5]),
                todo="Release them in Slurm when they may go, and run resize again. The rest is done.",
            )


def _whose(node: SlurmNode) -> str:
    return f"{set_by(node, state_by_admin(node))} ({node.reason})"


def abort(context: ScaleContext) -> list[str]:
    """End the drains of every resize, and no others; return the nodes that were released."""
    began = context.clock.monotonic()
    drains = Drains(context.journal, context.slurm, context.clock.wall)
    ended: list[str] = []
    wanted = [name for name, one in context.journal.drains().items() if one.by.startswith("resize ")]
    while wanted:
        slurm = context.slurm.snapshot(wanted)
        done, wanted = drains.release(wanted, slurm)
        for name in done:
            seconds = context.clock.monotonic() - began
            context.tell(News(context.clock.wall(), name, Kind.SHRINK, Act.RELEASE, seconds, "undrained"))
        ended += done
        if wanted and context.clock.monotonic() - began > _RELEASE:
            raise UnfinishedError(
                f"their drains could not be ended: {fold(wanted)}",
                why="what Slurm says of them can't be read" if slurm.unreadable else "Slurm powers them down",
                todo="Run `slurm-powersave resize --abort` again when `status` shows their state.",
            )
        if wanted:
            context.pause(_LOOK)
    return ended
