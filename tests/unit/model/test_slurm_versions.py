"""The table of what differs between versions of Slurm, and that nothing else compares versions."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slurm_powersave
from slurm_powersave.config.cluster import Cluster
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import NEWEST, TESTED, Difference, Standing, has, standing

PACKAGE = Path(slurm_powersave.__file__).parent
ROOT = Path(__file__).resolve().parents[3]
D = Difference


@pytest.mark.parametrize("version", [str(version) for version in TESTED] + ["26.05.0-0rc1"])
def test_tested_versions(version: str) -> None:
    assert standing(Version.of(version)) is Standing.TESTED


@pytest.mark.parametrize("version", ["21.08", "23.02", "23.11.4", "24.05", "25.05.2", "25.11"])
def test_other_versions_up_to_the_newest_are_by_the_table(version: str) -> None:
    assert standing(Version.of(version)) is Standing.BY_THE_TABLE


@pytest.mark.parametrize("version", ["26.11", "27.05.1", "26.11.0-0rc1", "99.12"])
def test_an_unknown_newer_version_does_what_the_newest_known_does(version: str) -> None:
    found = Version.of(version)
    assert standing(found) is Standing.NEWER
    assert [has(found, one) for one in D] == [has(NEWEST, one) for one in D]


@pytest.mark.parametrize(
    ("difference", "versions"),
    [
        (D.POWER_DOWN_FORCE, {"9.9": False, "20.11": False, "21.08": True, "26.05": True}),
        (D.SUSPEND_EXC_STATES, {"22.05": False, "22.05.8": False, "23.02": True, "26.05.5": True}),
        (D.HIDES_POWERED_DOWN_NODES, {"21.08": True, "22.05.8": True, "23.02.0-0rc1": False, "24.11": False}),
        (D.SENDS_THROUGH_NODES, {"22.05": True, "23.02": True, "23.11": False}),
        (D.RECONFIGURE_TAKES_NODES, {"22.05": False, "23.02.7": False, "23.11": True, "24.11.0-1": True}),
        (D.REQUEUE_ON_RESUME_FAILURE, {"24.11": False, "25.05": True, "26.05": True}),
        (D.NO_REQUEUE_JOBS_ARE_REQUEUED, {"22.05": False, "24.11.5": False, "25.05": True}),
        (D.DRAIN_HOLDS_DURING_POWER_DOWN, {"22.05": False, "24.11": True, "26.05": True}),
        (D.WAITING_PROLOG_KILLED, {"22.05": False, "24.11": False, "25.05": True, "26.05": True}),
        (D.REMOVED_NODE_LOSES_JOBS, {"22.05": False, "23.02": False, "23.11": True, "26.05": True}),
        (D.HOOKS_KILLED, {"22.05": False, "23.02": True}),
        (D.HOOK_DESCRIPTORS_CLOSED, {"22.05": True, "23.02": False}),
        (D.REBOOT_HOOK_CLEAN, {"24.11": False, "25.11": False, "26.05": True}),
        (D.NODE_ADDR_BECOMES_NAME, {"22.05": False, "23.11": True, "24.11": True, "26.05": True}),
        (D.POWER_UP_FORGOTTEN, {"22.05": True, "26.05": True}),
        (D.POWER_UP_TAKES_REASON, {"22.05": True, "26.05": True}),
        (D.EXPEDITING, {"25.11": False, "26.05": True, "26.11": True}),
        (D.NODE_HAS_INSTANCE, {"23.02": False, "23.11": True}),
        (D.NODE_HAS_RESERVATION, {"24.05": False, "24.11": True}),
        (D.NODE_HAS_TOPOLOGY, {"25.11": False, "26.05": True}),
        (D.SHOW_NODE_JSON, {"22.05": False, "23.02": True}),
        (D.RESUME_FILE_NODES_RESUME, {"22.05": False, "23.02": True}),
        (D.RESUME_FILE_PRIORITY, {"24.11": False, "26.05": True}),
        (D.POWER_ACTION, {"25.11": False, "26.05": True}),
    ],
)
def test_what_a_version_does(difference: Difference, versions: dict[str, bool]) -> None:
    assert {text: has(Version.of(text), difference) for text in versions} == versions


def test_a_cluster_asks_for_the_version_of_its_file(make: Callable[..., Cluster]) -> None:
    cluster = make({"slurm_version": "24.11.0-1"})
    assert str(cluster.slurm_release) == "24.11"
    assert cluster.slurm_has(D.RECONFIGURE_TAKES_NODES) and not cluster.slurm_has(D.EXPEDITING)
    assert str(make().slurm_release) == "22.05"


# What a row says


@pytest.mark.parametrize("difference", D, ids=lambda difference: difference.name)
def test_a_row_says_how_it_is_known(difference: Difference) -> None:
    row = difference.value
    assert row.what.endswith(".") and row.consequence.endswith(".")
    assert re.match(r"read in |measured on ", row.source)
    measured = re.search(r"measured on ([^;]*)", row.source)
    named = re.findall(r"\d\d\.\d\d\.\d+", measured[1]) if measured else []
    assert set(named) <= {version.text for version in TESTED}, "measured on what was never there"
    if row.since or row.before:
        # The versions that were measured are far apart: where something begins is read, assumed or not known.
        assert re.search(r"read|not known|assumed", row.source)


# Nothing else compares versions

_TEXT = re.compile(r"2\d\.(?:02|05|08|11)(?:\.\d+)?")
_MONTHS = {2, 5, 8, 11}


def _is_version(node: ast.AST) -> bool:
    """Tell whether it is "23.02", (23, 2) or [23, 2]."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and bool(_TEXT.fullmatch(node.value))
    if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) < 2:
        return False
    first, second = (item.value if isinstance(item, ast.Constant) else None for item in node.elts[:2])
    return isinstance(first, int) and 20 <= first <= 39 and second in _MONTHS


def versions_in(text: str) -> Iterator[int]:
    """Name the lines with a version of Slurm in a comparison, or given to a function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Call):
            parts = [*node.args, *(keyword.value for keyword in node.keywords)]
        else:
            continue
        for part in parts:
            yield from (inner.lineno for inner in ast.walk(part) if _is_version(inner))


@pytest.mark.parametrize(
    "line",
    [
        'slurm_version >= "23.02"',
        'at_least("22.05")',
        'at_least(version="22.05.8")',
        "numbers < (21, 8)",
        'version in ("23.02", "23.11")',
        "newer(v, [24, 11])",
    ],
)
def test_a_comparison_is_found(line: str) -> None:
    assert list(versions_in(line))


@pytest.mark.parametrize("line", ['"""On 22.05 it is so."""', "provider < (3, 4)", 'f("10.05.1.2", 22.05)'])
def test_other_things_are_none(line: str) -> None:
    assert not list(versions_in(line))


def test_only_the_table_compares_versions() -> None:
    wrong = [
        f"{path}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "model/slurm_versions.py"
        for line in versions_in(path.read_text())
    ]
    assert not wrong, "ask slurm_versions.has for a Difference instead"


def test_no_role_compares_versions_of_slurm() -> None:
    files = [
        path for top in ("roles", "playbooks", "group_vars") for path in ROOT.joinpath(top).rglob("*.y*ml")
    ]
    assert len(files) > 20
    wrong = [str(path) for path in files if re.search(r"slurm_version[^\n]*\bversion\s*\(", path.read_text())]
    assert not wrong, "the inventory carries what the table says"
