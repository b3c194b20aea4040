"""Slurm's files on the slurmctld host that are not ours, or were edited there since we wrote them. Pure.

The same is looked at on that host before anything is written (roles/slurmctld); here a person sees it before
anything is begun.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.layout import SLURM_FILES
from slurm_powersave.decide.preflight.findings import Found, error, warning
from slurm_powersave.decide.slurm_files.slurm_conf import HEADER
from slurm_powersave.model.errors import RefusedError

NAMES = ("slurm.conf", "gres.conf", "cgroup.conf")
_MARK = HEADER.partition(" from ")[0]
"""How all versions of ours begin."""
_LONGEST = 200
"""Lines of a diff that are shown."""


@dataclass(frozen=True)
class LiveFiles:
    """What is there: name -> text, empty if there is no such file."""

    live: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)
    """As they were when slurmctld took them from us."""
    unreadable: str = ""
    """What Slurm's programs say that can't read slurm.conf; empty if they can, or there is none."""

    def foreign(self, cluster: Cluster) -> list[str]:
        """Name the files that would be replaced and did not come from us."""
        ours = {"gres.conf"} if not cluster.gres_conf.strip() else set()
        return [n for n in NAMES if n not in ours and self.live.get(n) and not self.live[n].startswith(_MARK)]

    def edited(self) -> list[str]:
        """Name the files of ours that somebody has changed since."""
        return [
            name
            for name in NAMES
            if self.written.get(name) and self.live.get(name, "").startswith(_MARK)
            if self.live[name] != self.written[name]
        ]

    def edits(self) -> str:
        """Show what was edited, as a unified diff."""
        return "\n".join(_diff(self.edited(), self.written, self.live, ("written", "on the host")))


def findings(cluster: Cluster, files: LiveFiles) -> Found:
    """Find what `check` has to say of them."""
    for name in files.foreign(cluster):
        yield error(
            f"{cluster.login.name}: {SLURM_FILES}/{name}",
            "it is there and did not come from here",
            "Put what you need of it into the cluster file. `slurm-powersave deploy --replace-foreign` keeps "
            "a copy of it and goes on.",
        )
    if files.unreadable:
        yield error(
            f"{cluster.login.name}: {SLURM_FILES}/slurm.conf",
            f"Slurm can't read it, no user's command works: {files.unreadable}",
            "`slurm-powersave deploy` puts a good one in its place, and keeps a copy.",
        )
    if files.edited():
        yield warning(
            f"{cluster.login.name}: {SLURM_FILES}",
            f"{', '.join(files.edited())} was edited there:\n{files.edits()}",
            "It stays until the cluster file wants something else. Put the edit into the cluster file.",
        )


def refuse_foreign(cluster: Cluster, files: LiveFiles, wanted: Mapping[str, str]) -> None:
    """Replace nobody's files without a word.

    Raises:
        RefusedError: there are such files; the error holds the diff.
    """
    if names := files.foreign(cluster):
        raise RefusedError(
            f"{', '.join(names)} did not come from here",
            where=f"{cluster.login.name}: {SLURM_FILES}",
            why="this would change:\n" + "\n".join(_diff(names, files.live, wanted, ("there", "wanted"))),
            todo="Put what you need of it into the cluster file, then add --replace-foreign: a copy is kept "
            f"in {SLURM_FILES}/slurm-powersave.d/old there. Nothing of Slurm was changed.",
        )


def _diff(
    names: Sequence[str], before: Mapping[str, str], after: Mapping[str, str], words: tuple[str, str]
) -> Iterator[str]:
    left = _LONGEST
    for name in names:
        old, new = before.get(name, "").splitlines(), after.get(name, "").splitlines()
        marks = [f"{SLURM_FILES}/{name} ({word})" for word in words]
        lines = list(difflib.unified_diff(old, new, marks[0], marks[1], lineterm="", n=1))
        yield from lines[:left]
        if len(lines) > left:
            yield f"... {len(lines) - left} more lines"
        left = max(0, left - len(lines))
