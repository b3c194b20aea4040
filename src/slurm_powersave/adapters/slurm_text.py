"""What scontrol and squeue print, read into values.

All versions have the one-line format of `scontrol -o show node` (`--json` came with 23.02). Its fields
have a fixed order: numbers and names, State among them, then what people wrote: Reason, Comment, Extra,
InstanceId, InstanceType, ReservationName, Topology (slurm_sprint_node_table in Slurm's
src/api/node_info.c; outputs of 22.05.8, 24.11.5 and 26.05.5 are in tests/recorded). A later version may
add fields, so those are known by their form and not by a list.
"""

import re
import time
from collections.abc import Iterator

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import expand_any
from slurm_powersave.model.nodes import NodeFacts, SlurmJob, SlurmNode

_NODE = "NodeName="
# slurmd's own words (OS, Version) stand before State, an administrator's behind it.
_STATE = re.compile(r" State=(?P<flags>[A-Z_]+(?:\+[A-Z_]+)*)\S*(?: [^=]*)?(?= ThreadsPerCore=\d)")
_FIELD = re.compile(r"(?:^| )([A-Za-z]+)=")
_WHO = re.compile(r" \[(?P<who>[^\]@ ]*)@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\](?= ?$| [A-Za-z]+=)")
_WRITTEN = re.compile(r" (Reason|Comment|Extra|InstanceId|InstanceType|ReservationName|Topology)=")
_NOT_FOUND = re.compile(r"^(?:Node (\S+) not found|squeue: error: Invalid node name (\S+))$", re.MULTILINE)


def parse_nodes(text: str) -> Iterator[SlurmNode]:
    """Read the lines of `scontrol -o show node`.

    Raises:
        SlurmError: a line of a node that can't be read, or two lines for one node.
    """
    seen: set[str] = set()
    for line in text.splitlines():
        node = parse_node(line)
        if node is None:
            if line.lstrip().startswith(_NODE):
                raise SlurmError("a node's line can't be read", where="scontrol show node", why=line[:200])
            continue
        if node.name in seen:
            raise SlurmError(f"node {node.name} is listed twice", where="scontrol show node")
        seen.add(node.name)
        yield node


def parse_node(line: str) -> SlurmNode | None:
    """Read a line of `scontrol -o show node`; None for a line that is none."""
    places = list(_STATE.finditer(line))
    if len(places) != 1 or not line.startswith(_NODE):
        return None  # with two of them nobody can tell which is Slurm's
    state = places[0]
    behind = line[state.end() :]
    written = _WRITTEN.search(behind)
    numbers, text = (behind[: written.start()], behind[written.start() :]) if written else (behind, "")
    before = line[: state.start()]
    name = before.removeprefix(_NODE).partition(" ")[0]
    if not name:
        return None
    reason, who, rest = _reason(text)
    return SlurmNode(
        name,
        frozenset(state["flags"].split("+")),
        reason,
        who,
        _boot_time(_value(numbers, "BootTime")),
        _comment(rest, f"{before} {numbers}"),
        _promised(before),
    )


def unknown_nodes(text: str) -> frozenset[str]:
    """Name the nodes of which scontrol or squeue says that slurmctld does not know them."""
    return frozenset(name for found in _NOT_FOUND.findall(text) for name in found if name)


def _value(text: str, key: str) -> str:
    """Return a field's first word; nothing if it is there twice: a slurmd says in OS= what it likes."""
    found = re.findall(rf"(?:^| ){key}=(\S*)", text)
    return found[0] if len(found) == 1 else ""


def _reason(text: str) -> tuple[str, str, str]:
    """Return reason, who gave it, and what stands behind it.

    Slurm writes `Reason=TEXT [USER@TIME]`; without USER and TIME only known fields end the text.
    """
    if not text.startswith(" Reason="):
        return "", "", text
    text = text.removeprefix(" Reason=")
    who = _WHO.search(text)
    if who:
        return text[: who.start()].strip(), who["who"], text[who.end() :]
    following = _WRITTEN.search(text)
    cut = following.start() if following else len(text)
    return text[:cut].strip(), "", text[cut:]


def _comment(text: str, in_front: str) -> str:
    """Cut the comment out of what stands behind the reason.

    It ends at the next field. A key that has its place in front of the reason is the writer's own word.
    """
    if not text.startswith(" Comment="):
        return ""
    text = text.removeprefix(" Comment=")
    own = {"State", "Reason", "Comment", *_FIELD.findall(in_front)}
    ends = (found.start() for found in _FIELD.finditer(text) if found.start() and found[1] not in own)
    return text[: next(ends, len(text))].strip()


def _promised(text: str) -> NodeFacts | None:
    """What slurm.conf says; a larger node that registers does not change it (measured on 22.05.8)."""
    cpus, memory = _value(text, "CPUTot"), _value(text, "RealMemory")
    return NodeFacts(int(cpus), int(memory)) if cpus.isdecimal() and memory.isdecimal() else None


def _boot_time(text: str) -> float | None:
    try:
        return time.mktime(time.strptime(text.split()[0], "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, IndexError, OverflowError):
        return None


def parse_job(line: str) -> SlurmJob | None:
    """Read a line of our squeue format."""
    parts = line.split("|")
    if len(parts) != 4 or not parts[0].isdigit():
        return None
    return SlurmJob(int(parts[0]), parts[1], expand_any(parts[2]) if parts[2] else (), parts[3])
