"""`slurm-powersave resize` on the real thing: what is there, what will be done, and the doing of it."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from slurm_powersave.commands import apply_slurm_conf, change_plan, deploy, deployed, preflight
from slurm_powersave.commands.base_state import NO_WISH, Wish
from slurm_powersave.commands.engine_served import Served
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.previous_file import Applying
from slurm_powersave.commands.readings import running
from slurm_powersave.commands.scale import News, ScaleContext, Scaling, abort
from slurm_powersave.commands.watch_file import digest
from slurm_powersave.decide.commands.play_plan import PlayPlan, differences
from slurm_powersave.decide.commands.scale import Change, Nodes, Step, change, steps
from slurm_powersave.decide.preflight import slurm_conf_look, slurm_running
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes, removed
from slurm_powersave.decide.slurm_files.slurm_parameters import protected
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeRecord
from slurm_powersave.ports.site import Site

_ENGINE = 15.0
"""Seconds in which the engine takes a cluster file that has changed."""
PLAYBOOK = "resize.yml"


@dataclass(frozen=True)
class Done:
    """What a resize did, or would do."""

    change: Change
    steps: list[Step]
    outcome: Mapping[str, str]
    """Node -> the step that it came to."""
    plan: PlayPlan
    """What was shown of files and daemons."""
    deleted: Mapping[str, str]
    """Node -> the id of its server, of those that go."""


class ScaleCommand:
    """A cluster's resize; whoever runs it holds the lock of commands (commands/command_lock.py)."""

    def __init__(
        self, site: Site, dialog: Dialog, tell: Callable[[News], None], wish: Wish = NO_WISH
    ) -> None:
        """Open what is needed. `wish` says whether what was edited in Slurm's files may be replaced.

        Raises:
            ConfigError: the cluster was never deployed.
        """
        cluster = site.cluster
        deployed.require(cluster.layout, (cluster.layout.journal, cluster.layout.inventory))
        self._site, self._cluster = site, cluster
        self._dialog, self._tell, self._wish = dialog, tell, wish
        self._journal, self._slurm = site.journal(), site.slurm()
        self._scaling: Scaling | None = None
        self._live = LiveFiles()
        self._seen = change_plan.Seen(PlayPlan())
        self._applying = Applying.of(site)

    def run(self, *, dry_run: bool, timeout: float) -> Done | None:
        """Resize; None if the person said no.

        Raises:
            ConfigError: slurmctld runs another version than the cluster file names.
            PowersaveError: what failed, or was left.
        """
        slurm_running.refuse(self._cluster, running(self._slurm))
        slurm_conf_look.refuse(self._cluster)
        self._live = preflight.refuse_foreign(
            self._site, self._dialog, self._wish, lambda: deploy.make_inventory(self._site, RemovedNodes())
        )
        if dry_run:
            found = self._change()
            return Done(found, self._shown(found), {}, self._seen.plan, self._deleted(found))
        found = self._change()
        planned, plan, deleted = self._shown(found), self._seen.plan, self._deleted(found)
        if planned and not self._dialog.ask("Do this?"):
            return None
        if planned and not self._dialog.unasked:
            self._refuse_other(found)
        if planned:
            self._engine_is_ready()
            deploy.prepare(self._site)
        self._scaling = Scaling(self._context(), found, self._id(), timeout)
        self._scaling.run()
        self._applying.succeeded()
        return Done(found, planned, self._scaling.outcome, plan, deleted)

    @property
    def outcome(self) -> Mapping[str, str]:
        """Node -> the step that it has come to, also of a run that was ended."""
        return dict(self._scaling.outcome) if self._scaling else {}

    def abort(self) -> list[str]:
        """End what any resize has drained; return the released nodes."""
        return abort(self._context())

    # What is there

    def _change(self) -> Change:
        deploy.given_addresses(self._cluster, self._records)
        snapshot = self._slurm.snapshot()
        seen = self._slurm.suspend_exc_nodes()
        wanted = protected(self._cluster)
        found = change(
            self._cluster,
            slurm=snapshot.nodes,
            unread=snapshot.unreadable,
            protected=seen,
            wanted_protected=wanted,
            recorded=self._records.keys(),
            drains=self._journal.drains(),
        )
        surplus = (*found.removed, *found.unprotect)
        made = deploy.make_inventory(self._site, self._removed(found.removed, surplus))
        same = slurm_conf_in_use.of(made.variables).same(slurm_conf_in_use.load(self._site.store()))
        plan = self._look(found)
        return replace(
            found,
            rewrite=not same or bool(self._live.unreadable) or not plan.nothing,
            slurmctld=plan.does("slurmctld") if plan.hosts else None,
        )

    def _look(self, found: Change) -> PlayPlan:
        """Ask the play what it would change in the end, when all that is to go has gone."""
        stay = tuple(name for name in found.removed if name in found.alone)
        protected = tuple(name for name in (*found.removed, *found.unprotect) if name in found.alone)
        self._seen = change_plan.look(
            self._site,
            PLAYBOOK,
            lambda: deploy.make_inventory(self._site, self._removed(stay, protected)),
            self._wish,
            removes=bool(found.removed or found.unprotect),
        )
        return self._seen.plan

    @property
    def _records(self) -> Mapping[str, NodeRecord]:
        return self._journal.node_records()

    def _removed(self, keep: Nodes, protect: Nodes) -> RemovedNodes:
        last = slurm_conf_in_use.load(self._site.store())
        places = {name: record.node.address for name, record in self._records.items()}
        return removed(keep, places, protect, last.node_lines, last.partition_lines)

    def _refuse_other(self, shown: Change) -> None:
        """Look again, and do nothing but what was shown; nodes that Slurm moves meanwhile don't count.

        Raises:
            RefusedError: files, daemons or nodes of the plan differ.
        """
        plan = self._seen.plan
        now = self._change()
        found = differences(plan, self._seen.plan, self._cluster.nodes())
        for what in ("added", "removed", "protect", "unprotect"):
            if moved := {*getattr(shown, what)} ^ {*getattr(now, what)}:
                found.append(f"{what}: {fold(moved)}")
        change_plan.refuse_other(found)

    def _shown(self, found: Change) -> list[Step]:
        """Show files, daemons, servers and steps.

        Raises:
            PlaybookError: the play would be refused; nothing was changed.
        """
        deploy.tell_addresses(self._cluster, self._records, self._dialog)
        change_plan.show(self._dialog, self._seen.plan, PLAYBOOK)
        for name, server in self._deleted(found).items():
            self._dialog.say(f"server {name} ({server}) is deleted")
        if found.wake:
            self._dialog.say(change_plan.creates(found.wake))
        return self._show(found)

    def _deleted(self, found: Change) -> dict[str, str]:
        records = self._records
        return {n: records[n].server_id for n in found.drained if n in records and records[n].server_id}

    def _show(self, found: Change) -> list[Step]:
        for name, why in found.alone.items():
            self._dialog.say(f"{name} is left alone: {why}")
        planned = steps(found)
        for number, step in enumerate(planned, 1):
            words = [f"{number}.", step.words, fold(step.nodes) if step.nodes else ""]
            self._dialog.say(" ".join(filter(None, words)) + (f": {step.text}" if step.text else ""))
        if not planned:
            self._dialog.say("Nothing to do: the cluster is as its file says.")
        return planned

    # The doing

    def _engine_is_ready(self) -> None:
        """The engine must know new nodes before Slurm asks for them."""
        lease, content = self._site.engine_lease(), digest(self._cluster.file)
        deadline = self._site.clock.monotonic() + _ENGINE
        while (found := lease.holder()) is not None:
            if found.get("file") == content:
                return
            if self._site.clock.monotonic() > deadline:
                raise PowersaveError(
                    "the engine has not loaded this cluster file",
                    where=str(self._cluster.file),
                    why="it reads another one, or says in its log what is wrong with this one",
                    todo="Correct that, or restart the engine.",
                )
            self._site.wait(0.2)
        raise PowersaveError(
            "no engine is running",
            where=lease.where,
            todo="Start it: it makes and deletes the servers.",
        )

    def _id(self) -> str:
        """The id of the resize that goes on, or a new one."""
        known = [one.by.split() for one in self._journal.drains().values()]
        return next((words[1] for words in known if words[0] == "resize"), secrets.token_hex(2))

    def _context(self) -> ScaleContext:
        return ScaleContext(
            self._slurm,
            self._journal,
            self._site.clock,
            self._site.wait,
            self._apply,
            self._servers,
            self._tell,
            Served(self._site.engine_lease()).require,
        )

    def _apply(self, keep: Nodes, protect: Nodes) -> None:
        made = deploy.make_inventory(self._site, self._removed(keep, protect))
        apply_slurm_conf.play(self._site, PLAYBOOK, made, "resize", self._wish)

    def _servers(self) -> frozenset[str] | None:
        """Name the nodes that have a server, as the clouds tell it; the journal where no adapter can."""
        names = {name for name, record in self._records.items() if record.server_id}
        try:
            for cloud in self._site.clouds().values():
                names |= {server.name for server in cloud.servers()}
        except PowersaveError as error:
            self._dialog.say(str(error))
            return None
        return frozenset(names)
