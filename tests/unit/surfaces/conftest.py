"""A cluster file with a journal, and the command to run on it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.surfaces.cli.main import app
from slurm_powersave.testing.site import MemoryProgram, Parts, put_in
from tests.unit.surfaces.one_cloud import FACTS, OneCloud

CLUSTER = """\
cluster_name: demo
state_dir: state
clouds:
  local:
    adapter: local
    base_module: base
    nodes_module: nodes
login: {name: demo-login, address: 10.0.0.10, image: default, flavor: login}
node_pools:
  - name: compute
    nodes: demo-[1-4]
    min_nodes: 1
    image: default
    flavors: [small]
    addresses: 10.0.1.1-10.0.1.4
    cpus: 1
    real_memory: 400
partitions:
  - {name: main, pools: [compute], options: {Default: "YES"}}
"""
Command = Callable[..., Result]


@pytest.fixture
def cluster_file(tmp_path: Path) -> Path:
    """A cluster file without mistakes."""
    for directory in ("base", "nodes", "state"):
        (tmp_path / directory).mkdir()
    path = tmp_path / "all.yml"
    path.write_text(CLUSTER)
    return path


@pytest.fixture
def journal(cluster_file: Path) -> SqliteJournal:
    """The journal of that cluster."""
    return SqliteJournal(cluster_file.parent / "state" / "journal.db")


@pytest.fixture
def command(cluster_file: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `slurm-powersave --cluster FILE ...`; the result has exit_code, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("SLURM_POWERSAVE_")]:
        monkeypatch.delenv(name)
    runner = CliRunner(env={"COLUMNS": "100", "TZ": "UTC"})

    def run(*argv: str, stdin: str | None = None, cluster: Path | None = cluster_file) -> Result:
        first = ("--cluster", str(cluster)) if cluster else ()
        return runner.invoke(app, [*first, *argv], input=stdin, prog_name="slurm-powersave")

    return run


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """What the command asks; Terraform is there."""
    return put_in(monkeypatch.setattr, terraform_program=MemoryProgram())


@pytest.fixture
def cloud(outside: Parts) -> OneCloud:
    """The cluster's only cloud."""
    found = OneCloud(FACTS)
    outside.clouds = {"local": found}
    return found
