# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What on a disk identifies the host, the cluster or its users, and must not be in an image."""

from __future__ import annotations

import glob
import os
import re
import shutil

MARK = b"# Written by slurm-powersave"
"""How the files begin that our roles write."""
HOSTS_BEGIN, HOSTS_END = "# slurm-powersave: begin", "# slurm-powersave: end"
"""Around our lines of /etc/hosts; the same as in slurm_host_files.py."""
PROVENANCE = "image.json"
"""In /usr/lib/slurm-powersave: what the image is. It stays."""

# (what, where, whether every boot or the cloud makes it anew). slurm.conf(5) names Slurm's files.
FILES = (
    ("munge key", "/etc/munge/munge.key", False),
    ("munge seed", "/var/lib/munge/munge.seed", False),
    ("Slurm configuration", "/etc/slurm/slurm.conf", False),
    ("database password", "/etc/slurm/slurmdbd.conf", False),
    ("Slurm key", "/etc/slurm/*.key", False),
    ("Slurm state", "/var/lib/slurm/slurmd/*", False),
    ("Slurm state", "/var/lib/slurm/slurmctld/*", False),
    ("Slurm state", "/var/spool/slurmd/*", False),
    ("hook or site script", "/usr/lib/slurm-powersave/*", False),
    ("mount of the cluster", "/etc/systemd/system/slurmd.service.d/slurm-powersave-storage.conf", False),
    ("SSH host key", "/etc/ssh/ssh_host_*", True),
    ("host name", "/etc/hostname", True),
    ("random seed", "/var/lib/systemd/random-seed", True),
    ("credential secret", "/var/lib/systemd/credential.secret", True),
    ("what cloud-init remembers", "/var/lib/cloud/*", True),
    ("address lease", "/var/lib/dhcp/*.leases", True),
    ("address lease", "/var/lib/NetworkManager/*.lease", True),
    ("network secret", "/var/lib/NetworkManager/secret_key", True),
    ("temporary file", "/tmp/*", True),
    ("temporary file", "/var/tmp/*", True),
)
# Ansible's own modules run from there, and services have theirs open: gone at the next boot (tmpfiles.d(5)).
_NOT_OURS = re.compile(r"/(var/)?tmp/(ansible[_-]|systemd-private-|\.)|/var/lib/cloud/seed$")
HISTORIES = (
    ".bash_history", ".zsh_history", ".sh_history", ".history", ".python_history", ".lesshst", ".viminfo",
)  # fmt: skip


class Disk:
    """The disk whose files begin with `root`, and what on it says whose it was."""

    def __init__(self, root="", public_key="", hosts=(), more=()):
        """Take in what is to be known.

        `public_key`: the one that the cloud put into authorized_keys. `hosts`: names of the cluster's hosts.
        `more`: further files, as patterns (glob(7)).
        """
        self.root = root
        self.key = " ".join(public_key.split()[:2])
        self.hosts = set(hosts)
        self.files = FILES + tuple(("the site's", pattern, False) for pattern in more)

    def left(self, booted=False):
        """Find what identifies: {path: (what, content that it is to have, None for no file at all)}.

        After a boot (`booted`) what a boot makes anew does not count.
        """
        found = {}
        for what, pattern, anew in self.files:
            if not (booted and anew):
                found.update(dict.fromkeys(self._glob(pattern), (what, None)))
        for path in self._glob("/etc/slurm/*.conf"):
            if self._read(path).startswith(MARK):
                found[path] = ("Slurm configuration", None)
        for path in self._glob("/etc/systemd/system/*.mount"):
            if self._read(path).startswith(MARK):
                found[path] = ("mount of the cluster", None)
        for path in self._glob("/etc/resolv.conf"):
            if self._read(path).startswith(MARK):
                found[path] = ("name servers of the cluster", b"")
        for home in self._homes():
            for name in HISTORIES:
                found.update(dict.fromkeys(self._glob(home + "/" + name), ("shell history", None)))
        found.update(self._cluster_lines())
        if not booted:
            found.update(self._made_by_boot())
        return {path: found[path] for path in sorted(found) if not self._stays(path)}

    def remove(self):
        """Remove it all; return the paths."""
        found = self.left()
        for path, (_what, content) in found.items():
            if content is not None:
                self._write(path, content)
            elif os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        return list(found)

    def _made_by_boot(self):
        found = {}
        for path in self._glob("/etc/machine-id"):
            # Empty, not absent: without it systemd takes a boot for the first one, and enables by preset
            # (machine-id(5), "First Boot Semantics") what we have disabled.
            if self._read(path):
                found[path] = ("machine id", b"")
        for path in self._glob("/var/lib/dbus/machine-id"):
            if not os.path.islink(path):
                found[path] = ("machine id", None)
        for directory, _directories, names in os.walk(self.root + "/var/log"):
            for name in names:
                found[os.path.join(directory, name)] = ("log", None)
        if self.key:
            for home in self._homes():
                for path in self._glob(home + "/.ssh/authorized_keys"):
                    lines = self._read(path).splitlines(True)
                    kept = [line for line in lines if self.key.encode() not in line]
                    if len(kept) < len(lines):
                        found[path] = ("authorized key", b"".join(kept) or None)
        return found

    def _cluster_lines(self):
        """Find our block in /etc/hosts, and lines of the cluster's hosts outside of it."""
        found = {}
        for path in self._glob("/etc/hosts"):
            lines = self._read(path).decode("utf-8", "replace").splitlines(True)
            kept, inside = [], False
            for line in lines:
                if line.strip() in (HOSTS_BEGIN, HOSTS_END):
                    inside = line.strip() == HOSTS_BEGIN
                elif not inside and self.hosts.isdisjoint(line.split("#")[0].split()[1:]):
                    kept.append(line)
            if kept != lines:
                found[path] = ("lines of the cluster", "".join(kept).encode())
        return found

    def _stays(self, path):
        inside = path[len(self.root) :]
        return bool(_NOT_OURS.search(inside)) or inside == "/usr/lib/slurm-powersave/" + PROVENANCE

    def _homes(self):
        homes = {"/root"}
        for line in self._read(self.root + "/etc/passwd").decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            # "/" and the like are homes of services.
            if len(fields) == 7 and fields[5].count("/") > 1:
                homes.add(fields[5].rstrip("/"))
        return sorted(homes)

    def _glob(self, pattern):
        # With a last dot: names that begin with one are not matched otherwise (glob(7)).
        found = glob.glob(glob.escape(self.root) + pattern)
        if pattern.endswith("/*"):
            found += glob.glob(glob.escape(self.root) + pattern[:-1] + ".*")
        return [path for path in found if os.path.lexists(path)]

    def _read(self, path):
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return b""

    def _write(self, path, content):
        """Set a file's content in place: /etc/hosts may be a mount point. A symbolic link is replaced."""
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "wb") as file:
            file.write(content)
