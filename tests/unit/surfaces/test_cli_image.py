"""`slurm-powersave image`: what the engine is told, what the person sees."""

import json
from typing import Any

import pytest

from slurm_powersave.commands import images as engine
from slurm_powersave.commands.images import Built
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.decide.commands.images import ImageRow
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.ports.site import Site

from .conftest import Command

ROWS = [
    ImageRow("default", "", "", None, None, "active", "local", ("pool compute",)),
    ImageRow("gold", "default", "demo-1", 1000.0, 3 * 2**20, "active", "local", ()),
    ImageRow("half", "default", "", 1000.0, None, "unfinished", "local", ()),
]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for the engine: says a line, shows a plan, asks."""
    found: list[dict[str, Any]] = []

    def build(site: Site, dialog: Dialog, **options: Any) -> Built | None:
        found.append(options)
        dialog.show("start demo-builder")
        if options["dry_run"]:
            return Built("gold")
        return Built("gold", {"name": "gold"}, {"start": 1.5}) if dialog.ask("Build it?") else None

    def delete(site: Site, name: str, dialog: Dialog) -> bool:
        found.append({"name": name})
        return dialog.ask("Delete it?")

    monkeypatch.setattr(engine, "build", build)
    monkeypatch.setattr(engine, "delete", delete)
    monkeypatch.setattr(engine, "listed", lambda site: ROWS)
    return found


def test_build(command: Command, calls: list[dict[str, Any]]) -> None:
    words = ("--base", "default", "--name", "gold", "--pool", "compute")
    result = command("image", "build", *words, "--yes")
    assert (result.exit_code, result.stdout) == (0, "start demo-builder\n")
    order = {"base": "default", "node": None, "name": "gold", "pool": "compute", "dry_run": False}
    assert calls == [order]
    result = command("image", "build", "--from", "demo-1", "--yes", "--json")
    assert json.loads(result.stdout) == {
        "built": True,
        "dry_run": False,
        "name": "gold",
        "provenance": {"name": "gold"},
        "seconds": {"start": 1.5},
    }
    assert "start demo-builder" in result.stderr
    assert calls[-1]["node"] == "demo-1"


def test_dry_run(command: Command, calls: list[dict[str, Any]]) -> None:
    result = command("image", "build", "--base", "default", "--dry-run", "--json")
    assert (result.exit_code, json.loads(result.stdout)["built"], calls[0]["dry_run"]) == (0, False, True)


@pytest.mark.parametrize("words", [("build", "--base", "default"), ("delete", "gold")])
def test_without_a_terminal_nothing_is_done(
    command: Command, calls: list[dict[str, Any]], words: tuple[str, ...]
) -> None:
    result = command("image", *words, stdin="y\n")
    assert result.exit_code == 1
    assert "--yes" in result.stderr


def test_list(command: Command, calls: list[dict[str, Any]]) -> None:
    lines = command("image", "list").stdout.splitlines()
    assert lines[0].split() == ["IMAGE", "BASE", "CREATED", "SIZE", "STATUS", "USED", "BY"]
    assert lines[1].split() == ["default", "-", "-", "-", "active", "pool", "compute"]
    assert "demo-1 (default)" in lines[2] and "3.0 MiB" in lines[2]
    assert "unfinished" in lines[3]
    (first, *_) = json.loads(command("image", "list", "--json").stdout)
    assert (first["name"], first["used_by"]) == ("default", ["pool compute"])


def test_delete(command: Command, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(command("image", "delete", "gold", "--yes", "--json").stdout) == {"deleted": True}
    assert calls == [{"name": "gold"}]

    def refuses(*_: object) -> bool:
        raise RefusedError("it is in use by pool compute", where="image gold")

    monkeypatch.setattr(engine, "delete", refuses)
    result = command("image", "delete", "gold", "--yes")
    assert (result.exit_code, result.stderr) == (
        7,
        "slurm-powersave: image gold: it is in use by pool compute\n",
    )
