"""Terraform's states as they were last read; each is read again only when it has been written since."""

import logging
from collections.abc import Mapping

from slurm_powersave.model.errors import TerraformError
from slurm_powersave.model.nodes import StateServer
from slurm_powersave.ports.terraform import Terraform

log = logging.getLogger("slurm_powersave")


class StateViews:
    """The servers in the shards' states. A step asks for each node; a thousand nodes take 20 ms to read."""

    def __init__(self, terraform: Terraform) -> None:
        self._terraform = terraform
        self._read: dict[str, tuple[str, Mapping[str, StateServer]]] = {}
        """Shard -> the version of its state that was read, and what that held."""
        self._unreadable: set[str] = set()
        """Shards whose state could not be read, so that it is said once."""

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        """Return node name -> server; tainted ones too.

        Raises:
            TerraformError: the state can't be read.
        """
        version = self._terraform.state_version(shard)  # before the reading: what comes later is read again
        known, servers = self._read.get(shard, ("", {}))
        if not version or version != known:
            self._read.pop(shard, None)
            servers = self._terraform.servers(shard)
            self._read[shard] = version, servers
        return servers

    def readable(self, shard: str) -> Mapping[str, StateServer] | None:
        """Return the same; None if the state can't be read, which is logged once."""
        try:
            found = self.servers(shard)
        except TerraformError as error:
            if shard not in self._unreadable:
                log.error("%s", error)
            self._unreadable.add(shard)
            return None
        self._unreadable.discard(shard)
        return found
