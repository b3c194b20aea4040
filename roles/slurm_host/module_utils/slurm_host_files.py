# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a host, and what the kernel's tables say of mounts and ports."""

from __future__ import annotations

import os
import re
import tempfile

HOSTS_BEGIN = "# slurm-powersave: begin"
HOSTS_END = "# slurm-powersave: end"


def read(path):
    """Return a file's bytes, None when it is absent."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path, content, mode=0o644, owner=None):
    """Replace a file atomically; a symbolic link is replaced, not followed."""
    directory = os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".slurm-powersave-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise


def hosts_text(old, lines):
    """Return /etc/hosts: the old lines that name none of our hosts, then ours.

    Images carry `127.0.1.1 NAME`, by which MPI and slurmd would find themselves on the loopback only.
    """
    ours = {name for line in lines.splitlines() for name in line.split()[1:]}
    kept, inside = [], False
    for line in old.splitlines():
        if line in (HOSTS_BEGIN, HOSTS_END):
            inside = line == HOSTS_BEGIN
        elif not inside and ours.isdisjoint(line.split("#")[0].split()[1:]):
            kept.append(line)
    if not any("localhost" in line.split("#")[0].split()[1:] for line in kept):
        kept.insert(0, "127.0.0.1 localhost")
    return "\n".join([*kept, HOSTS_BEGIN, lines.rstrip("\n"), HOSTS_END]) + "\n"


def slurmd_port(slurm_conf):
    """Return the port that slurmd listens on (slurm.conf(5): 6818 by default)."""
    found = re.search(r"(?im)^\s*SlurmdPort\s*=\s*(\d+)", slurm_conf)
    return int(found.group(1)) if found else 6818


def last_words(slurm_conf):
    """Return what slurmd's log says last of errors: systemd tells only that it ended."""
    found = re.search(r"(?im)^\s*SlurmdLogFile\s*=\s*([^\s%]+)\s*$", slurm_conf)
    try:
        with open(found.group(1) if found else "", "rb") as file:
            cut = max(0, os.fstat(file.fileno()).st_size - 8192)
            file.seek(cut)
            lines = file.read().decode("utf-8", "replace").splitlines()[1 if cut else 0 :]
    except OSError:
        return ""
    said = [re.sub(r"^\[[^\]]*\] ", "", line)[:300] for line in lines if re.search("error|fatal", line)]
    return " | ".join(list(dict.fromkeys(said))[-3:])


def mounted(path):
    """Tell whether a path is a mount point; os.path.ismount misses bind mounts of the same file system."""
    wanted = os.path.realpath(path).encode()
    for line in (read("/proc/self/mountinfo") or b"").splitlines():
        # proc(5): field 5, with blanks and backslashes as three octal digits.
        place = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found.group(1), 8)]), line.split()[4])
        if place == wanted:
            return True
    return False


def listens(port):
    """Tell whether anything listens on a TCP port, without connecting: slurmd logs each empty connection."""
    suffix = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (read(table) or b"").decode("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(suffix) and fields[3] == "0A":
                return True
    return False
