"""What has changed in the cluster file, for the history: a unified diff without passwords, cut to a size."""

import difflib
import re

_SECRET = r"[\w.-]*(?:pass|secret|token|credential|private_key|api_key|apikey)[\w.-]*"
_LINE = re.compile(
    rf"(?P<key>(?:^|(?<=[\s{{,-]))[\"']?{_SECRET}[\"']?\s*:)(?P<value>\s*\S.*)?$", re.IGNORECASE
)
_HIDDEN = " (not shown)"
_LONGEST, _LINES = 500, 400
"""Characters of a line, and lines of a diff, that are kept."""
_FILE = 1 << 20
"""Characters of a file that are compared."""


def shown(text: str) -> str:
    """Return a cluster file as the history may keep it: the values of keys that name a secret are hidden.

    The cluster file needs no secret, but a site's own keys (site_*, ansible_*) may hold one.
    """
    found: list[str] = []
    below: int | None = None
    """The indentation of a key whose value stands in the lines below it."""
    for line in text[:_FILE].splitlines():
        indent = len(line) - len(line.lstrip())
        if below is not None and (not line.strip() or indent > below):
            continue
        secret = _LINE.search(line)
        below = indent if secret else None
        found.append(f"{line[: secret.end('key')]}{_HIDDEN}" if secret else line)
    return "".join(f"{line}\n" for line in found)


def difference(before: str, after: str) -> str:
    """Return the unified diff of two texts that `shown` has made; empty if they are the same."""
    lines = list(
        difflib.unified_diff(before.splitlines(), after.splitlines(), "last used", "now", lineterm="", n=1)
    )
    kept = [line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..." for line in lines[:_LINES]]
    if more := len(lines) - len(kept):
        kept.append(f"... and {more} more lines")
    return "\n".join(kept)
