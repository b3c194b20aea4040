"""The journal learns from the cloud what it does not know: after a restore, or when a server was lost.

The cloud is the last witness. Nothing outside is touched here: a server that the journal has missed is
taken in, and whether it stays is then Slurm's word like any other server's.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_powersave.decide.node.drift import image_of
from slurm_powersave.decide.node.reconcile import UNRECORDED, VANISHED, Finding
from slurm_powersave.engine.world import World, servers_of
from slurm_powersave.model.errors import CloudError, TerraformError
from slurm_powersave.model.nodes import NodeRecord, Server

log = logging.getLogger("slurm_powersave")


def settle(world: World, findings: Iterable[Finding], servers: Sequence[Server]) -> None:
    """Take in, or forget, what has been found; the shards that held something else are tidied later."""
    for finding in findings:
        record = world.record(finding.node)
        if finding.kind == UNRECORDED:
            (server,) = servers_of(finding.node, servers)
            _replace(world, record, _recorded(world, record, server))
        elif finding.kind == VANISHED:
            _replace(world, record, replace(record, shard="", server_id=""))


def _recorded(world: World, record: NodeRecord, server: Server) -> NodeRecord:
    image, flavor = (
        image_of(server, record.node.image) or record.node.image,
        server.flavor or record.node.flavor,
    )
    node = replace(
        record.node,
        image=image,
        flavor=flavor,
        image_id=_ref(world, record, "image", image),
        flavor_id=_ref(world, record, "flavor", flavor),
        address=server.address or record.node.address,
        generation=record.node.generation + 1,
    )
    return replace(record, node=node, server_id=server.id, shard=_shard(world, record, server.id), boot_id="")


def _ref(world: World, record: NodeRecord, attribute: str, name: str) -> str:
    if name == record.node.value(attribute):
        return record.node.ref_id(attribute)
    try:
        return world.cloud_offers.ref(record.node.cloud, attribute, name)
    except CloudError as error:
        log.warning("node=%s %s %s: %s", record.node.name, attribute, name, error)
        return ""


def _shard(world: World, record: NodeRecord, server_id: str) -> str:
    """Name the shard whose state holds the server. Mostly none: then it is acted on by its id.

    `terraform import` would give it one, but OpenStack's provider leaves user_data and config_drive empty
    then, and the next plan replaces the server.
    """
    for shard in world.terraform.shards(record.node.cloud):
        try:
            held = world.states.servers(shard).get(record.node.name)
        except TerraformError as error:
            log.error("%s", error)
            continue
        if held and held.id == server_id and not held.tainted:
            return shard
    return ""


def _replace(world: World, old: NodeRecord, new: NodeRecord) -> None:
    if old.shard and old.shard != new.shard:
        world.journal.set_dirty(old.shard, True)
    world.save(new)
