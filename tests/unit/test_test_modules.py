"""Test modules: none takes anything from another one, and none reaches into the fakes."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import slurm_powersave

TESTS = Path(__file__).resolve().parents[1]
PACKAGE = Path(slurm_powersave.__file__).parent
MODULES = {str(path.relative_to(TESTS)): path for path in sorted(TESTS.rglob("*.py"))}
TEST_MODULES = {path.stem for path in MODULES.values() if path.name.startswith("test_")}
RUNS_TESTS = {"unit/engine/test_mutations.py"}
"""Run other modules' tests against a product that is broken on purpose."""
FAKES = {"world", "slurm", "cloud", "terraform", "playbooks", "clock"}
"""What a fake is called, at the end of whatever leads to it: `scene.world.slurm`."""


def is_private(name: str) -> bool:
    """Tell whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def own_names(files: Iterator[Path]) -> set[str]:
    """Return the private names that modules define: functions, classes, fields."""
    found: set[str] = set()
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return {name for name in found if is_private(name)}


OF_FAKES = own_names(path for path in PACKAGE.glob("testing/*.py"))


def name_of(node: ast.AST) -> str:
    """Return the last part of what leads to an attribute."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def reaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find private names of the fakes: attributes, names given to setattr and the like, imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in OF_FAKES and name_of(node.value) in FAKES:
                yield node.lineno, f"{name_of(node.value)}.{node.attr}"
        elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            if node.args[1].value in OF_FAKES and name_of(node.args[0]) in FAKES:
                yield node.lineno, f"{name_of(node.args[0])}, {node.args[1].value!r}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("slurm_powersave.testing"):
            yield from ((node.lineno, alias.name) for alias in node.names if is_private(alias.name))


def imported_tests(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Find imports of test modules, and from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for name in (*(node.module or "").split("."), *(alias.name for alias in node.names)):
                if name in TEST_MODULES:
                    yield node.lineno, name


def found(rule: Callable[[ast.AST], Iterator[tuple[int, str]]], *but: str) -> list[str]:
    """Apply a rule to all modules but these."""
    return [
        f"{path}:{line} {name}"
        for module, path in MODULES.items()
        if module not in but
        for line, name in rule(ast.parse(path.read_text()))
    ]


def test_nothing_is_taken_from_a_test_module() -> None:
    assert found(imported_tests, *RUNS_TESTS) == []


def test_fakes_are_used_by_their_public_names() -> None:
    assert found(reaches) == []


@pytest.mark.parametrize(
    "line",
    [
        "world.slurm._set(name)",
        "scene.world.cloud._servers[one]",
        'monkeypatch.setattr(world.cloud, "_change", x)',
        "from slurm_powersave.testing.cloud import _Held",
    ],
)
def test_what_reaches_into_a_fake_is_found(line: str) -> None:
    assert list(reaches(ast.parse(line)))


@pytest.mark.parametrize(
    "line", ["from tests.unit.engine.test_people import drained", "from tests.unit.engine import test_people"]
)
def test_what_is_taken_from_a_test_module_is_found(line: str) -> None:
    assert list(imported_tests(ast.parse(line)))
