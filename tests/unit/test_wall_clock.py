"""The wall clock judges nothing: what is told by it is compared in engine/times.py, and in no other place."""

import ast
from pathlib import Path

import pytest

import slurm_powersave

PACKAGE = Path(slurm_powersave.__file__).parent

DATES = frozenset({"since", "created", "until", "taken", "deadline", "received", "time", "at"})
"""Attributes of our values that are seconds since the epoch."""
CLOCKS = frozenset({"time.time", "datetime.now", "datetime.utcnow", "time.localtime"})

MAY = {
    "engine/times.py": "turns dates into moments",
    "model/slurm_versions.py": "`since` is a version of Slurm",
    "engine/node/lost_scripts.py": "dates of jobs and of slurmctld's start are by its host's clock",
    "commands/backup.py": "the age of a file that was left behind is told by the file system's dates",
    "adapters/openstack/api.py": "tells by how much the cloud's clock and this host's differ",
    "adapters/openstack/errors.py": "Retry-After may be a date",
    "decide/commands/images.py": "lists images in the order of their dates",
    "testing/cloud.py": "`created` counts servers",
    "surfaces/cli/brake_list.py": "shows what was destroyed lately",
    "surfaces/cli/notices.py": "shows since when something is the matter",
    "surfaces/cli/operations.py": "shows how long operations took",
    "surfaces/cli/follow.py": "shows what has happened since a command began",
    "surfaces/cli/outdated.py": "shows events in their order",
}
"""Module -> why it may compare dates, or reckon with them. None of those that show them decides anything."""


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


class Reckoning(ast.NodeVisitor):
    """Finds the lines of a module that compare dates, or reckon with them."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[tuple[int, str]] = []
        self._names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and node.value:
                self._assigned(node)
        self.visit(tree)

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.NamedExpr) -> None:
        assert node.value
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            self._names |= {_dotted(to) for to, value in pairs if self._date(value)} - {""}

    def _date(self, node: ast.AST) -> bool:
        """Tell whether an expression is a date."""
        if isinstance(node, ast.Call):
            return _dotted(node.func) in CLOCKS or _dotted(node.func).endswith(".wall")
        if isinstance(node, ast.Attribute):
            return node.attr in DATES or _dotted(node) in self._names
        if isinstance(node, ast.Name):
            return node.id in self._names
        if isinstance(node, (ast.BinOp, ast.BoolOp, ast.IfExp)):
            return any(self._date(child) for child in ast.iter_child_nodes(node))
        return False

    def _holds_date(self, node: ast.AST) -> bool:
        """Tell whether there is a date in what min, max or sorted are given."""
        if isinstance(node, ast.Call):
            return self._date(node)  # what it makes of its arguments is something else
        return self._date(node) or any(self._holds_date(child) for child in ast.iter_child_nodes(node))

    def visit_Compare(self, node: ast.Compare) -> None:
        by_identity = all(isinstance(op, (ast.Is, ast.IsNot)) for op in node.ops)
        if not by_identity and any(map(self._date, (node.left, *node.comparators))):
            self.found.append((node.lineno, ast.unparse(node)))
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, (ast.Add, ast.Sub)) and (self._date(node.left) or self._date(node.right)):
            self.found.append((node.lineno, ast.unparse(node)))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _dotted(node.func) in ("min", "max", "sorted") or _dotted(node.func).endswith(".sort"):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            if any(map(self._holds_date, given)):
                self.found.append((node.lineno, ast.unparse(node)))
        self.generic_visit(node)


def reckoning(text: str) -> list[str]:
    """Return what a module's text does with dates."""
    return [f"{line}: {what}" for line, what in Reckoning(ast.parse(text)).found]


MODULES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("module", MODULES)
def test_dates_are_compared_in_one_place(module: str) -> None:
    found = reckoning((PACKAGE / module).read_text())
    if module in MAY:
        assert found, f"{module} no longer reckons with dates: take it out of MAY"
    else:
        assert not found, f"{module}: durations are told by the monotonic clock (engine/times.py)"


@pytest.mark.parametrize(
    "text",
    [
        "if self._world.wall() - op.since > 5: pass",
        "late = op.created + limit",
        "now = time.time()\nwhile now < end: pass",
        "self._began = clock.wall()\nlate = limit < self._began",
        "old, new = self._world.wall(), 1\nif new > old: pass",
        "newest = max(op.since for op in ops)",
        "found = sorted(ops, key=lambda op: op.created)",
        "return hold if hold.until <= now else None",
        "if (date := world.wall()) and date >= end: pass",
    ],
)
def test_a_comparison_of_dates_is_found(text: str) -> None:
    if text.startswith("return"):
        text = f"def rests():\n    {text}"
    assert reckoning(text)


@pytest.mark.parametrize(
    "text",
    [
        "if self._world.now() - self._asked > 5: pass",
        "journal.save(op, since=self._world.wall())",
        "if op.since is None: pass",
        "over = self._world.now() >= self._times.moment(hold.until)",
        "end = time.monotonic() + 5",
    ],
)
def test_what_compares_no_dates_is_not_found(text: str) -> None:
    assert not reckoning(text)
