"""`deploy` and `teardown`: what the engine is told, what the person sees."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.commands import base_state, teardown
from slurm_powersave.commands import deploy as engine
from slurm_powersave.commands.cluster_contents import Row
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.teardown_steps import Outcome, Wish
from slurm_powersave.decide.commands.play_plan import HostPlan, PlayPlan
from slurm_powersave.model.errors import LeftoverError, RefusedError
from slurm_powersave.model.leftovers import Leftover
from slurm_powersave.model.nodes import Server
from slurm_powersave.ports.site import Site

from .conftest import Command


def agreed(answer: bool = True) -> engine.Deployed:
    plan = PlayPlan({"demo-login": HostPlan(daemons={"slurmctld": "restarts"})})
    return engine.Deployed(answer, plan, ("server demo-login is created",), ("n1",))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the engine: says a line, shows a plan, asks."""
    found: list[dict[str, Any]] = []

    def stand_in(site: Site, dialog: Dialog, login: base_state.Wish, **options: bool) -> engine.Deployed:
        found.append({"cluster": site.cluster.cluster_name, "wish": login, **options})
        dialog.say("terraform plan")
        dialog.show("# localcloud_server.login will be created")
        return agreed(options["dry_run"] or dialog.ask("Apply this plan?"))

    def torn(site: Site, dialog: Dialog, wish: Wish, backup: Path | None) -> Outcome:
        found.append({"cluster": site.cluster.cluster_name, "wish": wish, "backup": backup})
        dialog.say("server demo-1 ACTIVE id-1")
        row = Row(Server("id-1", "demo-1", "ACTIVE"), "ALLOCATED+CLOUD", (7,))
        done = not wish.dry_run and dialog.ask("Delete all of this?")
        return Outcome([row], [Leftover("network", "br0")], {"/s/base": "2 to delete"}, 3, "/b", [], done)

    monkeypatch.setattr(engine, "deploy", stand_in)
    monkeypatch.setattr(teardown, "teardown", torn)
    return found


def test_yes_does_not_ask(command: Command, calls: list[dict[str, Any]]) -> None:
    result = command("deploy", "--yes")
    assert result.exit_code == 0
    assert result.stdout == "terraform plan\n# localcloud_server.login will be created\n"
    assert calls == [{"cluster": "demo", "wish": base_state.Wish(), "dry_run": False, "check": True}]


def test_the_login_node_s_name_is_an_option_of_its_own(command: Command, calls: list[dict[str, Any]]) -> None:
    command("deploy", "--yes", "--replace-login", "demo-login")
    command("deploy", "--yes", "--replace-login", "demo-login", "--force")
    assert [call["wish"] for call in calls] == [
        base_state.Wish("demo-login"),
        base_state.Wish("demo-login", force=True),
    ]
    assert command("deploy", "--yes", "--replace-login").exit_code == 2, "a name, or nothing"


@pytest.mark.parametrize("name", ["deploy", "teardown"])
def test_without_a_terminal_nothing_is_done(command: Command, calls: list[dict[str, Any]], name: str) -> None:
    result = command(name, stdin="y\n")
    assert result.exit_code == 1
    assert "--yes" in result.stderr


def test_dry_run(command: Command, calls: list[dict[str, Any]]) -> None:
    assert command("teardown", "--dry-run").exit_code == 0
    assert calls == [{"cluster": "demo", "wish": Wish(dry_run=True), "backup": None}]


def test_what_a_teardown_is_told(command: Command, calls: list[dict[str, Any]]) -> None:
    command("teardown", "--yes", "--wait", "60", "--images", "--backup", "b.tar.gz")
    command("teardown", "--yes", "--force")
    command("teardown", "--yes", "--discard-queue")
    assert [call["wish"] for call in calls] == [
        Wish(wait=60, images=True),
        Wish(force=True),
        Wish(discard_queue=True),
    ]
    assert calls[0]["backup"] == Path("b.tar.gz")


def test_json_leaves_stdout_to_the_result(command: Command, calls: list[dict[str, Any]]) -> None:
    result = command("deploy", "--yes", "--json")
    value = json.loads(result.stdout)
    assert (value["deployed"], value["dry_run"]) == (True, False)
    assert value["plan"]["hosts"]["demo-login"]["daemons"] == {"slurmctld": "restarts"}
    assert value["servers"] == {"base": ["server demo-login is created"], "created": ["n1"]}
    assert "terraform plan" in result.stderr
    dry = command("teardown", "--dry-run", "--json")
    assert json.loads(dry.stdout) == {
        "torn_down": False,
        "dry_run": True,
        "servers": [
            {"name": "demo-1", "id": "id-1", "status": "ACTIVE", "slurm": "ALLOCATED+CLOUD", "jobs": [7]}
        ],
        "others": [{"kind": "network", "id": "br0", "name": "", "part_of": ""}],
        "terraform": {"/s/base": "2 to delete"},
        "jobs_waiting": 3,
        "would_be_refused": [],
        "backup": "/b",
        "kept": [],
    }
    assert "server demo-1" in dry.stderr


def test_json_redirects_what_children_print(
    command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def prints(*_: object, **__: object) -> engine.Deployed:
        os.write(1, b"PLAY [login]\n")
        return agreed()

    monkeypatch.setattr(engine, "deploy", prints)
    command("deploy", "--yes", "--json")
    out, err = capfd.readouterr()
    assert (out, err) == ("", "PLAY [login]\n")


def test_a_refusal_has_its_exit_code(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> bool:
        raise RefusedError("jobs are running: 7", todo="Wait, or use teardown --force.")

    monkeypatch.setattr(teardown, "teardown", refuses)
    result = command("teardown", "--yes")
    assert (result.exit_code, result.stderr) == (
        7,
        "slurm-powersave: jobs are running: 7\n  Wait, or use teardown --force.\n",
    )


def test_what_is_left_is_named_and_has_its_exit_code(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaves(*_: object, **__: object) -> Outcome:
        raise LeftoverError("still there: network demo (net-1)")

    monkeypatch.setattr(teardown, "teardown", leaves)
    result = command("teardown", "--yes", "--json")
    assert result.exit_code == 12
    assert json.loads(result.stderr)["error"]["what"] == "still there: network demo (net-1)"


@pytest.mark.parametrize(
    ("name", "again"), [("deploy", "Run deploy again"), ("teardown", "Run teardown again")]
)
def test_ctrl_c_ends_with_a_line_on_what_there_is_and_how_to_go_on(
    command: Command, cluster_file: Path, monkeypatch: pytest.MonkeyPatch, name: str, again: str
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine if name == "deploy" else teardown, name, interrupted)
    result = command(name, "--yes")
    assert result.exit_code == 130
    assert "Interrupted. No state of Terraform holds anything." in result.stderr
    instances = [{"index_key": "n1", "attributes": {"id": "1"}}]
    states = {"base": [{"attributes": {"id": "0"}}], "local/nodes-001": instances}
    for state, held in states.items():
        directory = cluster_file.parent / "state" / "terraform" / state
        directory.mkdir(parents=True)
        resources = [{"mode": "managed", "type": "x", "name": "y", "instances": held}]
        (directory / "terraform.tfstate").write_text(json.dumps({"resources": resources}))
    result = command(name, "--yes")
    assert (
        "hold 1 objects of network and login node, and 1 nodes." in result.stderr and again in result.stderr
    )
