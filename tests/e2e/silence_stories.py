"""How the real Slurm finds that a node is silent."""

from tests.e2e.harness import Live


def timeout(live: Live, line: str) -> None:
    """Give slurmctld another SlurmdTimeout, or none."""
    conf = "/etc/slurm/slurm.conf"
    added = f"echo {line} >>{conf}" if line else ":"
    live.login(f"sed -i /^SlurmdTimeout=/d {conf}; {added}; scontrol reconfigure")


def silent(live: Live, node: str) -> bool:
    """Tell whether slurmctld itself has set a node DOWN because it does not answer."""
    seen = live.node(node)
    return seen.has("DOWN") and seen.reason == "Not responding"
