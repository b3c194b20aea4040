"""Keys of the cluster file that only make sense together: one alone has no effect, or does harm. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.sections import Pool
from slurm_powersave.decide.preflight.findings import Found, error, few, warning
from slurm_powersave.decide.slurm_files.slurm_parameters import parameters
from slurm_powersave.model.errors import HostlistError
from slurm_powersave.model.hostlist import expand_any, fold

_COUNT = re.compile(r"(\d+)([KMGTP]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}


@dataclass(frozen=True)
class _Line:
    """A line of gres.conf."""

    where: str
    options: Mapping[str, str]
    """By key in lower case."""
    nodes: frozenset[str] | None
    """None: all nodes."""

    @property
    def count(self) -> int | None:
        """How many it gives a node; None if that is not told."""
        if found := _COUNT.fullmatch(self.options.get("count", "")):
            return int(found[1]) * _UNITS[found[2].upper()]
        file = self.options.get("file") or self.options.get("files") or self.options.get("multiplefiles")
        if file:
            # Files have slashes, which no node has.
            named = _expanded(re.sub(r"(^|,)/", r"\1", file).replace("/", "-"))
            return None if named is None else len(named)
        return None if "count" in self.options else 1


def findings(cluster: Cluster) -> Found:
    """Find what lacks the other half."""
    lines = list(_gres_lines(cluster.gres_conf))
    yield from _gres_nodes(cluster, lines)
    yield from _gres_counts(cluster, lines)
    yield from _gres_types(cluster, lines)
    yield from _mounts(cluster)
    yield from _programs(cluster)
    yield from _cgroup(cluster)
    yield from _builders(cluster)


def _gres_lines(text: str) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), 1):
        words = [word.partition("=") for word in line.partition("#")[0].split()]
        options = {key.lower(): value for key, _, value in words}
        if options:
            named = _expanded(options["nodename"]) if "nodename" in options else None
            yield _Line(f"gres_conf, line {number}", options, None if named is None else frozenset(named))


def _expanded(expression: str) -> Sequence[str] | None:
    """Expand a hostlist; None if it can't be read."""
    try:
        return expand_any(expression)
    except HostlistError:
        return None


def _gres_nodes(cluster: Cluster, lines: Sequence[_Line]) -> Found:
    known = {*cluster.nodes(), cluster.login.name, *_site_nodes(cluster)}
    for line in lines:
        lacking = sorted((line.nodes or frozenset()) - known)
        if not lacking:
            continue
        names = fold(lacking)
        if len(lacking) == len(line.nodes or ()):
            yield error(
                line.where,
                f"NodeName={line.options['nodename']}: the cluster has none of these nodes",
                f"Name nodes of node_pools: {_pools(cluster)}.",
            )
        else:
            yield warning(
                line.where,
                f"NodeName={line.options['nodename']}: the cluster has no {names}",
                "Leave them out, or add them to a pool.",
            )


def _pools(cluster: Cluster) -> str:
    return few([fold(cluster.nodes_of(pool.name)) for pool in cluster.node_pools])


def _site_nodes(cluster: Cluster) -> Iterator[str]:
    """Name the nodes that the site adds by slurm_conf_extra."""
    for key, values in cluster.slurm_conf_extra.items():
        for value in values if key.lower() == "nodename" else ():
            yield from _expanded(value.split()[0] if value.split() else "") or ()


def _gres_counts(cluster: Cluster, lines: Sequence[_Line]) -> Found:
    """Compare what slurm.conf promises with what gres.conf gives; Slurm drains a node that has less."""
    if any(line.options.get("autodetect", "off").lower() != "off" for line in lines):
        return
    for index, pool in enumerate(cluster.node_pools):
        for kind, gres in _gres_of(pool).items():
            names = cluster.nodes_of(pool.name)
            given = {name: _given(lines, kind, name) for name in names}
            differ = [name for name, count in given.items() if count not in (None, gres)]
            if not differ:
                continue
            count = given[differ[0]] or 0
            nodes = fold([name for name in differ if given[name] == count])
            wrong = f"gres says {kind} {gres}, gres_conf gives {nodes} {count}"
            where = f"node_pools[{index}].gres"
            if count < gres:
                yield error(
                    where, f"{wrong}: Slurm does not take nodes that have less", "Make them the same."
                )
            else:
                yield warning(where, f"{wrong}: the rest is not used", "Make them the same.")


def _gres_of(pool: Pool) -> dict[str, int]:
    """Read Gres of a node: gpu:2, gpu:a100:2, gpu; kind in lower case -> how many."""
    found: dict[str, int] = {}
    for item in filter(None, pool.gres.split(",")):
        parts = item.partition("(")[0].split(":")
        number = _COUNT.fullmatch(parts[-1]) if len(parts) > 1 else None
        count = int(number[1]) * _UNITS[number[2].upper()] if number else 1
        found[parts[0].lower()] = found.get(parts[0].lower(), 0) + count
    return found


def _given(lines: Sequence[_Line], kind: str, node: str) -> int | None:
    """Return how many gres.conf gives a node; None if it says nothing of it, or not how many."""
    ours = [
        line
        for line in lines
        if line.options.get("name", "").lower() == kind and (line.nodes is None or node in line.nodes)
    ]
    counts = [line.count for line in ours]
    return None if not counts or None in counts else sum(count or 0 for count in counts)


def _gres_types(cluster: Cluster, lines: Sequence[_Line]) -> Found:
    """GresTypes, gres and gres_conf: the one without the others (that without GresTypes: slurm_look.py)."""
    gres = {kind for pool in cluster.node_pools for kind in _gres_of(pool)}
    extra = " ".join(value for values in cluster.slurm_conf_extra.values() for value in values).lower()
    for kind in filter(None, parameters(cluster).get("GresTypes").split(",")):
        if kind.lower() not in gres and f"gres={kind.lower()}" not in extra.replace(",", " gres="):
            yield warning(
                "slurm_conf_extra.GresTypes",
                f"no pool has {kind} in its gres, so no job gets any",
                f"gres: {kind}:COUNT in the pool whose nodes have it.",
            )
    for line in lines:
        kind = line.options.get("name", "").lower()
        pools = [pool for pool in cluster.node_pools if _touches(cluster, pool, line)]
        if kind in gres and pools and not any(kind in _gres_of(pool) for pool in pools):
            yield warning(
                line.where,
                f"Name={kind} for nodes of {few([pool.name for pool in pools])}, whose gres lacks it",
                f"gres: {kind}:COUNT in that pool, or other nodes in this line.",
            )


def _touches(cluster: Cluster, pool: Pool, line: _Line) -> bool:
    return line.nodes is None or not line.nodes.isdisjoint(cluster.nodes_of(pool.name))


def _mounts(cluster: Cluster) -> Found:
    """Without its mounts a node's slurmd does not start."""
    shared = {cluster.shared_storage.mount} if cluster.shared_storage else set()
    lacking = [path for path in cluster.mounts if path not in shared]
    bare = [
        pool.name
        for pool in cluster.node_pools
        if not pool.before_configure and cluster.clouds[cluster.cloud_of(pool)].adapter != "local"
    ]
    if lacking and bare:
        yield warning(
            "mounts",
            f"nothing in this file mounts {few(lacking)} on the nodes of {few(bare)}; slurmd waits for it",
            "shared_storage or the pool's before_configure can mount it. If the image does (its fstab), all "
            "is well; if nothing is to be mounted: mounts: [].",
        )


def _programs(cluster: Cluster) -> Found:
    """A program that is given twice: the line of slurm_conf_extra is the one that Slurm gets."""
    given = {key.lower(): key for key in cluster.slurm_conf_extra}
    for name, path in (("prolog", cluster.prolog), ("epilog", cluster.epilog)):
        if path and name in given:
            yield error(
                f"slurm_conf_extra.{given[name]}",
                f"{name}: {path} is given as well, and would not be run",
                f"Keep one; {name} is copied to the nodes.",
            )


def _cgroup(cluster: Cluster) -> Found:
    found = parameters(cluster)
    plugins = f"{found.get('TaskPlugin')},{found.get('ProctrackType')},{found.get('JobAcctGatherType')}"
    if cluster.cgroup_conf.strip() and "cgroup" not in plugins.lower():
        yield warning(
            "cgroup_conf",
            "no plugin reads it: neither TaskPlugin nor ProctrackType nor JobAcctGatherType is a cgroup one",
            "slurm_conf_extra: {TaskPlugin: task/cgroup, ProctrackType: proctrack/cgroup}, or leave it out.",
        )


def _builders(cluster: Cluster) -> Found:
    """`image build` makes its servers through the adapter."""
    for name, cloud in cluster.clouds.items():
        if cloud.builder_address and not cloud.adapter:
            yield warning(
                f"clouds.{name}.builder_address",
                "the cloud has no adapter, and image build works through one",
                "Give the cloud an adapter, or leave it out.",
            )
