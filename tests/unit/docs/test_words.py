"""The pages use the words of docs/reference/glossary.md: plan guard, backoff, rollout, drift, admin state."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [
    page
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    if not page.read_text().startswith("<!-- Written by")
]
INSTEAD = {
    r"fenc(e|ed|es)": "plan guard",
    r"rest(s|ed|ing)|(a|its|the|node's) rest (ends|begins|lasts)|(?<=after )the rest": "backoff",
    r"waves?": "rollout",
    r"lag(s|ging)? behind": "outdated, drift",
    r"set aside|adopt(s|ed)?|desired": "admin state, take over, recorded or next spec",
    r"(one|same) mind": "agree",
}
QUOTED = re.compile(r"```.*?```|`[^`]*`", re.S)
"""What a program prints, and what is typed: its words are its own."""


def prose(text: str) -> str:
    """A page without what it quotes; one blank for each run of blanks."""
    return " ".join(QUOTED.sub(" ", text).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_our_own_words_have_gone(page: Path) -> None:
    text = prose(page.read_text())
    found = {
        text[max(0, match.start() - 40) : match.end() + 20]: instead
        for pattern, instead in INSTEAD.items()
        for match in re.finditer(rf"\b({pattern})\b", text, re.I)
    }
    assert not found


def test_a_word_of_ours_is_found_in_prose_alone() -> None:
    assert prose("the `fence` is\n a\n```\nfence\n```\nfence") == "the is a fence"
