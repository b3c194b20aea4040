"""What scontrol, squeue and sinfo print, read into values, or named as what can't be read.

All versions have the one-line format of `scontrol -o show node` (`--json` came with 23.02). Its fields
have a fixed order: numbers and names, State among them, then what people wrote: Reason, Comment, Extra,
InstanceId, InstanceType, ReservationName, Topology (slurm_sprint_node_table in Slurm's
src/api/node_info.c; outputs of 22.05.8, 24.11.5 and 26.05.5 are in tests/recorded). A later version may
add fields, so those are known by their form and not by a list.

A slurmd says itself what its Arch, OS and Version are, and newlines in it are printed as they are: a line
may come from any node of those that were asked for. But it can only add lines, never take one away. So an
answer is believed if it has exactly one line for each node that was asked for, and no other.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slurm_powersave.model.errors import HostlistError
from slurm_powersave.model.hostlist import CAP, expand_any
from slurm_powersave.model.nodes import NodeFacts, SlurmJob, SlurmNode
from slurm_powersave.model.outside_text import NODE_NAME

_NODE = "NodeName="
LONGEST = 64 << 10
"""Characters of a line; an honest one has about 1,000."""
_JOBS_NODES = 4 * CAP
"""Names that the hostlists of all jobs together may stand for."""
# slurmd's own words (OS, Version) stand before State, an administrator's behind it. The quantifiers that give
# nothing back (++) keep it linear in what a slurmd says.
_STATE = re.compile(
    r" State=(?P<flags>[A-Z_]++(?:\+[A-Z_]++)*+)\S*+(?: [^=]*)?(?= ThreadsPerCore=\d)", re.ASCII
)
_FIELD = re.compile(r"(?:^| )([A-Za-z]+)=")
_WHO = re.compile(r" \[(?P<who>[^\]@ ]*)@\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\](?= ?$| [A-Za-z]+=)", re.ASCII)
_WRITTEN = re.compile(r" (Reason|Comment|Extra|InstanceId|InstanceType|ReservationName|Topology)=")
_NOT_FOUND = re.compile(r"Node (\S+) not found")
_NO_SUCH_NODE = re.compile(r"^squeue: error: Invalid node name (\S+)$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_JOB = re.compile(r"([0-9]{1,10})\|([A-Z_]{1,40})\|([^|]*)\|(.*)", re.ASCII)
_REASON = 1000
"""Characters that are kept of why a job waits."""
_NODE_REASON = 4000
"""Characters that are kept of a node's Reason: it may be put back, as an argument."""
_NO_NODES = "No nodes in the system"


@dataclass(frozen=True)
class NodeLines:
    """What an answer to `scontrol -o show node` says."""

    nodes: Mapping[str, SlurmNode]
    unknown: frozenset[str]
    """Nodes that slurmctld does not know."""
    odd: str = ""
    """What makes the whole answer void; empty if it can be believed."""


def read_nodes(text: str, asked: Collection[str] | None = None) -> NodeLines:
    """Read an answer about the nodes that were asked for; None: all that slurmctld knows."""
    nodes: dict[str, SlurmNode] = {}
    unknown: set[str] = set()
    wanted = None if asked is None else frozenset(asked)
    odd = ""
    for line in text.split("\n"):
        if not line.strip() or line == _NO_NODES:
            continue
        node, missing = parse_node(line), _NOT_FOUND.fullmatch(line)
        name = node.name if node else missing[1] if missing else ""
        if not name:
            odd = odd or f"a line that can't be read: {shown(line)}"
        elif name in nodes or name in unknown:
            odd = odd or f"two lines for node {shown(name)}"
        elif wanted is not None and name not in wanted:
            odd = odd or f"a line for node {shown(name)}, which was not asked for"
        elif node:
            nodes[name] = node
        else:
            unknown.add(name)
    if wanted is not None and len(nodes) + len(unknown) < len(wanted):
        odd = odd or "not a line for every node"
    return NodeLines(nodes, frozenset(unknown), odd)


def shown(text: str) -> str:
    """Return the beginning of what somebody said, printable."""
    return ascii(text[:80]) + "..." * (len(text) > 80)


def parse_node(line: str) -> SlurmNode | None:
    """Read a line of `scontrol -o show node`; None for a line that is none."""
    # Slurm's texts end before a NUL; and a reason that is put back is an argument, which can't hold one.
    if len(line) > LONGEST or not line.startswith(_NODE) or "\0" in line:
        return None
    name = line.removeprefix(_NODE).partition(" ")[0]
    places = list(_STATE.finditer(line))
    if len(places) != 1 or not NODE_NAME.fullmatch(name):
        return None  # with two of them nobody can tell which is Slurm's
    state = places[0]
    behind = line[state.end() :]
    written = _WRITTEN.search(behind)
    numbers, text = (behind[: written.start()], behind[written.start() :]) if written else (behind, "")
    before = line[: state.start()]
    reason, who, rest = _reason(text)
    return SlurmNode(
        name,
        frozenset(state["flags"].split("+")),
        reason[:_NODE_REASON],
        who,
        _comment(rest, f"{before} {numbers}"),
        _configured(before),
    )


def no_such_node(errors: str) -> bool:
    """Tell whether squeue complains of a node that slurmctld does not know (any more)."""
    return _NO_SUCH_NODE.search(errors) is not None


def read_names(text: str) -> frozenset[str]:
    """Read node names, one a line, as sinfo prints them: slurmctld's own words. What is none is left out."""
    return frozenset(name for name in text.split("\n") if NODE_NAME.fullmatch(name))


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


def _configured(text: str) -> NodeFacts | None:
    """What slurm.conf says; a larger node that registers does not change it (measured on 22.05.8)."""
    cpus, memory = _value(text, "CPUTot"), _value(text, "RealMemory")
    if _NUMBER.fullmatch(cpus) and _NUMBER.fullmatch(memory):
        return NodeFacts(int(cpus), int(memory))
    return None


@dataclass(frozen=True)
class JobLines:
    """What an answer of squeue says."""

    jobs: tuple[SlurmJob, ...]
    """Those that can be read."""
    odd: str = ""
    """A line that can't be read; it may be about any node that was asked for."""


def read_jobs(text: str) -> JobLines:
    """Read an answer to our format of squeue."""
    jobs, odd, left = [], "", _JOBS_NODES
    for line in text.split("\n"):
        if not line.strip():
            continue
        job = parse_job(line, left)
        if job is None:
            odd = odd or f"a job's line that can't be read: {shown(line)}"
        else:
            left -= len(job.nodes)
            jobs.append(job)
    return JobLines(tuple(jobs), odd)


def parse_job(line: str, most: int = CAP) -> SlurmJob | None:
    """Read a line of our squeue format; None for one that is none, or has more nodes than are expected."""
    found = _JOB.fullmatch(line) if len(line) <= LONGEST * 16 else None
    if found is None:
        return None
    try:
        nodes = expand_any(found[3], max(min(most, CAP), 0)) if found[3] else ()
    except HostlistError:
        return None
    return SlurmJob(int(found[1]), found[2], nodes, found[4][:_REASON])
