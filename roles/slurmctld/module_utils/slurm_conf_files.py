# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""slurm.conf, gres.conf and cgroup.conf of slurmctld's host: the live ones, new ones and old ones."""

from __future__ import annotations

import difflib
import os
import re
import shutil
import time

NAMES = ("gres.conf", "cgroup.conf", "slurm.conf")
"""In the order in which they are renamed: what slurm.conf asks for is there before it."""
HEADER = "# Written by slurm-powersave"
OWN = "slurm-powersave.d"
"""Our directory beside the live files."""
KEPT = 10
"""Old sets that stay."""
LONGEST_DIFF = 200
"""Lines."""


def read(path):
    """Return a file's text; empty if there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path, text):
    """Replace a file, or remove it where there is no text; on the disk before it counts."""
    if not text:
        if os.path.lexists(path):
            os.unlink(path)
        return
    new = path + ".slurm-powersave-new"
    with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())
    os.rename(new, path)


def read_set(directory):
    """Read the three files of a directory."""
    return {name: read(os.path.join(directory, name)) for name in NAMES}


class Files:
    """The three files of a host. `place` is where the live ones are, /etc/slurm."""

    def __init__(self, place):
        self.place = place
        self.own = os.path.join(place, OWN)
        self.candidate, self.good = (os.path.join(self.own, name) for name in ("candidate", "good"))
        self.old = os.path.join(self.own, "old")

    def live(self):
        """Read the live files."""
        return read_set(self.place)

    def ours(self, name):
        """Return the texts of a file that came from us: the last one that was taken, and one on its way."""
        found = {read(os.path.join(self.own, which, name)) for which in ("written", "pending")}
        return found - {""}

    def foreign(self, wanted):
        """Name the live files that would be replaced and are not ours."""
        live = self.live()
        return [
            name
            for name in NAMES
            if wanted[name] and live[name] and live[name] != wanted[name] and not is_ours(live[name])
        ]

    def edited(self, wanted):
        """Name the live files of ours that somebody has changed since; with no record of ours none has."""
        live = self.live()
        return [
            name
            for name in NAMES
            if is_ours(live[name])
            and live[name] != wanted[name]
            and self.ours(name)
            and live[name] not in self.ours(name)
        ]

    def moved_on(self, name, wanted):
        """Tell whether the cluster file wants another text than the last time."""
        return wanted[name] not in self.ours(name)

    def build(self, wanted, place=None):
        """Lay all of the live directory beside it, with the wanted files in it; return where.

        Includes and what else Slurm looks for beside slurm.conf is there then, too.
        """
        to = place or self.candidate
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(os.path.dirname(to), mode=0o755, exist_ok=True)
        os.makedirs(to, mode=0o755)
        for name in sorted(os.listdir(self.place)) if os.path.isdir(self.place) else ():
            if name not in NAMES and not name.startswith("slurm-powersave."):
                _copy(os.path.join(self.place, name), os.path.join(to, name))
        for name in NAMES:
            text = wanted[name] or ("" if is_ours(self.live()[name]) else self.live()[name])
            write(os.path.join(to, name), text)
        return to

    def save_old(self):
        """Keep a copy of the live files; return where, None if there are none."""
        live = self.live()
        if not any(live.values()):
            return None
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        number = 0
        while os.path.exists(to := os.path.join(self.old, f"{stamp}.{number}")):
            number += 1
        os.makedirs(to, mode=0o755)
        for name in NAMES:
            write(os.path.join(to, name), live[name])
        for name in sorted(os.listdir(self.old))[:-KEPT]:
            shutil.rmtree(os.path.join(self.old, name), ignore_errors=True)
        return to

    def put(self, texts):
        """Make these the live files, slurm.conf last."""
        os.makedirs(self.place, mode=0o755, exist_ok=True)
        for name in NAMES:
            if texts[name] != read(os.path.join(self.place, name)):
                write(os.path.join(self.place, name), texts[name])

    def note(self, which, wanted):
        """Write down our own texts: `pending` before they go live, `written` once Slurm has taken them."""
        to = os.path.join(self.own, which)
        os.makedirs(to, mode=0o755, exist_ok=True)
        for name in NAMES:
            write(os.path.join(to, name), wanted[name])

    def forget_pending(self):
        """What was on its way is taken, or put back."""
        shutil.rmtree(os.path.join(self.own, "pending"), ignore_errors=True)

    def accept(self):
        """The candidate is what Slurm runs with: from now on it is the last good one."""
        before = self.good + ".before"
        shutil.rmtree(before, ignore_errors=True)
        if os.path.isdir(self.good):
            os.rename(self.good, before)
        os.rename(self.candidate, self.good)
        shutil.rmtree(before, ignore_errors=True)

    def edits(self, names):
        """Show what was changed in our files since we wrote them."""
        written = read_set(os.path.join(self.own, "written"))
        return self.diff(names, written, self.live(), ("as it was written", "on this host"))

    def diff(self, names, before, after, words=("on this host", "from the cluster file")):
        """Show how these files differ, as a unified diff of a bounded length."""
        lines = []
        for name in names:
            lines += difflib.unified_diff(
                before[name].splitlines(),
                after[name].splitlines(),
                *(f"{os.path.join(self.place, name)} ({word})" for word in words),
                lineterm="",
                n=1,
            )
        more = [f"... {len(lines) - LONGEST_DIFF} more lines"] if len(lines) > LONGEST_DIFF else []
        return "\n".join(lines[:LONGEST_DIFF] + more)


def is_ours(text):
    """Tell whether a file came from here."""
    return text.startswith(HEADER)


def _copy(source, to):
    if os.path.islink(source):
        os.symlink(os.readlink(source), to)
    elif os.path.isdir(source):
        shutil.copytree(source, to, symlinks=True, copy_function=_keep)
        _own(source, to)
    elif os.path.isfile(source):
        _keep(source, to)


def _keep(source, to):
    """Copy a file with its mode and its owner: a key must not become readable."""
    new = os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    with new, open(source, "rb") as old:
        shutil.copyfileobj(old, new)
    _own(source, to)


def _own(source, to):
    found = os.stat(source)
    os.chown(to, found.st_uid, found.st_gid)
    os.chmod(to, found.st_mode & 0o7777)


class Conf:
    """A slurm.conf with its Includes, as lines."""

    def __init__(self, directory):
        self.directory, self.missing, self.lines = directory, [], []
        self._add("slurm.conf", 0)

    def _add(self, name, depth):
        path = os.path.join(self.directory, name)
        if not os.path.isfile(path):
            self.missing.append(name)
            return
        for line in read(path).splitlines():
            text = line.split("#")[0].strip()
            found = re.match(r"include\s+(\S+)", text, re.IGNORECASE)
            if found and depth < 9 and not re.search(r"[*?[]", found.group(1)):
                self._add(found.group(1), depth + 1)
            elif text:
                self.lines.append(text)

    def get(self, key, default=""):
        """Return the value that counts: Slurm takes the last one."""
        found = [value for name, value in map(_cut, self.lines) if name == key.lower()]
        return found[-1] if found else default

    def all(self, key):
        """Return the lines that begin with a key."""
        return [line for line in self.lines if _cut(line)[0] == key.lower()]


def _cut(line):
    key, _, value = line.partition("=")
    return key.strip().lower(), value.strip().strip('"')
