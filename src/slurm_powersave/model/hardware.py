"""What a node says of its own hardware by `slurmd -C` before its slurmd starts: data, of a strict form.

The line is the same in 22.05.8, 24.11.5 and 26.05.5 (tests/recorded); what is unknown behind it is left out:

    NodeName=n1 CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=3788 Gres=gpu:1
"""

import re
from dataclasses import dataclass

_LONGEST = 2000
"""Characters of a line that is looked at."""
_LINE = re.compile(
    r"(?:NodeName=\S{1,253} )?CPUs=([1-9]\d{0,5}) Boards=([1-9]\d{0,3}) SocketsPerBoard=([1-9]\d{0,3})"
    r" CoresPerSocket=([1-9]\d{0,5}) ThreadsPerCore=([1-9]\d{0,3}) RealMemory=([1-9]\d{0,8})"
    r"(?: Gres=([A-Za-z0-9_.:,()-]{1,200}))?"
    r"(?: (?!CPUs=|RealMemory=|Gres=)[A-Za-z]{1,40}=[A-Za-z0-9_.:,()+-]{0,200}){0,4}",
    re.ASCII,
)


@dataclass(frozen=True)
class Hardware:
    """The numbers of that line; RealMemory in MiB."""

    cpus: int
    boards: int
    sockets: int
    """On each board."""
    cores: int
    """In each socket."""
    threads: int
    """On each core."""
    real_memory: int
    gres: str = ""
    """What slurmd itself has found; empty if it has found none, or was not told to look."""

    def __str__(self) -> str:
        """Write it as slurmd does, without the node's name; `read` reads it."""
        return (
            f"CPUs={self.cpus} Boards={self.boards} SocketsPerBoard={self.sockets}"
            f" CoresPerSocket={self.cores} ThreadsPerCore={self.threads} RealMemory={self.real_memory}"
            f"{f' Gres={self.gres}' if self.gres else ''}"
        )


@dataclass(frozen=True)
class FirstNode:
    """What the first node of a pool with a flavor has said."""

    pool: str
    flavor: str
    image: str
    node: str
    hardware: Hardware


def read(said: object) -> Hardware | None:
    """Read the line; None if it is none, whatever it is."""
    if not isinstance(said, str) or len(said) > _LONGEST or not (found := _LINE.fullmatch(said)):
        return None
    *numbers, gres = found.groups()
    cpus, boards, sockets, cores, threads, memory = map(int, numbers)
    return Hardware(cpus, boards, sockets, cores, threads, memory, gres or "")
