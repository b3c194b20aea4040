"""Each file that CONTRIBUTING.md names for an addition is there, and they are few."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "slurm_powersave"
PART = (ROOT / "CONTRIBUTING.md").read_text().partition("\n## How to add\n")[2].partition("\n## ")[0]
MOST = 7
"""Files that one addition may need; more is a sign that something is said in too many places."""


def paths(text: str) -> list[str]:
    """Inline code that is a path: a file, or a directory of this checkout."""
    return [word for word in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(r"[\w./-]+(\.\w+|/)", word)]


def place(path: str) -> Path:
    """Where a path leads; of one with NAME in it the directory in which it is to be made."""
    base = ROOT if (ROOT / path.split("/")[0]).exists() else PACKAGE
    found = base / path
    while "NAME" in str(found.relative_to(ROOT)):
        found = found.parent
    return found


@pytest.mark.parametrize("path", sorted(set(paths(PART))))
def test_it_is_there(path: str) -> None:
    assert place(path).exists()


def test_an_addition_needs_few_files() -> None:
    parts = re.split(r"\n### ", PART)[1:]
    assert [part.splitlines()[0] for part in parts] == [
        "A setting",
        "A command",
        "A cloud",
        "An outside system",
    ]
    for part in parts:
        rows = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
        assert 3 <= sum(len(paths(row)) for row in rows) <= MOST, part.splitlines()[0]
