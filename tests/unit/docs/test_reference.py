"""The generated references are what the code says, and the links of all pages lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

from slurm_powersave.model import phases

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

sys.path.insert(0, str(ROOT / "tools"))
import reference  # noqa: E402  # tools/ is no package


def test_generated_pages_are_fresh() -> None:
    stale = [path.name for path, text in reference.pages().items() if path.read_text() != text]
    assert not stale, "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_phase_is_explained() -> None:
    text = (ROOT / "docs" / "reference" / "phases.md").read_text()
    words = [value for name, value in vars(phases).items() if name.isupper() and isinstance(value, str)]
    assert words
    assert [word for word in words if f"| {word} |" not in text] == []
