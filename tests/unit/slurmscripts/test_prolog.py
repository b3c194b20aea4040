"""The waiting PrologSlurmctld, with a scontrol, sinfo and squeue of the tests' own."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.hook_scripts import HookScripts
from tests.waiting import within

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "c[1-2]"}


class FakeSlurm:
    """What the three programs answer; every call leaves a line in `calls`."""

    def __init__(self, hooks: HookScripts) -> None:
        self.root = hooks.root
        for name in ("scontrol", "sinfo", "squeue"):
            answer = self.root / f"{name}.answer"
            hooks.program(name, f'echo "{name} $*" >>{self.root}/calls; . {answer}')
        self.say("scontrol", "c1\nc2")
        self.say("sinfo", "allocated#\nallocated#")
        self.say("squeue", "<7 CONFIGURING>")

    def say(self, name: str, text: str, *, code: int = 0) -> None:
        """Let a program answer this from now on."""
        answer = self.root / f"{name}.tmp"
        answer.write_text(f"cat <<'END'\n{text}\nEND\nexit {code}\n")
        answer.rename(self.root / f"{name}.answer")

    def calls(self, name: str) -> list[str]:
        """Return the calls of a program so far."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line for line in lines if line.split()[0] == name]


@pytest.fixture
def slurm(hooks: HookScripts) -> FakeSlurm:
    return FakeSlurm(hooks)


@contextmanager
def waiting(hooks: HookScripts) -> Iterator[subprocess.Popen[bytes]]:
    """Run a prolog that would wait for half an hour; it is gone at the end whatever happens."""
    prolog = hooks.start("prolog-slurmctld", env=JOB, start_new_session=True)
    try:
        yield prolog
    finally:
        with suppress(ProcessLookupError):
            os.killpg(prolog.pid, signal.SIGKILL)
        prolog.wait()


def up(hooks: HookScripts, *nodes: str) -> None:
    for node in nodes:
        (hooks.ready / node).touch()


def test_nodes_that_are_up_cost_one_question(hooks: HookScripts, slurm: FakeSlurm) -> None:
    slurm.say("sinfo", "allocated\nmixed@")
    assert hooks.call("prolog-slurmctld", env=JOB) == 0
    assert slurm.calls("sinfo") == ["sinfo -a -h -N -n c[1-2] -o %T"]
    assert slurm.calls("squeue") == slurm.calls("scontrol") == []


def test_it_leaves_as_soon_as_all_nodes_are_ready(hooks: HookScripts, slurm: FakeSlurm) -> None:
    with waiting(hooks) as prolog:
        time.sleep(0.5)
        up(hooks, "c1")
        time.sleep(0.5)
        assert prolog.poll() is None
        slurm.say("sinfo", "allocated\nallocated")
        up(hooks, "c2")
        began = time.monotonic()
        assert prolog.wait(5) == 0
        assert time.monotonic() - began < 2.0  # by itself it asks Slurm every 3 s
    assert len(slurm.calls("scontrol")) == 1


def test_a_file_left_from_an_earlier_life_releases_nobody(hooks: HookScripts, slurm: FakeSlurm) -> None:
    up(hooks, "c1", "c2")
    with waiting(hooks) as prolog:
        time.sleep(2.0)
        assert prolog.poll() is None
        assert len(slurm.calls("sinfo")) == 2  # the first round, and the one that unmasked the files
        slurm.say("sinfo", "allocated\nallocated")
        assert prolog.wait(10) == 0


def test_it_works_without_files(hooks: HookScripts, slurm: FakeSlurm) -> None:
    hooks.ready.rmdir()
    with waiting(hooks) as prolog:
        time.sleep(0.5)
        slurm.say("sinfo", "allocated\nallocated")
        assert prolog.wait(10) == 0
    assert len(slurm.calls("sinfo")) == 2


@pytest.mark.parametrize("mark", ["#", "~", "%", "*", "!"])
def test_states_that_are_not_ready(hooks: HookScripts, slurm: FakeSlurm, mark: str) -> None:
    slurm.say("sinfo", f"allocated\nallocated{mark}")
    with waiting(hooks) as prolog:
        assert within(5, lambda: slurm.calls("squeue") != [])
        assert prolog.poll() is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("<7 PENDING>", 0),
        ("<77 CONFIGURING>\n<17 CONFIGURING>", 0),
        ("", 0),
        ("slurm_load_jobs error: Invalid job id specified", 1),
    ],
)
def test_it_leaves_when_the_job_does_not_wait(
    hooks: HookScripts, slurm: FakeSlurm, text: str, code: int
) -> None:
    slurm.say("squeue", text, code=code)
    assert hooks.call("prolog-slurmctld", env=JOB) == 0
    assert slurm.calls("squeue") == ["squeue -h -j 7 -o <%A %T>"]


def test_a_task_of_an_array_finds_itself(hooks: HookScripts, slurm: FakeSlurm) -> None:
    slurm.say("squeue", "<6 RUNNING>\n<7 CONFIGURING>\n<8 PENDING>")
    with waiting(hooks) as prolog:
        assert within(5, lambda: slurm.calls("squeue") != [])
        time.sleep(0.5)
        assert prolog.poll() is None
        prolog.terminate()


def test_a_restart_of_slurmctld_is_no_reason_to_leave(hooks: HookScripts, slurm: FakeSlurm) -> None:
    for name in ("sinfo", "squeue"):
        slurm.say(name, "slurm_load_node error: Unable to contact slurm controller", code=1)
    with waiting(hooks) as prolog:
        time.sleep(1.0)
        assert prolog.poll() is None
        slurm.say("sinfo", "allocated\nallocated")
        assert prolog.wait(10) == 0


def test_it_is_bound_just_over_resume_timeout(tmp_path: Path) -> None:
    hooks = HookScripts(tmp_path, power_save={"resume_timeout": -29})
    FakeSlurm(hooks)
    began = time.monotonic()
    assert hooks.call("prolog-slurmctld", env=JOB) == 0
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("env", [{}, {"SLURM_JOB_ID": "7"}, {"SLURM_JOB_NODELIST": "c1"}])
def test_without_a_job_it_leaves(hooks: HookScripts, slurm: FakeSlurm, env: dict[str, str]) -> None:
    assert hooks.call("prolog-slurmctld", env=env) == 0


@pytest.mark.parametrize(("text", "code"), [("", 0), ("", 1)])
def test_a_list_that_scontrol_refuses_holds_nobody(
    hooks: HookScripts, slurm: FakeSlurm, text: str, code: int
) -> None:
    slurm.say("scontrol", text, code=code)
    assert hooks.call("prolog-slurmctld", env=JOB) == 0


def test_without_slurms_programs_it_leaves(hooks: HookScripts) -> None:
    hooks.program("scontrol", "exit 127")
    assert hooks.call("prolog-slurmctld", env=JOB) == 0


def test_scancel_ends_it_with_zero(hooks: HookScripts, slurm: FakeSlurm) -> None:
    with waiting(hooks) as prolog:
        assert within(5, lambda: slurm.calls("squeue") != [])
        slurm.say("squeue", "")
        os.killpg(prolog.pid, signal.SIGTERM)
        assert prolog.wait(5) == 0


@pytest.mark.parametrize(
    "answer", ["<7 CONFIGURING>", "slurm_load_jobs error: Unable to contact slurm controller"]
)
def test_a_slurmctld_that_is_being_stopped_gets_the_time_to_kill_it(
    hooks: HookScripts, slurm: FakeSlurm, answer: str
) -> None:
    """It runs the prolog again after its restart then; one that has ended is not run again."""
    hurry = hooks.root / "hurry"
    hooks.program("sleep", f'[ -e {hurry} ] || exec /bin/sleep "$1"')
    with waiting(hooks) as prolog:
        assert within(5, lambda: slurm.calls("squeue") != [])
        slurm.say("squeue", answer, code=answer.startswith("slurm"))
        os.killpg(prolog.pid, signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            prolog.wait(3)
        hurry.touch()
        assert prolog.wait(5) == 0, "but not for ever"


@pytest.mark.parametrize("code", [0, 3])
def test_the_sites_own_prolog_runs_after_it(tmp_path: Path, code: int) -> None:
    own, told = tmp_path / "own", tmp_path / "told"
    hooks = HookScripts(tmp_path / "hooks", prolog_slurmctld=str(own))
    FakeSlurm(hooks).say("sinfo", "idle\nidle")
    own.write_text(f'#!/bin/sh\necho "$SLURM_JOB_ID $#" >{told}; env >>{told}; exit {code}\n')
    own.chmod(0o755)
    assert hooks.call("prolog-slurmctld", env=JOB) == code
    first, *environment = told.read_text().splitlines()
    assert first == "7 0"
    assert not any(str(hooks.bin) in line for line in environment)


def test_a_missing_prolog_of_the_site_holds_nobody(tmp_path: Path) -> None:
    hooks = HookScripts(tmp_path / "hooks", prolog_slurmctld="/no/such/prolog")
    FakeSlurm(hooks).say("sinfo", "idle\nidle")
    hooks.log_to(tmp_path / "syslog")
    assert hooks.call("prolog-slurmctld", env=JOB) == 0
    assert "/no/such/prolog" in (tmp_path / "syslog").read_text()


def test_thirty_waiting_jobs_ask_seldom(hooks: HookScripts, slurm: FakeSlurm) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(waiting(hooks))
        assert within(10, lambda: len(slurm.calls("squeue")) == 30)
        time.sleep(1.0)
        assert len(slurm.calls("sinfo")) == 30
