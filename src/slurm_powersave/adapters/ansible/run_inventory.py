"""The inventory of one run: its nodes and the login node, with the variables of all hosts.

Ansible takes 12 s of CPU to read the YAML of 5,000 nodes; a batch of one node must not pay for them.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.decide.slurm_files.inventory import HOSTS, VARIABLES
from slurm_powersave.decide.slurm_files.literal import literal, read_yaml
from slurm_powersave.model.errors import ConfigError


class RunInventory:
    """Cuts inventories for runs out of the generated one, which is parsed again only when it changed."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._parsed: dict[str, tuple[int, Any]] = {}

    def write(self, directory: Path, nodes: Sequence[str]) -> None:
        """Write the inventory of these nodes.

        What a site has laid beside the generated files (group_vars, host_vars, another source) is linked.

        Raises:
            ConfigError: there is no generated inventory, or it can't be read.
        """
        variables = directory / Path(VARIABLES).with_suffix(".json")
        variables.parent.mkdir(mode=0o700, parents=True)
        variables.write_text(json.dumps(literal(self._read(VARIABLES))))
        groups = self._read(HOSTS)
        login = groups["all"]["children"]["login"]["hosts"]
        cut = {name: _only(group, {*nodes, *login}) for name, group in groups.items()}
        (directory / "hosts.json").write_text(json.dumps(literal(cut)))
        link_others(self._source, directory)

    def _read(self, name: str) -> Any:
        path = self._source / name
        try:
            changed = path.stat().st_mtime_ns
            if self._parsed.get(name, (0, None))[0] != changed:
                self._parsed[name] = (changed, read_yaml(read_bytes(path)))
        except (OSError, yaml.YAMLError) as error:
            raise ConfigError(
                "the generated inventory can't be read",
                where=str(path),
                why=str(error),
                todo="Write it anew: slurm-powersave deploy",
            ) from error
        return self._parsed[name][1]


def link_others(source: Path, directory: Path) -> None:
    """Link what a site has laid beside the generated files of an inventory into another one."""
    for level in (Path(), Path("group_vars"), Path("group_vars/all")):
        for entry in sorted((source / level).iterdir()) if (source / level).is_dir() else ():
            name = str(level / entry.name)
            if name not in (HOSTS, VARIABLES) and not (directory / name).exists():
                os.symlink(entry.resolve(), directory / name)


def _only(group: Mapping[str, Any], wanted: set[str]) -> dict[str, Any]:
    """Return a group with just these hosts, in it and in its children."""
    cut = dict(group)
    if "hosts" in cut:
        cut["hosts"] = {name: value for name, value in cut["hosts"].items() if name in wanted}
    if "children" in cut:
        cut["children"] = {name: _only(child, wanted) for name, child in cut["children"].items()}
    return cut
