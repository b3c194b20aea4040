"""The SSH host keys that the cluster trusts."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from slurm_powersave.decide.node.host_keys import Pin


class HostKeys(Protocol):
    """The cluster's known_hosts; only we write it. MachineError if it can't be read."""

    def pins(self) -> Mapping[tuple[str, ...], Pin]:
        """Return what is recorded, by the names of each host."""

    def key_lines(self, host: tuple[str, str], keys: str, disk: str = "") -> Sequence[str]:
        """Make the lines of a host (name, address) from its public keys, as *.pub files have them.

        `disk` says whose keys they are.

        Raises:
            ConfigError: that is no key.
        """

    def record(self, hosts: Mapping[tuple[str, str], Sequence[str]]) -> None:
        """Replace all lines of these hosts, (name, address), by the ones that `key_lines` made."""
