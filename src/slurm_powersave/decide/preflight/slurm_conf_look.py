"""What of slurm.conf Slurm would refuse, or pass over in silence, as far as the cluster file tells it. Pure.

The keys are those of the parser's own tables (libslurmfull.so of 22.05.8, 24.11.5 and 26.05.5), the words of
parameters that are lists are those that its programs look for. Neither list is ever complete: what is in none
of them is a warning. slurmctld names unknown keys, and does not start; of unknown words it says nothing. This
was measured on the three versions.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.decide.preflight.findings import Found, error, warning
from slurm_powersave.decide.slurm_files.slurm_parameters import parameters
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nearest_name import nearest
from slurm_powersave.model.slurm_version import Version

_PLACE = Path(__file__).with_name("slurm_keys")
_LINES = {"nodename": "node", "partitionname": "part"}
"""Keys that begin a line with options of its own, and the table of these."""
_OTHER_LINES = frozenset({"nodeset", "downnodes", "include", "frontendname", "switchname"})
_GRES = ("AutoDetect", "Cores", "Count", "CPUs", "File", "Files", "Flags", "Link", "Links", "MultipleFiles",
         "Name", "NodeName", "Type")  # fmt: skip
"""The keys of gres.conf(5)."""


@dataclass(frozen=True)
class Tables:
    """What versions of Slurm know."""

    keys: Mapping[str, Collection[str]]
    """global, node and part -> keys."""
    words: Mapping[str, Collection[str]]
    """Parameter that is a list of words -> words."""


@cache
def tables(version: Version) -> Tables:
    """Return what a version knows; one that was not read is taken for both of its neighbours at once."""
    read = {Version.of(path.stem): path for path in _PLACE.glob("*.json")}
    below = [one for one in sorted(read) if one <= version] or [min(read)]
    above = [one for one in sorted(read) if one >= version] or [max(read)]
    found = [json.loads(read_text(read[one])) for one in {below[-1], above[0]}]
    return Tables(
        {kind: {key for one in found for key in one[kind]} for kind in ("global", "node", "part")},
        {name: {word for one in found for word in one["words"][name]} for name in found[0]["words"]},
    )


def findings(cluster: Cluster) -> Found:
    """Find what is unknown to Slurm or has no effect, errors and warnings."""
    known = tables(cluster.slurm_release)
    yield from _extra(cluster, known)
    for index, pool in enumerate(cluster.node_pools):
        yield from _unknown(f"node_pools[{index}].options", pool.options, known.keys["node"])
    for index, partition in enumerate(cluster.partitions):
        yield from _unknown(f"partitions[{index}].options", partition.options, known.keys["part"])
    for line in _lines(cluster.gres_conf):
        yield from _unknown("gres_conf", [word.partition("=")[0] for word in line.split()], _GRES)
    yield from _words(cluster, known)
    yield from _gres(cluster)


def refuse(cluster: Cluster) -> None:
    """Write no slurm.conf of which a part would certainly have no effect.

    Raises:
        ConfigError: there are errors among the findings.
    """
    for one in findings(cluster):
        if one.severity == "error":
            raise ConfigError(one.wrong, where=f"{cluster.file}: {one.where}", todo=one.right)


def _extra(cluster: Cluster, known: Tables) -> Found:
    where = "slurm_conf_extra"
    plain = [key for key in cluster.slurm_conf_extra if key.lower() not in {*_LINES, *_OTHER_LINES}]
    yield from _unknown(where, plain, known.keys["global"])
    for key, values in cluster.slurm_conf_extra.items():
        if kind := _LINES.get(key.lower()):
            options = [word.partition("=")[0] for value in values for word in value.split()[1:]]
            yield from _unknown(f"{where}.{key}", options, known.keys[kind])
            if values and _name(values[-1]).upper() == "DEFAULT":
                yield error(
                    f"{where}.{key}",
                    f"{key}=DEFAULT counts for the lines that follow it, and none follows: it has no effect",
                    f"Give each pool or partition its options, or put {key} lines after it.",
                )


def _name(value: str) -> str:
    return value.split()[0] if value.split() else ""


def _unknown(where: str, given: Collection[str], known: Collection[str]) -> Found:
    lower = {key.lower(): key for key in known}
    for key in given:
        if key and key.lower() not in lower:
            yield warning(f"{where}: {key}", "Slurm does not know this key", _nearest(key, lower))


def _nearest(given: str, lower: Mapping[str, str]) -> str:
    near = nearest(given.lower(), lower, likeness=0.75)
    return f"Did you mean {lower[near]}?" if near else "See slurm.conf(5) of your version of Slurm."


def _words(cluster: Cluster, known: Tables) -> Found:
    found = parameters(cluster)
    for name, words in known.words.items():
        lower = {word.lower(): word for word in words}
        for word in filter(None, found.get(name).split(",")):
            key = word.partition("=")[0]
            if key.lower() not in lower:
                wrong = "Slurm does not know this word, and passes over it in silence"
                yield warning(f"slurm_conf_extra.{name}: {key}", wrong, _nearest(key, lower))


def _gres(cluster: Cluster) -> Found:
    """Without GresTypes Slurm ignores what a node's Gres says, and no job gets any of it."""
    types = {kind.lower() for kind in parameters(cluster).get("GresTypes").split(",")}
    given = [(f"node_pools[{index}].gres", pool.gres) for index, pool in enumerate(cluster.node_pools)]
    given += [
        ("slurm_conf_extra.NodeName", word.partition("=")[2])
        for key, values in cluster.slurm_conf_extra.items()
        for value in values
        for word in value.split()
        if key.lower() == "nodename" and word.lower().startswith("gres=")
    ]
    given += [
        ("gres_conf", word.partition("=")[2])
        for line in _lines(cluster.gres_conf)
        for word in line.split()
        if word.lower().startswith("name=")
    ]
    for where, gres in given:
        for kind in _missing(gres, types):
            yield error(
                where,
                f"{kind} is not in GresTypes: Slurm passes over it, and no job gets any",
                f"slurm_conf_extra: {{GresTypes: {kind}}}",
            )


def _missing(gres: str, types: Collection[str]) -> Sequence[str]:
    kinds = [item.partition(":")[0] for item in gres.split(",")]
    return [kind for kind in dict.fromkeys(kinds) if kind and kind.lower() not in types]


def _lines(text: str) -> Iterator[str]:
    return filter(None, (line.partition("#")[0].strip() for line in text.splitlines()))
