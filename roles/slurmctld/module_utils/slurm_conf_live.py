# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""slurmctld takes new files, is looked at, and gets the old ones back if anything is wrong."""

from __future__ import annotations

import os
import re
import time

from ansible.module_utils.slurm_conf_files import Conf

SECONDS = 30.0
"""In which slurmctld must answer."""
LOOK = 3.0
"""Seconds in which nodes that register may be drained; they do so at once."""
BAD = re.compile(r"reconfigure failed|fatal:", re.IGNORECASE)
DRAINED = re.compile(r"drain|inval", re.IGNORECASE)
OURS = "slurm-powersave:"
"""How the reasons begin that the engine sets."""
ENDED = {
    "COMPLETED",
    "FAILED",
    "TIMEOUT",
    "OUT_OF_MEMORY",
    "CANCELLED",
    "COMPLETING",
    "DEADLINE",
    "PREEMPTED",
}
KILLED = re.compile(
    r"Killing JobId=(\d+) on defunct|(?:Invalid partition|Node count mismatch|Invalid node).*?JobId=(\d+)"
)


class Slurm:
    """The slurmctld of this host. `run(argv, env)` returns (rc, output)."""

    def __init__(self, run, place):
        self.run, self.place, self.env = run, place, {}

    def read_with(self, file):
        """Let Slurm's programs read another slurm.conf: the live one is broken."""
        self.env = {"SLURM_CONF": file}

    def ask(self, *argv, seconds=10):
        """Run one of Slurm's programs."""
        return self.run(["timeout", "--signal=KILL", str(seconds), *argv], self.env)

    def answers(self):
        """Tell whether slurmctld answers."""
        return " is UP" in self.ask("scontrol", "ping")[1]

    def active(self):
        """Tell whether its unit runs, or is about to."""
        state = self.run(["systemctl", "is-active", "slurmctld"], {})[1].strip()
        return state in ("active", "activating", "reloading")

    def jobs(self):
        """Return job -> state as squeue lists them; None if it can't be had."""
        rc, out = self.ask("squeue", "--noheader", "--all", "--format=%A %T")
        if rc:
            return None
        return dict(line.split()[:2] for line in out.splitlines() if re.match(r"\d+ [A-Z_]+$", line.strip()))

    def drained(self):
        """Return the drained or invalid nodes, node -> reason and who set it; None if it can't be had."""
        rc, out = self.ask("sinfo", "--noheader", "--all", "--Node", "--format=%N|%T|%u|%E")
        if rc:
            return None
        rows = (line.split("|", 3) for line in out.splitlines())
        return {row[0]: (row[3].strip(), row[2]) for row in rows if len(row) == 4 and DRAINED.search(row[1])}

    def wait(self, seconds=SECONDS):
        """Wait until slurmctld answers; tell whether it does."""
        deadline = time.monotonic() + seconds
        while not self.answers():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.3)
        return True


class Log:
    """slurmctld's log from now on."""

    def __init__(self, slurm):
        self.path = Conf(slurm.place).get("SlurmctldLogFile")
        self.run, self.began = slurm.run, time.strftime("%Y-%m-%d %H:%M:%S")
        self.size = os.path.getsize(self.path) if self.path and os.path.exists(self.path) else 0

    def lines(self):
        """Return what was written since; of the journal where there is no file."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self.size if os.path.getsize(self.path) >= self.size else 0)
                found = file.read(1 << 20).decode("utf-8", "replace")
        except OSError:
            found = ""
        argv = ["journalctl", "--unit=slurmctld", "--output=cat", "--no-pager", "--quiet", "--lines=50"]
        return (found or self.run([*argv, "--since", self.began], {})[1]).splitlines()

    def words(self):
        """Return Slurm's own words on what went wrong."""
        found = [
            re.sub(r"^\[[^\]]*\] ", "", line)[:300] for line in self.lines() if re.search("fatal|error", line)
        ]
        fatal = [line for line in found if "fatal" in line]
        return list(dict.fromkeys(fatal or found))[-6:]


class Change:
    """New files for slurmctld, taken or put back."""

    def __init__(self, slurm, files, restart):
        self.slurm, self.files, self.restart = slurm, files, restart
        self.wrong = []
        self.acts = []

    def take(self, texts, back):
        """Make `texts` the live files and let slurmctld take them; else make `back` the live ones.

        Returns whether they stay. What was wrong is in `wrong`, what became of the old files, too.
        """
        before = self.slurm.jobs()
        how = self.how()
        self.restart = self.restart or how == "restart"
        drained, log = self.slurm.drained(), Log(self.slurm)
        self.files.put(texts)
        self.slurm.env = {}
        self._tell(how)
        if not self.wrong:
            self._verify(log, before, drained)
        if not self.wrong:
            return True
        words = log.words()
        self.wrong += [word for word in words if word not in self.wrong]
        self._back(back, drained)
        return False

    def how(self):
        """Say how slurmctld will take new files: start, restart or reconfigure."""
        if not self.slurm.active():
            return "start"
        return "restart" if self.restart or not self.slurm.answers() else "reconfigure"

    def _tell(self, how):
        if how != "reconfigure":
            self._systemctl(how)
        else:
            self.acts.append("reconfigure")
            rc, out = self.slurm.ask("scontrol", "reconfigure", seconds=int(SECONDS))
            if rc:
                self.wrong.append(f"scontrol reconfigure: {out.strip()[-300:] or rc}")

    def _systemctl(self, verb):
        self.acts.append(verb)
        self.slurm.run(["systemctl", "reset-failed", "slurmctld"], {})
        rc, out = self.slurm.run(["timeout", "60", "systemctl", verb, "slurmctld"], {})
        if rc:
            self.wrong.append(f"systemctl {verb} slurmctld: {out.strip()[-300:] or rc}")

    def _verify(self, log, before, drained):
        if not self.slurm.wait():
            self.wrong.append(f"slurmctld does not answer after {SECONDS:g} s")
            return
        bad = [line for line in log.lines() if BAD.search(line)]
        self.wrong += [re.sub(r"^\[[^\]]*\] ", "", line)[:300] for line in bad[:4]]
        lost = self._lost(before, log)
        if lost:
            self.wrong.append(f"these jobs are gone: {' '.join(lost[:50])}")
        deadline = time.monotonic() + LOOK
        while not self.wrong and time.monotonic() < deadline:
            time.sleep(0.5)
            self.wrong += [f"Slurm has drained {node}: {why}" for node, why in self._new(drained).items()][
                :10
            ]
        if not self.wrong and not self.slurm.answers():
            self.wrong.append("slurmctld answered, and does no longer")

    def _lost(self, before, log):
        """Name the jobs that were listed and neither are any more nor have ended by themselves."""
        now = self.slurm.jobs()
        if before is None or now is None:
            return []
        killed = {job for line in log.lines() for found in KILLED.findall(line) for job in found if job}
        lost = [job for job in before if job in killed]
        for job in sorted(set(before) - set(now) - killed, key=int):
            _, out = self.slurm.ask("scontrol", "--oneliner", "show", "job", job)
            found = re.search(r"\bJobState=([A-Z_]+)", out)
            ended = found and found.group(1) in ENDED
            done = re.compile(rf"JobId={job}\b.*(?:done|WEXITSTATUS|WTERMSIG)|REQUEST_KILL_JOB JobId={job}\b")
            if not ended and not any(done.search(line) for line in log.lines()):
                lost.append(job)
        return lost

    def _new(self, drained):
        """Return the nodes that Slurm itself has set aside since: node -> reason."""
        now = self.slurm.drained()
        if drained is None or now is None:
            return {}
        user = Conf(self.files.place).get("SlurmUser", "root")
        return {
            node: why
            for node, (why, who) in now.items()
            if node not in drained
            and not why.startswith(OURS)
            and who.partition("(")[0] in (user, "Unknown", "")
        }

    def _back(self, back, drained):
        """Put the old files back, and slurmctld on them."""
        new = self._new(drained)
        self.files.put(back)
        self.acts.append("old files back")
        self.slurm.env = {}
        if not back["slurm.conf"]:  # the first deploy: there is nothing to go back to
            self.slurm.run(["systemctl", "stop", "slurmctld"], {})
            return
        log = Log(self.slurm)
        if self.restart or not self.slurm.answers():
            self.slurm.run(["systemctl", "reset-failed", "slurmctld"], {})
            self.slurm.run(["timeout", "60", "systemctl", "restart", "slurmctld"], {})
        else:
            # Also after one that was refused: nodes of 26.05 have been given the new files.
            self.slurm.ask("scontrol", "reconfigure", seconds=int(SECONDS))
        if not self.slurm.wait():
            self.slurm.run(["timeout", "60", "systemctl", "restart", "slurmctld"], {})
            if not self.slurm.wait():
                self.wrong.append(
                    "slurmctld does not run with the old files either: " + " | ".join(log.words())
                )
                return
        new.update(self._new(drained))
        if new:
            self.slurm.ask("scontrol", "update", "nodename=" + ",".join(sorted(new)), "state=RESUME")
            self.acts.append("resume " + ",".join(sorted(new)))
