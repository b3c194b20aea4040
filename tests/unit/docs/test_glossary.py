"""The glossary: twenty words, one sentence each, in alphabetical order, linked from the README."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = "docs/reference/glossary.md"
ROWS = re.findall(r"^\| (.+?) \| (.+) \|$", (ROOT / PAGE).read_text(), re.M)[1:]


def test_it_has_few_words_in_order() -> None:
    words = [word for word, _ in ROWS]
    assert len(words) == 20
    assert words == sorted(words)


def test_each_is_explained_in_one_sentence() -> None:
    for word, meaning in ROWS:
        text = re.sub(r"\]\([^)]*\)", "]", meaning)
        assert text.endswith(".") and len(re.findall(r"[.!?](?:\s|$)", text)) == 1, word
        assert len(text.split()) <= 35, word


def test_the_front_page_and_the_list_of_pages_lead_to_it() -> None:
    assert f"({PAGE})" in (ROOT / "README.md").read_text()
    assert "(reference/glossary.md)" in (ROOT / "docs/README.md").read_text()
