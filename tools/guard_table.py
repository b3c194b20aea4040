"""Write the table of evidence from the guard itself: its docstrings, and the words of its refusals.

The text is read from the syntax tree, so the page names every condition that the guard names, in its words.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import slurm_powersave
from slurm_powersave.decide.node import brake, guard, guard_dead
from slurm_powersave.model import permit
from slurm_powersave.model.permit import Act, Row

_PACKAGE = Path(slurm_powersave.__file__).parent
_FILES = [Path(guard.__file__), Path(guard_dead.__file__)]
_TREES = [ast.parse(path.read_text()) for path in _FILES]
_FUNCTIONS = {node.name: node for tree in _TREES for node in tree.body if isinstance(node, ast.FunctionDef)}
_GAP = "…"
"""Stands for what the guard fills in: a server, a state, a number."""


@dataclass(frozen=True)
class Rule:
    """One function of the guard that gives permits."""

    name: str
    rows: tuple[Row, ...]
    acts: tuple[Act, ...]
    needs: str
    refusals: tuple[str, ...]


def rules() -> list[Rule]:
    """Return what gives permits, in the order in which it stands in the module."""
    callers = list(_callers())
    found = []
    for name, function in _FUNCTIONS.items():
        if name.startswith("_") or not _called(function) & {"Permit", "permit"}:
            continue
        asked = any(argument.arg == "row" for argument in function.args.args)
        named = [one for one in callers if name in _called(one)] if asked else [function]
        rows = tuple(Row[one] for one in _members(named, "Row"))
        given = any(argument.arg == "act" for argument in function.args.args)
        acts = () if given else tuple(Act[one] for one in _members([function], "Act"))
        needs = " ".join((ast.get_docstring(function) or "").partition("\n\nArgs:")[0].split())
        found.append(Rule(name, rows, acts, needs, tuple(dict.fromkeys(_refusals(function, set())))))
    return found


def page(generated: str) -> str:
    """The page of reference."""
    known = rules()
    return "\n".join(
        [
            generated,
            "# Evidence\n",
            "Every act that destroys something, or ends jobs, needs a permit. Only the guard gives permits",
            "(`decide/node/guard.py`, `decide/node/guard_dead.py`); each is for one act on one server",
            f"(in Slurm: one node) and is used once, within {permit.LIFE:.0f} s.",
            "What can't be read forbids. The evidence is recorded before the act is begun, that of a command",
            "with who and from where: `slurm-powersave history --evidence`.",
            "",
            "This table is read from the guard's code: its own description of each rule, and the words with",
            f"which it refuses; `{_GAP}` stands for what it fills in. *waits:* means that what is missing",
            "may come by itself, so the guard is asked again. The basis is the word in the history.",
            "",
            "| basis | act | what is needed | refused with |",
            "|---|---|---|---|",
            *(_line(rule) for rule in known),
            "",
            *_unused(known),
            "## The brake",
            "",
            f"On its own account (basis *{Row.OWN}* or *{Row.DEAD}*) the engine destroys at most",
            f"a tenth of the cluster's servers, or {brake.limit(0)} if that is more, in "
            f"{brake.COUNTED_SECONDS / 60:.0f} minutes.",
            "Past that it destroys nothing more on its own account until a person runs",
            "`slurm-powersave continue --confirm`. The brake is also on when",
            f"{brake.NEW}, or {brake.RESTORED};",
            "then it ends by itself when Slurm, clouds and states have agreed for "
            f"{brake.AGREED / 60:.0f} minutes.",
            "What to do: [pause and continue](../how-to/pause.md).",
            "",
        ]
    )


def _unused(known: list[Rule]) -> list[str]:
    """Name the bases that the model has and no rule uses."""
    unused = [row for row in Row if not any(row in rule.rows for rule in known)]
    if not unused:
        return []
    words = ", ".join(f"*{row}*" for row in unused)
    return [f"No rule of this table gives a permit on the basis {words}.", ""]


def _line(rule: Rule) -> str:
    acts = ", ".join(rule.acts) or "as asked"
    return f"| {', '.join(rule.rows)} | {acts} | {rule.needs} | {'<br>'.join(rule.refusals) or '-'} |"


def _callers() -> Iterator[ast.FunctionDef]:
    """All functions of the package outside of the guard, for the bases that a caller names."""
    for path in sorted(_PACKAGE.rglob("*.py")):
        if path not in _FILES and "testing" not in path.parts:
            tree = ast.parse(path.read_text())
            yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _called(tree: ast.AST) -> set[str]:
    """The names of all that is called within."""
    return {_name(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def _name(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _members(trees: Sequence[ast.AST], enum: str) -> list[str]:
    found = []
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name), attr=member) if (
                    name == enum
                ):
                    found.append(member)
    return list(dict.fromkeys(found))


def _refusals(function: ast.FunctionDef, seen: set[str]) -> Iterator[str]:
    """The words of a function's refusals, and of those of the module that it asks."""
    seen.add(function.name)
    local = _assigned(function)
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        name = _name(call)
        if name == "Refusal":
            waits = any(word.arg == "waits" for word in call.keywords)
            yield from (f"*waits:* {text}" if waits else text for text in _texts(call.args[0], local))
        elif name in _FUNCTIONS and name not in seen and not name.startswith("is_"):
            yield from _refusals(_FUNCTIONS[name], seen)


def _assigned(function: ast.FunctionDef) -> dict[str, str]:
    """Local names that stand for a text, or for one of two."""
    found = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                found[name] = text
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))),
            ):
                found[name] = f"{one}, or {other}"
    return found


def _texts(node: ast.expr, local: dict[str, str]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(_part(part, local) for part in parts)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value, local)
        case ast.Attribute(attr=name):
            yield from _property(name)
        case _:
            raise ValueError(f"line {node.lineno} of the guard: words of a refusal that can't be read")


def _part(node: ast.expr, local: dict[str, str]) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.FormattedValue(value=ast.Name(id=name)) if name in local:
            return local[name]
    return _GAP


def _property(name: str) -> Iterator[str]:
    """The texts that a property of a look returns."""
    for node in (node for tree in _TREES for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            for found in ast.walk(node):
                if isinstance(found, ast.Return) and isinstance(found.value, ast.JoinedStr):
                    yield from _texts(found.value, {})
