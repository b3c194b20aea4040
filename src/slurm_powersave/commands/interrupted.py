"""What a person is told who has interrupted `deploy` or `teardown`: what there is, and how to go on."""

from slurm_powersave.adapters import connect
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import TerraformError

_HOW = {
    "deploy": "Run deploy again to go on, or teardown to take away what was made.",
    "teardown": "Run teardown again to go on; a deploy before that would find half a cluster.",
}


def closing(cluster: Cluster, command: str) -> str:
    """Say it in one line; the clouds are not asked, the states of Terraform are read."""
    return f"Interrupted. {_held(cluster)} {_HOW[command]}"


def _held(cluster: Cluster) -> str:
    layout = cluster.layout
    try:
        base = len(connect.state(cluster, layout.base).held())
        shards = sorted(layout.terraform.glob("*/nodes-*"))
        nodes = sum(len(connect.state(cluster, path).held()) for path in shards)
    except TerraformError as error:
        return f"A state of Terraform can't be read ({error.where})."
    if not base and not nodes:
        return "No state of Terraform holds anything."
    return f"Terraform's states hold {base} objects of network and login node, and {nodes} nodes."
