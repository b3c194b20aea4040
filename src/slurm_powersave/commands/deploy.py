"""From the cluster file to a login node with a working Slurm.

`deploy` can be run again: it changes what differs and nothing else. The nodes are not made here:
Slurm asks for the persistent ones by POWER_UP, and the engine brings them up like any others.
"""

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_powersave.commands import apply_slurm_conf, base_state, identity, preflight, unrecorded
from slurm_powersave.commands.base_state import NO_WISH, Wish
from slurm_powersave.commands.change_plan import Files
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.previous_file import Applying
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.decide.flavor import node_memory
from slurm_powersave.decide.preflight import slurm_conf_look, slurm_running
from slurm_powersave.decide.slurm_files import addresses
from slurm_powersave.decide.slurm_files.inventory import Inventory, inventory
from slurm_powersave.decide.slurm_files.removed_nodes import RemovedNodes
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import (
    ConfigError,
    RefusedError,
    SlurmError,
)
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import NodeRecord, SlurmSnapshot
from slurm_powersave.ports.journal import NodeRecords
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.state_store import StateStore


@dataclass(frozen=True)
class Deployed:
    """What a deploy did, or would do."""

    agreed: bool
    """False if the person said no."""
    plan: PlayPlan
    """What was shown of files and daemons; nothing of a login node that was not there yet."""
    servers: tuple[str, ...]
    """What becomes of the base state's servers, in words."""
    wakes: tuple[str, ...]
    """The nodes that are powered up because they are always to be up."""


def deploy(
    site: Site, dialog: Dialog, wish: Wish = NO_WISH, *, dry_run: bool = False, check: bool = True
) -> Deployed:
    """Create or update network, login node and Slurm.

    What exists is neither deleted nor replaced; `wish` may name the login node as the one exception.

    With `check` the clouds are asked first, and nothing is done if something is in the way. Without it only
    slurmctld is asked for its version: a slurm.conf for another version may keep it from starting.

    Raises:
        RefusedError: what exists would be deleted or replaced, or jobs are in the way; nothing was changed.
        PowersaveError: what failed; a second call goes on from there.
    """
    cluster, applying = site.cluster, Applying.of(site)
    _refuse_odd(cluster, wish)
    site.terraform_program().check()
    if check:
        _refuse_findings(preflight.look(site, files=False), dialog)
    else:
        slurm_conf_look.refuse(cluster)
        slurm_running.refuse(cluster, preflight.slurmctld(site))
    dialog.say(f"cluster {cluster.cluster_name}: {len(cluster.nodes())} nodes, state in {cluster.state_dir}")
    if dry_run and not cluster.layout.private_key.exists():
        with ExitStack() as held:
            place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="slurm-powersave-")))
            elsewhere = held.enter_context(site.of(cluster.model_copy(update={"state_dir": place})))
            return _deploy(elsewhere, dialog, wish, dry_run)
    done = _deploy(site, dialog, wish, dry_run)
    if done.agreed and not dry_run:
        applying.succeeded()
    return done


def _refuse_odd(cluster: Cluster, wish: Wish) -> None:
    if wish.force and not wish.replace_login:
        raise ConfigError("--force can only be used with --replace-login", todo="Run deploy without it.")
    if wish.replace_login and cluster.login.connection != "ssh":
        raise ConfigError(
            "--replace-login: slurmctld runs on this machine, which deploy can't replace",
            where=f"{cluster.file}: login.connection",
        )


def _deploy(site: Site, dialog: Dialog, wish: Wish, dry_run: bool) -> Deployed:
    cluster = site.cluster
    _refuse_removed(site)
    if not cluster.layout.private_key.exists():
        unrecorded.refuse_unknown(cluster, unrecorded.servers(site))
    if not (dry_run and cluster.layout.private_key.exists()):
        make_keys(site)
    tell_addresses(cluster, site.journal().node_records(), dialog)

    def make() -> Inventory:
        return make_inventory(site, RemovedNodes())

    preflight.refuse_foreign(site, dialog, wish, make)
    files = Files(site, dialog, wish, make)
    if cluster.login.connection == "ssh":
        agreed = base_state.deploy(site, dialog, wish, files, dry_run=dry_run)
    elif dry_run:
        agreed = files.show(fresh=False)
    else:
        agreed = files.agree()
    done = Deployed(dry_run or agreed, files.seen.plan, files.servers, files.wakes)
    if dry_run or not agreed:
        return done
    prepare(site)
    made = make()
    dialog.say(f"ansible-playbook deploy.yml on {cluster.login.name}")
    apply_slurm_conf.play(site, "deploy.yml", made, "deploy", wish)
    return done


def _refuse_findings(report: preflight.Report, dialog: Dialog) -> None:
    """Say what the pre-flight found.

    Raises:
        ConfigError: there are errors.
    """
    for line in report.asked:
        dialog.say(f"asked: {line}")
    for one in report.findings:
        dialog.say(f"{one.severity}: {one.where}: {one.wrong}\n  {one.right}")
    if report.errors:
        count = len(report.errors)
        raise ConfigError(
            f"{count} thing{'s are' if count > 1 else ' is'} in the way of a deploy; nothing was changed",
            todo="Correct what is named above; `slurm-powersave check` checks again. "
            "`deploy --no-check` does not look at the clouds.",
        )


def _refuse_removed(site: Site) -> None:
    """Nodes that have a server or a job are drained before they leave: that is what resize does."""
    cluster, records = site.cluster, unrecorded.records(site)
    removed = [name for name in records if name not in cluster]
    try:
        known = site.slurm().snapshot() if removed else SlurmSnapshot(0.0, {})
    except SlurmError as error:
        raise RefusedError(
            f"nodes leave ({fold(removed)}), and Slurm can't be asked whether they are in use", why=str(error)
        ) from error
    used = [n for n in removed if records[n].server_id or not _off_and_drained(n, known)]
    if used:
        raise RefusedError(
            f"nodes leave the cluster file that are not powered down and drained: {fold(used)}",
            where=str(cluster.file),
            todo="`slurm-powersave resize` drains them, waits for their jobs and takes them away.",
        )


def _off_and_drained(name: str, slurm: SlurmSnapshot) -> bool:
    """Tell whether a node is out of use; one that Slurm does not know is, one that can't be read is not."""
    node = slurm.nodes.get(name)
    return name not in slurm.unreadable and (node is None or node.off_and_drained)


def tell_addresses(cluster: Cluster, records: Mapping[str, NodeRecord], dialog: Dialog) -> None:
    """Say which nodes keep an address that the cluster file no longer gives them; nothing is recorded yet.

    Raises:
        ConfigError: an address is another's.
    """
    given = given_addresses(cluster, records)
    if kept := addresses.kept(cluster, given):
        dialog.say(
            f"{fold(kept)}: the address that a name was once given stays (of {kept[0]}: {given[kept[0]]}), "
            "whatever the pool's `addresses` say now"
        )


def prepare(site: Site) -> None:
    """Make the state directory with its keys, and record every node's address."""
    make_keys(site)
    _record_addresses(site.cluster, site.journal())


def make_keys(site: Site) -> None:
    """Make the state directory with its keys, where they are not there yet."""
    layout = site.cluster.layout
    site.store().make()
    if not layout.private_key.exists():
        site.own_files().make_key()
    if not layout.munge_key.exists():
        _write_secret(layout.munge_key, os.urandom(1024))
    identity.record(site)


def given_addresses(cluster: Cluster, records: Mapping[str, NodeRecord]) -> dict[str, str]:
    """Return every node's address: as recorded, or by its place in the pool.

    Raises:
        ConfigError: an address is another's; also one of a node that leaves and still has a server.
    """
    held = {name: r.node.address for name, r in records.items() if name in cluster or r.server_id}
    return addresses.assign(cluster, held)


def _record_addresses(cluster: Cluster, journal: NodeRecords) -> None:
    records = journal.node_records()
    assigned = given_addresses(cluster, records)
    journal.save_nodes(
        NodeRecord(cluster.node_spec(name, address=address))
        for name, address in assigned.items()
        if name not in records
    )


def write_inventory(site: Site, removed: RemovedNodes = RemovedNodes()) -> None:  # noqa: B008  # frozen
    """Write what Ansible reads: hosts and variables, with the recorded addresses."""
    apply_slurm_conf.write(site.cluster.layout.inventory, make_inventory(site, removed))


def make_inventory(site: Site, removed: RemovedNodes) -> Inventory:
    """Make the inventory; nothing is written."""
    cluster, journal = site.cluster, site.journal()
    records, first = journal.node_records(), journal.first_nodes()
    sizes = {name: cloud.flavors() for name, cloud in site.clouds().items()}
    facts = node_memory.facts(cluster, sizes, first)
    removed = replace(removed, memory=_memory(site.store()))
    return inventory(cluster, facts, given_addresses(cluster, records), removed)


def _memory(store: StateStore) -> Mapping[str, int]:
    return {} if store.applied() is None else slurm_conf_in_use.load(store).memory


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
