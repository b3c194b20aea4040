#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a new slurm.conf leaves out must be out of use: one task, since each one costs half a second."""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: leaving_nodes
short_description: Refuse a slurm.conf without nodes or partitions that are in use
description:
  - Compares the slurm.conf that slurmctld has loaded with a new one. slurmctld kills the jobs of a node or a
    partition that its slurm.conf no longer names.
  - Fails if a cloud node that the new one lacks is not powered down, has a job, or still answers at its
    address; or if a partition that it lacks has jobs.
options:
  slurm_conf:
    description: The text of the new slurm.conf.
    type: str
    required: true
  loaded_file:
    description: A file with the text that slurmctld has loaded. Without it nothing is compared.
    type: path
    required: true
  drained:
    description: Whether nodes that leave must be drained as well.
    type: bool
    default: false
  port:
    description: What must not answer at the address of a node that leaves.
    type: int
    default: 22
author:
  - the slurm-powersave authors
"""

EXAMPLES = r"""
- name: See that nothing in use is left out
  leaving_nodes:
    slurm_conf: "{{ slurm_powersave.slurm_conf }}"
    loaded_file: /var/lib/slurm/slurm-powersave.loaded
"""

RETURN = r"""
nodes:
  description: The nodes that leave.
  returned: success
  type: list
  elements: str
"""

import re
import socket
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

OFF = {"POWERED_DOWN", "POWERING_DOWN"}
BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}
SECONDS = 1.0
"""How long an address may take to answer."""


def names(text, key):
    """Return the values of a key that begins lines: hostlist expressions or partition names."""
    return re.findall(rf"^{key}=(\S+)", text, re.MULTILINE | re.IGNORECASE)


def parse(lines):
    """Read `scontrol --oneliner show node`: name -> (flags, address), cloud nodes only."""
    found = {}
    for line in lines:
        fields = dict(re.findall(r"(?:^| )(NodeName|NodeAddr|State)=(\S*)", line))
        flags = set(fields.get("State", "").split("+"))
        if "CLOUD" in flags:
            found[fields["NodeName"]] = (flags, fields.get("NodeAddr", ""))
    return found


def mistakes(nodes, answering, partitions, jobs, drained):
    """Word what stands against it; nothing if nothing does."""
    found = []

    def listed(wrong):
        return " ".join(f"{name} ({'+'.join(sorted(nodes[name][0]))})" for name in wrong)

    used = [name for name, (flags, _) in nodes.items() if flags & BUSY or not flags & OFF]
    if used:
        found.append(
            f"these nodes leave slurm.conf and are not powered down, or have a job: {listed(used)}. "
            "`slurm-powersave resize` drains them, waits for their jobs and takes their servers away first"
        )
    loose = [name for name, (flags, _) in nodes.items() if "DRAIN" not in flags]
    if drained and loose:
        found.append(
            f"these nodes leave slurm.conf and are not drained, jobs may begin there: {listed(loose)}"
            ". Drain them, or let `slurm-powersave resize` do it"
        )
    if answering:
        found.append(f"these nodes leave slurm.conf and their servers still answer: {' '.join(answering)}")
    if jobs:
        found.append(
            f"slurm.conf loses {' '.join(partitions)}, and Slurm with it these jobs: {' '.join(jobs)}. "
            "Move them (scontrol update jobid=N partition=OTHER) or cancel them"
        )
    return found


def answers(address, port):
    """Tell whether something listens there."""
    try:
        socket.create_connection((address, port), SECONDS).close()
    except OSError:
        return False
    return True


class Host:
    """What is asked of slurmctld's host."""

    def __init__(self, module):
        self.module = module

    def run(self, *argv):
        """Return a command's lines; none if Slurm no longer knows what is asked for."""
        rc, out, err = self.module.run_command(list(argv))
        if rc and not re.search("not found|nvalid partition", out + err):
            self.module.fail_json(msg=f"{' '.join(argv[:3])}: {(err or out).strip()}")
        return [] if rc else out.splitlines()

    def nodes(self, text):
        """Name the nodes of a slurm.conf."""
        expressions = [name for name in names(text, "NodeName") if name.lower() != "default"]
        return set(self.run("scontrol", "show", "hostnames", ",".join(expressions))) if expressions else set()


def main():
    """Run the module."""
    spec = {
        "slurm_conf": {"type": "str", "required": True},
        "loaded_file": {"type": "path", "required": True},
        "drained": {"type": "bool", "default": False},
        "port": {"type": "int", "default": 22},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    host, new = Host(module), module.params["slurm_conf"]
    try:
        with open(module.params["loaded_file"]) as file:
            old = file.read().partition("\n# gres.conf\n")[0]
    except OSError:
        module.exit_json(changed=False, nodes=[])
    gone = sorted(host.nodes(old) - host.nodes(new))
    partitions = sorted(set(names(old, "PartitionName")) - set(names(new, "PartitionName")) - {"DEFAULT"})
    nodes = parse(host.run("scontrol", "--oneliner", "show", "node", ",".join(gone))) if gone else {}
    jobs = []
    if partitions:
        jobs = host.run("squeue", "--noheader", "--all", "--partition=" + ",".join(partitions), "--format=%A")
    with ThreadPoolExecutor(32) as pool:
        port = module.params["port"]
        heard = pool.map(lambda name: name if answers(nodes[name][1], port) else "", nodes)
        answering = [name for name in heard if name]
    wrong = mistakes(nodes, answering, partitions, jobs, module.params["drained"])
    if wrong:
        module.fail_json(msg=f"Nothing was changed: {'; '.join(wrong)}.")
    module.exit_json(changed=False, nodes=gone)


if __name__ == "__main__":
    main()
