#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that makes a host a member of the cluster, in one task.

A task costs about 0.1 s of the control host's CPU and a round trip for each node, so a module per file made
the configuration of a node four times slower than this one.
"""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: slurm_host
short_description: Make a host a member of a Slurm cluster
description:
  - Writes the munge key, C(/etc/hosts), the host name, C(slurm.conf), C(gres.conf) and C(cgroup.conf), and
    starts munged. On a compute node it then starts slurmd, last of all; on others munged is enabled, too.
  - A daemon whose files change is stopped before they are written and started afterwards. A run that is
    interrupted in between leaves it stopped, and the next run starts it. If slurmd ran before and does not
    start with the new files, the old ones come back and it is started with them; the module fails
    nevertheless.
options:
  hostname:
    description: What the host must call itself; Slurm looks its node up by this name. Not touched if absent.
    type: str
  munge_key:
    description: The cluster's munge key, base64.
    type: str
    required: true
  hosts:
    description: All hosts of the cluster as lines of C(/etc/hosts). Lines there of other hosts are kept.
    type: str
    required: true
  slurm_conf:
    description: The text of C(slurm.conf). With none it, C(gres.conf) and C(cgroup.conf) are left alone.
    type: str
    default: ""
  gres_conf:
    description: The text of C(gres.conf). With none a file that came from here is removed.
    type: str
    default: ""
  cgroup_conf:
    description: The text of C(cgroup.conf). With none a file that came from here is removed.
    type: str
    default: ""
  dns_servers:
    description: Name servers for C(/etc/resolv.conf). With none the file is left alone.
    type: list
    elements: str
    default: []
  mounts:
    description: Directories that must be mount points before slurmd starts.
    type: list
    elements: str
    default: []
  mounts_wait:
    description: Seconds to wait for the mount points.
    type: float
    default: 20
  storage:
    description: The mount unit of the cluster's shared directory. It is started; slurmd requires it, and on
      other hosts it is enabled.
    type: dict
    default: {}
    suboptions:
      unit: {description: Its name. None is touched if it is empty., type: str, default: ""}
      text: {description: The whole unit., type: str, default: ""}
  scripts:
    description: Scripts of the site. One without a text is removed.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Where it is to be., type: path, required: true}
      text: {description: The whole script., type: str, default: ""}
  expected:
    description: What the node was booted for. Otherwise the module fails before it changes anything.
    type: dict
    default: {}
    suboptions:
      image:
        description: The image. It counts where the image says its own name, in
          C(/usr/lib/slurm-powersave/image.json) (written by C(slurm-powersave image build)).
        type: str
      not_boot_id:
        description: The boot that is to be over.
        type: str
  slurmd:
    description: Whether slurmd runs here. It is started but not enabled, so that a host that boots does not
      register before its storage was checked.
    type: bool
    default: false
  start:
    description: Whether to wait for the mounts and start slurmd. With C(false) something else comes before
      that, and this module again after it.
    type: bool
    default: true
author:
  - the slurm-powersave authors
"""

EXAMPLES = r"""
- name: Configure a compute node
  slurm_host:
    hostname: "{{ inventory_hostname }}"
    munge_key: "{{ lookup('ansible.builtin.pipe', 'base64 --wrap=0 /etc/munge/munge.key') }}"
    hosts: "10.79.1.1 demo-1"
    slurm_conf: "{{ slurm_powersave.slurm_conf }}"
    mounts: [/mnt/ohpc]
    slurmd: true
"""

RETURN = r"""
changes:
  description: What was changed, one short line each.
  returned: always
  type: list
  elements: str
boot_id:
  description: The present boot, from /proc/sys/kernel/random/boot_id.
  returned: always
  type: str
hardware:
  description: The line of C(slurmd -C) with this host's hardware, where slurmd was to be started; empty if
    there is none.
  returned: success
  type: str
"""

import base64
import binascii
import grp
import json
import os
import pwd
import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slurm_host_files import hosts_text, mounted, read
from ansible.module_utils.slurm_host_slurmd import Slurmd
from ansible.module_utils.slurm_host_storage import SYSTEMD, requires, where
from ansible.module_utils.slurm_host_units import Problem

MARK = b"# Written by slurm-powersave"
"""How the files of slurm.conf's kind begin, as the inventory has them."""
PROVENANCE = "/usr/lib/slurm-powersave/image.json"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class Host(Slurmd):
    """This host: what it has, what it lacks, and how to change it."""

    def __init__(self, module):
        super().__init__(module)
        self.wanted = module.params
        self.boot_id = (read(BOOT_ID) or b"").decode().strip()

    def verify(self):
        """See that this is the boot and the image that were asked for; a cloud's API may say so too early."""
        expected = self.wanted["expected"]
        if expected.get("not_boot_id") == self.boot_id:
            raise Problem(f"it has not booted anew: its boot is still {self.boot_id}")
        try:
            image = json.loads(read(PROVENANCE) or b"{}").get("name")
        except ValueError as error:
            raise Problem(f"{PROVENANCE} is not JSON: {error}") from error
        if image and expected.get("image") and image != expected["image"]:
            raise Problem("it runs the image {}, asked for was {}".format(image, expected["image"]))

    def identity(self):
        """Write the host name, /etc/hosts and resolv.conf.

        They come before munged: with its own name unknown munged starts 20 s late.
        """
        name = self.wanted["hostname"]
        if name and read("/etc/hostname") != name.encode() + b"\n":
            self.put("/etc/hostname", name.encode() + b"\n")
        if name and socket.gethostname() != name:
            self.changes.append(f"hostname {name}")
            if not self.check:
                socket.sethostname(name)
        old = (read("/etc/hosts") or b"").decode("utf-8", "replace")
        new = hosts_text(old, self.wanted["hosts"])
        if new != old:
            self.put("/etc/hosts", new.encode())
        if self.wanted["dns_servers"]:
            lines = ["# Written by slurm-powersave"] + [
                f"nameserver {server}" for server in self.wanted["dns_servers"]
            ]
            text = "\n".join(lines).encode() + b"\n"
            if read("/etc/resolv.conf") != text:
                self.put("/etc/resolv.conf", text)

    def munge(self):
        """Bring munged up with the cluster's key, and see that it can read what it wrote."""
        try:
            key = base64.b64decode(self.wanted["munge_key"], validate=True)
        except binascii.Error as error:
            raise Problem(f"munge_key is not base64: {error}") from error
        if not 32 <= len(key) <= 1024:
            raise Problem(f"the munge key has {len(key)} bytes; munged takes 32 to 1024")
        path = "/etc/munge/munge.key"
        running = self.active("munge")
        user = pwd.getpwnam("munge")
        if read(path) != key:
            if running:
                self.systemctl("stop", "munge")
                running = False
            self.put(path, key, 0o400, (user.pw_uid, grp.getgrnam("munge").gr_gid), secret=True)
        # On a compute node this module runs after each boot, before slurmd; enabling costs it 0.3 s.
        if self.units["munge"].get("UnitFileState") == "disabled" and not self.wanted["slurmd"]:
            self.systemctl("enable", "munge")
        if not running:
            self.systemctl("start", "munge")
        if self.check:
            return
        made = subprocess.run(["munge", "-n"], capture_output=True, check=False)
        seen = subprocess.run(["unmunge"], input=made.stdout, capture_output=True, check=False)
        if made.returncode or seen.returncode:
            words = (made.stderr + seen.stderr).decode("utf-8", "replace").strip()
            raise Problem(f"munged does not answer: `munge -n | unmunge` says: {words}")

    def slurm(self):
        """Write slurm.conf, its companions and the site's scripts; slurmd does not run while they change."""
        differ = []
        for name in ("slurm.conf", "gres.conf", "cgroup.conf") if self.wanted["slurm_conf"] else ():
            path = "/etc/slurm/" + name
            text = self.wanted[name.replace(".", "_")]
            old = read(path)
            # A file that the image or the site brought along stays; one that we wrote goes.
            if text.encode() != (old or b"") and (text or old.startswith(MARK)):
                differ.append((path, text, 0o644))
        for script in self.wanted["scripts"]:
            if script["text"].encode() != (read(script["path"]) or b""):
                differ.append((script["path"], script["text"], 0o755))
        if differ and self.wanted["slurmd"] and self.active("slurmd"):
            self.before = {path: (read(path) or b"", mode) for path, _text, mode in differ}
            self.systemctl("stop", "slurmd")
            self.units["slurmd"]["ActiveState"] = "inactive"
        for path, text, mode in differ:
            self.put(path, text.encode(), mode)

    def storage(self):
        """Mount the shared directory. New options of one that is mounted count from the next boot on."""
        unit, text = self.wanted["storage"].get("unit"), self.wanted["storage"].get("text") or ""
        if not unit:
            return
        files = [(SYSTEMD + unit, text)]
        if self.wanted["slurmd"]:
            files.append((SYSTEMD + "slurmd.service.d/slurm-powersave-storage.conf", requires(text)))
        differ = [(path, wanted.encode()) for path, wanted in files if wanted.encode() != read(path)]
        for path, wanted in differ:
            self.put(path, wanted)
        if differ and not self.check:
            self.run("systemctl", "daemon-reload")
        if not self.wanted["slurmd"] and not os.path.lexists(SYSTEMD + "multi-user.target.wants/" + unit):
            self.systemctl("enable", unit)
        if not mounted(where(text)):
            self.systemctl("start", unit)

    def mounts(self):
        """Wait until each of the wanted directories is a mount point."""
        deadline = time.monotonic() + self.wanted["mounts_wait"]
        while True:
            missing = [path for path in self.wanted["mounts"] if not mounted(path)]
            if not missing or self.check:
                return
            if time.monotonic() > deadline:
                raise Problem(
                    "not mounted after {:g} s: {}; slurmd was not started".format(
                        self.wanted["mounts_wait"], ", ".join(missing)
                    )
                )
            time.sleep(0.2)

    def configure(self):
        """Do it all; the order matters, see the methods."""
        wants_slurmd = self.wanted["slurmd"]
        self.verify()
        self.read_units(["munge", "slurmd"] if wants_slurmd else ["munge"])
        self.identity()
        self.munge()
        self.slurm()
        if not wants_slurmd or not self.wanted["start"]:
            self.storage()
        else:
            try:
                self.storage()
                self.mounts()
            except Problem:
                if self.active("slurmd"):
                    self.systemctl("stop", "slurmd")
                raise
            self.slurmd()


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str"},
            "munge_key": {"type": "str", "required": True, "no_log": True},
            "hosts": {"type": "str", "required": True},
            "slurm_conf": {"type": "str", "default": ""},
            "gres_conf": {"type": "str", "default": ""},
            "cgroup_conf": {"type": "str", "default": ""},
            "dns_servers": {"type": "list", "elements": "str", "default": []},
            "mounts": {"type": "list", "elements": "str", "default": []},
            "mounts_wait": {"type": "float", "default": 20},
            "storage": {
                "type": "dict",
                "default": {},
                "options": {"unit": {"type": "str", "default": ""}, "text": {"type": "str", "default": ""}},
            },
            "scripts": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "text": {"type": "str", "default": ""},
                },
            },
            "expected": {
                "type": "dict",
                "default": {},
                "options": {"image": {"type": "str"}, "not_boot_id": {"type": "str"}},
            },
            "slurmd": {"type": "bool", "default": False},
            "start": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    host = Host(module)
    try:
        host.configure()
    except (Problem, OSError, KeyError) as error:
        text = str(error) if isinstance(error, Problem) else f"{type(error).__name__}: {error}"
        module.fail_json(msg=text, changed=bool(host.changes), changes=host.changes, boot_id=host.boot_id)
    module.exit_json(
        changed=bool(host.changes),
        changes=host.changes,
        diff=host.diffs,
        boot_id=host.boot_id,
        hardware=host.hardware,
    )


if __name__ == "__main__":
    main()
