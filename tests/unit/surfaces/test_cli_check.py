"""`slurm-powersave check`: one report, exit code 2, nothing changed."""

import json
from pathlib import Path

from .conftest import Command


def test_a_good_file(command: Command, cluster_file: Path) -> None:
    result = command("check")
    assert (result.exit_code, result.stdout) == (0, f"{cluster_file}: no mistakes\n")
    assert json.loads(command("check", "--json").stdout) == {"file": str(cluster_file), "mistakes": []}


def test_every_mistake_is_told_at_once(command: Command, cluster_file: Path) -> None:
    text = cluster_file.read_text()
    cluster_file.write_text(text.replace("min_nodes: 1", "min_nodes: 9").replace("flavors:", "flavours:"))
    before = sorted(cluster_file.parent.rglob("*"))
    result = command("check")
    assert result.exit_code == 2
    assert f"{cluster_file}:12: node_pools[0].min_nodes: " in result.stdout
    assert "node_pools[0].flavours: unknown key\n  did you mean flavors?" in result.stdout
    assert result.stdout.endswith("nothing was changed.\n")
    assert sorted(cluster_file.parent.rglob("*")) == before

    mistakes = json.loads(command("check", "--json").stdout)["mistakes"]
    assert {"node_pools[0].min_nodes", "node_pools[0].flavours"} <= {mistake["key"] for mistake in mistakes}
    assert mistakes[0].keys() >= {"file", "line", "key", "wrong", "right"}


def test_no_file_at_all(command: Command, tmp_path: Path) -> None:
    missing = tmp_path / "none.yml"
    result = command("check", cluster=missing)
    assert result.exit_code == 2
    assert str(missing) in result.stderr


def test_other_commands_refuse_a_wrong_file(command: Command, cluster_file: Path) -> None:
    cluster_file.write_text("cluster_name: [")
    for argv in (("history",), ("resume", "demo-1"), ("nodes", "expand", "demo-1")):
        result = command(*argv)
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(cluster_file) in result.stderr
