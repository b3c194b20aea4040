"""A control host with a state directory, to be backed up and restored."""

import json
import os
from pathlib import Path

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import restore
from slurm_powersave.commands.restore import Restored
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.model.nodes import NodeRecord
from slurm_powersave.ports.site import Site
from tests.unit.surfaces.conftest import CLUSTER

TERRAFORM = """#!/bin/sh
echo "$PWD" >>{asked}
[ "$1" = init ] && mkdir -p .terraform && exit {rc}
"""


def state(*nodes: str, **ids: str) -> str:
    """A Terraform state that holds nodes."""
    ids = {name: f"id-{name}" for name in nodes} | ids
    instances = [{"index_key": name, "attributes": {"id": server}} for name, server in ids.items()]
    return json.dumps({"resources": [{"mode": "managed", "name": "node", "instances": instances}]})


class Host:
    """A control host: a cluster file, a state directory, a terraform that only notes that it was called."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / "all.yml"
        root.mkdir()
        for directory in ("base", "nodes"):
            (root / directory).mkdir()
        self.file.write_text(
            CLUSTER.replace("    adapter: local\n", "") + f"terraform: {{binary: {root}/terraform}}\n"
        )
        self.terraform()

    def terraform(self, rc: int = 0) -> None:
        """Make the stand-in, with the exit code of its init."""
        program = self.root / "terraform"
        program.write_text(TERRAFORM.format(asked=self.root / "asked", rc=rc))
        program.chmod(0o755)

    @property
    def cluster(self) -> Cluster:
        return load(self.file)

    @property
    def site(self) -> Site:
        """Its cluster with the real outside."""
        return wiring.site(self.cluster)

    @property
    def state(self) -> Path:
        return self.cluster.layout.root

    def journal(self) -> SqliteJournal:
        return SqliteJournal(self.cluster.layout.journal)

    def deploy(self) -> None:
        """Lay out what a cluster with a node that is up has."""
        shard = self.state / "terraform/local/nodes-001"
        for directory in (shard / ".terraform", self.state / "terraform/base", self.state / "keys"):
            directory.mkdir(parents=True)
        for name in ("id_ed25519", "munge.key"):
            (self.state / "keys" / name).write_bytes(os.urandom(64))
        (self.state / "keys/id_ed25519.pub").write_text("ssh-ed25519 AAAA")
        for path in (shard, self.state / "terraform/base"):
            (path / ".terraform.lock.hcl").write_text("")
            (path / "terraform.tfstate").write_text(state("demo-1"))
        (shard / "nodes.auto.tfvars.json").write_text('{"nodes": {}}')
        (self.state / "known_hosts").write_text("demo-login ssh-ed25519 AAAA\n")
        self.record("demo-1", "local/nodes-001", "id-demo-1")

    def record(self, name: str, shard: str, server_id: str) -> None:
        journal = self.journal()
        journal.save_node(NodeRecord(self.cluster.node_spec(name), shard, server_id))
        journal.close()

    def restore(self, path: Path, **options: bool) -> Restored:
        with path.open("rb") as source:
            return restore.restore(
                source, str(path), self.file, lambda text: None, wiring.archive(), wiring.site, **options
            )


def files(directory: Path) -> dict[str, bytes]:
    """Name -> content of all files, but for journal and lock."""
    found = {str(path.relative_to(directory)): path for path in directory.rglob("*") if path.is_file()}
    passing = ("journal.db", "engine.lock")
    return {name: path.read_bytes() for name, path in found.items() if not name.startswith(passing)}
