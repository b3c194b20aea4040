"""The cluster file that the engine takes stands in the history."""

import os
from pathlib import Path

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands.command_history import ENGINE, engine_took
from slurm_powersave.commands.watch_file import Watch
from slurm_powersave.config import settings
from slurm_powersave.testing.site import MemorySite, Parts
from tests.unit.surfaces.conftest import CLUSTER


def test_a_cluster_file_that_the_engine_takes(tmp_path: Path) -> None:
    for name in ("base", "nodes", "state"):
        (tmp_path / name).mkdir()
    file = tmp_path / "all.yml"
    file.write_text(CLUSTER)
    cluster = settings.load(file)
    journal = SqliteJournal(cluster.layout.journal)
    watch = Watch(MemorySite(cluster, Parts(clouds={})), "", frozenset, engine_took)

    def look(at: float) -> None:
        watch.changed(at)
        watch.changed(at + 2)

    look(0)
    look(10)
    (first,) = journal.commands(5)
    assert (first.text, first.diff, first.outcome) == (ENGINE, "", "done")
    file.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: 2"))
    look(20)
    look(30)
    second, _ = journal.commands(5)
    assert "-    min_nodes: 1\n+    min_nodes: 2" in second.diff
    assert second.by.startswith("owner ") and second.by.endswith(f"on {os.uname().nodename}")
    file.write_text(CLUSTER.replace("min_nodes: 1", "min_nodes: many"))
    look(40)
    assert len(journal.commands(5)) == 2, "one with mistakes is not taken"
