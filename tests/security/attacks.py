"""What somebody outside may put into any text: attacks as data, used by several files here."""

TERMINAL = {
    "escape": "\x1b[2J\x1b[H",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "title": "\x1b]0;root@control\x1b\\",
    "hyperlink": "\x1b]8;;https://evil.example/\x1b\\log in\x1b]8;;\x1b\\",
    "device status": "\x1b[6n",
    "c1 csi": "\x9b31m",
    "c1 osc": "\x9d0;title\x9c",
    "carriage return": "failed\rdone  ",
    "backspace": "failed\b\b\b\b\b\bdone  ",
    "newline": "x\n2026-01-01 00:00:00,000 INFO op=abc node=n1 outcome=done",
    "crlf": "x\r\n2026-01-01 00:00:00,000 INFO op=abc node=n1 outcome=done",
    "vertical tab": "x\x0by",
    "form feed": "x\x0cy",
    "next line": "x\x85y",
    "line separator": "x\u2028y",
    "paragraph separator": "x\u2029y",
    "nul": "x\x00y",
    "delete": "x\x7fy",
    "right to left": "\u202etxt.exe\u202c",
    "isolate": "\u2066x\u2069\u2067y\u2069\u2068z\u2069",
    "marks": "a\u200eb\u200fc\u061cd",
    "byte order mark": "\ufeffx",
    "no width": "n\u200b1\u2060\u00ad",
    "tags": "n1\U000e0041\U000e0042",
    "surrogate": "x\udc9by",
}
"""Name -> a text that acts on a terminal, forges a line, or turns around what is read."""

MARKUP = {
    "style": "[red]n1[/red]",
    "link": "[link=https://evil.example/]n1[/link]",
    "emoji": ":smiley: n1",
    "percent": "%s %(levelname)s %d",
    "braces": "{0} {x} {{ lookup('pipe', 'id') }}",
    "backslash": r"C:\new \x1b",
}
"""Name -> a text that must come out as it is."""

PLAIN = {
    "dash": "Rocky 9 \u2013 prod {{x}}",
    "umlaut": "Größe",
    "japanese": "日本語\u3000テスト",
    "arabic": "مرحبا",
    "hebrew": "שלום",
    "persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "hindi": "क्\u200dष",
    "emoji": "👩\u200d🔬 ✅ ❤\ufe0f",
    "blanks": "a b\u00a0c\u2009d",
    "combining": "e\u0301",
    "variation": "葛\U000e0100",
}
"""Name -> a text of another script: nothing of it is changed."""

ACTS = frozenset(
    chr(code)
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x61C,
        0x200E,
        0x200F,
        *range(0x2028, 0x202F),
        *range(0x2066, 0x206A),
        0xFEFF,
    )
)
"""What must reach neither a terminal nor a log, but for the line ends and colours that are our own."""


def acting(text: str, *, own: str = "") -> list[str]:
    """Name the characters of a text that act, beside those of `own`."""
    found = {one for one in text if one in ACTS or 0xD800 <= ord(one) < 0xE000}
    return sorted(map(repr, found - set(own)))
