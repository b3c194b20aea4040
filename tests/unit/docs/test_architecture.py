"""The way of a node's name in docs/explanation/architecture.md: its files, functions and phases exist."""

import re
from pathlib import Path

import pytest

from slurm_powersave.model import phases

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "slurm_powersave"
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
ROWS = re.findall(r"^\| (.+?) \| (.+?) \| (.*)\|$", PAGE.partition("| place |")[2].partition("\n\n")[0], re.M)
PATH = re.compile(r"`([\w./-]+/[\w.-]+\.\w+(?:\.j2)?)`")


def file(path: str) -> Path:
    """A path as the page writes it."""
    return ROOT / path if (ROOT / path.split("/")[0]).exists() else PACKAGE / path


def test_there_are_at_most_eight_places() -> None:
    assert 6 <= len(ROWS) <= 8
    for number, (place, _, _) in enumerate(ROWS, 1):
        assert f"\n{number}. **{place.capitalize()}.**" in PAGE


@pytest.mark.parametrize("path", sorted(set(PATH.findall(PAGE))))
def test_each_file_is_there(path: str) -> None:
    assert file(path).is_file()


@pytest.mark.parametrize(("place", "functions"), [row[:2] for row in ROWS])
def test_each_function_is_in_the_file_before_it(place: str, functions: str) -> None:
    where, found = None, 0
    for word in re.findall(r"`([^`]+)`", functions):
        if "/" in word:
            where, found = file(word), found + 1
        else:
            assert where and re.search(rf"def {word}\(", where.read_text()), f"{place}: {word}"
    assert found


def test_the_phases_are_those_of_a_creation() -> None:
    named = [word for _, _, cell in ROWS for word in re.findall(r"`([^`]+)`", cell)]
    known = {value for name, value in vars(phases).items() if name.isupper() and isinstance(value, str)}
    assert set(named) <= known
    assert set(named) >= phases.CREATING
