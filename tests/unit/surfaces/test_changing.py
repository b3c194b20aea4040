"""Which commands run alone, and which are in the history: all are listed, so that none is forgotten."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.state_dir import lock
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.commands import deploy as engine
from slurm_powersave.commands import identity, restore, serve
from slurm_powersave.config import settings
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.model.records import Command as Typed
from slurm_powersave.surfaces.cli.main import app

from .conftest import CLUSTER, Command

ALONE = {
    "deploy": "--yes",
    "image build": "",
    "image delete": "gold",
    "reimage": "--outdated",
    "resize": "",
    "restore": "missing.tar.gz",
    "teardown": "--yes",
    "terraform init": "--upgrade",
}
"""They change servers or files themselves. The words make a call that comes as far as the lock."""
ASK = {
    "continue": "",
    "pause": "test",
    "reboot": "demo-1",
    "resume": "demo-1",
    "suspend": "demo-1",
}
"""They note something in the journal, for the engine to do."""
LOOK = {
    "backup": "",
    "check": "--offline",
    "engine run": "",
    "follow": "--until-idle",
    "history": "",
    "image list": "",
    "nodes expand": "demo-1",
    "nodes fold": "demo-1",
    "status": "",
    "terraform plan": "",
}
"""They change nothing of the cluster; the engine has a lock of its own."""
WITHOUT = {
    "deploy": "--dry-run",
    "image build": "--dry-run",
    "reimage": "demo-1",
    "resize": "--dry-run",
    "teardown": "--dry-run",
}
"""These change nothing themselves, although the command can."""


@pytest.fixture
def held(cluster_file: Path, journal: SqliteJournal) -> Iterator[EngineLock]:
    """A deploy of somebody else runs."""
    found = EngineLock(cluster_file.parent / "state/command.lock", command="deploy --yes", user="ann")
    yield found
    found.release()


@pytest.fixture(autouse=True)
def nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No engine serves, and nobody is asked."""
    monkeypatch.setattr(serve, "run", lambda *_: None)


def leaves(found: Any, way: str = "") -> list[str]:
    below = getattr(found, "commands", None)
    if below is None:
        return [way.strip()]
    return [leaf for name, one in below.items() for leaf in leaves(one, f"{way} {name}")]


def test_every_command_is_listed() -> None:
    known = [*ALONE, *ASK, *LOOK]
    assert sorted(known) == sorted(leaves(typer.main.get_command(app))), "say of a new one which it is"


@pytest.mark.parametrize("name", ALONE)
def test_it_runs_alone(command: Command, held: EngineLock, journal: SqliteJournal, name: str) -> None:
    result = command(*name.split(), *ALONE[name].split())
    assert result.exit_code == 3, result.stderr
    assert (
        "another command that changes this cluster is running: deploy --yes by ann, process" in result.stderr
    )
    result = command(*name.split(), *ALONE[name].split(), "--lock-timeout", "0.1", "--json")
    assert result.exit_code == 3 and not result.stdout
    assert json.loads(
        result.stderr.splitlines()[0]
        if result.stderr[0] == "{"
        else result.stderr[result.stderr.index("{") :]
    )
    assert journal.commands(5) == [], "nothing was begun"


@pytest.mark.parametrize(
    ("name", "words"), [*ASK.items(), *LOOK.items(), *WITHOUT.items()], ids=lambda value: value or "-"
)
def test_it_waits_for_nobody(command: Command, held: EngineLock, name: str, words: str) -> None:
    assert command(*name.split(), *words.split()).exit_code != 3


@pytest.mark.parametrize("name", ASK)
def test_what_is_asked_for_is_in_the_history(command: Command, journal: SqliteJournal, name: str) -> None:
    result = command(*name.split(), *ASK[name].split())
    (found,) = journal.commands(5)
    assert found.text == f"{name} {ASK[name]}".strip() and " on " in found.by
    assert found.outcome.startswith("done" if result.exit_code == 0 else f"exit code {result.exit_code}")


@pytest.mark.parametrize(("name", "words"), [*LOOK.items(), *WITHOUT.items()], ids=lambda value: value or "-")
def test_who_only_looks_is_not(command: Command, journal: SqliteJournal, name: str, words: str) -> None:
    command(*name.split(), *words.split())
    assert [one.text for one in journal.commands(5)] == ["reimage demo-1"] * (name == "reimage")


AGREED = engine.Deployed(True, PlayPlan(), (), ())


@pytest.fixture
def deploys(monkeypatch: pytest.MonkeyPatch, cluster_file: Path) -> list[str]:
    """Stand in for the deploy; tell who held the lock."""
    found: list[str] = []

    def deploy(*_: object, **options: object) -> engine.Deployed:
        said = lock.holder(cluster_file.parent / "state/command.lock") or {}
        found.append(str(said.get("command")))
        return AGREED

    monkeypatch.setattr(engine, "deploy", deploy)
    return found


def test_who_when_and_what_has_changed_in_the_cluster_file(
    command: Command,
    journal: SqliteJournal,
    cluster_file: Path,
    deploys: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SUDO_USER", "ann\x1b[2J")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 40000 192.0.2.1 22")
    assert command("deploy", "--yes").exit_code == 0
    text = cluster_file.read_text().replace("min_nodes: 1", "min_nodes: 2") + "ansible_become_pass: secret1\n"
    cluster_file.write_text(text)
    assert command("deploy", "-y", "--replace-login", "demo-login").exit_code == 0
    assert command("pause", "a switch; b").exit_code == 0
    assert deploys == ["deploy --yes", "deploy --yes --replace-login demo-login"]
    pause, second, first = journal.commands(5)
    assert (first.diff, pause.diff, pause.text) == ("", "", "pause 'a switch; b'")
    assert "-    min_nodes: 1\n+    min_nodes: 2" in second.diff
    assert "secret1" not in second.diff and "+ansible_become_pass: (not shown)" in second.diff
    assert "secret1" not in str(journal.used_file())
    shown = command("history", "--commands").stdout
    assert "\x1b" not in shown and r"ann\x1b[2J (sudo, as " in shown and " from 192.0.2.7" in shown
    assert "  deploy --yes: done\n" in shown and "    +    min_nodes: 2\n" in shown
    value = json.loads(command("history", "--commands", "--json", "--limit", "1").stdout)
    assert [one["text"] for one in value] == ["pause 'a switch; b'"]
    assert command("history", "--commands", "--evidence").exit_code == 2


def test_how_it_ended(command: Command, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **options: object) -> bool:
        (running,) = journal.commands(5)
        assert running.outcome == ""
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "deploy", interrupted)
    assert command("deploy").exit_code == 130
    assert [one.outcome for one in journal.commands(5)] == ["interrupted"]
    assert command("teardown", "--backup", "").exit_code != 0
    assert journal.commands(1)[0].outcome.startswith("exit code ")


def test_a_first_deploy_is_in_the_journal_that_it_makes(
    command: Command, cluster_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cluster_file.parent / "state/journal.db"
    monkeypatch.setattr(engine, "deploy", lambda *_, **options: AGREED if SqliteJournal(path) else None)
    assert command("deploy", "--yes").exit_code == 0
    found = SqliteJournal(path)
    assert [(one.text, one.outcome) for one in found.commands(5)] == [("deploy --yes", "done")]
    assert found.used_file() == cluster_file.read_text()


def test_a_restore_is_in_the_journal_that_it_brings(
    command: Command, journal: SqliteJournal, tmp_path: Path
) -> None:
    (tmp_path / "state/keys").mkdir()
    (tmp_path / "state/keys/id_ed25519.pub").write_text("ssh-ed25519 AAAA")
    command("backup", "--to", str(tmp_path / "b"))
    assert command("restore", str(tmp_path / "b"), "--force").exit_code == 0
    (found,) = SqliteJournal(tmp_path / "state/journal.db").commands(5)
    assert (found.text, found.outcome) == (f"restore {tmp_path / 'b'} --force", "done")


def test_a_broken_journal_stops_no_restore(command: Command, cluster_file: Path, monkeypatch: Any) -> None:
    (cluster_file.parent / "state/journal.db").write_text("this is no journal")
    monkeypatch.setattr(restore, "restore", lambda *_, **options: (_ for _ in ()).throw(KeyError("reached")))
    result = command("restore", str(cluster_file), "--force")
    assert "could not be written to the history" in result.stderr and isinstance(result.exception, KeyError)


def test_old_ones_go_with_the_rest(journal: SqliteJournal) -> None:
    for at in (1.0, 2.0, 3.0):
        journal.save_command(Typed(str(at), at, "deploy", "ann"), "")
    assert journal.prune(2.5, 1) == 1 and journal.prune(2.5, 5) == 1
    assert [one.at for one in journal.commands(5)] == [3.0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("check", "--offline"), 2),
        (("deploy", "--dry-run"), 7),
        (("deploy", "--no-check"), 7),
        (("resize", "--dry-run"), 7),
        (("teardown", "--dry-run"), 7),
        (("image", "build", "--dry-run"), 7),
    ],
)
def test_every_command_refuses_another_cluster_name(
    command: Command, cluster_file: Path, words: tuple[str, ...], code: int
) -> None:
    SqliteJournal(cluster_file.parent / "state/journal.db").close()
    identity.record(wiring.site(settings.load(cluster_file)))
    cluster_file.write_text(CLUSTER.replace("cluster_name: demo", "cluster_name: new"))
    result = command(*words)
    assert result.exit_code == code
    assert "the name can't change" in result.stdout + result.stderr
    assert not (cluster_file.parent / "state/command.lock").exists()
