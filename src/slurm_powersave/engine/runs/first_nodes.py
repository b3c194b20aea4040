"""What the first node of a pool says of its hardware: recorded when it is configured, told by commands."""

import logging
from collections.abc import Mapping

from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.flavor import hardware
from slurm_powersave.decide.preflight.findings import Finding
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.engine.world import World
from slurm_powersave.model.hardware import FirstNode, read
from slurm_powersave.model.nodes import Flavor, NodeProgress, Operation
from slurm_powersave.ports.journal import NodeRecords
from slurm_powersave.ports.state_store import SlurmConfRecord

log = logging.getLogger("slurm_powersave")


def remember(world: World, op: Operation, news: NodeProgress) -> None:
    """Record what a node has said before its slurmd was started, if it is the first with pool and flavor.

    Only where its disk is fresh: on one that is kept, what a job may have left there would speak.
    """
    said = read(news.hardware)
    if said is None or not (op.row.create or op.row.update == "image"):
        return
    node = world.record(op.node).node
    known = {(one.pool, one.flavor): one for one in world.journal.first_nodes()}
    before = known.get((node.pool, node.flavor))
    image = world.cluster.node_spec(node.name).image if node.name in world.cluster else ""
    if hardware.is_first(before, node, image):
        found = FirstNode(node.pool, node.flavor, node.image, node.name, said)
        world.journal.save_first_node(found)
        log.info(
            "op=%s node=%s the first of pool %s with flavor %s: %s",
            op.id, op.node, node.pool, node.flavor, said,
        )  # fmt: skip


def findings(
    cluster: Cluster,
    journal: NodeRecords,
    store: SlurmConfRecord,
    sizes: Mapping[str, Mapping[str, Flavor]],
) -> list[Finding]:
    """Say where slurm.conf and the first nodes disagree; nothing before the first deploy."""
    first = journal.first_nodes()
    lines = slurm_conf_in_use.load(store).node_lines if first and slurm_conf_in_use.is_known(store) else ()
    return list(hardware.findings(cluster, sizes, first, lines))
