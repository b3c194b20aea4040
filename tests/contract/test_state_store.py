"""The state directory: what is written is whole and its owner's alone, only what was asked for goes."""

import os
import stat
from pathlib import Path

import pytest

from slurm_powersave.adapters.state_dir.store import StateDirectory
from slurm_powersave.config.layout import Layout
from slurm_powersave.decide.slurm_files.inventory import VARIABLES
from slurm_powersave.ports.state_store import StateStore


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


@pytest.fixture
def store(layout: Layout) -> StateStore:
    """One that was made."""
    made = StateDirectory(layout)
    made.make()
    return made


def test_it_is_made_for_its_owner_only_and_made_again_without_harm(store: StateStore, layout: Layout) -> None:
    kept = layout.runs / "kept"
    kept.mkdir()
    store.make()
    for path in (layout.root, layout.private_key.parent, layout.terraform, layout.runs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert kept.exists()


def test_nothing_is_known_of_a_directory_that_is_not_there(layout: Layout) -> None:
    store = StateDirectory(layout)
    assert store.applied() is store.inventory_variables() is store.identity() is store.paused() is None
    store.end_pause()
    store.sweep_runs([])
    store.forget_states()
    assert not layout.root.exists()


def test_the_cluster_is_paused_while_the_file_is_there(store: StateStore) -> None:
    store.pause_file.write_text("the switch\nis replaced\x1b")
    assert store.paused() == "the switch is replaced\\x1b"
    store.pause_file.write_text("")
    assert store.paused() == "no reason given"
    store.end_pause()
    assert store.paused() is None
    store.pause_file.mkdir()
    assert store.paused(), "what can't be read also pauses"


@pytest.mark.parametrize("kind", ["applied", "identity"])
def test_a_record_is_the_old_one_or_the_new_one(
    store: StateStore, layout: Layout, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = store.save_applied if kind == "applied" else store.save_identity
    path = layout.slurm_conf_in_use if kind == "applied" else layout.identity

    def read() -> str:
        found = store.applied() if kind == "applied" else store.identity()
        return found.decode() if isinstance(found, bytes) else str(found)

    save("old")
    assert read() == "old" and stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            save("new" * 1000)
    assert read() == "old"
    save("new")
    assert read() == "new"


def test_the_inventory_s_variables_are_read_as_they_are(store: StateStore, layout: Layout) -> None:
    path = layout.inventory / VARIABLES
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a: 1\n")
    assert store.inventory_variables() == b"a: 1\n"


def test_of_runs_only_those_go_that_nobody_keeps(store: StateStore, layout: Layout) -> None:
    for name in ("kept", "gone"):
        (layout.runs / name).mkdir()
        (layout.runs / name / "plan").touch()
    store.sweep_runs({layout.runs / "kept"})
    assert [path.name for path in layout.runs.iterdir()] == ["kept"]


def test_states_are_forgotten_and_journal_keys_and_notes_stay(store: StateStore, layout: Layout) -> None:
    states = [layout.base, layout.terraform / "os" / "nodes-001"]
    for directory in states:
        directory.mkdir(parents=True)
        (directory / "main.tf").touch()
    store.save_applied("{}")
    store.save_identity("{}")
    stays = [layout.journal, layout.private_key, layout.munge_key, layout.known_hosts, layout.identity]
    for path in stays:
        path.touch()
    store.forget_states()
    assert not any(path.exists() for path in states) and store.applied() is None
    assert all(path.exists() for path in stays)
