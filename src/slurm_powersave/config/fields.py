"""Kinds of values in the cluster file: parsed once, with a message that says what would be right.

A ValueError's text has two halves, `what is wrong; what would be right`: the report splits it.
"""

import os
import re
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from slurm_powersave.model import hostlist
from slurm_powersave.model.errors import HostlistError
from slurm_powersave.model.outside_text import LONGEST_NAME, is_chosen_name
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import Difference, has

LARGEST_POOL = hostlist.CAP

_LABEL = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_CLUSTER = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
_SLURM_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_ARGUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_DIRECTORY = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)+", re.ASCII)
_JUMP = re.compile(
    r"([A-Za-z_][A-Za-z0-9_.-]{0,31})@([A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::([1-9][0-9]{0,4}))?",
    re.ASCII,
)
_MOUNT_OPTIONS = re.compile(r"[A-Za-z0-9_.,=:/+-]+", re.ASCII)


def label(text: str) -> str:
    """Check a host name: it becomes a server's name, a host name and a Slurm node name at once."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            f"{text!r} is no host name; lower-case letters, digits and -, beginning with a letter"
        )
    return text


def cluster_name(text: str) -> str:
    """Check the cluster's name: it becomes part of names, tags and paths."""
    if not _CLUSTER.fullmatch(text):
        raise ValueError(
            f"{text!r} is no cluster name; at most 31 lower-case letters, digits and -, a letter first"
        )
    return text


def node_names(expression: str) -> tuple[str, ...]:
    """Expand a pool's hostlist expression; every name must be a host name, none twice."""
    try:
        names = hostlist.expand_any(expression, LARGEST_POOL)
    except HostlistError as error:
        raise ValueError(f"{error.why}; a hostlist expression such as n[01-16] or n1,n2") from None
    for name in names:
        label(name)
    return names


def address(text: str) -> str:
    """Check one fixed IPv4 address."""
    return str(_ipv4(text))


def address_range(text: str) -> tuple[str, ...]:
    """Expand `10.0.0.1-10.0.0.4,10.0.0.9`, in order; an address may stand there once."""
    addresses: dict[int, None] = {}
    for piece in text.split(","):
        low, dash, high = piece.strip().partition("-")
        first = int(_ipv4(low))
        last = int(_ipv4(high)) if dash else first
        if last < first:
            raise ValueError(f"the range {piece.strip()} runs backwards; the lower address comes first")
        if last - first >= LARGEST_POOL:
            raise ValueError(
                f"{piece.strip()} holds more than {LARGEST_POOL:,} addresses; one address for each node"
            )
        for number in range(first, last + 1):
            if number in addresses:
                raise ValueError(f"{IPv4Address(number)} is given twice; one address for each node")
            addresses[number] = None
    return tuple(str(IPv4Address(number)) for number in addresses)


def _ipv4(text: str) -> IPv4Address:
    right = "a range such as 10.0.0.1-10.0.0.4, or one IPv4 address"
    try:
        found = IPv4Address(text.strip())
    except AddressValueError:
        raise ValueError(f"{text.strip()!r} is no IPv4 address; {right}") from None
    if found.is_loopback or found.is_multicast or found.is_unspecified or found.is_link_local:
        raise ValueError(f"{found} can't be a server's address; an address of the cluster's network")
    return found


def version(value: Any) -> Any:
    """Read Slurm's version: 22.05 without quotes is a number in YAML."""
    return f"{value:.2f}" if isinstance(value, float) else value


def _version_known(text: str) -> str:
    needed = Difference.POWER_DOWN_FORCE
    if not has(Version.of(text), needed):
        raise ValueError(f"Slurm {text} has no POWER_DOWN_FORCE; {needed.value.since} or later")
    return text


def slurm_text(value: Any) -> Any:
    """Turn what YAML made of a slurm.conf value back into Slurm's word."""
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, int | float):
        return str(value)
    return value


def slurm_line(text: str) -> str:
    """Check that a value stays in its line of slurm.conf."""
    if re.search(r"[\n\r\0]", text):
        raise ValueError("holds a line break; one line")
    return text


def slurm_word(text: str) -> str:
    """Check a value that ends at a blank in slurm.conf."""
    if re.search(r"[\s\0#]", text):
        raise ValueError(f"{text!r} holds a blank or #; one word, items separated by commas")
    return text


def slurm_key(text: str) -> str:
    """Check a parameter name of slurm.conf."""
    if not _SLURM_KEY.fullmatch(text):
        raise ValueError(f"{text!r} is no slurm.conf parameter; a name such as MaxTime")
    return text


def slurm_lines(value: Any) -> Any:
    """A value, null (leave the line out), or a list of values (several lines)."""
    if value is None:
        return ()
    return (
        tuple(slurm_text(item) for item in value) if isinstance(value, list | tuple) else (slurm_text(value),)
    )


def absolute(text: str) -> str:
    """Check a path on a node."""
    if not text.startswith("/") or re.search(r"[\s\0]", text):
        raise ValueError(f"{text!r} is no absolute path; a path on the node such as /mnt/ohpc")
    return text


def directory(text: str) -> str:
    """Check a shared directory: systemd, exports(5) and ganesha read other characters in their own ways."""
    if not _DIRECTORY.fullmatch(text):
        raise ValueError(f"{text!r} is no plain directory; a path such as /srv/ohpc, no / at its end")
    return text


def network(text: str) -> str:
    """Check a network of NFS clients."""
    try:
        return str(IPv4Network(text.strip()))
    except ValueError:
        raise ValueError(f"{text!r} is no IPv4 network; one such as 10.0.8.0/24") from None


def storage_server(text: str) -> str:
    """Check the server of the shared directory: `login`, or an address."""
    return text if text == "login" else address(text)


def mount_options(text: str) -> str:
    """Check the options of a mount."""
    if not _MOUNT_OPTIONS.fullmatch(text):
        raise ValueError(f"{text!r} has characters that no option has; options separated by commas")
    return text


def argument(text: str) -> str:
    """Check a word that is passed to a command or becomes a tag."""
    if not _ARGUMENT.fullmatch(text):
        raise ValueError(f"{text!r} has characters that are not allowed; letters, digits, . _ and -")
    return text


def chosen_name(text: str) -> str:
    """Check a name that people of a cloud chose: anything goes that can be seen."""
    if text and not is_chosen_name(text):
        raise ValueError(
            f"{text!r} holds a control character, or is too long; at most {LONGEST_NAME} visible characters"
        )
    return text


def jump(text: str) -> str:
    """Check a jump host."""
    found = _JUMP.fullmatch(text)
    if not found or int(found[3] or 22) > 65535:
        raise ValueError(f"{text!r} is no jump host; user@host or user@host:port")
    return text


def split_jump(text: str) -> tuple[str, str, int]:
    """Return user, host and port of a jump host that was checked."""
    user, _, place = text.partition("@")
    host, _, port = place.partition(":")
    return user, host, int(port or 22)


def local_path(path: Path, info: ValidationInfo) -> Path:
    """Make a path on the control host absolute: relative ones are relative to the cluster file."""
    base = Path((info.context or {}).get("base", "."))
    return Path(os.path.normpath(base / path.expanduser()))


def local_paths(value: Any, info: ValidationInfo) -> Any:
    """Do the same in free settings, for texts that begin with ./ or ../."""
    if isinstance(value, dict):
        return {key: local_paths(item, info) for key, item in value.items()}
    if isinstance(value, list):
        return [local_paths(item, info) for item in value]
    if isinstance(value, str) and value.startswith(("./", "../")):
        return str(local_path(Path(value), info))
    return value


def program(text: str, info: ValidationInfo) -> str:
    """A program's name, or its path if there is a slash in it."""
    return str(local_path(Path(text), info)) if "/" in text else text


_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([MGT])?(?:i?B)?", re.ASCII | re.IGNORECASE)
_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}


def _size(value: Any, unit: str) -> Any:
    """Read a size in MiB or GiB: a bare number is in that unit; G, GB and GiB are all 1024 MiB."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError(f"{value!r} is no size; a number of {unit}iB, or one such as 30GB")
    size = float(match[1]) * _MIB[(match[2] or unit).upper()] / _MIB[unit]
    if size != int(size):
        raise ValueError(f"{value!r} is a fraction of a {unit}iB; a whole number of {unit}iB")
    return int(size)


def mebibytes(value: Any) -> Any:
    """Read an amount of RAM."""
    return _size(value, "M")


def gibibytes(value: Any) -> Any:
    """Read the size of a disk."""
    return _size(value, "G")


def regex(text: str) -> str:
    """Check a regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression ({error}); one such as ^c[0-9]") from None
    return text


ClusterName = Annotated[str, AfterValidator(cluster_name)]
Label = Annotated[str, AfterValidator(label)]
LocalPath = Annotated[Path, AfterValidator(local_path)]
Address = Annotated[str, AfterValidator(address)]
ChosenName = Annotated[str, AfterValidator(chosen_name)]
Argument = Annotated[str, AfterValidator(argument)]
Jump = Annotated[str, AfterValidator(jump)]
NodePath = Annotated[str, AfterValidator(absolute)]
Directory = Annotated[str, AfterValidator(directory)]
Network = Annotated[str, AfterValidator(network)]
StorageServer = Annotated[str, AfterValidator(storage_server)]
MountOptions = Annotated[str, AfterValidator(mount_options)]
SlurmWord = Annotated[str, AfterValidator(slurm_word)]
SlurmKey = Annotated[str, AfterValidator(slurm_key)]
SlurmValue = Annotated[str, BeforeValidator(slurm_text), AfterValidator(slurm_line)]
SlurmLines = Annotated[tuple[Annotated[str, AfterValidator(slurm_line)], ...], BeforeValidator(slurm_lines)]
SlurmVersion = Annotated[str, BeforeValidator(version), AfterValidator(_version_known)]
Seconds = Annotated[int, Field(ge=0, le=10_000_000)]
Mebibytes = Annotated[int, BeforeValidator(mebibytes), Field(ge=0)]
Gibibytes = Annotated[int, BeforeValidator(gibibytes), Field(ge=0)]
Regex = Annotated[str, AfterValidator(regex)]
