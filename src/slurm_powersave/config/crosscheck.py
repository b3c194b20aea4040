"""What one part of the cluster file says against another.

Works on the raw values and passes over what is malformed (report.py names that already), so that one
mistake does not hide the others.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from slurm_powersave.config import fields, openstack_settings, slurm_options
from slurm_powersave.config.unchecked_values import Found, View, attempt, mapping, one_of, whole
from slurm_powersave.config.yaml_file import Document, Loc, Mistake
from slurm_powersave.model import hostlist

ADAPTERS = ("local", "openstack")


def mistakes(document: Document) -> list[Mistake]:
    """Run every check."""
    view = View(document)
    return [mistake for check in _CHECKS for mistake in check(view)]


def _pool_nodes(view: View) -> Found:
    for index, pool in view.pools:
        loc = ("node_pools", index)
        names = view.names[index]
        nodes, count = pool.get("nodes"), pool.get("max_nodes")
        if nodes is not None and count is not None:
            yield view.mistake((*loc, "max_nodes"), "given beside nodes", "keep one of nodes and max_nodes")
        elif nodes is None and count is None:
            yield view.mistake(
                (*loc, "nodes"), "missing", "a hostlist expression such as n[01-16], or max_nodes: 16"
            )
        elif isinstance(nodes, str) and not names:
            try:
                fields.node_names(nodes)
            except ValueError as error:
                wrong, _, right = str(error).rpartition("; ")
                yield view.mistake((*loc, "nodes"), wrong, right)
        elif long := [name for name in names if not attempt(fields.label, name)]:
            yield view.mistake((*loc, "name"), f"{long[0]!r} is no host name", "a shorter name of the pool")
        least = whole(pool.get("min_nodes"))
        if names and least and least > len(names):
            yield view.mistake(
                (*loc, "min_nodes"),
                f"{least} of {len(names)} nodes can't be kept up",
                f"at most {len(names)}",
            )


def _pool_addresses(view: View) -> Found:
    for index, pool in view.pools:
        loc = ("node_pools", index, "addresses")
        names, addresses = view.names[index], view.addresses[index]
        given = pool.get("addresses")
        if isinstance(given, str) and not addresses:
            try:
                fields.address_range(given)
            except ValueError as error:
                wrong, _, right = str(error).partition("; ")
                yield view.mistake(loc, wrong, right)
        elif names and addresses and len(names) != len(addresses):
            yield view.mistake(
                loc, f"{len(addresses)} addresses for {len(names)} nodes", "exactly one address for each node"
            )
        if view.login.get("address") in addresses:
            yield view.mistake(
                loc, f"holds the login node's address {view.login['address']}", "a range without it"
            )


def _twice(view: View) -> Found:
    def holders(kind: str, key: str, sets: Mapping[int, Iterable[str]]) -> Found:
        owner: dict[str, int] = {}
        for index, _ in view.pools:
            clashes: dict[int, list[str]] = {}
            for item in sets[index]:
                if item in owner:
                    clashes.setdefault(owner[item], []).append(item)
                owner.setdefault(item, index)
            for other, items in clashes.items():
                shown = (
                    hostlist.fold(items) if len(items) <= 1000 else f"{items[0]} and {len(items) - 1} more"
                )
                yield view.mistake(
                    ("node_pools", index, key),
                    f"{shown} also in node_pools[{other}]",
                    f"every {kind} belongs to one pool",
                )

    yield from holders("node", "nodes", view.names)
    yield from holders("address", "addresses", view.addresses)
    if view.login.get("name") in view.known:
        yield view.mistake(
            ("login", "name"), f"{view.login['name']} is also a node of a pool", "a name of its own"
        )
    for part, items in (("node_pools", view.pools), ("partitions", view.partitions)):
        seen: dict[Any, int] = {}
        for index, item in items:
            name = str(item.get("name"))
            if name in seen:
                yield view.mistake(
                    (part, index, "name"), f"{name} is also {part}[{seen[name]}]", "another name"
                )
            seen.setdefault(name, index)


def _clouds(view: View) -> Found:
    known = [str(name) for name in view.clouds]
    users: list[tuple[Loc, Mapping[str, Any]]] = [(("login",), view.login)] if view.login else []
    users += [(("node_pools", index), pool) for index, pool in view.pools]
    for loc, user in users:
        cloud = user.get("cloud")
        if cloud is None and len(known) > 1:
            yield view.mistake((*loc, "cloud"), "missing, with several clouds", "one of " + ", ".join(known))
        elif isinstance(cloud, str) and known and cloud not in known:
            yield view.mistake((*loc, "cloud"), f"there is no cloud {cloud}", one_of(cloud, known))
    home = mapping(view.clouds.get(view.login.get("cloud") or next(iter(view.clouds), None)))
    if view.login and home and not home.get("base_module"):
        name = view.login.get("cloud") or known[0]
        yield view.mistake(
            ("clouds", name, "base_module"),
            "missing, and the login node is there",
            "the root module that makes network and login node",
        )
    for name, cloud in view.clouds.items():
        adapter = mapping(cloud).get("adapter")
        if isinstance(adapter, str) and adapter not in ADAPTERS:
            yield view.mistake(
                ("clouds", name, "adapter"),
                f"there is no adapter {adapter}",
                f"{', '.join(ADAPTERS)}, or leave it out",
            )


def _flavors_not_told(view: View) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    """Yield the pools (number, pool, cloud) whose cloud has no adapter, so that its flavors are not known."""
    for index, pool in view.pools:
        name = pool.get("cloud") or (next(iter(view.clouds)) if len(view.clouds) == 1 else None)
        cloud = mapping(view.clouds.get(name))
        if cloud and cloud.get("adapter") in (None, "none"):
            yield index, pool, str(name)


def _requirements(view: View) -> Found:
    """Flavors that are given as requirements need an adapter that lists the cloud's flavors."""
    for index, pool, _ in _flavors_not_told(view):
        flavors = pool.get("flavors")
        for place, item in enumerate(flavors if isinstance(flavors, list) else []):
            if isinstance(item, dict):
                yield view.mistake(
                    ("node_pools", index, "flavors", place),
                    "a requirement, and the cloud has no adapter that lists its flavors",
                    "name flavors, or give the cloud an adapter",
                )


def _hardware(view: View) -> Found:
    """Without an adapter only the cluster file can say what a node has; Slurm refuses one that has less."""
    for index, pool, cloud in _flavors_not_told(view):
        for key in ("cpus", "real_memory"):
            if pool.get(key) is None:
                yield view.mistake(
                    ("node_pools", index, key),
                    f"missing for pool {pool.get('name')}: cloud {cloud} has no adapter that lists flavors",
                    "what `slurmd -C` says on such a server, or give the cloud an adapter",
                )


def _settings(view: View) -> Found:
    for name, cloud in view.clouds.items():
        given = mapping(mapping(cloud).get("settings"))
        if mapping(cloud).get("adapter") == "openstack":
            for place, wrong, right in openstack_settings.mistakes(given):
                yield view.mistake(("clouds", name, "settings", *place), wrong, right)


def _builders(view: View) -> Found:
    """The address of each cloud's builder, and the names that its servers will have."""
    holders: dict[Any, str] = {view.login.get("address"): "the login node"}
    for index, pool in view.pools:
        holders.update(dict.fromkeys(view.addresses[index], f"pool {pool.get('name')}"))
    cluster = view.content.get("cluster_name")
    taken = {f"{cluster}-builder", f"{cluster}-proof"} & {*view.known, view.login.get("name")}
    for name, cloud in view.clouds.items():
        loc = ("clouds", name, "builder_address")
        address = mapping(cloud).get("builder_address")
        if address is None:
            continue
        if address in holders:
            yield view.mistake(loc, f"{address} belongs to {holders[address]}", "an address that nobody has")
        holders.setdefault(address, f"the builder of {name}")
        if taken:
            yield view.mistake(
                loc, f"the builder would have the name {min(taken)}, as a node has", "another node name"
            )


def _jump(view: View) -> Found:
    if view.login.get("jump") is not None and view.login.get("connection") == "local":
        yield view.mistake(("login", "jump"), "slurmctld is on this host", "leave it out")


def _storage(view: View) -> Found:
    """The shared directory's server is nobody else, and its two paths do not lie in each other."""
    shared = mapping(view.content.get("shared_storage"))
    server, loc = shared.get("server", "login"), ("shared_storage",)
    holders = {view.login.get("address"): "the login node (write: login)"}
    for index, pool in view.pools:
        holders.update(dict.fromkeys(view.addresses[index], f"pool {pool.get('name')}"))
    if server in holders:
        yield view.mistake(
            (*loc, "server"), f"{server} belongs to {holders[server]}", "login, or another server's address"
        )
    if server == "login" and shared.get("user") is not None:
        yield view.mistake(
            (*loc, "user"), "the login node has its own", "leave it out; login.user is that user"
        )
    export, mount = f"{shared.get('export', '/srv/ohpc')}/", f"{shared.get('mount', '/mnt/ohpc')}/"
    if export != mount and (export.startswith(mount) or mount.startswith(export)):
        yield view.mistake(
            (*loc, "mount"), f"{mount} and {export} lie in each other", "the same directory, or two apart"
        )


def _partitions(view: View) -> Found:
    pools = [str(pool.get("name")) for _, pool in view.pools]
    used: set[str] = set()
    default = ""
    for index, partition in view.partitions:
        loc = ("partitions", index)
        named = partition.get("pools") or []
        nodes = partition.get("nodes")
        if not named and not nodes:
            yield view.mistake(loc, "has neither pools nor nodes", "name its pools")
        for place, pool in enumerate(named if isinstance(named, list) else []):
            used.add(str(pool))
            if pool not in pools:
                yield view.mistake(
                    (*loc, "pools", place), f"there is no pool {pool}", one_of(str(pool), pools)
                )
        if isinstance(nodes, str):
            expansion = hostlist.split(nodes, view.known)
            used |= {
                name
                for number, name in enumerate(pools)
                if set(view.names.get(number, ())) & set(expansion.nodes)
            }
            if expansion.refused:
                why = ", ".join(f"{item.part} {item.why}" for item in expansion.refused)
                yield view.mistake((*loc, "nodes"), why, "a hostlist expression of nodes in node_pools")
        options = {str(key).lower(): value for key, value in mapping(partition.get("options")).items()}
        if str(options.get("default")).upper() in ("YES", "TRUE"):
            if default:
                yield view.mistake(
                    (*loc, "options", "Default"), f"{default} is the default already", "one default"
                )
            default = default or str(partition.get("name"))
    for index, pool in view.pools:
        if view.partitions and isinstance(pool.get("name"), str) and pool["name"] not in used:
            yield view.mistake(
                ("node_pools", index, "name"),
                f"{pool['name']} is in no partition",
                "name it in a partition's pools",
            )


def _files(view: View) -> Found:
    wanted: list[tuple[Loc, Any, bool]] = [
        ((key,), view.content.get(key), False) for key in ("prolog", "epilog", "prolog_slurmctld")
    ]
    wanted.append(
        (("terraform", "cli_config"), mapping(view.content.get("terraform")).get("cli_config"), False)
    )
    for index, pool in view.pools:
        wanted += [
            (("node_pools", index, key), pool.get(key), False)
            for key in ("before_configure", "after_configure")
        ]
    for name, cloud in view.clouds.items():
        wanted += [
            (("clouds", name, key), mapping(cloud).get(key), True) for key in ("base_module", "nodes_module")
        ]
    for loc, path, directory in wanted:
        if not isinstance(path, str):
            continue
        place = Path(os.path.normpath(view.base / Path(path).expanduser()))
        if not (place.is_dir() if directory else place.is_file()):
            what = "directory" if directory else "file"
            yield view.mistake(
                loc, f"there is no {what} {place}", f"a {what}; relative paths begin at this file"
            )
    state = view.content.get("state_dir")
    if isinstance(state, str) and any(character in state for character in " \t\n'\"%#"):
        yield view.mistake(
            ("state_dir",), f"{state!r} has characters that ssh would split at", "a plain path"
        )


_CHECKS: tuple[Callable[[View], Found], ...] = (
    _pool_nodes,
    _pool_addresses,
    _twice,
    _clouds,
    _requirements,
    _hardware,
    _settings,
    _builders,
    _jump,
    _storage,
    _partitions,
    _files,
    slurm_options.timing,
    slurm_options.reserved,
)
