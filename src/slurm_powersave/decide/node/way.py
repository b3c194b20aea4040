"""Whether a delete or a change goes through Terraform or by the server's id. Pure.

Terraform is the first choice, so that its state knows what was done. A server is acted upon by its id where
no state holds it, where Terraform could not do it, or where somebody works in the state for too long.
"""

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How a server is deleted or changed."""

    TERRAFORM = "terraform"
    """By a run in the node's shard, as soon as nobody works there."""
    SERVER_ID = "server id"
    """At once, by the cloud's adapter."""
    WAIT = "wait"
    """Not now: it is looked at again in the next step."""


@dataclass(frozen=True)
class Queued:
    """What is known of a delete or change that has not begun."""

    shard: str | None
    """The shard whose state holds the node; empty if none does, None if that can't be read."""
    waited: float
    """Seconds since it was queued."""
    has_servers: bool = True
    """Whether the cloud lists a server of the node."""
    has_adapter: bool = True
    """Whether the node's cloud has an adapter: without one nothing can be done by server id."""
    terraform_failed: bool = False
    """Whether Terraform has tried it in vain."""
    no_difference: bool = False
    """Whether Terraform would see no change: the same image again."""


def choose(queued: Queued, patience: float) -> Way:
    """Say how a delete or change is to be done.

    Args:
        queued: what is known of it.
        patience: seconds that it waits for another run in its shard before it acts by server id.
    """
    if queued.shard is None:
        return Way.WAIT
    if not queued.shard or not queued.has_servers or queued.no_difference:
        return Way.SERVER_ID
    late = queued.waited > patience
    if queued.has_adapter:
        return Way.SERVER_ID if late or queued.terraform_failed else Way.TERRAFORM
    return Way.WAIT if queued.terraform_failed and not late else Way.TERRAFORM
