"""A flavor that the cloud's people deleted, or made anew, under servers that go on running with it. Pure.

Nova keeps the old one inside the server. Terraform's provider looks it up, finds nothing (3.4,
resourceComputeInstanceV2Read) and plans another change beside every one that is asked for, which is refused.
"""

from collections.abc import Mapping

from slurm_powersave.model.nodes import Flavor, NodeSpec


def lost(node: NodeSpec, flavors: Mapping[str, Flavor] | None) -> str:
    """Say what has become of the flavor of a node's server; empty if it is there, or nobody can tell.

    Args:
        node: what the server was made as.
        flavors: the cloud's, by name; None if they could not be read.
    """
    if not flavors or not node.flavor_id or not all(flavor.id for flavor in flavors.values()):
        return ""
    if any(flavor.id == node.flavor_id for flavor in flavors.values()):
        return ""
    if node.flavor in flavors:
        return f"the flavor {node.flavor} was made anew in the cloud, under another id"
    return f"the flavor {node.flavor} was deleted in the cloud"


def advice(nodes: str) -> str:
    """Say what to do about nodes (a hostlist expression) whose flavor is lost."""
    return f"slurm-powersave reimage {nodes} --replace gives each a new server, after its job"
