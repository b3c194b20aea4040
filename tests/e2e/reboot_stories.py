"""Reboot requests on the real chain, as Slurm's users and operators make them."""

from slurm_powersave.model.nodes import Operation
from tests.e2e.harness import Live


def reboot(live: Live, names: list[str], reason: str) -> None:
    """What an administrator types."""
    live.login(f'scontrol reboot ASAP nextstate=RESUME reason="{reason}" {",".join(names)}')


def ended(live: Live, name: str, seconds: float = 60) -> Operation:
    """Wait for the end of a node's newest reboot."""
    live.wait(f"{name} has been served", lambda: live.newest(name, "reboot").outcome, seconds)
    return live.newest(name, "reboot")


def newest_id(live: Live, name: str) -> str:
    """The id of a node's newest reboot, empty if it never had one."""
    try:
        return live.newest(name, "reboot").id
    except StopIteration:
        return ""


def newest_ids(live: Live, names: list[str]) -> dict[str, str]:
    """What there was before a reboot is asked for: the cluster may have served other tests."""
    return {name: newest_id(live, name) for name in names}


def served(live: Live, before: dict[str, str], *names: str, seconds: float = 20) -> None:
    """Wait until each of these nodes has a newer operation than before."""
    live.wait("the request has arrived", lambda: all(newest_id(live, n) != before[n] for n in names), seconds)


def asked(live: Live, names: list[str], reason: str) -> None:
    """Ask for a reboot, and wait until the hook's request has become operations."""
    before = newest_ids(live, names)
    reboot(live, names, reason)
    served(live, before, *names)
