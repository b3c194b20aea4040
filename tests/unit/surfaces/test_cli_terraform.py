"""`slurm-powersave terraform plan`: all states, one answer."""

import json
from pathlib import Path

import pytest

from slurm_powersave.commands import provider_upgrade, terraform_plans
from slurm_powersave.commands.terraform_plans import StatePlan

from .conftest import Command


def plans(monkeypatch: pytest.MonkeyPatch, *found: StatePlan) -> None:
    """Let these be the answer."""
    monkeypatch.setattr(terraform_plans, "plan_all", lambda cluster: iter(found))


BASE = StatePlan("base", Path("/s/base"))
SHARD = StatePlan("local/nodes-001", Path("/s/n"), {"create": 2, "delete": 1}, "# node[1] will be created")


def test_no_changes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plans(monkeypatch, BASE, StatePlan("local/nodes-001", Path("/s/n")))
    result = command("terraform", "plan")
    assert (result.exit_code, result.stdout) == (0, "No changes in 2 states.\n")


def test_changes_are_shown_and_counted(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plans(monkeypatch, BASE, SHARD)
    text = command("terraform", "plan").stdout
    assert text == ("local/nodes-001:\n# node[1] will be created\n\n2 to create, 1 to delete in 2 states.\n")


def test_a_state_that_cannot_be_planned(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plans(monkeypatch, BASE, StatePlan("local/nodes-001", Path("/s/n"), error="locked by process 1"))
    result = command("terraform", "plan")
    assert (result.exit_code, result.stdout) == (5, "No changes in 1 state.\n")
    assert "local/nodes-001: locked by process 1" in result.stderr


def test_json(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    plans(monkeypatch, SHARD)
    (value,) = json.loads(command("terraform", "plan", "--json").stdout)
    assert value["actions"] == {"create": 2, "delete": 1}
    assert value["directory"] == "/s/n"


@pytest.mark.parametrize("option", ["-upgrade", "--upgrade"])
def test_an_upgrade_says_what_was_chosen(
    command: Command, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    chosen = {"example.org/a/b": ("1.0", "1.1"), "example.org/a/c": ("2.0", "2.0")}
    monkeypatch.setattr(provider_upgrade, "upgrade", lambda cluster, say: chosen)
    result = command("terraform", "init", option)
    assert (result.exit_code, result.stdout) == (0, "example.org/a/b: 1.0 -> 1.1\nexample.org/a/c: 2.0\n")
    assert json.loads(command("terraform", "init", option, "--json").stdout) == {
        "example.org/a/b": {"before": "1.0", "after": "1.1"},
        "example.org/a/c": {"before": "2.0", "after": "2.0"},
    }


def test_an_init_without_an_upgrade_is_refused(command: Command) -> None:
    result = command("terraform", "init")
    assert result.exit_code == 2 and "terraform init -upgrade" in result.stderr
