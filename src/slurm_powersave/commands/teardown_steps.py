"""From a cluster back to nothing, with proof: what is left is asked of the cloud anew, and named.

In this order: a backup and the logs, Slurm's nodes drained, the nodes' states, servers that no state knows
(by their tag), then network and login node. What fails is noted and the rest is gone on with; each step
looks at what is there now, so that the same command goes on where one that was killed has ended.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.cluster_contents import ClusterContents, Row, TornState, running
from slurm_powersave.commands.empty_nodes import DrainForTeardown
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.decide.commands.lost_jobs import jobs_queued, question, refuse_queue
from slurm_powersave.decide.node import guard, plan_permits
from slurm_powersave.model import permit
from slurm_powersave.model.errors import (
    CloudError,
    LeftoverError,
    PowersaveError,
    RefusedError,
    SlurmError,
    TerraformError,
)
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.leftovers import IMAGE, KEPT, SERVER, Leftover
from slurm_powersave.model.nodes import Server, SlurmSnapshot
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.cloud import Cloud, TellsLeftovers
from slurm_powersave.ports.slurm import Slurm
from slurm_powersave.ports.terraform_directory import Planned

GONE_SECONDS = 120.0
"""Seconds within which a server that is deleted by its id must be gone."""
_AGAIN = 15.0
"""Seconds after which its deletion is asked for once more."""
_POLL = 0.5


@dataclass(frozen=True)
class Wish:
    """What the person has asked for."""

    dry_run: bool = False
    force: bool = False
    """Also if jobs are running, or if Slurm can't be asked."""
    wait: float | None = None
    """Drain the nodes and wait so many seconds for their jobs; None: refuse while there are any."""
    images: bool = False
    """Delete the images that were made here, too."""
    discard_queue: bool = False
    """Queued jobs may be lost, with or without a question that counts them."""


@dataclass
class Outcome:
    """What was there, and what has become of it."""

    rows: list[Row] = field(default_factory=list)
    others: list[Leftover] = field(default_factory=list)
    """What is ours beside servers."""
    plans: dict[str, str] = field(default_factory=dict)
    """State -> what Terraform would delete there, or why that is not known."""
    waiting: int = 0
    """Jobs in Slurm's queue; they are lost with a slurmctld that goes."""
    backup: str = ""
    refused: list[str] = field(default_factory=list)
    """With a dry run: why it would be refused now."""
    done: bool = False
    kept: list[Leftover] = field(default_factory=list)


@dataclass
class Teardown:
    """What a teardown works with."""

    contents: ClusterContents
    slurm: Slurm
    slurm_stays: bool
    """slurmctld is on this machine, and not on a login node that goes, too."""
    drain: DrainForTeardown
    save: Callable[[], str]
    """Write the backup; return where it is."""
    delete_image: Callable[[str, str], None]
    """Cloud and name."""
    clock: Clock
    wait: Callable[[float], None]
    dialog: Dialog
    acts: Acts
    problems: list[str] = field(default_factory=list)
    lasting: list[Leftover] = field(default_factory=list)
    """What the cloud keeps although it was deleted for good."""

    def run(self, wish: Wish) -> Outcome:
        """Tear down; `done` is False if the person said no, or with a dry run.

        Raises:
            RefusedError: jobs are running; or jobs are queued, and --yes is given without --discard-queue.
            UnfinishedError: they have not ended in the time that was given.
            LeftoverError: something of ours is still there at the end.
            CloudError: the cloud can't be read, so nothing was done.
        """
        found = Outcome()
        # One that was torn down is not asked for its jobs: that takes ssh a while to find out.
        asked = self.slurm_stays or bool(self.contents.servers())
        snapshot = self.contents.snapshot() if asked else None
        found.rows = self.contents.rows(snapshot)
        found.waiting = sum(job.waiting for job in snapshot.jobs) if snapshot else 0
        found.others = [left for left in self.contents.tagged() if left.kind != SERVER]
        lost = self._queued(found, snapshot)
        try:
            if not wish.force:
                self._refuse_jobs(found.rows, snapshot, waits=wish.wait is not None)
            refuse_queue(lost, unasked=self.dialog.unasked, discard=wish.discard_queue, force=wish.force)
        except RefusedError as error:
            if not wish.dry_run:
                raise
            found.refused.append(str(error))
        plans, found.plans = self.contents.plans()
        self._show(found, wish)
        if not (found.rows or found.others or any(plan.actions for _, plan in plans)):
            self.dialog.say("Nothing of the cluster is there.")
        elif not wish.dry_run and self.dialog.ask(question(lost)):
            if not self.dialog.unasked:
                self._refuse_new(found, plans)
            self._go(found, wish, snapshot, plans)
        else:
            self._forget(plans)
            return found
        self._forget(plans)
        if not wish.dry_run:
            left = self.contents.left()
            left += [one for one in self.lasting if one not in left]
            found.kept = [one for one in left if one.kind == IMAGE and not wish.images]
            self._prove([one for one in left if one not in found.kept])
            found.done = True
        return found

    def _go(
        self,
        found: Outcome,
        wish: Wish,
        snapshot: SlurmSnapshot | None,
        plans: Sequence[tuple[TornState, Planned]],
    ) -> None:
        try:
            found.backup = self.save()
            if snapshot is not None:
                any_number = wish.force or wish.discard_queue or self.slurm_stays
                queued = None if any_number else found.waiting
                self.drain.and_wait(force=wish.force, seconds=wish.wait or 0, queued=queued)
        except PowersaveError:
            self._forget(plans)
            raise
        self._delete(plans, [row.server.id for row in found.rows])
        if wish.images:
            self._delete_images()

    def _refuse_new(self, found: Outcome, plans: Sequence[tuple[TornState, Planned]]) -> None:
        """Delete no server that was not shown. Nodes don't count: Slurm asks for them.

        Raises:
            RefusedError: there is another one now.
        """
        shown = {row.server.id for row in found.rows}
        there = [server for _, server in self.contents.servers() if server.id not in shown]
        new = [one for one in there if not any(tag.startswith("node=") for tag in one.tags)]
        if new:
            self._forget(plans)
            names = ", ".join(f"{one.name} ({one.id})" for one in new)
            raise RefusedError(
                f"there are servers that were not shown: {names}",
                todo="Nothing was changed. Run teardown again: it shows them.",
            )

    def _forget(self, plans: Sequence[tuple[TornState, Planned]]) -> None:
        """Plan files hold user data."""
        for state, plan in plans:
            state.forget(plan)

    def _show(self, found: Outcome, wish: Wish) -> None:
        for row in found.rows:
            self.dialog.say(str(row))
        for other in found.others:
            kept = " (kept; --images deletes it)" if other.kind == IMAGE and not wish.images else ""
            self.dialog.say(f"{other}{kept}")
        for state, words in found.plans.items():
            self.dialog.say(f"{state}: {words}")
        if found.waiting:
            self.dialog.say(f"{jobs_queued(found.waiting)} in Slurm")
        for why in found.refused:
            self.dialog.say(f"teardown would be refused now: {why}")

    # Jobs

    def _refuse_jobs(self, rows: Sequence[Row], snapshot: SlurmSnapshot | None, *, waits: bool) -> None:
        if snapshot is None:
            nodes = [row for row in rows if any(tag.startswith("node=") for tag in row.server.tags)]
            login = self.slurm_stays or any("role=login" in row.server.tags for row in rows)
            if nodes and login:  # else slurmctld is gone already, and the jobs with it
                raise RefusedError(
                    "Slurm can't be asked whether jobs are running",
                    todo="If running jobs may be lost: teardown --force",
                )
        elif snapshot.unreadable and not waits:
            raise RefusedError(
                f"what Slurm says of these nodes can't be read: {fold(snapshot.unreadable)}",
                why="nobody can tell whether jobs run there",
                todo="Look at them in Slurm. If their jobs may be lost: teardown --force",
            )
        elif (jobs := running(snapshot)) and not waits:
            raise RefusedError(
                f"jobs are running: {', '.join(jobs[:20])}",
                todo="Cancel them, or use teardown --wait SECONDS or --force.",
            )

    def _queued(self, found: Outcome, snapshot: SlurmSnapshot | None) -> int | None:
        """Count the jobs that are queued in a slurmctld that goes; None if it can't be asked."""
        if self.slurm_stays:
            return 0
        if snapshot is None and any("role=login" in row.server.tags for row in found.rows):
            return None
        return found.waiting

    # Deleting

    def _delete(self, plans: Sequence[tuple[TornState, Planned]], shown: Collection[str]) -> None:
        base = [(state, plan) for state, plan in plans if state is self.contents.base]
        for state, plan in plans:
            if state is not self.contents.base:
                self._apply(state, plan)
        base_ids = self._base_ids()
        self._delete_servers(spared=base_ids)
        self._power_down()
        if self._purge():
            for state, plan in base:
                self._apply(state, plan)
        else:
            self._forget(base)
        self._delete_servers(spared=())
        self._purge("the cloud keeps what was deleted", base_ids.intersection(shown))

    def _apply(self, state: TornState, plan: Planned) -> None:
        if plan.actions:
            self.dialog.say(f"terraform destroy in {state.directory}")
        try:
            ids = plan_permits.destroyed(plan.content)
            permits = guard.agreed(ids, permit.Row.TEARDOWN, "shown to the person who has confirmed")
            self.acts.record(permits)
            state.apply(plan, permits)
        except TerraformError as error:
            self._problem(error)

    def _problem(self, error: PowersaveError) -> None:
        self.problems.append(" ".join(str(error).split()))
        self.dialog.say(str(error))

    def _base_ids(self) -> frozenset[str]:
        try:
            return self.contents.base.ids() if self.contents.base else frozenset()
        except TerraformError as error:
            self._problem(error)
            return frozenset()

    def _delete_servers(self, spared: Collection[str]) -> None:
        """Delete by id what no state has taken away, and wait until it is gone."""
        deadline, asked = self.clock.monotonic() + GONE_SECONDS, dict[str, float]()
        while True:
            try:
                there = [
                    (cloud, server) for cloud, server in self.contents.servers() if server.id not in spared
                ]
            except CloudError as error:
                self._problem(error)
                return
            if not there or self.clock.monotonic() > deadline:
                return
            for cloud, server in there:
                if self.clock.monotonic() - asked.get(server.id, -_AGAIN) < _AGAIN:
                    continue
                allowed = guard.granted(guard.teardown(server))
                if server.id not in asked:
                    self.dialog.say(f"delete server {server.name} ({server.id})")
                    self.acts.record([allowed])
                asked[server.id] = self.clock.monotonic()
                try:
                    cloud.delete(server.id, allowed)
                except CloudError as error:
                    self._problem(error)
            self.wait(_POLL)

    def _purge(self, otherwise: str = "the network can't go yet", ids: Collection[str] = ()) -> bool:
        """Delete for good what the cloud keeps after its deletion; if it does not go, say `otherwise`: False.

        Its port is in the network, and Terraform would wait for that until its own time limit. The servers
        `ids` are asked for: where Terraform has made the port, too, that is gone, and nothing leads to them.
        """
        deadline, asked = self.clock.monotonic() + GONE_SECONDS, set[str]()
        while True:
            try:
                kept = self._kept(ids)
                self.lasting = [left for _, left in kept]
                for cloud, left in kept:
                    if left.id not in asked:
                        self.dialog.say(f"delete for good: {left}")
                        asked.add(left.id)
                        allowed = guard.granted(guard.teardown(Server(left.id, left.name, "SOFT_DELETED")))
                        self.acts.record([allowed])
                        cloud.delete(left.id, allowed)
            except CloudError as error:
                self._problem(error)
                return False
            if not kept:
                return True
            if self.clock.monotonic() > deadline:
                self._problem(CloudError(otherwise, why=", ".join(map(str, self.lasting))))
                return False
            self.wait(_POLL)

    def _kept(self, ids: Collection[str]) -> list[tuple[Cloud, Leftover]]:
        found: list[tuple[Cloud, Leftover]] = []
        for cloud in self.contents.clouds.values():
            if isinstance(cloud, TellsLeftovers):
                found += [(cloud, left) for left in cloud.leftovers() if left.kind == KEPT]
            asked = [server for one in ids if (server := cloud.server(one))]
            soft = [server for server in asked if server.status == "SOFT_DELETED"]
            found += [(cloud, Leftover(KEPT, server.id, server.name)) for server in soft]
        return found

    def _power_down(self) -> None:
        """A slurmctld that stays is told that its nodes are off."""
        if not self.slurm_stays:
            return
        try:
            known = self.slurm.snapshot().nodes
            up = [name for name, node in known.items() if not node.going_down]
            if up:
                self.slurm.update_nodes(up, state="POWER_DOWN")
        except SlurmError as error:
            self.dialog.say(f"slurm: {error}")

    def _delete_images(self) -> None:
        for name, cloud in self.contents.clouds.items():
            left = cloud.leftovers() if isinstance(cloud, TellsLeftovers) else ()
            for image in (one for one in left if one.kind == IMAGE):
                try:
                    self.dialog.say(f"delete image {image.name}")
                    self.delete_image(name, image.name)
                except PowersaveError as error:
                    self._problem(error)

    # Proving

    def _prove(self, left: Sequence[Leftover]) -> None:
        if left:
            raise LeftoverError(
                f"still there: {', '.join(map(str, left))}",
                where="teardown",
                why="; ".join(self.problems),
                todo="Run teardown again; delete by hand what no Terraform state knows any more.",
            )
