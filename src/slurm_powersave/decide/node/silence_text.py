"""What `status` says of a node that Slurm can't reach, and of its server. Pure.

A text names no node and no moment: it is the same for all nodes with which the same is the matter, and stays
as it is while nothing changes.
"""

from slurm_powersave.decide.node.silence import DEAD, TOGETHER, Silence, Standing, is_down, most
from slurm_powersave.model.nodes import SlurmNode

IN_USE = "in use, and Slurm does not hear its slurmd: left alone until Slurm itself sets it DOWN"
_SLURMD = "On the node: systemctl status slurmd; journalctl -u slurmd"
_RESUME = "If it is well: scontrol update nodename=NODE state=RESUME"


def is_unheard(node: SlurmNode) -> bool:
    """Tell whether a node is in use and Slurm does not hear it; it counts as in use."""
    return node.in_use and node.has("NOT_RESPONDING") and not node.has("DOWN")


def server(status: str, standing: Standing) -> str:
    """Say in a few words what is the matter with a server."""
    if standing is Standing.GONE:
        return "its server is gone"
    shown = f" ({status})" if status and status != "ERROR" else ""
    return f"its server{shown} {standing}"


def warning(
    node: SlurmNode, status: str, silence: Silence, kept: str, *, restart_after: float, silent_after: float
) -> str:
    """Say what is the matter with a node that Slurm has set DOWN, and what will be done about it.

    Args:
        node: as Slurm shows it.
        status: the server's in the cloud; empty if it is gone.
        silence: what the looks have found.
        kept: what keeps the engine from doing anything; empty if nothing does.
        restart_after: the setting, in seconds.
        silent_after: the setting, in seconds.
    """
    reason = f" ({node.reason})" if node.reason else ""
    said = f"Slurm has set it DOWN{reason}; {server(status, silence.standing)}. "
    if not is_down(node):
        return f"given up: it is powered down; {server(status, silence.standing)}. {kept}".strip().rstrip(".")
    if silence.standing is Standing.ANSWERS:
        heard = not node.has("NOT_RESPONDING")
        return said + ("Slurm hears its slurmd. " + _RESUME if heard else _SLURMD)
    if silence.standing is Standing.RESCUED:
        return said + "A person works on it: nothing is done to it"
    if silence.standing not in DEAD:
        return said.strip().rstrip(".")
    return said + (_kept(kept) if kept else _plan(silence, restart_after, silent_after))


def network(pool: str, servers: int) -> str:
    """Say why nothing is done in a pool."""
    return (
        f"more than {most(servers)} servers of pool {pool} fell silent within {TOGETHER / 60:.0f} minutes: "
        "it is the network, and while that lasts nothing is started again or replaced there"
    )


def _kept(why: str) -> str:
    return f"Nothing is done about it: {why}"


def _plan(silence: Silence, restart_after: float, silent_after: float) -> str:
    replaced = f"replaced when that has lasted for {silent_after:g} s"
    if silence.restarted or restart_after >= silent_after:
        again = "It was started again in the last 24 hours; it is " if silence.restarted else "It is "
        return again + replaced
    return f"It is started again when that has lasted for {restart_after:g} s, and {replaced}"
