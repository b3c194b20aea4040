#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a new slurm.conf leaves out must be out of use: one task, since each one costs half a second."""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: leaving_nodes
short_description: Refuse a slurm.conf for another version, or without nodes or partitions that are in use
description:
  - Compares the version of Slurm that a new slurm.conf is for with the slurmctld that is installed here.
  - Compares what the running slurmctld knows with a new slurm.conf. A node or partition that its slurm.conf
    no longer names takes its jobs with it; from 23.11 on `scontrol reconfigure` does that without a word,
    and the jobs' processes live on (measured on 26.05.5).
  - Fails if a node that the new one lacks has a job; if it is a cloud node that is not powered down and
    drained, or still answers at its address; or if a partition that it lacks has jobs.
options:
  slurm_conf:
    description: The text of the new slurm.conf.
    type: str
    required: true
  slurm_conf_path:
    description: Where it is written to; files that it includes are looked for beside it.
    type: path
    default: /etc/slurm/slurm.conf
  version:
    description: The version of Slurm that it is for, two numbers. Empty, nothing is compared.
    type: str
    default: ""
  loaded_file:
    description: A file with the text that slurmctld has loaded. It counts where slurmctld does not answer.
    type: path
    required: true
  last_good:
    description: The slurm.conf that slurmctld ran with last. It is read where the live one can't be; so is
      the new one, if there is none.
    type: path
    default: /etc/slurm/slurm-powersave.d/good/slurm.conf
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
    loaded_file: /etc/slurm/slurm-powersave.loaded
"""

RETURN = r"""
nodes:
  description: The nodes that leave.
  returned: success
  type: list
  elements: str
"""

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

OFF = {"POWERED_DOWN", "POWERING_DOWN"}
BUSY = {"ALLOCATED", "MIXED", "COMPLETING"}
SECONDS = 1.0
"""How long an address may take to answer."""
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")


def names(text, key):
    """Return the values of a key that begins lines: hostlist expressions or partition names."""
    found = re.findall(rf"^\s*{key}=(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return [name for name in found if name.upper() != "DEFAULT"]


def included(text, directory):
    """Name the files that a slurm.conf includes."""
    found = re.findall(r"^\s*include\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return [os.path.join(directory, name) for name in found]


def states(line):
    """Return the flags of each state in a line of `scontrol --oneliner show node`: Slurm writes one.

    What slurmd says of itself stands before it, and what it calls Extra behind it.
    """
    found = []
    for rest in line.split(" State=")[1:]:
        word, _, behind = rest.partition(" ")
        if behind.partition("=")[0].split(" ")[-1] == "ThreadsPerCore":
            found.append(re.match("[A-Z_+]*", word).group().split("+"))
    return found


def parse(lines):
    """Read `scontrol --oneliner show node`: name -> flags; dynamic nodes are in no slurm.conf."""
    return {name: flags for name, flags in (believed(lines) or {}).items() if "DYNAMIC_NORM" not in flags}


def believed(lines):
    """Read the flags of all nodes; None if the answer can't be believed.

    A slurmd may print newlines, and lines of other nodes: so each line is one node's, and each node has one.
    """
    found = {}
    for line in lines:
        name, flags = line.partition(" ")[0], states(line)
        if not line.strip() or line == "No nodes in the system":
            continue
        if not name.startswith("NodeName=") or not NODE_NAME.match(name[9:]) or len(flags) != 1:
            return None
        if name[9:] in found:
            return None
        found[name[9:]] = flags[0]
    return found


def mistakes(nodes, used, answering, partitions, jobs):
    """Word what stands against it; nothing if nothing does.

    `nodes` are the flags of those that leave, `used` those of them with a job, `jobs` those of partitions.
    """
    found = []
    resize = "`slurm-powersave resize` drains them, waits for their jobs and takes their servers away first"

    def listed(wrong):
        return " ".join(f"{name} ({'+'.join(nodes[name])})" for name in sorted(wrong))

    cloud = {name: flags for name, flags in nodes.items() if "CLOUD" in flags}
    busy = {name for name, flags in nodes.items() if BUSY.intersection(flags)} | set(used)
    busy |= {name for name, flags in cloud.items() if not OFF.intersection(flags)}
    if busy:
        found.append(
            f"these nodes leave slurm.conf and are not powered down, or have a job: {listed(busy)}. {resize}"
        )
    loose = {name for name, flags in cloud.items() if "DRAIN" not in flags} - busy
    if loose:
        found.append(
            "these nodes leave slurm.conf and are not drained, jobs may begin there: "
            f"{listed(loose)}. {resize}"
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

    def ask(self, *argv):
        """Return a command's lines; None, and why, if it can't be had."""
        try:
            rc, out, err = self.module.run_command(list(argv), handle_exceptions=False)
        except OSError as error:
            return None, str(error)
        return (None, (err or out).strip()) if rc else ([line for line in out.split("\n") if line], "")

    def run(self, *argv):
        """Return a command's lines; none if Slurm no longer knows what is asked for."""
        lines, why = self.ask(*argv)
        if lines is None and not re.search("not found|nvalid (partition|node name)", why):
            self.module.fail_json(msg=f"{' '.join(argv[:3])}: {why}")
        return lines or []

    def read_with(self, *files):
        """Let Slurm's programs read one of these, where they can't read the live slurm.conf."""
        lines, _ = self.ask("timeout", "5", "sinfo", "--version")
        if lines is not None:
            return
        for file in files:
            if os.path.exists(file):
                os.environ["SLURM_CONF"] = file
                lines, _ = self.ask("timeout", "5", "sinfo", "--version")
                if lines is not None:
                    self.module.warn(f"Slurm can't read its slurm.conf here; it is asked with {file}")
                    return
        os.environ.pop("SLURM_CONF", None)

    def nodes(self, text):
        """Name the nodes of a slurm.conf."""
        expressions = names(text, "NodeName")
        return set(self.run("scontrol", "show", "hostnames", ",".join(expressions))) if expressions else set()

    def known(self, shown, old, kept):
        """Return the flags of the nodes that slurmctld knows, as far as they do not stay."""
        if believed(shown) is None:
            # Somebody lies, and may do so for others. Of a node that is asked for alone no other one speaks.
            known = set(self.run("sinfo", "--noheader", "--all", "--Node", "--format=%N")) | self.nodes(old)
            gone = sorted(name for name in known - kept if NODE_NAME.match(name))
            shown = [line for name in gone for line in self.alone(name)]
        return {name: flags for name, flags in parse(shown).items() if name not in kept}

    def alone(self, name):
        """Ask for one node, and return its line; one that can't be read counts as in use."""
        lines, why = self.ask("scontrol", "--oneliner", "show", "node", name)
        if lines is None and why == f"Node {name} not found":
            return []
        found = believed(lines or [])
        readable = found is not None and set(found) == {name}
        return lines if readable else [f"NodeName={name} State=CLOUD+UNREADABLE ThreadsPerCore=1"]

    def text(self, path):
        """Read a file; empty if there is none."""
        try:
            with open(path) as file:
                return file.read()
        except OSError:
            return ""


def wrong_version(host, wanted):
    """Say that another version is installed; nothing if it is the one, or none is there yet."""
    lines, _ = host.ask("slurmctld", "-V")
    found = re.search(r"(\d+\.\d+)", " ".join(lines or []))
    if not wanted or not found or found.group(1) == wanted:
        return ""
    return (
        f"Nothing was changed: slurmctld {found.group(1)} is installed here, and slurm.conf would be for "
        f"{wanted}. Set slurm_version in the cluster file, or install the other slurmctld."
    )


def addresses(text, host):
    """Map node names to their addresses as a slurm.conf gives them; Slurm itself may show the name."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"\s*NodeName=(\S+).*\sNodeAddr=(\S+)", line, re.IGNORECASE)
        if match:
            expand = [host.run("scontrol", "show", "hostnames", one) for one in match.groups()]
            found.update(zip(*expand))  # noqa: B905  # strict= came with Python 3.10
    return found


def main():
    """Run the module."""
    spec = {
        "slurm_conf": {"type": "str", "required": True},
        "slurm_conf_path": {"type": "path", "default": "/etc/slurm/slurm.conf"},
        "version": {"type": "str", "default": ""},
        "loaded_file": {"type": "path", "required": True},
        "last_good": {"type": "path", "default": "/etc/slurm/slurm-powersave.d/good/slurm.conf"},
        "port": {"type": "int", "default": 22},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    host, new = Host(module), module.params["slurm_conf"]
    wrong = wrong_version(host, module.params["version"])
    if wrong:
        module.fail_json(msg=wrong)
    directory = os.path.dirname(module.params["slurm_conf_path"])
    new = "\n".join([new, *(host.text(path) for path in included(new, directory))])
    if host.text(module.params["slurm_conf_path"]):
        text = os.path.join(module.tmpdir, "slurm.conf")
        with open(text, "w") as file:
            file.write(module.params["slurm_conf"])
        host.read_with(module.params["last_good"], text)
    old = host.text(module.params["loaded_file"]).partition("\n# gres.conf\n")[0]
    shown, why = host.ask("scontrol", "--oneliner", "show", "node")
    if shown is None:
        # Nothing runs there yet, or a slurmctld is down that this run may be meant to bring back.
        # scontrol expands names only where there is a slurm.conf: before the first deploy there is none.
        fewer = set(names(old, "NodeName")) - set(names(new, "NodeName"))
        gone = sorted(host.nodes(old) - host.nodes(new)) if fewer else []
        lost = sorted(set(names(old, "PartitionName")) - set(names(new, "PartitionName")))
        if gone or lost:
            module.fail_json(
                msg=f"Nothing was changed: slurm.conf loses {' '.join(gone + lost)}, and slurmctld "
                f"can't be asked whether they have jobs: {why}."
            )
        module.exit_json(changed=False, nodes=[])
    kept = host.nodes(new)
    nodes = host.known(shown, old, kept)
    used = []
    if nodes:
        # Not --nodelist: one name that slurmctld has just forgotten would fail the whole call.
        held = sorted(set(host.run("squeue", "--noheader", "--all", "--format=%N")) - {""})
        if held:
            used = set(host.run("scontrol", "show", "hostnames", ",".join(held))) & set(nodes)
    there = host.run("scontrol", "--oneliner", "show", "partition")
    partitions = sorted(set(names("\n".join(there), "PartitionName")) - set(names(new, "PartitionName")))
    jobs = []
    if partitions:
        jobs = host.run("squeue", "--noheader", "--all", "--partition=" + ",".join(partitions), "--format=%A")
    places = addresses(old, host) if nodes else {}
    with ThreadPoolExecutor(32) as pool:
        port = module.params["port"]
        cloud = sorted(name for name, flags in nodes.items() if "CLOUD" in flags)
        heard = pool.map(lambda name: name if answers(places.get(name, name), port) else "", cloud)
        answering = [name for name in heard if name]
    wrong = mistakes(nodes, used, answering, partitions, jobs)
    if wrong:
        module.fail_json(msg=f"Nothing was changed: {'; '.join(wrong)}.")
    module.exit_json(changed=False, nodes=sorted(nodes))


if __name__ == "__main__":
    main()
