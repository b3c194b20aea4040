"""Whether cluster file and state directory belong together: neither cluster_name nor state_dir can change.

The name is in the tags of all servers and in Slurm's state; the directory holds keys and Terraform's states.
"""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from slurm_powersave.config.layout import Layout
from slurm_powersave.decide.preflight.findings import Found, error
from slurm_powersave.engine import slurm_conf_in_use
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.state_store import StateStore

_NAME = re.compile(r"^ClusterName=(\S+)$", re.MULTILINE)
_LONGEST = 1 << 16


@dataclass(frozen=True)
class _Known:
    name: str = ""
    file: str = ""
    root: str = ""
    """Where the directory was; a copy, and one that was moved aside, is elsewhere."""


def record(site: Site) -> None:
    """Note in the state directory whose it is, and of which cluster file."""
    cluster, store = site.cluster, site.store()
    held = {"cluster_name": cluster.cluster_name, "file": os.path.abspath(cluster.file)}
    text = json.dumps(held | {"state_dir": str(cluster.layout.root)}) + "\n"
    if store.identity() != text:
        store.save_identity(text)


def findings(site: Site) -> Found:
    """Find that the file names another cluster, or another directory, than it did."""
    cluster, layout = site.cluster, site.cluster.layout
    known = _read(site.store()).name or _name_in_use(site.store())
    if known and known != cluster.cluster_name:
        yield error(
            "cluster_name",
            f"{layout.root} is the state directory of cluster {known}, and this file says "
            f"{cluster.cluster_name}: the name can't change",
            f"Put cluster_name: {known} back. Another cluster needs another state_dir, and other addresses.",
        )
    elif not known and (other := _elsewhere(site)):
        was, root = other
        yield error(
            "state_dir" if was == cluster.cluster_name else "cluster_name",
            f"this file was deployed as cluster {was} with its state in {root}, and {layout.root} knows "
            "nothing of it: neither cluster_name nor state_dir can change",
            f"Put cluster_name: {was} and state_dir: {root} back, or first run teardown with them.",
        )


def refuse(site: Site) -> None:
    """Change nothing of a cluster that the file does not mean.

    Raises:
        RefusedError: it names another cluster, or another directory, than it did.
    """
    for one in findings(site):
        raise RefusedError(one.wrong, where=f"{site.cluster.file}: {one.where}", todo=one.right)


def _read(store: StateStore) -> _Known:
    try:
        found = json.loads((store.identity() or "")[:_LONGEST])
    except (OSError, ValueError, RecursionError):
        return _Known()
    if not isinstance(found, dict):
        return _Known()
    return _Known(*(str(found.get(key, "")) for key in ("cluster_name", "file", "state_dir")))


def _name_in_use(store: StateStore) -> str:
    """Return the name that slurmctld was last given, of a state directory without a note."""
    try:
        known = slurm_conf_in_use.is_known(store)
        found = _NAME.search(slurm_conf_in_use.load(store).slurm_conf) if known else None
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # damaged; whoever needs it says so
    return found[1] if found else ""


def _elsewhere(site: Site) -> tuple[str, Path] | None:
    """Find a directory beside the state directory in which this file is in use; not a copy, not torn down."""
    cluster = site.cluster
    here = os.path.abspath(cluster.file)
    try:
        others = sorted(cluster.layout.root.parent.iterdir())
    except OSError:
        return None
    for root in others:
        found = _read(site.store(Layout(root)))
        if root == cluster.layout.root or (found.file, found.root) != (here, str(root)):
            continue
        if Layout(root).base.exists():
            return found.name, root
    return None
