"""The forms of what comes from other machines, matched where it enters.

A node, the login node, a cloud, a backup and a hook are not trusted: what they say is data. An id, a name or
an address has one of the forms below or is not taken. A name that people choose in a cloud (image, flavor,
project, zone) may hold any character that is visible, so it may never become an option, a path or a template.
"""

import ipaddress
import re
import unicodedata

BOOT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
"""/proc/sys/kernel/random/boot_id."""
MACHINE_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
"""/etc/machine-id (machine-id(5))."""
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)
"""A node's name in slurm.conf, or the name of a host."""
SERVER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
"""A server, image, flavor or volume as a cloud's API calls it; most often a UUID."""
STATUS = re.compile(r"[A-Z][A-Z_]{0,39}", re.ASCII)
"""The status of a server in a cloud's words."""
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,63}", re.ASCII)
"""The version of a package or of Slurm."""

LONGEST_NAME = 255
"""Characters of a name that people of a cloud chose; OpenStack has the same limit."""
# They turn the text beside them around on a terminal: Unicode Standard Annex 9, section 2.
_BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, surrogates (a byte that is no UTF-8), line and paragraph separators.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})


def matching(form: re.Pattern[str], said: object) -> str:
    """Return what was said if it is a text of this form, else an empty text."""
    return said if isinstance(said, str) and form.fullmatch(said) else ""


def address(said: object) -> str:
    """Return an IPv4 or IPv6 address as it is usually written; an empty text if it is none."""
    # A number is an address to the library, and an IPv6 address may end in a % and any text.
    if not isinstance(said, str) or "%" in said:
        return ""
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return ""


def is_chosen_name(said: object) -> bool:
    """Tell whether this can be a name that people of a cloud chose: not empty, no control character."""
    return (
        isinstance(said, str)
        and 0 < len(said) <= LONGEST_NAME
        and not any(sign in _BIDIRECTIONAL or unicodedata.category(sign) in _REFUSED for sign in said)
    )


def chosen_name(said: object) -> str:
    """Return a name that people of a cloud chose; an empty text if that can't be one."""
    return str(said) if is_chosen_name(said) else ""
