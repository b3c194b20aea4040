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

import os
import pwd
import shutil
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule


def state(path):
    """Return uid, gid and mode; None when the path is absent."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def directory(wanted, check):
    """Make a directory, mend its owner and mode, or remove it; tell whether that was needed."""
    if wanted["absent"]:
        there = os.path.isdir(wanted["path"])
        if there and not check:
            shutil.rmtree(wanted["path"])
        return there
    user = pwd.getpwnam(wanted["owner"])
    right = (user.pw_uid, user.pw_gid, int(wanted["mode"], 8))
    if state(wanted["path"]) == right and os.path.isdir(wanted["path"]):
        return False
    if not check:
        os.makedirs(wanted["path"], exist_ok=True)
        os.chown(wanted["path"], right[0], right[1])
        os.chmod(wanted["path"], right[2])
    return True


def file(wanted, check):
    """Write or remove a file; tell whether that was needed."""
    path, text, mode = wanted["path"], wanted["text"].encode(), int(wanted["mode"], 8)
    there = state(path)
    if not text:
        if there and not check:
            os.unlink(path)
        return there is not None
    if there == (0, 0, mode):
        with open(path, "rb") as old:
            if old.read() == text:
                return False
    if not check:
        # Slurm may call a hook at any moment: it must be whole.
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=os.path.dirname(path))
        with os.fdopen(descriptor, "wb") as new:
            new.write(text)
            os.fchmod(new.fileno(), mode)
        os.rename(temporary, path)
    return True


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
    changes = []
    for kind, do in (("directories", directory), ("files", file)):
        for wanted in module.params[kind]:
            try:
                if do(wanted, module.check_mode):
                    changes.append(wanted["path"])
            except (OSError, KeyError) as error:
                module.fail_json(msg=f"{wanted['path']}: {error}", changed=bool(changes), changes=changes)
    module.exit_json(changed=bool(changes), changes=changes)


if __name__ == "__main__":
    main()
