"""From the cluster file to a login node with a working Slurm.

`deploy` can be run again: it changes what differs and nothing else. The nodes are not made here:
Slurm asks for the persistent ones by POWER_UP, and the engine brings them up like any others.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_powersave.adapters import connect
from slurm_powersave.adapters.base import State
from slurm_powersave.adapters.journal import SqliteJournal
from slurm_powersave.adapters.playbooks import run_playbook
from slurm_powersave.adapters.process import run
from slurm_powersave.decide import addresses, flavors, slurm_running, storage
from slurm_powersave.decide.inventory import Inventory, inventory
from slurm_powersave.decide.leaving import Leaving
from slurm_powersave.decide.settings import Cluster
from slurm_powersave.engine import applied, preflight, trust
from slurm_powersave.model.errors import (
    ConfigError,
    PlaybookError,
    RefusedError,
    SlurmError,
    UnreachableError,
)
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.leftovers import IMAGE, SERVER
from slurm_powersave.model.nodes import NodeRecord, Server, SlurmSnapshot
from slurm_powersave.ports import Cloud, TellsLeftovers

_GONE_SECONDS = 120.0
"""In which a server is gone that an interrupted deploy had left."""


@dataclass(frozen=True)
class Talk:
    """How we speak with the person: a line, a plan, and a question that may be answered no."""

    say: Callable[[str], None]
    show: Callable[[str], None]
    ask: Callable[[str], bool]


def deploy(cluster: Cluster, talk: Talk, *, dry_run: bool = False, check: bool = True) -> bool:
    """Create or update network, login node and Slurm; return False if the person said no.

    With `check` the clouds are asked first, and nothing is done if something is in the way. Without it only
    slurmctld is asked for its version: a slurm.conf for another version may keep it from starting.

    Raises:
        PowersaveError: what failed; a second call goes on from there.
    """
    connect.command(cluster).check()
    if check:
        _refuse_findings(preflight.look(cluster), talk)
    else:
        slurm_running.refuse(cluster, preflight.slurmctld(cluster))
    talk.say(f"cluster {cluster.cluster_name}: {len(cluster.nodes())} nodes, state in {cluster.state_dir}")
    if dry_run and not cluster.layout.private_key.exists():
        with tempfile.TemporaryDirectory(prefix="slurm-powersave-") as place:
            return _deploy(cluster.model_copy(update={"state_dir": Path(place)}), talk, dry_run)
    return _deploy(cluster, talk, dry_run)


def _deploy(cluster: Cluster, talk: Talk, dry_run: bool) -> bool:
    _refuse_leaving(cluster)
    if not cluster.layout.private_key.exists():
        _refuse_unknown(cluster, _servers(cluster))
    prepare(cluster)
    if cluster.login.connection == "ssh" and not _deploy_base(cluster, talk, dry_run):
        return dry_run
    if dry_run:
        talk.say(f"Ansible would run deploy.yml on {cluster.login.name}.")
        return True
    write_inventory(cluster)
    talk.say(f"ansible-playbook deploy.yml on {cluster.login.name}")
    if rc := run_playbook(connect.site(cluster), "deploy.yml"):
        raise PlaybookError(
            f"deploy.yml failed with exit code {rc}",
            where=cluster.login.name,
            todo="Mend what Ansible names above, and run deploy again: it goes on from there.",
        )
    applied.save(cluster)
    return True


def _refuse_findings(report: preflight.Report, talk: Talk) -> None:
    """Say what the pre-flight found.

    Raises:
        ConfigError: there are errors.
    """
    for line in report.asked:
        talk.say(f"asked: {line}")
    for one in report.findings:
        talk.say(f"{one.severity}: {one.where}: {one.wrong}\n  {one.right}")
    if report.errors:
        count = len(report.errors)
        raise ConfigError(
            f"{count} thing{'s are' if count > 1 else ' is'} in the way of a deploy; nothing was changed",
            todo="Mend what is named above; `slurm-powersave check` looks again. "
            "`deploy --no-check` does not look at the clouds.",
        )


def _refuse_leaving(cluster: Cluster) -> None:
    """Nodes that have a server or a job are drained before they leave: that is what resize does."""
    if not cluster.layout.journal.exists():
        return
    journal = SqliteJournal(cluster.layout.journal)
    try:
        records = journal.node_records()
    finally:
        journal.close()
    leaving = [name for name in records if name not in cluster]
    try:
        known = connect.slurm(cluster).snapshot() if leaving else SlurmSnapshot(0.0, {})
    except SlurmError as error:
        raise RefusedError(
            f"nodes leave ({fold(leaving)}), and Slurm can't be asked whether they are in use", why=str(error)
        ) from error
    used = [n for n in leaving if records[n].server_id or not _off_and_drained(n, known)]
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


def _deploy_base(cluster: Cluster, talk: Talk, dry_run: bool) -> bool:
    """Apply the base state and wait for the login node's SSH; return False if nothing was applied."""
    state = _base(cluster)
    orphans = _orphans(cluster, state)
    talk.say("terraform plan of the network and the login node")
    planned = state.plan()
    if planned.text:
        talk.show(planned.text)
    if dry_run:
        state.forget(planned)
        talk.say(f"Terraform would do: {planned.words}.")
        return True
    for _, server in orphans:
        talk.say(f"{server.name} ({server.id}) is of a deploy that was interrupted: it is deleted first")
    if planned.actions or orphans:
        if not talk.ask("Apply this plan?"):
            state.forget(planned)
            return False
        _delete(orphans)
        talk.say("terraform apply")
    # Also without changes: an apply saves what a refresh saw (a new host key after a reboot).
    state.apply(planned)
    _tell_strays(cluster, state, talk)
    _trust_servers(cluster, state.outputs(), talk, kept=not planned.actions)
    return True


def _servers(cluster: Cluster) -> list[tuple[Cloud, Server]]:
    return [(cloud, server) for cloud in connect.clouds(cluster).values() for server in cloud.servers()]


def _refuse_unknown(cluster: Cluster, servers: Sequence[tuple[Cloud, Server]]) -> None:
    """A second cluster of the same name beside the first is what a lost state directory would lead to."""
    if servers:
        found = ", ".join(f"{server.name} ({server.id})" for _, server in servers[:10])
        raise RefusedError(
            f"servers of this cluster exist that the state directory knows nothing of: {found}",
            where=str(cluster.state_dir),
            todo="Put a backup back (slurm-powersave restore), or delete them (slurm-powersave teardown).",
        )


def _orphans(cluster: Cluster, state: State) -> list[tuple[Cloud, Server]]:
    """Find what a killed apply has made and no state knows. Once Slurm was configured nothing is one."""
    known = state.ids()
    orphans = [
        (cloud, server)
        for cloud, server in _servers(cluster)
        if server.id not in known
        and not any(tag.startswith(("node=", "role=builder")) for tag in server.tags)
    ]
    if cluster.layout.applied.exists():
        _refuse_unknown(cluster, orphans)
    return orphans


def _tell_strays(cluster: Cluster, state: State, talk: Talk) -> None:
    """A killed apply may leave a network as well, and a second one would stand beside it for good."""
    known = state.ids()
    for cloud in connect.clouds(cluster).values():
        for left in cloud.leftovers() if isinstance(cloud, TellsLeftovers) else ():
            if left.kind not in (SERVER, IMAGE, "port") and left.id not in known:
                talk.say(f"{left} is the cluster's and in no Terraform state: delete it by hand")


def _delete(servers: Sequence[tuple[Cloud, Server]]) -> None:
    for cloud, server in servers:
        cloud.delete(server.id)
    deadline = time.monotonic() + _GONE_SECONDS
    while left := [server for cloud, server in servers if cloud.server(server.id)]:
        if time.monotonic() > deadline:
            raise UnreachableError(
                f"{left[0].name} ({left[0].id}) is not gone", why=f"waited {_GONE_SECONDS:.0f} s"
            )
        time.sleep(0.2)


def prepare(cluster: Cluster) -> None:
    """Make the state directory with its keys, and record every node's address."""
    layout = cluster.layout
    for directory in (layout.root, layout.private_key.parent, layout.terraform, layout.runs):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not layout.private_key.exists():
        comment = f"slurm-powersave {cluster.cluster_name}"
        done = run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(layout.private_key)],
            timeout=30,
        )
        if done.rc != 0:
            raise ConfigError("no SSH key could be made", where=str(layout.private_key), why=done.err.strip())
    if not layout.munge_key.exists():
        _write_secret(layout.munge_key, os.urandom(1024))
    journal = SqliteJournal(layout.journal)
    try:
        _record_addresses(cluster, journal)
    finally:
        journal.close()


def given_addresses(cluster: Cluster, records: Mapping[str, NodeRecord]) -> dict[str, str]:
    """Return every node's address: as recorded, or by its place in the pool.

    Raises:
        ConfigError: an address is another's; also one of a node that leaves and still has a server.
    """
    held = {name: r.node.address for name, r in records.items() if name in cluster or r.server_id}
    return addresses.assign(cluster, held)


def _record_addresses(cluster: Cluster, journal: SqliteJournal) -> None:
    records = journal.node_records()
    assigned = given_addresses(cluster, records)
    journal.save_nodes(
        NodeRecord(cluster.desired(name, address=address))
        for name, address in assigned.items()
        if name not in records
    )


def write_inventory(cluster: Cluster, leaving: Leaving = Leaving()) -> None:  # noqa: B008  # frozen
    """Write what Ansible reads: hosts and variables, with the recorded addresses."""
    made = make_inventory(cluster, leaving)
    for name, text in made.files().items():
        path = cluster.layout.inventory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def make_inventory(cluster: Cluster, leaving: Leaving) -> Inventory:
    """Make the inventory; nothing is written."""
    journal = SqliteJournal(cluster.layout.journal)
    try:
        records = journal.node_records()
    finally:
        journal.close()
    facts = flavors.facts(cluster, {name: cloud.flavors() for name, cloud in connect.clouds(cluster).items()})
    return inventory(cluster, facts, given_addresses(cluster, records), leaving)


def _base(cluster: Cluster) -> State:
    name = cluster.cloud_of(cluster.login)
    cloud, adapter = cluster.clouds[name], connect.clouds(cluster).get(name)
    if cloud.base_module is None:
        raise ConfigError(
            "no base_module", where=f"{cluster.file}: clouds", todo="Name the root module of the login node."
        )
    state = State(cluster.layout.base, connect.command(cluster))
    login = cluster.login
    variables = {
        "cluster": cluster.cluster_name,
        "cloud": cloud.settings,
        "key_pair": cluster.layout.public_key.read_text().strip(),
        "login": {
            "name": login.name,
            "address": login.address,
            "image": login.image,
            "image_id": adapter.image_id(login.image) if adapter else login.image,
            "flavor": login.flavor,
            "flavor_id": adapter.flavor_id(login.flavor) if adapter else login.flavor,
        },
    }
    state.lay_out(cloud.base_module, variables, "base.auto.tfvars.json")
    return state


def _trust_servers(cluster: Cluster, made: Mapping[str, Any], talk: Talk, *, kept: bool) -> None:
    """Trust the servers that the base module made: the login node, and the shared directory's server."""
    login, shared = cluster.login, cluster.shared_storage
    trust.wait(cluster, (login.name, login.address), made["login"], talk.say, kept=kept)
    if shared is None or shared.user is None:
        return
    if not (made.get("storage") or {}).get("id"):
        raise ConfigError(
            f"shared_storage.user is for a server of the base module, and it made none at {shared.server}",
            where=str(cluster.file),
            todo="Ask for it in the cloud's settings, or leave `user` out: the server is there already then.",
        )
    host = (storage.server_name(cluster), shared.server)
    trust.wait(cluster, host, made["storage"], talk.say, kept=kept)


def _write_secret(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
