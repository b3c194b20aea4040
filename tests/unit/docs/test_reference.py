"""The generated references are what the code says, and the links of all pages lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

from slurm_powersave.decide.node import guard, guard_dead
from slurm_powersave.model import phases
from slurm_powersave.model.permit import Act, Row
from slurm_powersave.model.slurm_versions import TESTED, Difference

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

sys.path.insert(0, str(ROOT / "tools"))
import guard_table  # noqa: E402  # tools/ is no package
import reference  # noqa: E402


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


def test_every_basis_of_a_permit_is_in_the_table_of_evidence() -> None:
    text = guard_table.page("")
    assert [
        row for row in Row if f"| {row} |" not in text and f"*{row}*" not in text and f"{row}," not in text
    ] == []
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(guard_table.rules())
    assert {line.count("|") for line in rows} == {5}, "no cell holds the sign between cells"


def test_the_table_of_evidence_has_all_words_of_the_guard() -> None:
    """Each constant text in a Refusal of the guard, found without the help of what writes the table."""
    text = guard_table.page("")
    code = "".join(Path(one.__file__).read_text() for one in (guard, guard_dead))
    for found in re.findall(r'Refusal\(\s*f?"([^"]*)"', code):
        for words in re.split(r"\{[^}]*\}", found):
            assert words in text, f"run `make docs`: {found}"


def test_each_rule_of_the_guard_says_what_it_needs() -> None:
    known = {rule.name: rule for rule in guard_table.rules()}
    assert {"delete_by_hook", "delete_on_own_account", "by_reboot", "forget"} <= known.keys()
    assert known["delete_by_hook"].rows == (Row.HOOK,) and known["delete_by_hook"].acts == (Act.DELETE,)
    assert set(known["agreed"].rows) == {Row.LOGIN, Row.ORPHAN, Row.TEARDOWN}, "named by those that ask"
    assert "*waits:* the brake is on: …" in known["delete_on_own_account"].refusals
    assert all(rule.needs.endswith(".") and rule.rows for rule in known.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def titles(page: Path) -> set[str]:
    """The anchors of a page's titles, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_into_a_page_lead_to_a_title(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text())
    assert [
        (name, title) for name, title in links if title not in titles(page.parent / name if name else page)
    ] == []


def test_every_phase_is_explained() -> None:
    text = (ROOT / "docs" / "reference" / "phases.md").read_text()
    words = [value for name, value in vars(phases).items() if name.isupper() and isinstance(value, str)]
    assert words
    assert [word for word in words if f"| {word} |" not in text] == []
