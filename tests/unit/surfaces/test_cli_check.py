"""`slurm-powersave check`: one report, exit code 2, nothing changed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import deploy
from slurm_powersave.model.cloud_facts import Asked, CloudFacts, Trouble
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.testing.site import Parts
from tests.unit.surfaces.one_cloud import AGREED, FACTS, OneCloud

from .conftest import Command


def test_a_good_file(command: Command, cluster_file: Path) -> None:
    result = command("check", "--offline")
    assert (result.exit_code, result.stdout) == (0, f"{cluster_file}: no mistakes\n")
    value = json.loads(command("check", "--offline", "--json").stdout)
    assert value == {
        "file": str(cluster_file), "mistakes": [], "asked": [], "findings": [], "flavors": {},
    }  # fmt: skip


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


# The clouds


def test_the_clouds_are_asked_and_it_is_said_what(
    command: Command, cluster_file: Path, cloud: OneCloud
) -> None:
    before = sorted(cluster_file.parent.rglob("*"))
    result = command("check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{cluster_file}: no mistakes",
        "asked: terraform 1.11.4",
        "asked: cloud local: local cloud in /cloud",
        "pool compute: flavor small",
        "0 errors, 0 warnings; nothing was changed.",
    ]
    assert sorted(cluster_file.parent.rglob("*")) == before


def test_what_a_first_node_has_is_a_warning(
    command: Command, cluster_file: Path, cloud: OneCloud, journal: SqliteJournal
) -> None:
    hardware = Hardware(1, 1, 1, 1, 1, 780)
    journal.save_first_node(FirstNode("compute", "small", "default", "demo-1", hardware))
    cluster_file.write_text(cluster_file.read_text().replace("real_memory: 400", "real_memory: 800"))
    result = command("check")
    assert result.exit_code == 0
    assert (
        "warning: node_pools[0].real_memory: pool compute: the cluster file says RealMemory 800"
        in result.stdout
    )
    assert "0 errors, 1 warning;" in result.stdout


def test_an_error_is_exit_code_2(command: Command, cloud: OneCloud) -> None:
    cloud.told = replace(FACTS, images=(), clock_skew=20.0)
    result = command("check")
    assert result.exit_code == 2
    assert "error: login.image: the cloud has no image default\n  It has none.\n" in result.stdout
    assert "warning: clouds.local: the cloud's clock is 20 s ahead" in result.stdout
    assert result.stdout.endswith("2 errors, 1 warning; nothing was changed.\n")
    found = json.loads(command("check", "--json").stdout)["findings"]
    assert [one["severity"] for one in found] == ["error", "error", "warning"]
    assert found[0].keys() == {"severity", "where", "wrong", "right"}


def test_a_warning_is_not(command: Command, cloud: OneCloud) -> None:
    cloud.told = replace(FACTS, clock_skew=20.0)
    assert command("check").exit_code == 0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (CloudError("no answer", where="identity", why="timed out"), "local: identity: no answer: timed out"),
        (CloudError("401", failure=FailureClass.AUTH), "error: clouds.local: 401\n  Look at clouds.yaml"),
        (CloudFacts(troubles=(Trouble(Asked.REACH, "refused", "compute"),)), "local: compute: refused"),
    ],
)
def test_a_cloud_that_can_not_be_asked_is_a_finding(
    command: Command, cloud: OneCloud, answer: CloudFacts | Exception, text: str
) -> None:
    cloud.told = answer
    result = command("check")
    assert result.exit_code == 2 and text in result.stdout


def test_settings_that_the_adapter_refuses_are_a_finding(command: Command) -> None:
    """The cluster file of these tests names no directory for the local cloud."""
    result = command("check")
    assert result.exit_code == 2
    assert "error: clouds.local: clouds: settings: root: the local cloud has no directory" in result.stdout


def test_a_cloud_without_an_adapter_is_not_asked(command: Command, outside: Parts, cloud: OneCloud) -> None:
    outside.clouds = {}
    result = command("check")
    assert result.exit_code == 0
    assert "asked: cloud local: not asked, it has no adapter that could" in result.stdout


def test_a_wrong_file_asks_nobody(command: Command, cluster_file: Path, cloud: OneCloud) -> None:
    cluster_file.write_text(cluster_file.read_text().replace("image: default", "picture: x"))
    cloud.told = RuntimeError("asked")
    result = command("check")
    assert result.exit_code == 2 and "no cloud was asked" in result.stdout


def test_deploy_looks_first_and_refuses(
    command: Command, cluster_file: Path, cloud: OneCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(deploy, "_deploy", lambda *_: done.append("deployed") or AGREED)
    cloud.told = replace(FACTS, images=())
    result = command("deploy", "--yes")
    assert result.exit_code == 2 and not done
    assert "error: login.image: the cloud has no image default" in result.stdout
    assert "2 things are in the way of a deploy" in result.stderr
    assert command("deploy", "--yes", "--no-check").exit_code == 0 and done == ["deployed"]
    cloud.told = replace(FACTS, clock_skew=20.0)
    result = command("deploy", "--yes")
    assert result.exit_code == 0 and done == ["deployed"] * 2
    assert "warning: clouds.local" in result.stdout


@pytest.mark.root  # as the local cloud's command does
def test_what_the_local_cloud_tells(tmp_path: Path, cluster_file: Path, command: Command) -> None:
    """The real adapter, with a cloud that has no servers yet."""
    (tmp_path / "image").mkdir()
    settings = (
        f"    adapter: local\n    settings: {{root: {tmp_path}/cloud, images: {{default: {tmp_path}/image}}}}"
    )
    cluster_file.write_text(cluster_file.read_text().replace("    adapter: local", settings))
    value = json.loads(command("check", "--json").stdout)
    assert value["asked"][-1] == f"cloud local: local cloud in {tmp_path}/cloud"
    assert value["flavors"] == {"compute": ["small"]}
