#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Directories and small files in one task: by file and template they are 25 calls of 0.5 s."""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: hook_files
short_description: Install what slurmctld calls, and the directories that it fills
description:
  - Makes directories and writes files, each atomically, with owner and mode.
  - Follows no link that anybody but root could have made, and does in a directory of another user only what
    that user may do.
options:
  directories:
    description: Directories that must be there, or must not.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it is to be., type: path, required: true}
      owner: {description: User and group., type: str, default: root}
      mode: {description: Octal., type: str, default: "0755"}
      absent: {description: Whether it must not be there., type: bool, default: false}
  files:
    description: Files of root that must be there, or, without a text, must not.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it is to be., type: path, required: true}
      text: {description: Its whole text., type: str, default: ""}
      mode: {description: Octal., type: str, default: "0755"}
author:
  - the slurm-powersave authors
"""

EXAMPLES = r"""
- name: Install a hook and its spool
  hook_files:
    directories:
      - {path: /var/spool/slurm-powersave, owner: slurm, mode: "0700"}
    files:
      - path: /usr/lib/slurm-powersave/resume
        text: "{{ lookup('ansible.builtin.template', 'resume.sh.j2') }}"
"""

RETURN = r"""
changes:
  description: What was changed, one short line each.
  returned: always
  type: list
  elements: str
"""

import contextlib
import os
import pwd
import shutil
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unsafe(Exception):
    """Somebody else decides what a path leads to."""


@contextlib.contextmanager
def above(path, make):
    """Yield a handle of the directory that holds a path, None if it is absent, and whose it is.

    Every directory on the way is root's, and nobody else may write there; but the last may be another user's,
    who decides what is in it.
    """
    links_of_root(os.path.dirname(path))
    parent = os.path.realpath(os.path.dirname(path))
    handle = os.open("/", DIRECTORY)
    try:
        owner = trusted(handle, "/", last=parent == "/")
        way = [name for name in parent.split("/") if name]
        for number, name in enumerate(way, 1):
            if owner != 0:
                raise Unsafe(f"{'/' + '/'.join(way[: number - 1])} must be a directory of root")
            following = entered(handle, name, make)
            os.close(handle)
            handle = following
            if handle is None:
                break
            owner = trusted(handle, "/" + "/".join(way[:number]), last=number == len(way))
        yield handle, owner
    finally:
        if handle is not None:
            os.close(handle)


def links_of_root(path):
    """See that each link on the way is root's: whoever owns a directory decides what is in it, and when."""
    way = [name for name in path.split("/") if name]
    for number in range(len(way)):
        above_it = "/" + "/".join(way[:number])
        try:
            owner = os.stat(above_it).st_uid
        except FileNotFoundError:
            return
        if owner != 0:
            raise Unsafe(f"{above_it} must be a directory of root")


def entered(handle, name, make):
    """Open a directory in another one; make it, or return None, if it is absent."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=handle)
    try:
        return os.open(name, DIRECTORY, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unsafe(f"{name} is a link, or no directory ({error.strerror})") from error


def trusted(handle, path, *, last):
    """See that nobody but its owner may write in a directory; return the owner.

    In a sticky one (/tmp) nobody can exchange what is root's, which all directories on the way are.
    """
    found = os.fstat(handle)
    if found.st_mode & 0o022 and (last or not found.st_mode & stat.S_ISVTX):
        raise Unsafe(f"{path} must not be writable by others than its owner")
    return found.st_uid


@contextlib.contextmanager
def acting_as(user):
    """Be another user for a while, as far as files are concerned: what he may not do is not done for him."""
    if user.pw_uid == 0:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def directory(wanted, check):
    """Make a directory, mend its owner and mode, or remove it; tell whether that was needed."""
    path, user = wanted["path"], pwd.getpwnam(wanted["owner"])
    with above(path, make=not (check or wanted["absent"])) as (parent, owner):
        if wanted["absent"]:
            return parent is not None and removed(parent, path, owner, check)
        if parent is None:
            return True
        if owner not in (0, user.pw_uid):
            raise Unsafe(f"{os.path.dirname(path)} must belong to root or to {wanted['owner']}")
        with acting_as(user if owner else pwd.getpwuid(0)):
            return mended(parent, os.path.basename(path), user, int(wanted["mode"], 8), check)


def removed(parent, path, owner, check):
    """Remove a directory of ours."""
    if owner != 0:
        raise Unsafe(f"{os.path.dirname(path)} must be a directory of root")
    try:
        found = os.stat(os.path.basename(path), dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise Unsafe("is a link, or no directory")
    if not check:
        shutil.rmtree(path)
    return True


def mended(parent, name, user, mode, check):
    """Make a directory, or mend its owner and mode, as whoever we are now."""
    handle = entered(parent, name, make=False)
    changed = handle is None
    if changed and not check:
        os.mkdir(name, 0o700, dir_fd=parent)
        handle = entered(parent, name, make=False)
    if handle is None:
        return changed
    try:
        found = os.fstat(handle)
        if (found.st_uid, found.st_gid) != (user.pw_uid, user.pw_gid):
            changed = True
            if not check:
                os.fchown(handle, user.pw_uid, user.pw_gid)
        if changed or stat.S_IMODE(found.st_mode) != mode:
            changed = True
            if not check:
                os.fchmod(handle, mode)
    finally:
        os.close(handle)
    return changed


def file(wanted, check, diffs):
    """Write or remove a file; tell whether that was needed, and add what changes in it."""
    path, text, mode = wanted["path"], wanted["text"].encode(), int(wanted["mode"], 8)
    with above(path, make=bool(text) and not check) as (parent, owner):
        if parent is None:
            diffs += [difference(path, b"", text)] if text else []
            return bool(text)
        if owner != 0:
            raise Unsafe(f"{os.path.dirname(path)} must be a directory of root")
        old = content(parent, os.path.basename(path), mode)
        if old == (text or None):
            return False
        diffs.append(difference(path, old or b"", text))
        if not check:
            put(parent, path, text, mode)
        return True


def difference(path, old, new):
    """Return what Ansible shows with --diff."""
    before, after = (text.decode("utf-8", "replace") for text in (old, new))
    return {"before": before, "after": after, "before_header": path, "after_header": path}


def content(parent, name, mode):
    """Return a file's bytes; None if it is absent, nothing if it is not as it is to be."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if (found.st_uid, found.st_gid, stat.S_IFMT(found.st_mode)) != (0, 0, stat.S_IFREG):
        return b""
    if stat.S_IMODE(found.st_mode) != mode:
        return b""
    with open(name, "rb", opener=lambda name, _: os.open(name, FILE, dir_fd=parent)) as old:
        return old.read()


def put(parent, path, text, mode):
    """Replace a file, or remove it. Slurm may call a hook at any moment: it must be whole."""
    if not text:
        os.unlink(os.path.basename(path), dir_fd=parent)
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
    with os.fdopen(descriptor, "wb") as new:
        new.write(text)
        os.fchmod(new.fileno(), mode)
    os.rename(temporary, path)


def main():
    """Run the module."""
    path = {"type": "path", "required": True}
    mode = {"type": "str", "default": "0755"}
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": path,
                    "owner": {"type": "str", "default": "root"},
                    "mode": mode,
                    "absent": {"type": "bool", "default": False},
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"path": path, "text": {"type": "str", "default": ""}, "mode": mode},
            },
        },
        supports_check_mode=True,
    )
    changes, diffs = [], []
    makers = {"directories": directory, "files": lambda wanted, check: file(wanted, check, diffs)}
    for kind, do in makers.items():
        for wanted in module.params[kind]:
            try:
                if do(wanted, module.check_mode):
                    changes.append(wanted["path"])
            except (OSError, KeyError, Unsafe) as error:
                module.fail_json(msg=f"{wanted['path']}: {error}", changed=bool(changes), changes=changes)
    module.exit_json(changed=bool(changes), changes=changes, diff=diffs)


if __name__ == "__main__":
    main()
