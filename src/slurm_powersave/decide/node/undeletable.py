"""What to say of a server whose deletion does not come to an end. Pure."""

from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Failure, Server

AFTER = 180.0
"""Seconds after which a deletion that has not ended is told, and the node's jobs go elsewhere."""


def failure(server: Server, said: str) -> Failure:
    """Say what keeps a server, and what to do: always in the same words, without quotes, for Slurm's reason.

    Args:
        server: as the cloud lists it.
        said: what the cloud answered to the last request for its deletion; empty if it accepted.
    """
    if server.locked:
        text = f"server {server.id} is locked and cannot be deleted: openstack server unlock {server.id}"
        return Failure(FailureClass.CONFIG, text)
    shown = f"the cloud says: {said}" if said else f"the cloud shows {server.status}"
    text = f"server {server.id} is not gone {AFTER / 60:.0f} minutes after its deletion was begun; {shown}"
    return Failure(FailureClass.NODE_LOCAL, text)
