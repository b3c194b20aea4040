"""Reading nodes and jobs from slurmctld's host, so that no node can lie about another one.

Nodes and jobs are read in one command, between marks that nobody over there can guess. What makes no sense
is never believed; and as nobody can tell whose words it is, the nodes are asked for in halves until it is
clear. Then that node alone is unreadable, and the others are read as always.
"""

import logging
import math
import secrets
import shlex
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.slurm.slurm_text import (
    JobLines,
    NodeLines,
    no_such_node,
    read_jobs,
    read_names,
    read_nodes,
)
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.hostlist import fold
from slurm_powersave.model.nodes import SlurmJob, SlurmNode, SlurmSnapshot

log = logging.getLogger("slurm_powersave")

SQUEUE = "squeue -h -a -o '%A|%T|%N|%r'"
SINFO = "sinfo -h -a -N -o %N"
_ERRORS = ("slurm_", "scontrol: error", "error")
_ROUNDS = 3
"""How often a question is asked anew because slurmctld did not know one of the names."""
_QUESTIONS = 32
"""Commands of one reading at most."""
_FRUITLESS = 24
"""Answers that can't be read after which, without one that can, Slurm itself counts as unreadable."""
_SECONDS = 5.0
"""For how long one reading goes on to ask."""
_AGAIN = 10.0
"""Seconds after which an unreadable node is asked for again."""
_EXPRESSION = 40_000
"""Characters of a hostlist of one question, which has it twice; Linux takes 128 KiB in an argument."""
_SINGLY = 4
"""Unreadable nodes that one reading asks for again."""


@dataclass(frozen=True)
class _Answer:
    """What one command said."""

    nodes: NodeLines
    jobs: JobLines
    more: str = ""
    """What the third command printed."""

    @property
    def odd(self) -> str:
        """What makes it void for all nodes that it is about. A job may run on any of them."""
        return self.nodes.odd or self.jobs.odd


@dataclass
class _Found:
    """What is known after some answers."""

    nodes: dict[str, SlurmNode] = field(default_factory=dict)
    jobs: dict[int, SlurmJob] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    """Node -> what can't be read."""
    late: set[str] = field(default_factory=set)
    """Nodes that were not asked for."""

    def take(self, answer: _Answer) -> None:
        """Believe an answer."""
        self.nodes |= answer.nodes.nodes
        self.take_jobs(answer.jobs.jobs)

    def take_jobs(self, jobs: Iterable[SlurmJob]) -> None:
        """Add jobs."""
        self.jobs |= {job.id: job for job in jobs}


class Reader:
    """Reads, and remembers the unreadable nodes, so that they cost the others nothing."""

    def __init__(self, run: Callable[[Sequence[str]], Completed], known: Collection[str] = ()) -> None:
        """`known` are nodes that are of interest whether they are in a partition or not."""
        self._run, self._known = run, frozenset(known)
        self._suspects: dict[str, float] = {}
        """Unreadable node -> when it is asked for again, on the monotonic clock."""
        self._parts: list[list[str]] = []
        """Nodes some of which are unreadable; which, is not clear yet. The next reading begins there."""
        self._strays: frozenset[str] = frozenset()
        """Nodes in no partition, as last seen."""
        self._asked = self._fruitless = 0
        self._until, self._why = 0.0, ""

    def read(self, nodes: Sequence[str], jobs: Sequence[int]) -> SlurmSnapshot:
        """Read these nodes, the jobs on them, and these jobs; all nodes and jobs if none are named.

        Raises:
            SlurmError: no answer in time, an incomplete one, or none that can be read at all.
        """
        self._asked, self._fruitless, self._until = 0, 0, time.monotonic() + _SECONDS
        taken = time.time()
        found = self._some(nodes, jobs) if nodes or jobs else self._all()
        unreadable = frozenset(found.odd) | found.late
        return SlurmSnapshot(taken, found.nodes, tuple(found.jobs.values()), unreadable)

    # Which nodes are asked for

    def _all(self) -> _Found:
        """A slurmd may print a line for a node that does not exist: so names are taken from sinfo."""
        found = _Found()
        if not self._suspects:
            answer = self._ask("scontrol -o show node", SQUEUE, SINFO)
            named = answer.nodes.nodes.keys() - read_names(answer.more)
            if not answer.odd and self._exist(named):
                self._strays = frozenset(named)
                found.take(answer)
                return found
        listed = self._ask(":", SQUEUE, SINFO)
        names = read_names(listed.more) | self._strays | self._known
        # One that has left Slurm would never be asked for again, and never be readable.
        self._suspects = {name: again for name, again in self._suspects.items() if name in names}
        found = self._some(sorted(names), ())
        found.take_jobs(job for job in listed.jobs.jobs if not job.nodes)
        return found

    def _exist(self, names: Collection[str]) -> bool:
        """Tell whether slurmctld knows these nodes; no other node speaks when they are asked for by name."""
        if not names:
            return True
        asked, *more = _small(sorted(names))
        answer = self._about(asked, ())
        return not more and not answer.odd and answer.nodes.nodes.keys() == set(names)

    def _some(self, nodes: Sequence[str], jobs: Sequence[int]) -> _Found:
        found, now = _Found(), time.monotonic()
        due = [name for name in nodes if self._suspects.get(name, math.inf) <= now]
        found.late.update(name for name in nodes if name in self._suspects and name not in due)
        found.late.update(due[_SINGLY:])
        parts = deque(self._divided([name for name in nodes if name not in self._suspects]))
        parts.extend([name] for name in due[:_SINGLY])
        if jobs and not parts:
            parts.append([])
        while parts:
            if self._asked >= _QUESTIONS or time.monotonic() > self._until:
                break
            # The first of them asks for the jobs, too.
            parts.extend(self._part(parts.popleft(), jobs, found))
            jobs = ()
        found.late.update(name for part in parts for name in part)
        self._parts += [part for part in parts if part and part[0] not in self._suspects]
        if self._fruitless >= _FRUITLESS and not found.nodes:
            raise SlurmError("no answer can be read", where="slurmctld", why=self._why)
        return found

    def _divided(self, nodes: list[str]) -> list[list[str]]:
        """Begin with the parts in which the last reading has ended; what was readable is one part."""
        wanted = set(nodes)
        known = [[name for name in part if name in wanted] for part in self._parts]
        rest = wanted - {name for part in known for name in part}
        others = [[name for name in part if name not in wanted] for part in self._parts]
        self._parts = [part for part in others if part]
        found = [part for part in ([name for name in nodes if name in rest], *known) if part]
        return [small for part in found for small in _small(part)]

    def _part(self, part: list[str], jobs: Sequence[int], found: _Found) -> list[list[str]]:
        """Ask for some nodes; return in which parts they have to be asked for again."""
        answer = self._about(part, jobs)
        found.take_jobs(read_jobs(answer.more).jobs)
        if not answer.odd:
            found.take(answer)
            self._readable(part)
            return []
        self._fruitless += 1
        self._why = answer.odd
        if len(part) == 1:
            found.odd[part[0]] = answer.odd
            self._suspect(part[0], answer.odd)
            return []
        return [part[: len(part) // 2], part[len(part) // 2 :]]

    def _suspect(self, name: str, why: str) -> None:
        if name not in self._suspects:
            log.warning("slurm: node=%s is unreadable, nothing is decided on it: %s", name, why)
        self._suspects[name] = time.monotonic() + _AGAIN

    def _readable(self, names: Sequence[str]) -> None:
        for name in names:
            if self._suspects.pop(name, None) is not None:
                log.info("slurm: node=%s is readable again", name)

    # Asking

    def _about(self, names: Sequence[str], jobs: Sequence[int]) -> _Answer:
        """Ask for nodes by their names. A node that slurmctld does not know is in no part of the answer."""
        # A job that slurmctld has forgotten is an error to squeue, but not to us.
        more = f"{{ {SQUEUE} -j {','.join(map(str, jobs))} 2>/dev/null || :; }}" if jobs else ":"
        left = list(names)
        for _ in range(_ROUNDS):
            expression = shlex.quote(fold(left)) if left else ""
            show = f"scontrol -o show node {expression}" if left else ":"
            queue = f"{SQUEUE} -w {expression}" if left else ":"
            answer, again = self._question(show, queue, more, left)
            if answer.odd or not again:
                return answer
            left = [name for name in left if name not in answer.nodes.unknown]
        raise SlurmError("the list of nodes changed while it was read", where="slurmctld")

    def _ask(self, show: str, queue: str, more: str) -> _Answer:
        return self._question(show, queue, more, None)[0]

    def _question(
        self, show: str, queue: str, more: str, names: Collection[str] | None
    ) -> tuple[_Answer, bool]:
        """Run three commands as one: one round trip, and as close to one moment as Slurm allows.

        Return what they said, and whether squeue has to be asked again because it did not know a node.
        """
        self._asked += 1
        mark = secrets.token_hex(16)
        script = f"echo {mark}; {show}; echo {mark}$?; {queue}; echo {mark}$?; {more}; echo {mark}$?"
        done = self._run(["sh", "-c", script])
        if done.too_much:
            return _Answer(NodeLines({}, frozenset(), done.err), JobLines(())), False
        parts = done.out.split(mark)
        if done.rc != 0 or len(parts) != 5:
            raise _failed(done, "incomplete answer of scontrol and squeue")
        codes, texts = zip(*(part.partition("\n")[::2] for part in parts[2:]), strict=True)
        nodes = read_nodes(parts[1], names)
        if (codes[0] != "0" and not nodes.unknown) or done.err.startswith(_ERRORS):
            raise _failed(done, "Slurm could not read nodes")
        again = codes[1] != "0" and no_such_node(done.err)
        if codes[1] != "0" and not again:
            raise _failed(done, "Slurm could not read jobs")
        return _Answer(nodes, read_jobs("" if again else texts[0]), texts[1]), again


def _small(names: list[str]) -> list[list[str]]:
    """Cut a list of nodes so that each part fits into a question: not all names can be folded well."""
    unfolded = sum(len(name) + 1 for name in names)
    if len(names) < 2 or unfolded <= _EXPRESSION or len(fold(names)) <= _EXPRESSION:
        return [names]
    half = len(names) // 2
    return [*_small(names[:half]), *_small(names[half:])]


def _failed(done: Completed, what: str) -> SlurmError:
    why = (done.err or done.out).strip()[-300:] or f"exit code {done.rc}"
    return SlurmError(what, where="slurmctld", why=why)
