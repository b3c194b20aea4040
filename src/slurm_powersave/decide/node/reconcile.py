"""What to do about differences between Slurm, the clouds and the journal. Pure.

A difference counts only when two readings in a row show it: Slurm, the cloud and the journal are
never read at the same moment (slurm-gcp's race).
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.decide.node.admin_state import Who, is_back, state_by_admin, who
from slurm_powersave.decide.node.reboot import is_stale
from slurm_powersave.model.images import BUILDER_TAG
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Server, SlurmNode, SlurmSnapshot
from slurm_powersave.model.server_status import GONE, OFF

_STUCK = frozenset({"IDLE", "POWERED_DOWN", "NOT_RESPONDING"})
"""The state of a node that was drained while it was off, after RESUME. After a `reconfigure` 22.05.8 gives it
no job; POWER_DOWN corrects that (both measured)."""
_KEPT_OFF = ("DRAIN", "DOWN", "FAIL", "POWER_DOWN", "POWERING_DOWN")
_ON_ITS_WAY = ("POWER_DOWN", "POWERING_DOWN", "REBOOT_ISSUED")
_NO_NODES = frozenset({"role=login", "role=storage", BUILDER_TAG})
"""Tags of the cluster's servers that are not compute nodes."""


UNRECORDED, VANISHED = "unrecorded-server", "vanished-server"
"""Findings after which only the journal is corrected, by what the cloud says."""


@dataclass(frozen=True)
class Finding:
    """One difference."""

    kind: str
    node: str
    text: str
    request: Mode | None = None
    """The request that the engine makes by itself; None if the difference is only logged."""
    state: str = ""
    """The state that Slurm is told to set; empty: none."""
    blank: bool = False
    """Slurm is told to forget the node's reason."""


def differences(
    nodes: Collection[str],
    snapshot: SlurmSnapshot,
    servers: Sequence[Server],
    busy: Collection[str],
    in_backoff: Collection[str],
    wanted: Collection[str] = (),
) -> list[Finding]:
    """Compare one reading of Slurm with one of the clouds.

    Args:
        nodes: the configured nodes whose clouds have all been read.
        snapshot: Slurm's nodes and jobs.
        servers: the servers that carry our cluster's tag.
        busy: nodes with an operation that has no outcome yet.
        in_backoff: nodes that are in backoff after a failure.
        wanted: nodes that are to stay up, the min_nodes of each pool.
    """
    found = []
    by_node = _by_node(servers)
    with_job = {name for job in snapshot.jobs if not job.waiting for name in job.nodes}
    for node in nodes:
        seen = snapshot.nodes.get(node)
        if node in busy or seen is None:
            continue
        its = by_node.get(node, [])
        if len(its) > 1:
            found.append(Finding("double", node, f"has {len(its)} servers"))
        backs_off = node in in_backoff
        dead = None if backs_off or node in with_job else _dead(seen, its)
        if one := _difference(seen, its, dead, backs_off=backs_off, wanted=node in wanted):
            found.append(one)
    for server in servers:
        if _node_tag(server) not in nodes and server.tags.isdisjoint(_NO_NODES):
            found.append(
                Finding("unknown-server", server.name, f"server {server.id} carries our tag; no such node")
            )
    return found


def _difference(
    seen: SlurmNode, servers: Sequence[Server], dead: Finding | None, *, backs_off: bool, wanted: bool
) -> Finding | None:
    """Return the difference of one node that comes first; `dead` is what `_dead` has found."""
    admin_state = state_by_admin(seen)
    if seen.powering_up and not backs_off:
        return Finding("lost-request", seen.name, "POWERING_UP without an operation", Mode.RESUME)
    if seen.has("REBOOT_ISSUED"):
        return Finding("lost-reboot", seen.name, "REBOOT_ISSUED without an operation", Mode.REBOOT)
    if admin_state and servers and seen.going_down:
        return Finding("kept-server", seen.name, f"its server is kept: {admin_state} ({seen.reason})")
    if dead:
        return dead
    if seen.has("POWERED_DOWN") and servers and not seen.in_use:
        return Finding("forgotten-server", seen.name, "POWERED_DOWN, and its server exists", Mode.SUSPEND)
    if not backs_off and (odd := _odd_state(seen, wanted=wanted)):
        return odd
    if seen.up and not servers:
        # One with a job is only named: a server that has lost its tag looks like one that is gone.
        kept = seen.in_use or admin_state or seen.has("RESERVED", "MAINTENANCE")
        text = f"{seen.state}, and it has no server"
        return Finding("no-server", seen.name, text, state="" if kept else "POWER_DOWN")
    return None


def _odd_state(seen: SlurmNode, *, wanted: bool) -> Finding | None:
    """Find a state or a reason in Slurm that Slurm does not correct by itself."""
    if wanted and seen.has("POWERED_DOWN") and not seen.has(*_KEPT_OFF):
        text = "one of min_nodes, and powered down: powered up again"
        return Finding("min-node", seen.name, text, state="POWER_UP")
    if seen.flags >= _STUCK and not seen.has("DRAIN", "FAIL"):
        return Finding("stuck", seen.name, seen.state, state="POWER_DOWN")
    if is_back(seen):
        text = f"{seen.state}: {seen.reason}, and Slurm hears its slurmd again"
        return Finding("back", seen.name, text, state="RESUME")
    if is_stale(seen):
        return Finding("stale-reason", seen.name, f"in service, and shows: {seen.reason}", blank=True)
    return None


def _dead(seen: SlurmNode, servers: Sequence[Server]) -> Finding | None:
    """Find a node without a job that Slurm itself has set DOWN, and whose server is gone or in ERROR.

    POWER_DOWN makes it an idle node that is off, and its next resume brings a new server. On 22.05.8 it stays
    DOWN then, and RESUME makes it idle (both measured). A server that is off is looked at for a while first
    (decide/node/silence.py).
    """
    if who(seen) is not Who.SLURM or not seen.has("DOWN") or seen.has("POWERING_UP", *_ON_ITS_WAY):
        return None
    statuses = {server.status for server in servers}
    lost = (OFF if seen.has("POWERED_DOWN") else GONE) | {"ERROR"}
    if not statuses <= lost:
        return None
    server = f"its server is {', '.join(sorted(statuses))}" if statuses else "it has no server"
    text = f"{seen.state}: {seen.reason}, and {server}"
    state = "RESUME" if seen.has("POWERED_DOWN") else "POWER_DOWN"
    return Finding(f"dead-server, {state}", seen.name, text, state=state)


def journal_differences(
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
    there = _by_node(servers)
    found = []
    for node in nodes:
        alive, known = there.get(node, []), recorded.get(node, "")
        if node in busy or known in [server.id for server in alive]:
            continue
        if len(alive) == 1:
            text = (
                f"the journal knows {known or 'no server'}, and it has {alive[0].id}: taken into the journal"
            )
            found.append(Finding(UNRECORDED, node, text))
        elif known and not alive:
            found.append(Finding(VANISHED, node, f"server {known} is gone: forgotten"))
    return found


def confirmed(before: Collection[tuple[str, str]], now: Sequence[Finding]) -> list[Finding]:
    """Return what was found in the reading before, too."""
    return [finding for finding in now if (finding.kind, finding.node) in before]


def _by_node(servers: Iterable[Server]) -> Mapping[str, list[Server]]:
    found: dict[str, list[Server]] = defaultdict(list)
    for server in servers:
        found[_node_tag(server)].append(server)
    return found


def _node_tag(server: Server) -> str:
    return next((tag.removeprefix("node=") for tag in server.tags if tag.startswith("node=")), "")
