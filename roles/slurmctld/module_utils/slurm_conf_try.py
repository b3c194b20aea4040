# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files for Slurm tried before they are live: by its own programs, where neither users nor nodes notice.

Slurm has no test mode. What each step finds was measured on 22.05.8, 24.11.5 and 26.05.5: `sinfo --version`
parses slurm.conf; slurmctld itself finds the rest that is fatal, and names jobs that it would lose;
`slurmd -G` reads gres.conf and cgroup.conf as a node does.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import tempfile

from ansible.module_utils.slurm_conf_files import Conf, read
from ansible.module_utils.slurm_conf_look import STATE

SECONDS = 15
"""For slurmctld to come up: 0.1 to 0.5 is usual, 13 for each name that only DNS knows."""
KINDS = 8
"""Kinds of node that are tried."""
MOST = 20
"""Lines of Slurm's words that are told."""
SAYS = re.compile(r"fatal|error|warning|nvalid", re.IGNORECASE)
NOISE = re.compile(r"plugstack|slurmdbd|Connection refused|agent threads active")
LOST = re.compile(
    r"(?:defunct partition|Invalid partition \([^)]*\) for|Invalid node \S+ in|Node count mismatch for|"
    r"Invalid req_nodes).*?JobId=(\d+)|JobId=(\d+) on defunct partition"
)
"""How slurmctld says of a job that it can't be kept."""
SHELLS = {"sh", "dash", "bash", "env", "busybox", "perl"}
"""A hook may be one of these itself; nothing is put in its place then."""
HOOKS = re.compile(r"(?i)\s*\w*(?:Program|Prolog|Epilog|PrologSlurmctld|EpilogSlurmctld|OnProg|OffProg)\s*=")


class Said:
    """What a try came to."""

    def __init__(self, rc=0, words=(), jobs=()):
        self.rc, self.words, self.jobs = rc, list(words), list(jobs)

    @property
    def clean(self):
        """Whether there is nothing to compare."""
        return self.rc == 0 and not self.words and not self.jobs


class Try:
    """Tries directories of files. `run(argv, env)` returns (rc, output); `script` is try-slurm's path."""

    def __init__(self, run, script, place, look=1):
        """`look`: seconds for which a slurmctld that has come up is looked at."""
        self.run, self.script, self.place, self.look = run, script, place, look
        self.called = []
        """What it would have called, had it been the real one: nothing was."""
        self._seen = {}

    def parse(self, directory):
        """Let a client command read slurm.conf, as every user's command does; return Slurm's words."""
        file = os.path.join(directory, "slurm.conf")
        rc, out = self.run(["timeout", "--signal=KILL", "5", "sinfo", "--version"], {"SLURM_CONF": file})
        found = self._words(out, directory)
        return Said(1 if rc else 0, found or ([f"sinfo ended with exit code {rc}"] if rc else []))

    def slurmctld(self, directory, listed):
        """Let a slurmctld that nobody sees start with it; `listed` are the jobs of squeue, or None."""
        if directory not in self._seen:
            self._seen[directory] = self._inside(directory, "")
        said, log = self._seen[directory]
        jobs = {job for found in LOST.findall(log) for job in found if job}
        return Said(said.rc, said.words, sorted(jobs if listed is None else jobs & set(listed), key=int))

    def slurmd(self, directory):
        """Let `slurmd -G` read it as a node of each kind would; return node -> what came of it."""
        if not shutil.which("slurmd", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin"):
            return None
        return {node: self._inside(directory, node)[0] for node in self._one_of_each(directory)}

    def _one_of_each(self, directory):
        kinds = {}
        for line in Conf(directory).all("NodeName"):
            first, _, rest = line.partition(" ")
            options = " ".join(word for word in rest.split() if not word.lower().startswith("nodeaddr="))
            kinds.setdefault(options, first.partition("=")[2])
        kinds = [names for names in kinds.values() if names.upper() != "DEFAULT"]
        found = []
        for names in kinds[:KINDS]:
            file = os.path.join(directory, "slurm.conf")
            rc, out = self.run(["scontrol", "show", "hostnames", names], {"SLURM_CONF": file})
            if rc == 0 and out.split():
                found.append(out.split()[0])
        return found

    def _inside(self, directory, node):
        """Run try-slurm; return what it said, and its log."""
        conf = Conf(directory)
        state, user = conf.get("StateSaveLocation", STATE), conf.get("SlurmUser", "root")
        why = self._cannot(conf, state, user)
        if why:
            return Said(9, [why]), ""
        work = tempfile.mkdtemp(prefix="slurm-powersave-try-", dir="/var/tmp")
        try:
            self._lay_out(work, conf, directory, state, user)
            argv = ["unshare", "--mount", "--net", "--pid", "--fork", "/bin/sh", self.script]
            argv += [work, self.place, directory, state, user, str(10 if node else SECONDS), str(self.look)]
            rc, out = self.run(argv + ([node] if node else []), {})
            log = read(os.path.join(work, "log"))
            words = self._words(log, directory)
            if rc not in (0, 1, 2):
                rc, words = 9, [f"no namespace of its own: {out.strip()[-300:] or rc}"]
            elif rc and not words:
                words = [line[:300] for line in log.strip().splitlines()[-3:]] or [f"exit code {rc}"]
            self.called += read(os.path.join(work, "called")).splitlines()[:MOST]
            return Said(rc, words), log
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _cannot(self, conf, state, user):
        """Say why nothing is started; where its own paths lie elsewhere the live ones would be written."""
        if not os.path.isdir(state):
            return f"there is no {state} yet"
        try:
            pwd.getpwnam(user)
        except KeyError:
            return ""  # slurmctld itself says so
        pid = conf.get("SlurmctldPidFile", "/run/slurmctld.pid")
        if not pid.startswith(("/run/", "/var/run/")):
            return f"SlurmctldPidFile={pid} is not below /run"
        paths = (os.path.join(at, name) for at, _, names in os.walk(state) for name in names)
        size = sum(os.path.getsize(path) for path in paths if os.path.isfile(path))
        free = shutil.disk_usage("/var/tmp").free
        if size * 2 > free:
            return f"no room for a copy of {state} in /var/tmp ({size >> 20} of {free >> 20} MiB)"
        return ""

    def _lay_out(self, work, conf, directory, state, user):
        os.chmod(work, 0o711)
        for name in ("munge", "dev"):
            os.mkdir(os.path.join(work, name))
        # slurmctld renames files while they are copied; what is missing then is the older of two.
        self.run(["cp", "--recursive", "--preserve", state, os.path.join(work, "state")], {})
        for name in os.listdir(os.path.join(work, "state")):
            if name.startswith("trigger_state"):  # strigger's programs would run
                os.unlink(os.path.join(work, "state", name))
        called = os.path.join(work, "called")
        texts = {
            "program": f'#!/bin/sh\necho "$0" "$@" >>{called}\n',
            "empty": "",
            "called": "",
            "programs": _list(self._hooks(conf)),
            "files": _list(self._files(conf)),
            "directories": _list(_directories(conf)),
            "devices": _list(self._devices(directory)),
        }
        for name, text in texts.items():
            with open(os.path.join(work, name), "w") as file:
                file.write(text)
        os.chmod(os.path.join(work, "program"), 0o755)
        try:
            owner = pwd.getpwnam(user)
        except KeyError:
            return
        for name in ("called", "empty"):
            os.chown(os.path.join(work, name), owner.pw_uid, owner.pw_gid)

    def _hooks(self, conf):
        """Name the programs that slurmctld might call, as files."""
        given = [line.partition("=")[2].split()[:1] for line in conf.lines if HOOKS.match(line)]
        paths = [word[0] for word in given if word] + ["/bin/mail", "/usr/bin/mail", "/bin/mailx"]
        if conf.get("JobCompType").endswith("script"):
            paths.append(conf.get("JobCompLoc"))
        real = {os.path.realpath(path) for path in paths if path.startswith("/") and os.path.isfile(path)}
        return sorted(path for path in real if os.path.basename(path) not in SHELLS)

    def _files(self, conf):
        """Name the live files that slurmctld would write to; /run and /var/log are hidden anyway."""
        given = [conf.get(key) for key in ("SlurmctldLogFile", "SlurmSchedLogFile")]
        if not conf.get("JobCompType").endswith("script"):
            given.append(conf.get("JobCompLoc"))
        return sorted(
            {
                path
                for path in given
                if os.path.isfile(path) and not path.startswith(("/run/", "/var/run/", "/var/log/"))
            }
        )

    def _devices(self, directory):
        """Name the devices of gres.conf that this host lacks."""
        text = read(os.path.join(directory, "gres.conf"))
        found = []
        for given in re.findall(r"(?i)\bFiles?\s*=\s*(/dev/\S+)", text):
            rc, out = self.run(
                ["scontrol", "show", "hostnames", given], {"SLURM_CONF": f"{directory}/slurm.conf"}
            )
            found += [path for path in out.split() if rc == 0 and path.startswith("/dev/")]
        return sorted({path for path in found if not os.path.exists(path)})

    def _words(self, log, directory):
        """Cut out what Slurm complains of: no times, no names of daemons, each line once."""
        found = []
        for line in log.replace(directory.rstrip("/") + "/", self.place.rstrip("/") + "/").splitlines():
            text = re.sub(
                r"^(?:\[[^\]]*\] |slurmctld: |slurmd: |sinfo: |\w+-?\d*: (?=error|fatal))+", "", line
            ).strip()
            if (
                SAYS.search(text)
                and not NOISE.search(text)
                and not text.startswith(("debug", "slurmctld version"))
            ):
                found.append(text[:300])
        return list(dict.fromkeys(found))[:MOST]


class Judge:
    """Compares a candidate with the files that Slurm runs with: only what is new counts."""

    def __init__(self, trial, compared, listed):
        self.trial, self.compared, self.listed = trial, compared, listed
        self.refused, self.untried, self.warnings = [], [], []

    def judge(self, directory):
        """Try all; `refused` says in Slurm's words what is against it."""
        parsed = self.trial.parse(directory)
        if parsed.rc:
            self.refused += parsed.words
            return
        self._slurmctld(directory)
        if not self.refused:
            self._slurmd(directory)

    def _slurmctld(self, directory):
        mine = self.trial.slurmctld(directory, self.listed)
        if mine.clean:
            return
        theirs = self.trial.slurmctld(self.compared, self.listed) if self.compared else Said()
        new = [word for word in mine.words if word not in theirs.words]
        jobs = [job for job in mine.jobs if job not in theirs.jobs]
        if mine.rc == 1 and theirs.rc == 1 and not new:
            self.untried += ["slurmctld: the present files do not start there either: " + mine.words[-1]]
        elif mine.rc == 1:
            self.refused += new or mine.words
        elif mine.rc:
            self.untried += ["slurmctld: " + (mine.words or [f"it was not up after {SECONDS} s"])[-1]]
        elif jobs:
            self.refused += [f"these jobs would be lost: {' '.join(jobs[:50])}", *new]
        else:
            self.warnings += new

    def _slurmd(self, directory):
        mine = self.trial.slurmd(directory)
        if mine is None:
            if any(self._differs(directory, name) for name in ("gres.conf", "cgroup.conf")):
                self.untried.append("gres.conf and cgroup.conf: slurmd is not installed on this host")
            return
        bad = {node: said for node, said in mine.items() if said.rc}
        theirs = self.trial.slurmd(self.compared) if bad and self.compared else {}
        known = {word for said in (theirs or {}).values() for word in said.words}
        for node, said in bad.items():
            new = [word for word in said.words if word not in known]
            if said.rc == 1 and new:
                self.refused += [f"slurmd on {node}: {word}" for word in new]
            elif said.rc != 1:
                self.untried.append(f"slurmd on {node}: " + (said.words or ["it did not end in 10 s"])[-1])

    def _differs(self, directory, name):
        return read(os.path.join(directory, name)) != (
            read(os.path.join(self.compared, name)) if self.compared else ""
        )


def _list(paths):
    return "".join(f"{path}\n" for path in paths if "\n" not in path)


def _directories(conf):
    """Directories below the hidden ones that slurmctld expects."""
    keys = ("SlurmctldPidFile", "SlurmdPidFile", "SlurmctldLogFile", "SlurmdLogFile", "SlurmSchedLogFile")
    found = {os.path.dirname(conf.get(key)) for key in keys} | {
        "/run/slurm",
        "/run/slurmctld",
        "/var/log/slurm",
    }
    inside = ("/run/", "/var/run/", "/var/log/")
    return sorted(
        path
        for path in found
        if (path + "/").startswith(inside) and path not in ("/run", "/var/run", "/var/log")
    )
