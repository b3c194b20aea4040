"""Hostlist expressions as Slurm writes them, behind a strict gate.

python-hostlist agrees with `scontrol show hostnames` on what Slurm accepts (tests/contract holds the
two together; only the order differs where a name has three bracket groups or more: there Slurm counts
the first group before the second). But it also takes `$(id)`, `--help` or `n[1-2]-ib`, and expands first
and counts later. So every part is matched against an ASCII pattern and counted before it is expanded.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import NoReturn

import hostlist as python_hostlist

from slurm_powersave.model.errors import HostlistError

CAP = 65_536
"""Slurm's own limit for one range (MAX_RANGE in src/common/hostlist.c), ours for a whole expression."""
MAX_LENGTH = 1 << 20
"""Longest expression in characters; Linux passes at most 128 KiB to a hook."""
MAX_GROUPS = 8
"""Bracket groups in one name; python-hostlist recurses once for each."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
# Letters, then bracket groups with something before each; nothing after the last: Slurm refuses that.
_PART = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*"
    r"(?:\[[0-9,-]+\][A-Za-z0-9._-]*)*(?<=\])"
    r"|[A-Za-z0-9][A-Za-z0-9._-]*",
    re.ASCII,
)
_GROUP = re.compile(r"\[([^\]]*)\]")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", re.ASCII)
_TRAILING = re.compile(r"(.*?)([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True)
class Refusal:
    """A part of an expression that is not served, and why."""

    part: str
    """The part as given, made printable and shortened."""
    why: str


@dataclass(frozen=True)
class Expansion:
    """What an expression names: the good nodes in order without duplicates, and the refused parts."""

    nodes: tuple[str, ...]
    refused: tuple[Refusal, ...]


def split(expression: str, known: Collection[str], cap: int = CAP) -> Expansion:
    """Expand what can be served and name what can't; a refused part leaves the others alone.

    Args:
        expression: for example `n[008-011],a[1-2]b[3-4],m7`.
        known: the configured node names; others are refused.
        cap: the most names that the bracketed parts together may stand for, known or not.
            It is raised to the number of known nodes, so that a large cluster is never too large.
    """
    parts, refused = _parse(expression, max(cap, len(known)))
    wanted = known if isinstance(known, set | frozenset | dict) else frozenset(known)
    nodes: dict[str, None] = {}
    for part, names in parts:
        nodes.update((name, None) for name in names if name in wanted)
        strangers = [name for name in names if name not in wanted]
        if strangers:
            # Folding is for a person to read, and slow: a long list is shown as it was given.
            text = fold(strangers) if len(names) > 1 and len(strangers) <= 1000 else part
            refused.append(Refusal(_printable(text), "not configured"))
    return Expansion(tuple(nodes), tuple(refused))


def expand(expression: str, known: Collection[str], cap: int = CAP) -> tuple[str, ...]:
    """Return the configured nodes that an expression names, in order, without duplicates.

    Raises:
        HostlistError: a part is malformed, too large or names a node that is not configured.
    """
    expansion = split(expression, known, cap)
    if expansion.refused:
        _fail(expansion.refused, "`slurm-powersave nodes expand --any` takes names that are not configured.")
    return expansion.nodes


def expand_any(expression: str, cap: int = CAP) -> tuple[str, ...]:
    """Return the names that an expression stands for, configured or not.

    Raises:
        HostlistError: a part is malformed, or the parts stand for more than `cap` names.
    """
    parts, refused = _parse(expression, cap)
    if refused:
        _fail(refused, "Write it as `scontrol show hostnames` takes it, for example n[01-04],m7.")
    return tuple(dict.fromkeys(name for _, names in parts for name in names))


def fold(names: Iterable[str]) -> str:
    """Return a short expression for these names, sorted, duplicates removed; empty for no names.

    Only the number at the end of a name is folded: python-hostlist alone would turn `n1-ib,n2-ib`
    into `n[1-2]-ib` and `a1b3,a2b3` into `a[1-2]b3`, which Slurm refuses.

    Raises:
        HostlistError: a name holds anything but ASCII letters, digits, `.`, `_` and `-`.
    """
    unique = set(names)
    if bad := sorted(name for name in unique if not _NAME.fullmatch(name)):
        _fail([Refusal(_printable(name), "not a node name") for name in bad[:5]], "")
    parts: list[str] = []
    for _, group in groupby(sorted(unique, key=_prefix), key=_prefix):
        names_alike = sorted(group, key=natural)
        for start in range(0, len(names_alike), CAP):
            parts.append(str(python_hostlist.collect_hostlist(names_alike[start : start + CAP])))
    return ",".join(parts)


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Sort key that puts n2 before n10."""
    return tuple((text, int(number or 0)) for text, number in re.findall(r"([^0-9]*)([0-9]{0,18})", name))


def _prefix(name: str) -> tuple[bool, str]:
    """Group by what stands before the number at the end; a name without one stands alone."""
    match = _TRAILING.fullmatch(name)
    return (True, match[1]) if match else (False, name)


def _parse(expression: str, cap: int) -> tuple[list[tuple[str, list[str]]], list[Refusal]]:
    """Expand part by part behind the gate: (part, its names), and what is malformed or too large."""
    text = expression.strip()
    if len(text) > MAX_LENGTH:
        return [], [Refusal(_printable(text), f"longer than {MAX_LENGTH:,} characters")]
    # Slurm skips what is empty between two commas; so do we.
    given = [part for part in _parts(text) if part]
    if not given:
        return [], [Refusal("", "an empty hostlist names no node")]
    if len(given) > max(cap, CAP):
        return [], [Refusal(_printable(text), f"has {len(given):,} parts, more than {max(cap, CAP):,}")]
    expanded: list[tuple[str, list[str]]] = []
    refused: list[Refusal] = []
    budget = cap
    for part in given:
        if _NAME.fullmatch(part):
            # A plain name costs nothing: the length of the expression bounds them.
            expanded.append((part, [part]))
            continue
        size, why = _measure(part)
        if why:
            refused.append(Refusal(_printable(part), why))
        elif size > cap:
            refused.append(Refusal(_printable(part), f"stands for {size:,} names, more than {cap:,}"))
        elif size > budget:
            refused.append(Refusal(_printable(part), f"with the parts before it more than {cap:,} names"))
        else:
            budget -= size
            expanded.append((part, python_hostlist.expand_hostlist(part, allow_duplicates=True)))
    return expanded, refused


def _parts(text: str) -> list[str]:
    """Cut at the commas outside of brackets; blanks around a part are dropped, as Slurm does."""
    parts: list[str] = []
    start = depth = 0
    for position, character in enumerate(text):
        if character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
        elif character == "," and depth <= 0:
            parts.append(text[start:position])
            start, depth = position + 1, 0
    parts.append(text[start:])
    return [part.strip(" ") for part in parts]


def _measure(part: str) -> tuple[int, str]:
    """Return how many names a part stands for, and why it is malformed (empty if it is not)."""
    if not _PART.fullmatch(part):
        return 0, "not a node name or hostlist expression" + _hint(part)
    if part.count("[") > MAX_GROUPS:
        return 0, f"more than {MAX_GROUPS} bracket groups"
    sizes = []
    for ranges in _GROUP.findall(part):
        size = 0
        for item in ranges.split(","):
            match = _RANGE.fullmatch(item)
            if not match:
                return 0, f"[{_printable(ranges)}] is not a list of ranges"
            low, high = int(match[1]), int(match[2] or match[1])
            if high < low:
                return 0, f"the range {low}-{high} runs backwards"
            size += high - low + 1
        sizes.append(size)
    return prod(sizes), ""


def _hint(part: str) -> str:
    if part.count("[") != part.count("]"):
        return " (a bracket is not closed)"
    if re.search(r"\][^\[\]]+$", part):
        return " (Slurm takes nothing after the last bracket)"
    if bad := re.search(r"[^A-Za-z0-9._\[\],-]", part):
        return f" (the character {_printable(bad[0])} is not allowed; separate nodes with commas)"
    return ""


def _printable(text: str, limit: int = 80) -> str:
    safe = text[: limit + 1].encode("unicode_escape").decode("ascii")
    return safe if len(safe) <= limit else safe[: limit - 3] + "..."


def _fail(refused: Collection[Refusal], todo: str) -> NoReturn:
    why = "; ".join(f"{item.part or 'hostlist'}: {item.why}" for item in refused)
    raise HostlistError("hostlist refused", why=why, todo=todo)
