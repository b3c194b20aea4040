"""Reading Slurm and the clouds for a person: what can't be read is said, and the rest still shown."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from slurm_powersave.decide.preflight.slurm_running import Running
from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.nodes import Flavor, Server, SlurmNode
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.slurm import Slurm

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What Slurm and the clouds said."""

    slurm: Mapping[str, SlurmNode] | None
    """None if Slurm could not be read."""
    servers: Mapping[str, Sequence[Server]]
    """By cloud; one that could not be read is not in it."""
    flavors: Mapping[str, Mapping[str, Flavor]]
    """By cloud and name; of one that could not be read they are missing."""
    unreadable: Mapping[str, str]
    """What could not be read (slurm, node NAME, or cloud NAME), and why."""
    running: Running
    """The version of the slurmctld that runs."""
    unread: frozenset[str] = frozenset()
    """The nodes about which Slurm's answer made no sense."""


def read_slurm_and_clouds(slurm: Slurm, clouds: Mapping[str, Cloud]) -> Reading:
    """Read Slurm and all clouds at the same time."""
    with ThreadPoolExecutor(max_workers=2 + 2 * len(clouds)) as pool:
        answer = pool.submit(_try, slurm.snapshot)
        version = pool.submit(running, slurm)
        lists = {name: pool.submit(_try, cloud.servers) for name, cloud in clouds.items()}
        sizes = {name: pool.submit(_try, cloud.flavors) for name, cloud in clouds.items()}
    snapshot, why = answer.result()
    unreadable = {"slurm": why} if why else {}
    states, unread = (snapshot.nodes, snapshot.unreadable) if snapshot else (None, frozenset[str]())
    for name in sorted(unread):
        unreadable[f"node {name}"] = "what Slurm says of it makes no sense; nothing is decided on it"
    servers: dict[str, Sequence[Server]] = {}
    for name, listed in lists.items():
        found, why = listed.result()
        if found is None:
            unreadable[f"cloud {name}"] = why
        else:
            servers[name] = found
    flavors = {name: known for name, read in sizes.items() if (known := read.result()[0]) is not None}
    return Reading(states, servers, flavors, unreadable, version.result(), unread)


def running(slurm: Slurm) -> Running:
    """Ask slurmctld for its version; if it does not tell, the answer says why."""
    version, why = _try(slurm.running_version)
    return Running(version, " ".join(why.split()))


def _try(read: Callable[[], T]) -> tuple[T | None, str]:
    try:
        return read(), ""
    except PowersaveError as error:
        return None, str(error)
