"""`teardown`: locks, what its steps (teardown_steps.py) work with, and what is forgotten at the end."""

import signal
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.slurm import logs
from slurm_powersave.adapters.state_dir.lock import command_lease, engine_lease
from slurm_powersave.adapters.state_dir.store import StateDirectory
from slurm_powersave.adapters.terraform import state_file
from slurm_powersave.commands import backup
from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.cluster_contents import ClusterContents
from slurm_powersave.commands.command_lock import is_bare
from slurm_powersave.commands.empty_nodes import BY, DrainForTeardown
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.serve import WallClock
from slurm_powersave.commands.teardown_steps import Outcome, Teardown, Wish
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.backup import LOGS
from slurm_powersave.model import phases
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.ports.journal import Journal, Runs

_RUN_SECONDS = 60.0
"""From SIGINT to SIGKILL of a run that an ended engine has left: its state is to know what it made."""


def teardown(cluster: Cluster, dialog: Dialog, wish: Wish, to: Path | None = None) -> Outcome:
    """Delete every server of the cluster, its login node and network; `to` is where the backup goes.

    Raises:
        LockedError: the engine is running.
        RefusedError: jobs are running, or Terraform is.
        LeftoverError: something of ours is still there at the end; a second call goes on.
    """
    layout = cluster.layout
    if is_bare(layout.root):
        dialog.say(f"There is no state directory at {layout.root}: servers are found by their tag.")
        if not wish.dry_run:
            layout.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held:
        if wish.dry_run:
            _say_who_holds(cluster, dialog)
        else:
            held.callback(engine_lease(layout).take().release)
        journal = SqliteJournal(layout.journal) if layout.journal.exists() else None
        if journal:
            held.callback(journal.close)
            _end_runs(journal, wish)
        outcome = _parts(cluster, dialog, journal, to).run(wish)
        if outcome.done:
            _forget(cluster, journal)
            dialog.say(f"Nothing of the cluster is left in the cloud. Journal and keys stay in {layout.root}")
    return outcome


def _say_who_holds(cluster: Cluster, dialog: Dialog) -> None:
    layout = cluster.layout
    for lease, what in ((engine_lease(layout), "an engine"), (command_lease(layout), "another command")):
        if lease.holder() is not None:
            dialog.say(f"teardown would be refused now: {what} is running: {lease.describe()}")


def _end_runs(journal: Runs, wish: Wish) -> None:
    """Terraform and Ansible outlive the engine; what they make after we have looked would be left."""
    alive = [run.record for run in journal.runs() if process.alive(run.record)]
    if not alive or wish.dry_run:
        return
    if not wish.force:
        raise RefusedError(
            f"{alive[0].kind} of an engine that has ended still runs (process {alive[0].pid})",
            todo="Wait until it has ended; --force interrupts it.",
        )
    for number, seconds in ((signal.SIGINT, _RUN_SECONDS), (signal.SIGKILL, _RUN_SECONDS)):
        for record in alive:
            process.signal_run(record, number)
        deadline = time.monotonic() + seconds
        while any(map(process.alive, alive)) and time.monotonic() < deadline:
            time.sleep(0.1)


def _parts(cluster: Cluster, dialog: Dialog, journal: Journal | None, to: Path | None) -> Teardown:
    layout, clouds = cluster.layout, connect.clouds(cluster)
    shards = state_file.directories(layout.terraform)
    base = connect.state(cluster, layout.base)
    unseen = {path for path in shards if path.parent.name not in clouds}
    if cluster.cloud_of(cluster.login) not in clouds:
        unseen.add(layout.base)

    def save() -> str:
        if journal is None:
            dialog.say("There is no journal, so there is no backup.")
            return ""
        made = backup.make(cluster, to, add=lambda place: _logs(cluster, dialog, place))
        dialog.say(f"backup and logs: {made.path}")
        return str(made.path)

    clock = WallClock()
    slurm, nodes = connect.slurm(cluster), [connect.state(cluster, path) for path in shards]
    return Teardown(
        contents=ClusterContents(clouds, slurm, nodes, base if base.exists else None, unseen, dialog.say),
        slurm=slurm,
        slurm_stays=cluster.login.connection == "local",
        drain=DrainForTeardown(slurm, journal, clock, time.sleep, dialog.say),
        save=save,
        delete_image=lambda cloud, name: connect.image_cloud(cluster, cloud).delete_image(name),
        clock=clock,
        wait=time.sleep,
        dialog=dialog,
        acts=Acts(journal, BY),
    )


def _logs(cluster: Cluster, dialog: Dialog, place: Path) -> None:
    for name, why in logs.collect(cluster, place / LOGS).items():
        dialog.say(f"{name} could not be saved: {why}")


def _forget(cluster: Cluster, journal: Journal | None) -> None:
    """The next deploy begins with empty states; history, addresses and keys stay."""
    if journal:
        now = time.time()
        records = journal.node_records().values()
        journal.save_nodes(replace(record, shard="", server_id="", boot_id="") for record in records)
        for op in journal.open_operations():
            text = "the cluster was torn down"
            journal.save_operation(replace(op, outcome=phases.CANCELLED, since=now, text=text))
        for run in journal.runs():
            journal.drop_run(run.record.id)
        for node in journal.node_backoffs():
            journal.drop_node_backoff(node)
        journal.drop_drains(journal.drains())
        for shard in journal.dirty_shards():
            journal.set_dirty(shard, False)
    StateDirectory(cluster.layout).forget_states()
