"""What the engine relies on in Slurm, as cases that the fake and the real slurmctld both have to pass.

Each case gets a Slurm whose nodes are all powered off and whose hooks only note their calls.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Protocol

import pytest

from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.nodes import SlurmJob, SlurmNode
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.model.slurm_versions import TESTED, Difference, has
from slurm_powersave.ports.slurm import Slurm
from tests.permits import permits

REASON = "slurm-powersave: (quota) needs 64 cores, 12 left; rests until 14:05 [op 1a2b]"


class Subject(Protocol):
    """A Slurm to be tried."""

    slurm: Slurm
    nodes: Sequence[str]
    version: Version

    def submit(self, *nodes: str) -> int:
        """Submit a batch job for exactly these nodes; return when Slurm has given it them."""

    def let_pass(self, seconds: float) -> None:
        """Let some time go by."""

    def hooks(self) -> list[tuple[str, str]]:
        """Return the hook calls so far: mode and hostlist."""

    def comment(self, job: int) -> str:
        """Return a job's AdminComment."""


def node(subject: Subject, name: str) -> SlurmNode:
    """Read a node through the port."""
    return subject.slurm.snapshot().nodes[name]


def job_of(subject: Subject, number: int) -> SlurmJob:
    """Read a job through the port."""
    return next(job for job in subject.slurm.snapshot().jobs if job.id == number)


def until(subject: Subject, what: str, true: Callable[[], bool], seconds: float = 8.0) -> None:
    """Let time pass until something is so."""
    spent = 0.0
    while not true():
        if spent > seconds:
            pytest.fail(f"not so after {seconds:g} s: {what}; {subject.slurm.snapshot()}")
        subject.let_pass(0.1)
        spent += 0.1


def powering_down(subject: Subject, name: str) -> None:
    """Bring a node to POWERING_DOWN by way of a failed resume."""
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "it is coming", lambda: node(subject, name).has("POWERING_UP"))
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    until(subject, "it is going", lambda: node(subject, name).has("POWERING_DOWN"))


def all_are_off_at_first(subject: Subject) -> None:
    before = time.time()
    snapshot = subject.slurm.snapshot()
    assert set(subject.nodes) <= set(snapshot.nodes)
    for name in subject.nodes:
        found = snapshot.nodes[name]
        assert {"IDLE", "POWERED_DOWN"} <= found.flags and found.going_down and not found.up
    assert snapshot.taken <= before + 60, "a reading is as old as its beginning"


def power_up_calls_the_resume_hook(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "the hook is called", lambda: ("resume", name) in subject.hooks())
    found = node(subject, name)
    assert found.powering_up and not found.going_down and not found.up and not found.in_use


def a_job_resumes_its_nodes_and_is_seen_with_them(subject: Subject) -> None:
    name = subject.nodes[0]
    job = subject.submit(name)
    until(subject, "the hook is called", lambda: ("resume", name) in subject.hooks())
    found = node(subject, name)
    # It "has a job", and its failed boot must yet be cleaned up.
    assert {"ALLOCATED", "POWERING_UP"} <= found.flags and not found.in_use
    assert job_of(subject, job).nodes == (name,) and job_of(subject, job).state == "CONFIGURING"


def power_down_force_requeues_and_suspends(subject: Subject) -> None:
    name = subject.nodes[0]
    job = subject.submit(name)
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    assert node(subject, name).has("POWER_DOWN", "POWERING_DOWN")
    until(subject, "POWERING_DOWN", lambda: node(subject, name).has("POWERING_DOWN"))
    until(subject, "the hook is called", lambda: ("suspend", name) in subject.hooks())
    found = node(subject, name)
    assert not found.has("POWERING_UP", "ALLOCATED", "DRAIN") and found.going_down and not found.in_use, found
    until(subject, "the job waits again", lambda: job_of(subject, job).reason == "BeginTime")
    assert job_of(subject, job).state == "PENDING" and not job_of(subject, job).nodes


def a_drain_while_powering_down_stays(subject: Subject) -> None:
    name = subject.nodes[0]
    powering_down(subject, name)
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    assert node(subject, name).has("POWERING_DOWN") and node(subject, name).has("DRAIN")
    until(subject, "POWERED_DOWN by timer", lambda: node(subject, name).has("POWERED_DOWN"), 25)
    found = node(subject, name)
    assert found.has("DRAIN") and not found.has("POWERING_DOWN")
    assert found.reason == REASON


def a_drain_before_powering_down_is_wiped(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    assert node(subject, name).has("DRAIN")
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    until(subject, "it is going", lambda: node(subject, name).has("POWERING_DOWN"))
    assert not node(subject, name).has("DRAIN")


def a_drain_keeps_jobs_away_until_powering_down(subject: Subject) -> None:
    """Where it does, a failed node is drained twice: no job gets it in between."""
    name = subject.nodes[0]
    job = subject.submit(name)
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    until(subject, "the job waits again", lambda: not job_of(subject, job).nodes)
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    found = node(subject, name)
    while not found.has("POWERING_DOWN"):
        held = "DRAIN" if has(subject.version, Difference.DRAIN_HOLDS_DURING_POWER_DOWN) else "DOWN"
        assert found.has(held) or found.has("DRAIN"), found
        subject.let_pass(0.05)
        found = node(subject, name)
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    assert node(subject, name).flags >= {"DRAIN", "POWERING_DOWN"}


def a_blank_takes_a_reason_away(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], reason=REASON)
    subject.slurm.update_nodes([name], reason=" ")
    assert node(subject, name).reason == ""


def power_up_of_a_node_that_is_going_is_forgotten(subject: Subject) -> None:
    name = subject.nodes[0]
    powering_down(subject, name)
    calls = len(subject.hooks())
    with contextlib.suppress(SlurmError):
        subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "POWERED_DOWN by timer", lambda: node(subject, name).has("POWERED_DOWN"), 25)
    subject.let_pass(3)
    assert not node(subject, name).powering_up and len(subject.hooks()) == calls


def power_up_keeps_a_drain_and_takes_its_reason(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    found = node(subject, name)
    assert found.has("DRAIN")
    # Of the others only the newest one's source was read.
    assert found.reason == "" or (found.reason == REASON and subject.version != TESTED[0])


def a_node_that_slurm_does_not_know_is_left_out(subject: Subject) -> None:
    known = subject.nodes[0]
    job = subject.submit(known)
    snapshot = subject.slurm.snapshot([known, "nosuch-1"])
    assert set(snapshot.nodes) == {known} and [one.id for one in snapshot.jobs] == [job]


def resume_on_powering_down_gives_powered_down(subject: Subject) -> None:
    name = subject.nodes[0]
    powering_down(subject, name)
    subject.slurm.update_nodes([name], state="RESUME")
    found = node(subject, name)
    assert found.has("POWERED_DOWN") and not found.has("POWERING_DOWN"), found


def resume_on_powering_down_wipes_a_drain(subject: Subject) -> None:
    name = subject.nodes[0]
    powering_down(subject, name)
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    subject.slurm.update_nodes([name], state="RESUME")
    assert not node(subject, name).has("DRAIN", "POWERING_DOWN")


def resume_ends_a_rest(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    found = node(subject, name)
    assert found.has("DRAIN") and found.has("POWERED_DOWN") and found.reason == REASON
    subject.slurm.update_nodes([name], state="RESUME")
    found = node(subject, name)
    assert {"IDLE", "POWERED_DOWN"} <= found.flags and not found.has("DRAIN")
    assert found.reason == ""
    job = subject.submit(name)
    until(subject, "the next job resumes it", lambda: node(subject, name).powering_up)
    assert job_of(subject, job).nodes == (name,)


def resume_is_refused_while_coming_up(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    with pytest.raises(SlurmError):
        subject.slurm.update_nodes([name], state="RESUME")
    assert node(subject, name).powering_up


def a_powered_down_node_can_be_suspended_again(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    until(subject, "the hook is called", lambda: ("suspend", name) in subject.hooks())


def a_job_carries_what_we_say(subject: Subject) -> None:
    job = subject.submit(subject.nodes[0])
    assert subject.slurm.job_note(job).admin_comment == ""
    subject.slurm.update_job(job, AdminComment=REASON)
    assert subject.comment(job) == REASON
    note = subject.slurm.job_note(job)
    assert note.admin_comment == REASON and note.state == job_of(subject, job).state


def a_requeued_job_is_let_go(subject: Subject) -> None:
    name = subject.nodes[0]
    job = subject.submit(name)
    until(subject, "it is coming", lambda: node(subject, name).powering_up)
    subject.slurm.update_nodes([name], state="POWER_DOWN_FORCE", permits=permits("POWER_DOWN_FORCE", [name]))
    until(subject, "it waits again", lambda: job_of(subject, job).reason == "BeginTime")
    until(subject, "it is going", lambda: node(subject, name).has("POWERING_DOWN"))
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    subject.slurm.update_job(job, StartTime="now")
    until(subject, "it no longer waits for its time", lambda: job_of(subject, job).reason != "BeginTime")
    assert job_of(subject, job).state == "PENDING"


def a_reading_may_be_of_some_nodes_only(subject: Subject) -> None:
    first, second = subject.nodes[:2]
    ours, other = subject.submit(first), subject.submit(second)
    snapshot = subject.slurm.snapshot([first])
    assert set(snapshot.nodes) == {first} and [job.id for job in snapshot.jobs] == [ours]
    # A requeued job has no node: it is read by its number.
    snapshot = subject.slurm.snapshot([first], [other])
    assert {job.id for job in snapshot.jobs} == {ours, other}


def power_down_ends_a_drain_of_a_node_that_is_off(subject: Subject) -> None:
    """RESUME would leave it NOT_RESPONDING, and unavailable after the next reconfigure."""
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    subject.slurm.update_nodes([name], state="POWER_DOWN")
    until(subject, "it is going", lambda: node(subject, name).has("POWERING_DOWN"))
    assert not node(subject, name).has("DRAIN", "NOT_RESPONDING")
    subject.slurm.update_nodes([name], state="RESUME")
    assert node(subject, name).flags == {"IDLE", "CLOUD", "POWERED_DOWN"}


def a_node_that_slurm_has_given_up_can_rest(subject: Subject) -> None:
    name = subject.nodes[0]
    subject.slurm.update_nodes([name], state="POWER_UP")
    until(subject, "Slurm gives it up", lambda: "ResumeTimeout" in node(subject, name).reason, 110)
    assert node(subject, name).flags >= {"DOWN", "POWERED_DOWN"}
    subject.slurm.update_nodes([name], state="DRAIN", reason=REASON, permits=permits("DRAIN", [name]))
    found = node(subject, name)
    assert found.flags >= {"DRAIN", "POWERED_DOWN"} and found.reason == REASON, found
    subject.slurm.update_nodes([name], state="RESUME")
    found = node(subject, name)
    assert {"IDLE", "POWERED_DOWN"} <= found.flags and not found.has("DOWN", "DRAIN"), found


def slurmctld_tells_its_timeouts(subject: Subject) -> None:
    found = subject.slurm.power_timers()
    assert found.keys() == {"ResumeTimeout", "SuspendTimeout"} and min(found.values()) > 0


def who_is_never_suspended_is_told(subject: Subject) -> None:
    assert subject.slurm.suspend_exc_nodes() == frozenset()


def slurmctld_tells_its_version(subject: Subject) -> None:
    found = subject.slurm.running_version()
    assert found.text.startswith(str(found))


def what_does_not_exist_is_an_error(subject: Subject) -> None:
    with pytest.raises(SlurmError):
        subject.slurm.update_nodes(
            ["nosuch-1"], state="DRAIN", reason=REASON, permits=permits("DRAIN", ["nosuch-1"])
        )
    with pytest.raises(SlurmError):
        subject.slurm.update_job(999_999, AdminComment=REASON)
    with pytest.raises(SlurmError):
        subject.slurm.job_note(999_999)


def it_tells_when_it_began(subject: Subject) -> None:
    start = subject.slurm.last_start()
    assert start.age > 0 and start.patience > 0
    subject.let_pass(2)
    later = subject.slurm.last_start()
    assert later.at == start.at and later.age >= start.age + 1


def nothing_began_before_it(subject: Subject) -> None:
    subject.submit(subject.nodes[0])
    at = subject.slurm.last_start().at
    assert not subject.slurm.started_on(at - timedelta(days=1), at - timedelta(seconds=1))


CASES: Sequence[Callable[[Subject], None]] = (
    all_are_off_at_first,
    power_up_calls_the_resume_hook,
    a_job_resumes_its_nodes_and_is_seen_with_them,
    power_down_force_requeues_and_suspends,
    a_drain_while_powering_down_stays,
    a_drain_before_powering_down_is_wiped,
    a_drain_keeps_jobs_away_until_powering_down,
    a_blank_takes_a_reason_away,
    power_up_of_a_node_that_is_going_is_forgotten,
    power_up_keeps_a_drain_and_takes_its_reason,
    a_node_that_slurm_does_not_know_is_left_out,
    resume_on_powering_down_gives_powered_down,
    resume_on_powering_down_wipes_a_drain,
    resume_ends_a_rest,
    resume_is_refused_while_coming_up,
    a_powered_down_node_can_be_suspended_again,
    a_job_carries_what_we_say,
    a_requeued_job_is_let_go,
    a_reading_may_be_of_some_nodes_only,
    power_down_ends_a_drain_of_a_node_that_is_off,
    who_is_never_suspended_is_told,
    slurmctld_tells_its_timeouts,
    a_node_that_slurm_has_given_up_can_rest,
    slurmctld_tells_its_version,
    what_does_not_exist_is_an_error,
    it_tells_when_it_began,
    nothing_began_before_it,
)
