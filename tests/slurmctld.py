"""slurmctld's host as our readings see it: what scontrol, squeue and sinfo print, whoever lies."""

import re
import shlex
from collections.abc import Mapping, Sequence

from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.model.hostlist import expand_any

_SCRIPT = re.compile(r"echo (\w+); (.*?); echo \1\$\?; (.*?); echo \1\$\?; (.*); echo \1\$\?", re.DOTALL)


def answer(script: str, *parts: tuple[str, int], err: str = "", noise: str = "") -> Completed:
    """Answer our script: what each of its three commands prints, and its exit code."""
    found = _SCRIPT.fullmatch(script)
    assert found, script
    mark = found[1]
    out = noise + mark + "\n" + "".join(f"{text}{mark}{code}\n" for text, code in parts)
    return Completed(0, out, err)


def commands(script: str) -> tuple[str, str, str]:
    """Return the three commands of our script."""
    found = _SCRIPT.fullmatch(script)
    assert found, script
    return found[2], found[3], found[4]


def line(name: str, state: str = "IDLE+CLOUD", *, system: str = "Linux 6.1", end: str = "") -> str:
    """A node as 22.05.8 prints it. `system` is what its slurmd says of itself."""
    return (
        f"NodeName={name} Arch=x86_64 CoresPerSocket=1 CPUAlloc=0 CPUTot=2 NodeAddr={name} "
        f"NodeHostName={name} Version=22.05.8 OS={system} RealMemory=1000 AllocMem=0 Sockets=2 Boards=1 "
        f"State={state} ThreadsPerCore=1 TmpDisk=0 Owner=N/A MCS_label=N/A Partitions=main "
        f"BootTime=2026-11-21T01:00:01 SlurmdStartTime=2026-11-21T01:00:02 CfgTRES=cpu=2 AllocTRES={end}"
    )


class Slurmctld:
    """A Shell of adapters.slurm, with nodes and jobs."""

    def __init__(
        self, nodes: Mapping[str, str], jobs: Sequence[str] = (), *, alone: Sequence[str] = ()
    ) -> None:
        """`nodes`: name -> all that scontrol prints of it. `alone` are in no partition."""
        self.nodes, self.jobs, self.alone = dict(nodes), list(jobs), alone
        self.asked: list[str] = []
        self.limit = 1 << 30

    def __call__(self, argv: Sequence[str], timeout: float) -> Completed:
        assert list(argv[:2]) == ["sh", "-c"]
        self.asked.append(argv[2])
        parts, errors = [], []
        for command in commands(argv[2]):
            text, code, error = self.run(command)
            parts.append((text, code))
            errors.append(error)
        done = answer(argv[2], *parts, err="".join(errors))
        if len(done.out) > self.limit:
            return Completed(None, "", f"an answer of more than {self.limit} bytes", too_much=True)
        return done

    def run(self, command: str) -> tuple[str, int, str]:
        """Run one of the three commands."""
        words = shlex.split(command.strip("{} "))
        if words[0] == "scontrol":
            return self.show(expand_any(words[4]) if len(words) > 4 else None)
        if words[0] == "squeue":
            return self.queue(words)
        if words[0] == "sinfo":
            return "".join(f"{name}\n" * 2 for name in self.nodes if name not in self.alone), 0, ""
        return "", 0, ""

    def show(self, names: Sequence[str] | None) -> tuple[str, int, str]:
        """Do what `scontrol -o show node` does."""
        wanted = list(self.nodes) if names is None else names
        text = "".join(f"{self.nodes.get(name, f'Node {name} not found')}\n" for name in wanted)
        return text, int(any(name not in self.nodes for name in wanted)), ""

    def queue(self, words: Sequence[str]) -> tuple[str, int, str]:
        """Do what squeue does with -w, with -j, or with neither."""
        chosen = self.jobs
        if "-w" in words:
            names = expand_any(words[words.index("-w") + 1])
            if unknown := [name for name in names if name not in self.nodes]:
                return "", 1, f"squeue: error: Invalid node name {unknown[0]}\n"
            chosen = [job for job in self.jobs if self.runs_on(job, names)]
        if "-j" in words:
            ids = words[words.index("-j") + 1].split(",")
            chosen = [job for job in self.jobs if job.partition("|")[0] in ids]
        return "".join(f"{job}\n" for job in chosen), 0, ""

    def runs_on(self, job: str, names: Sequence[str]) -> bool:
        """Tell whether a job is on one of the nodes, by the third field of its line."""
        fields = job.split("|")
        return len(fields) > 2 and bool(fields[2]) and not set(expand_any(fields[2])).isdisjoint(names)
