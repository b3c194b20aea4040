"""Who has called a command, and from where, as the history has it."""

import os
import pwd

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands.act_records import Acts, acts_of, caller, origin
from slurm_powersave.model.permit import Act
from slurm_powersave.testing.world import cluster
from tests.permits import permit

ME = pwd.getpwuid(os.getuid()).pw_name
HERE = os.uname().nodename


@pytest.mark.parametrize(
    ("connection", "came"),
    [
        ("192.0.2.7 40000 192.0.2.1 22", " from 192.0.2.7"),
        ("fe80::1 40000 fe80::2 22", " from fe80::1"),
        ("", ""),
        ("nonsense", ""),
        ("\x1b[2J 1 2 3", ""),
    ],
)
def test_who_and_from_where(monkeypatch: pytest.MonkeyPatch, connection: str, came: str) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("SSH_CONNECTION", connection)
    assert caller() == ME
    assert origin() == f"{ME} on {HERE}{came}"
    monkeypatch.setenv("SUDO_USER", "ann")
    assert origin() == f"ann (sudo, as {ME}) on {HERE}{came}"


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert caller() == f"uid {os.getuid()}"


def test_a_name_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann\n\x1b[2J")
    journal = SqliteJournal(":memory:")
    Acts(journal, "teardown").record([permit("delete", "s1")])
    (done,) = journal.newest_acts(None, 10)
    assert (done.act, done.subject, done.operation) == (Act.DELETE, "s1", "")
    assert "\n" not in done.evidence and "\x1b" not in done.evidence


def test_without_a_journal_nothing_is_written_and_none_is_made(tmp_path: object) -> None:
    wanted = cluster(state_dir=tmp_path)
    acts_of(wiring.site(wanted), "deploy").record([permit("delete", "s1")])
    assert not wanted.layout.journal.exists()
