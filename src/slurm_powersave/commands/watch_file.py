"""The cluster file while the engine runs: what a person saves takes effect without a restart by hand."""

import hashlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

from slurm_powersave.config import settings
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import ConfigError, TerraformError
from slurm_powersave.ports.site import Site

log = logging.getLogger("slurm_powersave")

LOOK = 1.0
"""Seconds between two looks. A content counts when it was there in two of them: editors write in parts."""


def digest(path: Path) -> str:
    """Name a file's content; empty if it can't be read."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except OSError:
        return ""


class Watch:
    """Tells when the cluster file has another content that is valid."""

    def __init__(
        self,
        site: Site,
        content: str,
        used: Callable[[], Collection[str]] = frozenset,
        took: Callable[[Site], None] = lambda site: None,
    ) -> None:
        """Watch the file of a cluster.

        Args:
            site: the cluster with what is in force.
            content: the digest of what it was read from; empty if that is not known for sure.
            used: names the clouds that servers are in.
            took: is told of each content that is taken.
        """
        self.site, self.content, self._used, self._took = site, content, used, took
        self._seen = self._judged = content
        self._next = 0.0

    @property
    def cluster(self) -> Cluster:
        """What is in force."""
        return self.site.cluster

    def changed(self, now: float) -> bool:
        """Look, if it is time; when there is something new it is in `site` and `content`."""
        if now < self._next:
            return False
        self._next = now + LOOK
        before, self._seen = self._seen, digest(self.cluster.file)
        if self._seen != before or self._seen == self._judged:
            return False  # still being written, or looked at already
        self._judged = self._seen
        try:
            return bool(self._seen) and self._take()
        except BaseException:
            self._judged = ""  # the next look judges it again: whoever called begins anew
            raise

    def _take(self) -> bool:
        old = self.cluster
        try:
            new = settings.load(old.file)
            if digest(old.file) != self._seen:
                self._judged = ""
                return False
            if (new.cluster_name, new.state_dir) != (old.cluster_name, old.state_dir):
                raise ConfigError("cluster_name and state_dir can't change", where=str(old.file))
            if left := sorted({*self._used()} - new.clouds.keys()):
                raise ConfigError(f"there are servers in {', '.join(left)}", where=f"{old.file}: clouds")
            site = self.site.anew(new)
            _refuse_another_login(site)
            site.clouds()
        except ConfigError as error:
            log.error("the changed cluster file is not used: %s", error)
            return False
        self._took(site)
        self.content = self._seen
        if new == old:
            return False
        for key, (before, after) in differences(old, new).items():
            log.info("cluster file: %s: %s -> %s", key, before, after)
        self.site = site
        return True


def _refuse_another_login(site: Site) -> None:
    """Refuse a login.address that no deploy has given to the login node: no slurmctld answers there.

    Raises:
        ConfigError: the base state has the login node at another address.
    """
    new = site.cluster
    if new.login.connection != "ssh":
        return
    try:
        made = (site.directory(new.layout.base).outputs().get("login") or {}).get("address")
    except TerraformError:
        return
    if made and made != new.login.address:
        raise ConfigError(
            f"the login node is at {made}, and no deploy has given it {new.login.address}",
            where=f"{new.file}: login.address",
            todo="Put the old address back. If the login node was replaced by deploy, restart the engine.",
        )


def differences(old: Cluster, new: Cluster) -> dict[str, tuple[str, str]]:
    """Name the keys that differ, with both values cut to a line."""
    found = {}
    for key, before in old.model_dump(mode="json").items():
        after = new.model_dump(mode="json")[key]
        if isinstance(before, list) and isinstance(after, list):
            befores, afters = _named(before), _named(after)
            for name in dict.fromkeys([*befores, *afters]):
                if befores.get(name) != afters.get(name):
                    found[f"{key}.{name}"] = _short(befores.get(name)), _short(afters.get(name))
        elif before != after:
            found[key] = _short(before), _short(after)
    return found


def _named(values: list[object]) -> dict[str, object]:
    return {str(v.get("name", n)) if isinstance(v, dict) else str(n): v for n, v in enumerate(values)}


def _short(value: object) -> str:
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if one not in (None, "", [], {})}
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."
