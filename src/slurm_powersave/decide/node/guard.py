"""The guard in front of every act that destroys: one function for each row of the table of evidence. Pure.

Each returns a permit for one act on one server, or says what evidence is missing. No other module makes
permits. Whether a call or a reading came first is known by their numbers, never by clocks.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from slurm_powersave.decide.node.admin_state import by_whom, state_by_admin
from slurm_powersave.model.errors import RefusedError
from slurm_powersave.model.images import BUILDER_TAG
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import AdminState, Operation, Server, SlurmJob, SlurmNode
from slurm_powersave.model.permit import Act, Permit, Row
from slurm_powersave.model.seen import Seen
from slurm_powersave.model.server_status import OFF

_NOT_RUNNING = frozenset({"CONFIGURING", "COMPLETING"})
"""States of a job that has nodes, but runs no script on them: squeue(1)."""


@dataclass(frozen=True)
class Refusal:
    """The guard gives no permit."""

    why: str
    waits: bool = False
    """The missing evidence may still come by itself, so the guard is asked again."""


Answer = Permit | Refusal


@dataclass(frozen=True)
class Look:
    """What is known of a node and of one of its servers, by the last readings."""

    name: str
    slurm: SlurmNode | None
    """None: Slurm does not know it."""
    jobs: tuple[SlurmJob, ...]
    """Those that Slurm lists with the node."""
    seen: Seen
    readings: tuple[int, ...]
    server: Server
    steps: bool | None = None
    """Whether the server itself says that a slurmstepd runs there; None: it has not answered."""

    @property
    def flags(self) -> str:
        """What Slurm shows."""
        return self.slurm.state if self.slurm else "no such node"

    @property
    def used(self) -> str:
        """Say what uses the node now; empty if nothing does.

        A node that is coming up is ALLOCATED for the job that waits for it, and one that goes down may be
        ALLOCATED until its job has been requeued.
        """
        if self.slurm and is_used(self.slurm):
            return f"in use: Slurm shows {self.flags}"
        if self.slurm and not self.slurm.powering_up:
            running = [job.id for job in self.jobs if not job.waiting and job.state not in _NOT_RUNNING]
            if running:
                return f"in use: Slurm lists job {running[0]} there ({self.flags})"
        return ""

    def permit(self, act: Act, row: Row, evidence: str) -> Permit:
        """Make a permit for this server."""
        return Permit(act, self.server.id, self.name, row, evidence, self.readings)


def with_steps(look: Look, steps: bool | None) -> Look:
    """Add the server's own answer."""
    return replace(look, steps=steps)


def is_used(node: SlurmNode) -> bool:
    """Tell whether a reading shows a job on a node that has registered; POWER_DOWN lets it run on."""
    return node.has("ALLOCATED", "MIXED") and not node.has("POWERING_UP", "POWERING_DOWN")


def is_registered(node: SlurmNode) -> bool:
    """Tell whether a reading shows a node that Slurm has registered since its resume, and not refused."""
    return not node.has("POWERING_UP", "POWERING_DOWN", "POWERED_DOWN", "INVALID_REG", "FUTURE", "UNKNOWN")


def granted(answer: Answer) -> Permit:
    """Return the permit of an answer, for a command that can't go on without it.

    Raises:
        RefusedError: the answer is a refusal.
    """
    if isinstance(answer, Refusal):
        raise RefusedError("refused", why=answer.why)
    return answer


# Deleting


def delete_by_hook(look: Look) -> Answer:
    """SuspendProgram or ResumeFailProgram was called, and no reading since then shows the node in use.

    The call did not follow from a POWER_DOWN of the engine's own. Now no job is on the node, no administrator
    has set it DRAIN, DOWN or FAIL, and Slurm shows it POWERING_DOWN, POWERED_DOWN, or DOWN by ResumeTimeout.
    """
    seen, node = look.seen, look.slurm
    if not seen.called:
        return Refusal("no call of SuspendProgram or ResumeFailProgram is known")
    if seen.pushed > max(seen.registered, seen.resumed):
        return Refusal("Slurm called only because the engine itself had powered the node down")
    if seen.used > seen.called:
        return Refusal(f"it was in use after Slurm's call ({look.flags})")
    if refused := _used_or_set_by_admin(look):
        return refused
    assert node
    timed_out = node.has("DOWN") and "ResumeTimeout" in node.reason
    if not (node.has("POWERING_DOWN", "POWERED_DOWN") or timed_out):
        return Refusal(f"Slurm does not power it down ({look.flags})", waits=True)
    return look.permit(
        Act.DELETE, Row.HOOK, f"call {seen.called}, last used {seen.used or 'never'}, {look.flags}"
    )


def delete_before_creation(look: Look) -> Answer:
    """Slurm waits for the node to boot (POWERING_UP), and its old server has to go first.

    The old server is off or deleted; or Slurm has called SuspendProgram or ResumeFailProgram for the node
    since it last registered; or the server itself says that it runs no slurmstepd. A reading that shows the
    node powered down is no evidence: a slurmctld that has lost its state shows every cloud node so.
    """
    node, seen = look.slurm, look.seen
    if node is None or not node.powering_up:
        return Refusal(f"Slurm does not wait for it ({look.flags})", waits=True)
    if look.server.status in OFF:
        evidence = f"the old server is {look.server.status}"
    elif seen.called > seen.registered:
        evidence = f"last registered {seen.registered}, called {seen.called}"
    elif look.steps is False:
        evidence = "the old server runs no slurmstepd"
    else:
        said = "says that a job runs there" if look.steps else "can't be asked whether a job runs there"
        text = f"it {said}, and Slurm has not called for it since it registered"
        return Refusal(f"the old server {look.server.id} is kept; {text}", waits=True)
    return look.permit(Act.DELETE, Row.BEFORE_CREATION, f"{evidence}, {look.flags}")


def delete_failed_creation(look: Look, op: Operation) -> Answer:
    """The server's tag names this operation, and no reading since its request shows the node registered."""
    if f"operation={op.id}" not in look.server.tags:
        return Refusal(f"server {look.server.id} was not made for operation {op.id}")
    if not look.seen.registered < look.seen.resumed:
        return Refusal(f"the node may have registered since ({look.flags})")
    if look.slurm and is_registered(look.slurm):
        return Refusal(f"the node has registered ({look.flags})")
    evidence = (
        f"made for {op.id}, called {look.seen.resumed}, last registered {look.seen.registered or 'never'}"
    )
    return look.permit(Act.DELETE, Row.FAILED_CREATION, f"{evidence}, {look.flags}")


def delete_failed_change(look: Look) -> Answer:
    """A rebuild, resize or reboot failed, and Slurm called SuspendProgram after our POWER_DOWN_FORCE.

    The node was not in use since that call, and is not in use now.
    """
    seen = look.seen
    if not seen.forced or seen.called < seen.forced:
        return Refusal(f"Slurm has not called for it since it failed ({look.flags})", waits=True)
    if seen.forced < seen.resumed:
        return Refusal(f"it failed before Slurm last called for its resume ({look.flags})")
    if seen.used > seen.called:
        return Refusal(f"it was in use after Slurm's call ({look.flags})")
    if refused := _used(look):
        return refused
    evidence = f"POWER_DOWN_FORCE {seen.forced}, call {seen.called}, {look.flags}"
    return look.permit(Act.DELETE, Row.FAILED_CHANGE, evidence)


def delete_on_own_account(look: Look, seconds: float, wanted: float, brake: str) -> Answer:
    """Nobody asked, but all readings for `failure.unclaimed_after` seconds show the node POWERED_DOWN.

    No administrator has set it DRAIN, DOWN or FAIL. The server is off or deleted, or says itself that it runs
    no slurmstepd. The brake is off.

    Args:
        look: what is known.
        seconds: for how long every reading has shown it POWERED_DOWN; time without readings does not count.
        wanted: for how long it has to be so.
        brake: why the brake is on; empty while it is off.
    """
    node = look.slurm
    if node is None or not node.has("POWERED_DOWN"):
        return Refusal(f"it is not POWERED_DOWN ({look.flags})")
    if refused := _used_or_set_by_admin(look):
        return refused
    if seconds < wanted:
        return Refusal(f"POWERED_DOWN for {seconds:.0f} s of {wanted:.0f}", waits=True)
    if look.server.status not in OFF and look.steps is not False:
        said = "says that a job runs there" if look.steps else "can't be asked whether a job runs there"
        return Refusal(f"the server {look.server.id} {said}", waits=True)
    if brake:
        return Refusal(f"the brake is on: {brake}", waits=True)
    asked = f"is {look.server.status}" if look.server.status in OFF else "runs no slurmstepd"
    return look.permit(Act.DELETE, Row.OWN, f"{look.flags} for {seconds:.0f} s, the server {asked}")


def delete_by_person(look: Look, *, protected: Collection[str], force: bool) -> Answer:
    """A person asked. The node is not in use, not set aside by an administrator, not one of min_nodes.

    `--force` lifts these three conditions. In any case Slurm powers the node down, or waits for it to boot,
    and no job is on it any more.
    """
    refused = by_person(look.name, look.slurm, look.jobs, protected)
    if refused and not force:
        return refused
    if look.slurm and not (look.slurm.going_down or look.slurm.powering_up):
        return Refusal(f"Slurm does not power it down ({look.flags})", waits=True)
    if in_use := _used(look):
        return replace(in_use, waits=True)
    return look.permit(Act.DELETE, Row.PERSON, f"{'--force, ' if force else ''}{look.flags}")


def power_down_by_person(look: Look, *, protected: Collection[str], force: bool) -> Answer:
    """A person wants it off. The node is not in use, not set aside by an administrator, not one of min_nodes.

    `--force` lifts these three conditions; a node in use then gets POWER_DOWN_FORCE, which requeues its jobs.
    """
    refused = by_person(look.name, look.slurm, look.jobs, protected)
    if refused and not (force and look.slurm):
        return Refusal(f"{refused.why}; use --force to do it anyway")
    act = Act.FORCE if look.used else Act.POWER_DOWN
    evidence = f"--force although {refused.why}" if refused else look.flags
    return Permit(act, look.name, look.name, Row.PERSON, evidence, look.readings)


def by_person(
    name: str, node: SlurmNode | None, jobs: tuple[SlurmJob, ...], protected: Collection[str]
) -> Refusal | None:
    """Say why what a person asked for is refused unless it is forced."""
    look = Look(name, node, jobs, Seen(), (), Server("", name, ""))
    if node is None:
        return Refusal("Slurm does not know it")
    if refused := _used_or_set_by_admin(look):
        return refused
    if node.in_use:
        return Refusal(f"in use: Slurm shows {look.flags}")
    if name in protected:
        return Refusal("it is one of min_nodes, which are to stay up")
    return None


# What a reboot request comes to


def by_reboot(look: Look, act: Act, *, admin_state: AdminState | None = None, force: bool = False) -> Answer:
    """Slurm has emptied the node and set it down for its reboot (REBOOT_ISSUED), and no job is on it.

    The server may then be rebooted, rebuilt or resized, or deleted if it is to be replaced. If somebody had
    set the node DOWN or DRAIN before, it is only rebooted, unless a person has given `--force` to `reimage`
    or `reboot --flavor`; the state is put back. A node of min_nodes may be reimaged, because it comes back.
    """
    if look.slurm is None or not look.slurm.has("REBOOT_ISSUED"):
        return Refusal(f"Slurm no longer reboots it ({look.flags})")
    if refused := _used(look):
        return refused
    if admin_state and act is not Act.REBOOT and not force:
        return Refusal(f"somebody else had set {admin_state.state} ({admin_state.reason})")
    lifted = (
        f", --force although {admin_state.state} was set ({admin_state.reason})"
        if admin_state and force
        else ""
    )
    return look.permit(act, Row.REBOOT, f"{look.flags}{lifted}")


def reboot_for_job(look: Look, *, job: int | None, resume_file: str) -> Answer:
    """`sbatch --reboot` calls ResumeProgram for a node that is up: with a job id, without a resume file.

    The node is POWERING_UP, and its server ACTIVE.
    """
    if job is None or resume_file or look.slurm is None or not look.slurm.powering_up:
        return Refusal("no job has asked for its reboot")
    if look.server.status != "ACTIVE":
        return Refusal(f"the server is {look.server.status}")
    return look.permit(Act.REBOOT, Row.JOB, f"job {job}, {look.flags}")


# What Slurm is told


def power_down_force(look: Look, act: Act) -> Answer:
    """A node has failed and no job has started there: DRAIN, or POWER_DOWN_FORCE, which requeues its jobs."""
    if look.slurm is None or look.used:
        return Refusal(look.used or "Slurm does not know it")
    return Permit(act, look.name, look.name, Row.FAILING, look.flags, look.readings)


def set_state(node: SlurmNode, act: Act) -> Answer:
    """DRAIN or DOWN for a node that is not coming up. DRAIN lets a job run on; DOWN is for one without."""
    if node.powering_up:
        return Refusal(f"it is coming up: {act} would requeue the jobs that wait for it")
    if act is not Act.DRAIN and is_used(node):
        return Refusal(f"in use: Slurm shows {node.state}")
    return Permit(act, node.name, node.name, Row.PERSON, node.state)


def set_again(node: SlurmNode, state: str) -> list[Permit]:
    """Permit to put an administrator's state back, as a DRAIN if DOWN would end a job."""
    wanted = (Act.DOWN, Act.DRAIN) if state == Act.DOWN else (Act.DRAIN,) if state == Act.DRAIN else ()
    answers = [set_state(node, act) for act in wanted]
    return [answer for answer in answers if isinstance(answer, Permit)][:1]


# Servers that are no node's, and states


def builder(server: Server, act: Act, cluster: str) -> Answer:
    """The server has the tags of this cluster's image builds, and the command holds the lock of commands."""
    if not {BUILDER_TAG, f"cluster={cluster}"} <= server.tags:
        return Refusal(f"server {server.id} does not carry the tags of an image build of {cluster}")
    return Permit(act, server.id, server.name, Row.BUILDER, ", ".join(sorted(server.tags)))


def orphan(server: Server) -> Answer:
    """An interrupted first deploy made it, no state knows it, and the cluster was never in service."""
    if any(tag.startswith("node=") for tag in server.tags):
        return Refusal(f"server {server.id} is a node's")
    return Permit(
        Act.DELETE, server.id, server.name, Row.ORPHAN, "no state knows it, and Slurm was never configured"
    )


def teardown(server: Server) -> Answer:
    """A person was shown this server and confirmed. The adapters list only this cluster's servers."""
    return Permit(Act.DELETE, server.id, server.name, Row.TEARDOWN, "named to the person who has confirmed")


def agreed(ids: Collection[str], row: Row, evidence: str) -> list[Permit]:
    """A person was shown the plan of the base state, or of a teardown, and confirmed it."""
    return [Permit(Act.DELETE, one, one, row, evidence) for one in ids]


def forget(name: str, server_id: str, listed: Collection[str] | None, reading: int) -> Answer:
    """The entry's server is not in the cloud's list of servers any more.

    Args:
        name: the node.
        server_id: the server of the entry.
        listed: the ids that the cloud lists; None: it could not be read.
        reading: the number of that listing.
    """
    if listed is None:
        return Refusal("the cloud can't be read", waits=True)
    if server_id in listed:
        return Refusal(f"server {server_id} is there")
    return Permit(Act.VANISHED, server_id, name, Row.GONE, "the cloud does not list it", (reading,))


def evidence_wanted(op: Operation, source: str) -> Row:
    """Return the row of the table that an operation's deletion needs evidence for."""
    if op.failure is not None:
        return Row.FAILED_CREATION if op.mode is Mode.RESUME else Row.FAILED_CHANGE
    if op.mode is Mode.RESUME:
        return Row.BEFORE_CREATION
    if op.mode is Mode.REBOOT:
        return Row.REBOOT
    return {"operator": Row.PERSON, "reconcile": Row.OWN}.get(source, Row.HOOK)


def _used(look: Look) -> Refusal | None:
    if look.slurm and look.slurm.has("COMPLETING") and not look.used:
        return Refusal(f"a job is completing there ({look.flags})", waits=True)
    return Refusal(look.used) if look.used else None


def _used_or_set_by_admin(look: Look) -> Refusal | None:
    if look.slurm is None:
        return Refusal("Slurm does not know it")
    if refused := _used(look):
        return refused
    if admin_state := state_by_admin(look.slurm):
        return Refusal(
            f"its server is kept: {admin_state} was set by {by_whom(look.slurm)} ({look.slurm.reason})"
        )
    return None
