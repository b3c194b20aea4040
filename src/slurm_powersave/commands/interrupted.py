"""What a person is told who has interrupted `deploy` or `teardown`: what there is, and how to go on."""

from slurm_powersave.model.errors import TerraformError
from slurm_powersave.ports.site import Site

_HOW = {
    "deploy": "Run deploy again to go on, or teardown to take away what was made.",
    "teardown": "Run teardown again to go on; a deploy before that would find half a cluster.",
}


def closing(site: Site, command: str) -> str:
    """Say it in one line; the clouds are not asked, the states of Terraform are read."""
    return f"Interrupted. {_held(site)} {_HOW[command]}"


def _held(site: Site) -> str:
    layout = site.cluster.layout
    try:
        base = len(site.directory(layout.base).held())
        shards = sorted(layout.terraform.glob("*/nodes-*"))
        nodes = sum(len(site.directory(path).held()) for path in shards)
    except TerraformError as error:
        return f"A state of Terraform can't be read ({error.where})."
    if not base and not nodes:
        return "No state of Terraform holds anything."
    return f"Terraform's states hold {base} objects of network and login node, and {nodes} nodes."
