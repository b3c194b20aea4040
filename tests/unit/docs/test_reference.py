"""The generated references are what the code says, and the links of all pages lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

from slurm_powersave.decide.slurm_versions import TESTED, Difference
from slurm_powersave.model import phases

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

sys.path.insert(0, str(ROOT / "tools"))
import reference  # noqa: E402  # tools/ is no package


def test_generated_pages_are_fresh() -> None:
    stale = [path.name for path, text in reference.pages().items() if path.read_text() != text]
    assert not stale, "run `make docs`"


def test_every_difference_between_versions_is_a_row() -> None:
    text = reference.slurm_versions_page()
    table = [line for line in text.partition("| from |")[2].splitlines() if line.startswith("| ")]
    for difference in Difference:
        row = difference.value
        cells = [str(row.since or ""), str(row.before or ""), row.what, row.consequence, row.source]
        assert f"| {' | '.join(cells)} |" in text
        assert not any("|" in cell or "\n" in cell for cell in cells)
    assert len(table) == len(Difference)
    edges = [min(re.findall(r"\d\d\.\d\d", " ".join(line.split("|")[1:3])) or [""]) for line in table]
    assert edges == sorted(edges), "what an upgrade changes stands together"


def test_the_page_of_versions_says_which_are_tested() -> None:
    text = reference.slurm_versions_page()
    for version in TESTED:
        assert f"| {version} | tested with {version.text} |" in text
    assert "| every other version from 21.08 to 26.05 | by the table below; not tested |" in text
    assert "| newer than 26.05 | treated like 26.05;" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_phase_is_explained() -> None:
    text = (ROOT / "docs" / "reference" / "phases.md").read_text()
    words = [value for name, value in vars(phases).items() if name.isupper() and isinstance(value, str)]
    assert words
    assert [word for word in words if f"| {word} |" not in text] == []
