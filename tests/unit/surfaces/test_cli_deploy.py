"""`deploy` and `teardown`: what the engine is told, what the person sees."""

import json
import os
from typing import Any

import pytest

from slurm_powersave.decide.settings import Cluster
from slurm_powersave.engine import deploy as engine
from slurm_powersave.engine.deploy import Talk
from slurm_powersave.model.errors import RefusedError

from .conftest import Command


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the engine: says a line, shows a plan, asks."""
    found: list[dict[str, Any]] = []

    def stand_in(cluster: Cluster, talk: Talk, **options: bool) -> bool:
        found.append({"cluster": cluster.cluster_name, **options})
        talk.say("terraform plan")
        talk.show("# localcloud_server.login will be created")
        return options["dry_run"] or talk.ask("Apply this plan?")

    monkeypatch.setattr(engine, "deploy", stand_in)
    monkeypatch.setattr(engine, "teardown", stand_in)
    return found


def test_yes_does_not_ask(command: Command, calls: list[dict[str, Any]]) -> None:
    result = command("deploy", "--yes")
    assert result.exit_code == 0
    assert result.stdout == "terraform plan\n# localcloud_server.login will be created\n"
    assert calls == [{"cluster": "demo", "dry_run": False, "check": True}]


@pytest.mark.parametrize("name", ["deploy", "teardown"])
def test_without_a_terminal_nothing_is_done(command: Command, calls: list[dict[str, Any]], name: str) -> None:
    result = command(name, stdin="y\n")
    assert result.exit_code == 1
    assert "--yes" in result.stderr


def test_dry_run(command: Command, calls: list[dict[str, Any]]) -> None:
    assert command("teardown", "--dry-run").exit_code == 0
    assert calls == [{"cluster": "demo", "dry_run": True, "force": False}]


def test_json_leaves_stdout_to_the_result(command: Command, calls: list[dict[str, Any]]) -> None:
    result = command("deploy", "--yes", "--json")
    assert json.loads(result.stdout) == {"deployed": True, "dry_run": False}
    assert "terraform plan" in result.stderr
    assert json.loads(command("teardown", "--dry-run", "--json").stdout)["torn_down"] is False


def test_json_redirects_what_children_print(
    command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def prints(*_: object, **__: object) -> bool:
        os.write(1, b"PLAY [login]\n")
        return True

    monkeypatch.setattr(engine, "deploy", prints)
    command("deploy", "--yes", "--json")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "PLAY [login]\n")


def test_a_refusal_has_its_exit_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> bool:
        raise RefusedError("jobs are running: 7", todo="Wait, or use teardown --force.")

    monkeypatch.setattr(engine, "teardown", refuses)
    result = command("teardown", "--yes")
    assert (result.exit_code, result.stderr) == (
        7,
        "slurm-powersave: jobs are running: 7\n  Wait, or use teardown --force.\n",
    )
