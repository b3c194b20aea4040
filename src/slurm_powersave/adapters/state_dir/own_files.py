"""The files of the state directory without which nothing works, and what is said where one is missing."""

import os
from pathlib import Path

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.terraform.state_file import write_synced
from slurm_powersave.config.plain_file import read_text, wrong_kind
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import ConfigError, OwnFileError

_PRIVATE = "the control host's SSH key"
_KEY = (
    "Put it back from a backup (slurm-powersave restore). Servers that exist know this key only, and "
    "`deploy` would make another one."
)
_HOSTS = (
    "Put it back from a backup (slurm-powersave restore). Without one `slurm-powersave deploy` writes the "
    "login node's key anew; a node gets its own with its next resume or reimage."
)


def refuse(cluster: Cluster) -> None:
    """Look at what an engine needs before it begins.

    Raises:
        ConfigError: a file is missing, empty, something else than a file, or not readable for this user.
    """
    layout = cluster.layout
    _look(layout.private_key, _PRIVATE, _KEY)
    _look(layout.public_key, "the public half of the control host's SSH key", _KEY)
    if cluster.login.connection == "ssh":
        _look(layout.known_hosts, "the file of SSH host keys", _HOSTS)


def require_key(path: Path) -> None:
    """Look at the key with which nodes are reached, before nodes are judged by what can be done with it.

    Raises:
        OwnFileError: it is missing, empty, something else than a file, or not readable for this user.
    """
    try:
        _look(path, _PRIVATE, _KEY)
    except ConfigError as error:
        raise OwnFileError(error.what, where=error.where, todo=error.todo) from error


def public_key(cluster: Cluster) -> str:
    """Read the key pair of the servers.

    Raises:
        ConfigError: it is missing, or can't be read.
    """
    path = cluster.layout.public_key
    _look(path, "the public half of the control host's SSH key", _KEY)
    return read_text(path).strip()


def _look(path: Path, what: str, todo: str) -> None:
    try:
        kind = wrong_kind(path)
        if not kind and path.stat().st_size == 0:
            kind = "empty"
    except FileNotFoundError:
        kind = "missing"
    except OSError as error:
        kind = f"not readable: {error.strerror}"
    if not kind and not os.access(path, os.R_OK):
        kind = "not readable for this user"
    if kind:
        raise ConfigError(f"{what} is {kind}", where=str(path), todo=todo)


def make_key(cluster: Cluster) -> None:
    """Make the key pair of the servers.

    Raises:
        ConfigError: ssh-keygen's own words.
    """
    key, comment = cluster.layout.private_key, f"slurm-powersave {cluster.cluster_name}"
    done = run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)], timeout=30)
    if done.rc != 0:
        raise ConfigError("no SSH key could be made", where=str(key), why=done.err.strip())


class ClusterFiles:
    """Implements ports.OwnFiles."""

    save = staticmethod(write_synced)

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def refuse(self) -> None:
        """Look at what an engine needs before it begins."""
        refuse(self._cluster)

    def public_key(self) -> str:
        """Read the key pair of the servers."""
        return public_key(self._cluster)

    def make_key(self) -> None:
        """Make the key pair of the servers."""
        make_key(self._cluster)
