"""Faults on demand."""

from pathlib import Path

import pytest
from local_cloud import faults
from local_cloud.errors import CloudFault
from local_cloud.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cloud")
    made.prepare()
    return made


def test_a_fault_strikes_as_often_as_was_said(store: Store) -> None:
    faults.add(store, faults.BOOT, "n[12]", 2, 0, "capacity", "")
    assert faults.take(store, faults.BOOT, "n1")
    assert faults.take(store, faults.BOOT, "n2")
    assert faults.take(store, faults.BOOT, "n1") is None
    assert faults.listed(store) == []


def test_a_fault_without_a_number_stays(store: Store) -> None:
    faults.add(store, faults.BOOT, ".*", 0, 0, "capacity", "")
    assert all(faults.take(store, faults.BOOT, f"n{i}") for i in range(5))
    faults.clear(store)
    assert faults.take(store, faults.BOOT, "n1") is None


def test_a_fault_strikes_whole_names_of_its_kind_only(store: Store) -> None:
    faults.add(store, faults.SLOW_BOOT, "n1", 0, 3, "capacity", "")
    assert faults.take(store, faults.SLOW_BOOT, "n11") is None
    assert faults.take(store, faults.BOOT, "n1") is None
    struck = faults.take(store, faults.SLOW_BOOT, "n1")
    assert struck is not None
    assert struck["seconds"] == 3


@pytest.mark.parametrize(
    ("kind", "match", "failure"), [("x", "", "quota"), ("vanish", "(", "quota"), ("vanish", "", "x")]
)
def test_nonsense_is_refused(store: Store, kind: str, match: str, failure: str) -> None:
    with pytest.raises(CloudFault):
        faults.add(store, kind, match, 1, 0, failure, "")
