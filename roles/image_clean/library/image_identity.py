#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes from a disk what says whose it is, gives it the name of an image, and checks both."""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_identity
short_description: Take a host's identity from its disk, and give the disk that of an image
description:
  - Stops and disables services, and stops what writes logs and the random seed.
  - Removes munge key, C(slurm.conf) and what our roles wrote beside it, Slurm's state, SSH host keys, machine
    id, host name, logs, lines of the cluster in C(/etc/hosts), the cloud's line in C(authorized_keys), shell
    histories, temporary files, leases, and what cloud-init remembers. Nobody can log in any more then.
  - Writes where the image comes from.
options:
  state:
    description: C(image) does all that. C(checked) changes nothing, and fails if it is not so.
    type: str
    choices: [image, checked]
    required: true
  provenance:
    description: What the image is; the versions of Slurm and munge are added.
    type: dict
    default: {}
  provenance_path:
    description: The file for it.
    type: path
    default: /usr/lib/slurm-powersave/image.json
  units:
    description: Services that must be installed, and neither run nor be enabled.
    type: list
    elements: str
    default: []
  booted:
    description: The host has booted from the image. What a boot or the cloud makes anew does not count then.
    type: bool
    default: false
  public_key:
    description: The key that the cloud put into C(authorized_keys).
    type: str
    default: ""
  hosts:
    description: The cluster's hosts as lines of C(/etc/hosts), besides this host's own name.
    type: str
    default: ""
  hostname:
    description: This host's own name.
    type: str
    default: ""
  more:
    description: Further files, as patterns, that are not to be in an image.
    type: list
    elements: str
    default: []
author:
  - the slurm-powersave authors
"""

EXAMPLES = r"""
- name: Make it an image
  image_identity:
    state: image
    provenance: {name: compute-1, base: default}
    hosts: "10.79.1.1 demo-1"
    units: [munge, slurmd]
"""

RETURN = r"""
found:
  description: What identified the host, as C(what path).
  returned: always
  type: list
  elements: str
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.image_identity_disk import Disk

# They would write anew what is removed, the random seed at shutdown. What is not there does no harm.
WRITERS = ["rsyslog.service", "syslog.socket", "systemd-random-seed.service"]
VERSIONS = {"slurm": ["slurmd", "-V"], "munge": ["munged", "--version"]}
"""They answer "slurm-wlm 22.05.8" and "munge-0.5.15 (2022-06-22)"."""


def stop(module):
    """Stop and disable the services, and what would write on the disk while it is cleaned."""
    rc, _out, err = module.run_command(["systemctl", "disable", "--now", "--quiet", *module.params["units"]])
    if rc:
        module.fail_json(msg=f"systemctl disable --now failed: {err.strip()}")
    module.run_command(["systemctl", "stop", *WRITERS])
    module.run_command(["journalctl", "--relinquish-var"])


def write_provenance(module):
    """Write what the image is."""
    versions = {}
    for name, argv in VERSIONS.items():
        rc, out, _err = module.run_command(argv)
        words = out.split() if rc == 0 else []
        versions[name] = next((word.split("-", 1)[-1] for word in words if word[-1:].isdigit()), "")
    path = module.params["provenance_path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump({**module.params["provenance"], "packages": versions}, file, indent=1)
        file.write("\n")
    os.chmod(path, 0o644)


def wrong_units(module):
    """Name the services that are not as an image is to have them."""
    wrong = []
    for name in module.params["units"]:
        properties = "--property=LoadState,ActiveState,UnitFileState"
        _rc, out, _err = module.run_command(["systemctl", "show", properties, name])
        unit = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if unit.get("LoadState") != "loaded":
            wrong.append(f"{name} is not installed")
        if unit.get("ActiveState") in ("active", "activating", "reloading"):
            wrong.append(f"{name} runs")
        if unit.get("UnitFileState", "").startswith("enabled"):
            wrong.append(f"{name} is enabled")
    return wrong


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["image", "checked"], "required": True},
            "provenance": {"type": "dict", "default": {}},
            "provenance_path": {"type": "path", "default": "/usr/lib/slurm-powersave/image.json"},
            "units": {"type": "list", "elements": "str", "default": []},
            "booted": {"type": "bool", "default": False},
            "public_key": {"type": "str", "default": ""},
            "hosts": {"type": "str", "default": ""},
            "hostname": {"type": "str", "default": ""},
            "more": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    hosts = [name for line in wanted["hosts"].splitlines() for name in line.split("#")[0].split()[1:]]
    # A booted host has its own name in /etc/hosts, as the cloud wrote it.
    own = [wanted["hostname"]] if wanted["hostname"] and not wanted["booted"] else []
    disk = Disk(public_key=wanted["public_key"], hosts=hosts + own, more=wanted["more"])
    if wanted["state"] == "image" and not module.check_mode:
        stop(module)
        write_provenance(module)
    left = disk.left(wanted["booted"])
    found = [f"{what} {path}" for path, (what, _content) in left.items()]
    if wanted["state"] == "checked":
        wrong = wrong_units(module) + found
        if wrong:
            more = f" and {len(wrong) - 20} more" if len(wrong) > 20 else ""
            module.fail_json(msg="this is no image: " + "; ".join(wrong[:20]) + more, found=found)
    elif not module.check_mode:
        disk.remove()
    module.exit_json(changed=wanted["state"] == "image", found=found)


if __name__ == "__main__":
    main()
