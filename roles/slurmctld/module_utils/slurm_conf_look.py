# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What slurmctld says nothing of, or waits a minute for: files, programs and plugins of slurm.conf."""

from __future__ import annotations

import glob
import os
import re

PROGRAMS = (
    "ResumeProgram", "SuspendProgram", "ResumeFailProgram", "PrologSlurmctld", "EpilogSlurmctld",
    "SlurmctldPrimaryOnProg", "SlurmctldPrimaryOffProg",
)  # fmt: skip
"""What slurmctld runs itself. What slurmd runs is looked at on the nodes."""
PLUGINS = ("TaskPlugin", "ProctrackType", "MpiDefault")
"""slurmctld does not load them, slurmd does (measured on 22.05.8, 24.11.5 and 26.05.5)."""
PLACES = (
    "/usr/lib/*/slurm-wlm",
    "/usr/lib/*/slurm",
    "/usr/lib64/slurm",
    "/usr/lib/slurm",
    "/usr/local/lib/slurm",
)
WITHOUT_FILE = {"none", "autodetect", "disabled", ""}
STATE = "/var/spool"
"""The default of StateSaveLocation (slurm.conf(5))."""


def mistakes(conf, cgroup_conf=""):
    """Word what is wrong with a slurm.conf, a list."""
    found = [f"Include {name}: there is no such file" for name in conf.missing if name != "slurm.conf"]
    programs = list(PROGRAMS)
    if "reboot_from_controller" in conf.get("SlurmctldParameters").lower():
        programs.append("RebootProgram")
    for key in programs:
        wrong = program(conf.get(key).split(" ")[0])
        if wrong:
            found.append(f"{key}={conf.get(key)}: {wrong}")
    if not [
        line for line in conf.all("PartitionName") if not re.match(r"(?i)PartitionName\s*=\s*DEFAULT\b", line)
    ]:
        found.append("there is no partition: Slurm would kill every job, or not start")
    return found + plugins(conf, cgroup_conf)


def moved(new, live):
    """Word what must not change by writing a file, since the queue would be lost."""
    if not live.lines:
        return []
    found = []
    names = new.get("ClusterName"), live.get("ClusterName")
    if all(names) and names[0].lower() != names[1].lower():
        found.append("ClusterName would change from {1} to {0}: slurmctld does not start".format(*names))
    states = [conf.get("StateSaveLocation", STATE) for conf in (new, live)]
    if states[0] != states[1] and not os.path.exists(os.path.join(states[0], "clustername")):
        found.append(
            "StateSaveLocation would change from {1} to {0}, which holds no state of Slurm: all jobs would "
            "be lost. Stop slurmctld, move the directory, and run this again".format(*states)
        )
    return found


def program(path):
    """Word what keeps a program from being run; nothing if it can be, or none is named."""
    if not path:
        return ""
    if not os.path.isfile(path):
        return "there is no such file"
    if not os.access(path, os.X_OK):
        return "it may not be executed"
    with open(path, "rb") as file:
        first = file.readline(256)
    if first.startswith(b"#!"):
        interpreter = first[2:].split()[:1]
        if not interpreter or not os.path.exists(interpreter[0]):
            return f"its interpreter is missing: {first[2:].decode(errors='replace').strip()}"
    return ""


def plugins(conf, cgroup_conf):
    """Word which plugins there are not; only where others of their kind are there."""
    given = [(key, word) for key in PLUGINS for word in conf.get(key).split(",")]
    cgroup = re.findall(r"(?im)^\s*CgroupPlugin\s*=\s*(\S+)", cgroup_conf)
    given += [("CgroupPlugin", word) for word in cgroup]
    family = {"MpiDefault": "mpi"}
    found = []
    for key, word in given:
        kind, _, name = word.strip().rpartition("/")
        kind = kind or family.get(key, "")
        if name.lower() in WITHOUT_FILE or not kind:
            continue
        others = plugin_files(conf, kind)
        # mpi/pmix is mpi_pmix.so, or a link to mpi_pmix_v4.so.
        if others and f"{kind}_{name}.so" not in others:
            found.append(f"{key}={word}: there is no plugin {kind}_{name}.so here")
    return found


def plugin_files(conf, kind):
    """Name the plugins of a kind that are installed."""
    places = conf.get("PluginDir").split(":") if conf.get("PluginDir") else PLACES
    paths = [path for place in places for path in glob.glob(os.path.join(place, f"{kind}_*.so"))]
    return {os.path.basename(path) for path in paths}
