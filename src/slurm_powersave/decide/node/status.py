"""What each node is doing, put together from Slurm, the clouds and the journal. Pure.

Each of the three may be unreadable: then what it would tell is unknown, and the rest is still shown.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.node import wait_limits
from slurm_powersave.decide.node.drift import Aspect, Drift, drift
from slurm_powersave.model.nodes import NodeBackoff, NodeRecord, Operation, Server, SlurmNode

UNKNOWN = "?"
NONE = "-"


@dataclass(frozen=True)
class StatusRow:
    """One node, as `slurm-powersave status` shows it."""

    node: str
    slurm: str
    server: str
    operation: str
    phase: str
    since: float | None
    """Seconds since the epoch; None if nothing is running on the node."""
    text: str = ""
    """What the operation says, or why the node is in backoff, or the reason in Slurm."""
    waits: str = ""
    """What the operation waits for; empty if nothing is running on the node."""
    image: Aspect | None = None
    flavor: Aspect | None = None
    """What the server has and its pool wants; None for a name that is not configured."""

    @property
    def outdated(self) -> str:
        """Say in what the server differs from its pool; empty if it does not."""
        return Drift(self.image, self.flavor).text() if self.image and self.flavor else ""


def slurm_state(node: SlurmNode | None) -> str:
    """Write a state as scontrol does, for example IDLE+CLOUD+POWERED_DOWN."""
    if node is None:
        return "not in Slurm"
    return node.state


def rows(
    names: Sequence[str],
    slurm: Mapping[str, SlurmNode] | None,
    servers: Sequence[Server],
    unseen: Collection[str],
    operations: Sequence[Operation],
    records: Mapping[str, NodeRecord],
    node_backoffs: Mapping[str, NodeBackoff],
    pools: Mapping[str, Pool],
    flavors: Mapping[str, Sequence[str]] | None = None,
    unread: Collection[str] = (),
) -> list[StatusRow]:
    """Return a row for each configured node, then one for each name that only the cloud knows.

    Args:
        names: the configured nodes, in order.
        slurm: Slurm's nodes; None if Slurm could not be read.
        servers: those with our cluster's tag, login node left out.
        unseen: the nodes whose cloud could not be read.
        operations: those without an outcome.
        records: what the journal holds of the nodes.
        node_backoffs: the nodes that are in backoff after a failure.
        pools: node -> its pool.
        flavors: pool -> the flavors that its nodes may have, as far as the clouds could be read.
        unread: the nodes about which Slurm's answer could not be read.
    """
    by_name: dict[str, list[Server]] = defaultdict(list)
    for server in servers:
        by_name[server.name].append(server)
    running = {operation.node: operation for operation in operations}
    known = set(names)
    found = []
    for name in (*names, *sorted(by_name.keys() - known)):
        state = slurm.get(name) if slurm is not None else None
        operation, backoff, record = running.get(name), node_backoffs.get(name), records.get(name)
        since = operation.since if operation else None
        seen = name not in unseen
        pool = pools.get(name)
        listed = by_name[name] if seen else None
        behind = drift(record, listed, pool, (flavors or {}).get(pool.name)) if pool else None
        found.append(
            StatusRow(
                node=name,
                slurm=_slurm(state, known=name in known, read=slurm is not None and name not in unread),
                server=_server(by_name[name], record, seen=seen),
                operation=f"{operation.mode.value} {operation.id}" if operation else NONE,
                phase=operation.phase if operation else "rests" if backoff else NONE,
                since=since,
                text=_text(operation, backoff, state),
                waits=_waits(operation),
                image=behind.image if behind else None,
                flavor=behind.flavor if behind else None,
            )
        )
    return found


def _slurm(node: SlurmNode | None, *, known: bool, read: bool) -> str:
    if not read:
        return UNKNOWN
    return slurm_state(node) if known else "not configured"


def _text(operation: Operation | None, backoff: NodeBackoff | None, state: SlurmNode | None) -> str:
    said = (operation.waits or operation.text) if operation else ""
    return said or (backoff.reason if backoff else state.reason if state else "")


def _waits(operation: Operation | None) -> str:
    known = wait_limits.TABLE.get(operation.phase) if operation else None
    return f"waits for {known.what}" if known else ""


def _server(servers: Sequence[Server], record: NodeRecord | None, *, seen: bool) -> str:
    if not seen:
        return f"{record.server_id} {UNKNOWN}" if record and record.server_id else UNKNOWN
    return ", ".join(f"{server.id} {server.status}" for server in servers) or NONE
