"""The guard's rules for a server that is off or silent under a node that Slurm itself has set DOWN. Pure."""

from slurm_powersave.decide.node.admin_state import by_whom, state_by_admin
from slurm_powersave.decide.node.guard import Answer, Look, Refusal
from slurm_powersave.decide.node.silence import DEAD, Silence, is_down
from slurm_powersave.model.permit import Act, Row


def restart(look: Look, silence: Silence, wanted: float, brake: str) -> Answer:
    """Slurm itself shows the node DOWN and lists no job there, nobody has set it aside or reserved it.

    In all looks for `failure.restart_after` the server was off, or ran and was silent on SSH. It was not
    started again in the last 24 hours, it is not the network, and the brake is off.
    """
    if silence.restarted:
        return Refusal(f"server {look.server.id} was started again already in the last 24 hours")
    if refused := _not_dead(look, silence, wanted, brake):
        return refused
    return look.permit(Act.REBOOT, Row.DEAD, _evidence(look, silence))


def give_up(look: Look, silence: Silence, wanted: float, brake: str) -> Answer:
    """Slurm itself shows the node DOWN and lists no job there, nobody has set it aside or reserved it.

    In all looks for `failure.silent_after` the server was off, or ran and was silent on SSH. It is not the
    network, and the brake is off.
    """
    if refused := _not_dead(look, silence, wanted, brake):
        return refused
    return look.permit(Act.POWER_DOWN, Row.DEAD, _evidence(look, silence))


def delete(look: Look, silence: Silence, brake: str) -> Answer:
    """We had the node powered down because its server was dead; it has not registered since.

    The last look found the server off or silent again. No job is on the node, nobody has set it aside, and
    the brake is off.
    """
    node, seen = look.slurm, look.seen
    if not silence.given_up or seen.pushed <= max(seen.registered, seen.resumed):
        return Refusal("we did not have it powered down because its server was dead")
    if node is None or not node.has("POWERING_DOWN", "POWERED_DOWN"):
        return Refusal(f"Slurm does not power it down ({look.flags})", waits=True)
    if look.used:
        return Refusal(look.used)
    if admin_state := state_by_admin(node):
        return Refusal(f"its server is kept: {admin_state} was set by {by_whom(node)} ({node.reason})")
    if silence.standing not in DEAD:
        return Refusal(f"server {look.server.id}: it {silence.standing}", waits=True)
    if brake:
        return Refusal(f"the brake is on: {brake}", waits=True)
    evidence = f"given up with reading {seen.pushed}, {look.flags}, the server {silence.standing}"
    return look.permit(Act.DELETE, Row.DEAD, evidence)


def not_ours(look: Look) -> Refusal | None:
    """Say why a node that is DOWN is no business of ours, whatever its server does."""
    node = look.slurm
    if node is None or not is_down(node):
        return Refusal(f"Slurm itself does not show it DOWN ({look.flags})")
    if node.has("DRAIN", "FAIL", "RESERVED", "MAINTENANCE"):
        return Refusal(f"it is drained or reserved, so it is a person's ({look.flags})")
    if jobs := [job.id for job in look.jobs if not job.waiting]:
        return Refusal(f"Slurm lists job {jobs[0]} there ({look.flags})", waits=True)
    return None


def _not_dead(look: Look, silence: Silence, wanted: float, brake: str) -> Refusal | None:
    """Say what keeps a server from being started again or given up."""
    if refused := not_ours(look):
        return refused
    if silence.standing not in DEAD:
        return Refusal(f"server {look.server.id}: it {silence.standing}", waits=True)
    if silence.network:
        return Refusal("it is the network: too many of its pool fell silent together", waits=True)
    if silence.seconds < wanted:
        return Refusal(
            f"the server {silence.standing} for {silence.seconds:.0f} s of {wanted:.0f}", waits=True
        )
    return Refusal(f"the brake is on: {brake}", waits=True) if brake else None


def _evidence(look: Look, silence: Silence) -> str:
    said = f"{look.flags}, no job; the server is {look.server.status} and {silence.standing}"
    return f"{said}, in all looks for {silence.seconds:.0f} s"
