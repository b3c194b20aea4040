"""Text from outside, made fit for a terminal, a log and a report: what would act there is shown as an escape.

A terminal obeys control characters (ESC, CSI, OSC 52), a log believes line ends, and a reader believes what
bidirectional controls have turned around. Letters of all scripts, blanks and emoji stay as they are.
"""

import json
import re
from typing import Any

# Controls (C0, DEL, C1), separators of lines and paragraphs, bidirectional controls, characters without a
# width, tags, lone surrogates. U+200C and U+200D stay: scripts and emoji are written with them.
_ACTS = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_CHARACTER = re.compile(f"[{_ACTS}]")
_BUT_LINES = re.compile(rf"(?![\n\t])[{_ACTS}]")
_HALF = re.compile(r"[\ud800-\udfff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""Make one line of a text: ESC becomes \x1b, a line end becomes \n."""
    return _CHARACTER.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Do the same for a text of several lines, whose line ends and tabs stay."""
    return _BUT_LINES.sub(_escape, text.replace("\r\n", "\n"))


def paragraph(text: str) -> str:
    """Do the same, and indent all lines but the first: none of them looks like a message of its own."""
    first, *rest = printable_lines(text).split("\n")
    return "\n".join([first, *(line if not line or line.startswith("  ") else f"  {line}" for line in rest)])


def storable(text: str) -> str:
    """Replace halves of characters (lone surrogates), which SQLite does not store; keep all the rest."""
    return _HALF.sub(_escape, text)


def json_text(value: Any, indent: int | None = None) -> str:
    """Write JSON that a terminal may show: the same value, its controls as JSON escapes them."""
    return _BUT_LINES.sub(_json_escape, json.dumps(value, indent=indent, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return _SHORT.get(character) or (f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}")


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0]).strip('"') if found[0] != "\x7f" else r"\u007f"
