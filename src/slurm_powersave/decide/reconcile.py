"""What to do about differences between Slurm, the clouds and the journal. Pure.

A difference counts only when it was there in two readings: Slurm, the cloud and the journal are
never read at the same moment (slurm-gcp's race).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.decide.reboot import is_stale
from slurm_powersave.decide.who import Who, set_aside, who
from slurm_powersave.model.images import BUILDER_TAG
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.server_status import GONE, OFF

_STUCK = frozenset({"IDLE", "POWERED_DOWN", "NOT_RESPONDING"})
"""What RESUME leaves of a node that was held while it was off. After a `reconfigure` 22.05.8 gives it to no
job; POWER_DOWN heals it (both measured)."""
_KEPT_OFF = ("DRAIN", "DOWN", "FAIL", "POWER_DOWN", "POWERING_DOWN")
_ON_ITS_WAY = ("POWER_DOWN", "POWERING_DOWN", "REBOOT_ISSUED")
_NO_NODES = frozenset({"role=login", "role=storage", BUILDER_TAG})
"""Tags of servers that are ours and no nodes."""


ADOPT, FORGET = "unrecorded-server", "vanished-server"
"""Findings after which the journal is made to say what the cloud says. Outside nothing is touched."""


@dataclass(frozen=True)
class Finding:
    """One difference."""

    kind: str
    node: str
    text: str
    request: Mode | None = None
    """What is asked for on our own account; None for what is only said."""
    state: str = ""
    """What Slurm is told to make of the node; empty for nothing."""
    blank: bool = False
    """Slurm is told to forget the node's reason."""


def differences(
    nodes: Collection[str],
    snapshot: SlurmSnapshot,
    servers: Sequence[Server],
    busy: Collection[str],
    held: Collection[str],
    wanted: Collection[str] = (),
) -> list[Finding]:
    """Compare one reading of Slurm with one of the clouds.

    Args:
        nodes: the configured nodes whose clouds have all been read.
        snapshot: Slurm's nodes and jobs.
        servers: the servers that carry our cluster's tag.
        busy: nodes with an operation that has no outcome yet.
        held: nodes that rest after a failure.
        wanted: nodes that are to stay up, the min_nodes of each pool.
    """
    found = []
    names = Counter(_node_tag(server) for server in servers)
    for node in nodes:
        seen = snapshot.nodes.get(node)
        if node in busy or seen is None:
            continue
        aside = set_aside(seen)
        if names[node] > 1:
            found.append(Finding("double", node, f"has {names[node]} servers"))
        if seen.powering_up and node not in held:
            found.append(Finding("lost-request", node, "POWERING_UP without an operation", Mode.RESUME))
        elif seen.has("REBOOT_ISSUED"):
            found.append(Finding("lost-reboot", node, "REBOOT_ISSUED without an operation", Mode.REBOOT))
        elif aside and names[node] and seen.going_down:
            found.append(Finding("kept-server", node, f"its server is kept: {aside} ({seen.reason})"))
        elif node not in held and (dead := _dead(seen, snapshot, node, servers)):
            found.append(dead)
        elif seen.has("POWERED_DOWN") and names[node] and not seen.in_use:
            found.append(
                Finding("forgotten-server", node, "POWERED_DOWN, and its server exists", Mode.SUSPEND)
            )
        elif node in wanted and seen.has("POWERED_DOWN") and not seen.has(*_KEPT_OFF) and node not in held:
            text = "one of min_nodes, and powered down: powered up again"
            found.append(Finding("min-node", node, text, state="POWER_UP"))
        elif seen.flags >= _STUCK and not seen.has("DRAIN", "FAIL") and node not in held:
            found.append(Finding("stuck", node, "+".join(sorted(seen.flags)), state="POWER_DOWN"))
        elif is_stale(seen) and node not in held:
            found.append(Finding("stale-reason", node, f"in service, and shows: {seen.reason}", blank=True))
        elif seen.up and not names[node]:
            # One with a job is only named: a server that has lost its tag looks like one that is gone.
            state = "" if seen.in_use or aside or seen.has("RESERVED", "MAINTENANCE") else "POWER_DOWN"
            text = f"{'+'.join(sorted(seen.flags))}, and it has no server"
            found.append(Finding("no-server", node, text, state=state))
    for server in servers:
        if _node_tag(server) not in nodes and server.tags.isdisjoint(_NO_NODES):
            found.append(
                Finding("unknown-server", server.name, f"server {server.id} carries our tag; no such node")
            )
    return found


def _dead(seen: SlurmNode, snapshot: SlurmSnapshot, name: str, servers: Sequence[Server]) -> Finding | None:
    """A node that Slurm itself has set down, with a server that is gone or in ERROR, and no job.

    POWER_DOWN makes it an idle one that is off, and its next resume brings a new server. On 22.05.8 it stays
    DOWN then, and RESUME makes it idle (both measured). A server that is off is looked at for a while first
    (decide/silence.py).
    """
    if who(seen) is not Who.SLURM or not seen.has("DOWN") or seen.has("POWERING_UP", *_ON_ITS_WAY):
        return None
    if any(name in job.nodes and not job.waiting for job in snapshot.jobs):
        return None
    statuses = {server.status for server in servers if _node_tag(server) == name}
    lost = (OFF if seen.has("POWERED_DOWN") else GONE) | {"ERROR"}
    if not statuses <= lost:
        return None
    server = f"its server is {', '.join(sorted(statuses))}" if statuses else "it has no server"
    text = f"{'+'.join(sorted(seen.flags))}: {seen.reason}, and {server}"
    state = "RESUME" if seen.has("POWERED_DOWN") else "POWER_DOWN"
    return Finding(f"dead-server, {state}", name, text, state=state)


def unlike_recorded(
    nodes: Collection[str],
    recorded: Mapping[str, str],
    servers: Sequence[Server],
    busy: Collection[str],
) -> list[Finding]:
    """Compare the journal's servers with the cloud's: a journal from a backup is behind the cloud.

    Args:
        nodes: the configured nodes whose clouds have all been read.
        recorded: node -> id of its server in the journal, empty for none.
        servers: the servers that carry our cluster's tag.
        busy: nodes with an operation that has no outcome yet; it finds out by itself.
    """
    there: dict[str, list[Server]] = {}
    for server in servers:
        there.setdefault(_node_tag(server), []).append(server)
    found = []
    for node in nodes:
        alive, known = there.get(node, []), recorded.get(node, "")
        if node in busy or known in [server.id for server in alive]:
            continue
        if len(alive) == 1:
            text = (
                f"the journal knows {known or 'no server'}, and it has {alive[0].id}: taken into the journal"
            )
            found.append(Finding(ADOPT, node, text))
        elif known and not alive:
            found.append(Finding(FORGET, node, f"server {known} is gone: forgotten"))
    return found


def confirmed(before: Mapping[tuple[str, str], float], now: Sequence[Finding]) -> list[Finding]:
    """Return what was found in the reading before, too."""
    return [finding for finding in now if (finding.kind, finding.node) in before]


def _node_tag(server: Server) -> str:
    return next((tag.removeprefix("node=") for tag in server.tags if tag.startswith("node=")), "")
