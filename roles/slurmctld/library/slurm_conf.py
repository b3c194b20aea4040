#!/usr/bin/python
# Copyright: the slurm-powersave authors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of slurmctld: tried before they are live, and put back when it does not run with them."""

# ruff: noqa: E402 (Ansible wants the documentation before the imports)
from __future__ import annotations

DOCUMENTATION = r"""
---
module: slurm_conf
short_description: Give slurmctld other files, if it runs with them
description:
  - C(do=try) lays the new files beside the live ones and lets Slurm's programs try them where nobody sees
    it. It fails with Slurm's own words if they are refused, if jobs would be lost, or if a file is not ours.
  - C(do=take) makes them the live ones, lets slurmctld take them and looks whether all is well. If not, the
    old files come back, and slurmctld runs with them.
options:
  do:
    description: Which of the two.
    type: str
    choices: [try, take]
    required: true
  slurm_conf:
    description: The text of C(slurm.conf).
    type: str
    required: true
  gres_conf:
    description: The text of C(gres.conf). With none a file that came from here is removed.
    type: str
    default: ""
  cgroup_conf:
    description: The text of C(cgroup.conf). With none a file that came from here is removed.
    type: str
    default: ""
  place:
    description: Where the live files are.
    type: path
    default: /etc/slurm
  script:
    description: The text of try-slurm, which starts a slurmctld that nobody sees. For C(do=try).
    type: str
    default: ""
  look:
    description: Seconds for which a slurmctld that comes up with them is looked at.
    type: int
    default: 1
  reload:
    description: Whether slurmctld has loaded other files than these, whatever is on the disk.
    type: bool
    default: false
  restart:
    description: Whether it must be restarted to take them; else it is reconfigured.
    type: bool
    default: false
  judge:
    description: Whether C(do=try) lets Slurm try the new files. It looks whose the live ones are anyhow.
    type: bool
    default: true
  replace_foreign:
    description: Whether files that are not ours may be replaced. A copy is kept.
    type: bool
    default: false
  replace_edits:
    description: Whether what somebody has changed in our files may be replaced. A copy is kept.
    type: bool
    default: false
  keep:
    description: The files that stay as somebody has edited them; what C(do=try) returned.
    type: list
    elements: str
    default: []
  broken:
    description: Whether Slurm can't read the live files; what C(do=try) returned.
    type: bool
    default: false
author:
  - the slurm-powersave authors
"""

EXAMPLES = r"""
- name: Try the new slurm.conf
  slurm_conf:
    do: try
    slurm_conf: "{{ slurm_powersave.slurm_conf }}"
    script: "{{ lookup('ansible.builtin.file', 'try-slurm') }}"
"""

RETURN = r"""
refused:
  description: What is against the new files, in Slurm's own words where it said it. At most 40 lines.
  returned: when it fails
  type: list
  elements: str
untried:
  description: What could not be tried, and why.
  returned: always
  type: list
  elements: str
called:
  description: The programs that slurmctld would have called meanwhile, had it been the real one.
  returned: always
  type: list
  elements: str
keep:
  description: Files that stay as somebody has edited them.
  returned: success
  type: list
  elements: str
broken:
  description: Whether Slurm can't read the live files.
  returned: success
  type: bool
acts:
  description: What was done to slurmctld.
  returned: always
  type: list
  elements: str
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slurm_conf_files import NAMES, Conf, Files, is_ours
from ansible.module_utils.slurm_conf_live import Change, Slurm
from ansible.module_utils.slurm_conf_look import mistakes, moved
from ansible.module_utils.slurm_conf_try import Judge, Try


class Work:
    """One call of the module."""

    def __init__(self, module):
        self.module, given = module, module.params
        self.files = Files(given["place"])
        self.wanted = {name: given[name.replace(".", "_")] for name in NAMES}
        self.slurm = Slurm(self.run, given["place"])
        self.answer = {"changed": False, "untried": [], "called": [], "keep": [], "broken": False, "acts": []}

    def run(self, argv, env):
        """Run a command of this host; return (rc, output)."""
        found = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard", **env}
        try:
            rc, out, err = self.module.run_command(
                argv, environ_update=found, errors="replace", handle_exceptions=False
            )
        except OSError as error:
            return 127, f"{argv[0]}: {error.strerror}"
        return rc, out + err

    def fail(self, text, refused=()):
        """End with a message; Slurm's words are part of it."""
        words = list(refused)[:40]
        self.answer["refused"] = words
        self.module.fail_json(msg="\n  ".join([text, *words]), **self.answer)

    def target(self, keep):
        """Return the files as they are to be."""
        live = self.files.live()
        return {name: live[name] if name in keep else self.wanted[name] for name in NAMES}

    def differs(self, target):
        """Tell whether a live file would change; one without a text that is not ours stays."""
        live = self.files.live()
        return any(self.after(live, target)[name] != live[name] for name in NAMES)

    @staticmethod
    def after(live, target):
        """Return the live files as they will be."""
        stays = {name: text for name, text in live.items() if not target[name] and not is_ours(text)}
        return {**target, **stays}

    # Trying

    def try_it(self):
        """Do what `do=try` says."""
        given = self.module.params
        self.refuse_foreign()
        with tempfile.TemporaryDirectory(prefix="slurm-powersave-", dir="/var/tmp") as scratch:
            script = os.path.join(scratch, "try-slurm")
            with open(script, "w") as file:
                file.write(given["script"])
            trial = Try(self.run, script, given["place"], given["look"])
            self.answer["called"] = trial.called
            there = bool(self.files.live()["slurm.conf"])
            self.answer["broken"] = there and trial.parse(given["place"]).rc != 0
            self.look_at_edits(trial)
            target = self.target(self.answer["keep"])
            if not (given["judge"] and (given["reload"] or self.differs(target))):
                return
            # In check mode nothing is left behind; the candidate must be readable by SlurmUser.
            os.chmod(scratch, 0o755)
            beside = os.path.join(scratch, "candidate") if self.module.check_mode else None
            self.judge(trial, self.files.build(self.after(self.files.live(), target), beside), there)

    def refuse_foreign(self):
        """Files of somebody else are not replaced without a word."""
        names = self.files.foreign(self.wanted)
        if names and not self.module.params["replace_foreign"]:
            self.fail(
                f"Nothing was changed: {', '.join(names)} in {self.files.place} of this host did not "
                "come from here. This would change:\n"
                + self.files.diff(names, self.files.live(), self.wanted)
                + "\nPut what you need of it "
                "into the cluster file, then run `slurm-powersave deploy --replace-foreign` "
                "(slurmctld_replace_foreign=true by hand): it keeps a copy."
            )

    def look_at_edits(self, trial):
        """What somebody has changed in our files stays, unless Slurm can't run with it, or he says so."""
        names = self.files.edited(self.wanted)
        if not names:
            return
        place = self.files.place
        if not self.answer["broken"]:
            found = [trial.slurmctld(place, None), *(trial.slurmd(place) or {}).values()]
            self.answer["broken"] = any(said.rc == 1 for said in found)
        shown = self.files.edits(names)
        if self.answer["broken"] or self.module.params["replace_edits"]:
            why = "Slurm does not run with it" if self.answer["broken"] else "as asked for"
            self.module.warn(
                f"{', '.join(names)} was edited here and is replaced ({why}); a copy is kept:\n{shown}"
            )
            return
        late = [name for name in names if self.files.moved_on(name, self.wanted)]
        if late:
            self.fail(
                f"Nothing was changed: {', '.join(late)} in {place} was edited on this host since it was "
                "written, and the cluster file wants something else there now:\n" + shown + "\nPut the edit "
                "into the cluster file; then run it again with --replace-edits "
                "(slurmctld_replace_edits=true by hand): it keeps a copy."
            )
        self.answer["keep"] = names
        self.module.warn(f"{', '.join(names)} was edited on this host and stays so:\n{shown}")

    def judge(self, trial, directory, there):
        """Try a directory, and fail if there is anything new against it."""
        place, good = self.files.place, self.files.good
        compared = place if there and not self.answer["broken"] else good if os.path.isdir(good) else None
        if self.answer["broken"]:
            self.slurm.read_with(os.path.join(compared or directory, "slurm.conf"))
        new, live = Conf(directory), Conf(compared or directory)
        old = mistakes(live, self.files.live()["cgroup.conf"]) if compared else []
        found = mistakes(new, self.target([])["cgroup.conf"])
        refused = [one for one in found if one not in old] + moved(new, live)
        jobs = self.slurm.jobs()
        verdict = Judge(trial, compared, jobs)
        if not refused:
            verdict.judge(directory)
            refused = verdict.refused
        self.answer["untried"] = verdict.untried
        for text in [one for one in found if one in old] + verdict.warnings:
            self.module.warn(f"Slurm would run with the new files, but says: {text}")
        for text in verdict.untried:
            self.module.warn(f"not tried: {text}")
        if refused:
            self.fail(
                "Nothing was changed: Slurm does not run with the new files "
                f"(they are in {self.files.candidate}). It says:",
                refused,
            )

    # Taking

    def take_it(self):
        """Do what `do=take` says."""
        given, check = self.module.params, self.module.check_mode
        live = self.files.live()
        target = self.after(live, self.target(given["keep"]))
        differs = target != live
        self.enable(check)
        if not (differs or given["reload"]):
            self.as_it_is(check)
            return
        self.answer["changed"] = True
        self.answer["diff"] = [
            {"before": live[name], "after": target[name], "before_header": path, "after_header": path}
            for name, path in ((name, os.path.join(given["place"], name)) for name in NAMES)
            if live[name] != target[name]
        ]
        if check:
            self.answer["acts"].append(Change(self.slurm, self.files, given["restart"]).how())
            return
        if not os.path.isdir(self.files.candidate):
            self.files.build(target)
        back = live
        if given["broken"]:
            good = Files(self.files.good).live()
            back = good if good["slurm.conf"] else live
            using = self.files.good if good["slurm.conf"] else self.files.candidate
            self.slurm.read_with(os.path.join(using, "slurm.conf"))
        self.files.save_old()
        self.files.note("pending", self.wanted)
        change = Change(self.slurm, self.files, given["restart"])
        taken = change.take(target, back)
        self.answer["acts"] += change.acts
        if not taken:
            self.files.forget_pending()
            self.fail(
                "slurmctld did not take the new files; the old ones are back. What was wrong:", change.wrong
            )
        self.settle()

    def settle(self):
        """Remember these files as ours, and as the last good ones."""
        self.files.note("written", self.wanted)
        self.files.forget_pending()
        self.files.accept()

    def enable(self, check):
        """slurmctld starts with this host."""
        if self.run(["systemctl", "is-enabled", "slurmctld"], {})[1].strip() != "enabled":
            self.answer["changed"] = True
            self.answer["acts"].append("enable")
            if not check:
                self.run(["systemctl", "enable", "slurmctld"], {})

    def as_it_is(self, check):
        """Nothing is new: see that slurmctld runs."""
        started = not self.slurm.active()
        if started:
            self.answer["changed"] = True
            self.answer["acts"].append("start")
        if check:
            return
        if started:
            self.run(["systemctl", "reset-failed", "slurmctld"], {})
            self.run(["timeout", "60", "systemctl", "start", "slurmctld"], {})
        if not self.slurm.wait():
            rc, out = self.run(["journalctl", "-u", "slurmctld", "-o", "cat", "-n", "5", "--no-pager"], {})
            self.fail("slurmctld does not answer", out.splitlines() if rc == 0 else [])
        if not os.path.isdir(self.files.good) and not self.module.params["keep"]:
            # Files of a version that kept no copy.
            self.files.build(self.files.live())
            self.settle()
        shutil.rmtree(self.files.candidate, ignore_errors=True)


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "do": {"type": "str", "choices": ["try", "take"], "required": True},
            "slurm_conf": {"type": "str", "required": True},
            "gres_conf": {"type": "str", "default": ""},
            "cgroup_conf": {"type": "str", "default": ""},
            "place": {"type": "path", "default": "/etc/slurm"},
            "script": {"type": "str", "default": ""},
            "look": {"type": "int", "default": 1},
            "reload": {"type": "bool", "default": False},
            "judge": {"type": "bool", "default": True},
            "restart": {"type": "bool", "default": False},
            "replace_foreign": {"type": "bool", "default": False},
            "replace_edits": {"type": "bool", "default": False},
            "keep": {"type": "list", "elements": "str", "default": []},
            "broken": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    work = Work(module)
    try:
        (work.try_it if module.params["do"] == "try" else work.take_it)()
    except OSError as error:
        work.fail(f"{type(error).__name__}: {error}")
    module.exit_json(**work.answer)


if __name__ == "__main__":
    main()
