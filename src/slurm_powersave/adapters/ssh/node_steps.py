"""Asks a node over SSH whether a job's slurmstepd runs there."""

from collections.abc import Sequence

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.model.errors import MissingToolError
from slurm_powersave.model.outside_text import address

SECONDS = 5.0
_OWN = ("-oControlPath=none", "-oConnectTimeout=3")
_ASK = "pgrep -f '^slurmstepd: [[]' >/dev/null; echo steps=$?"
"""The process of a step is named `slurmstepd: [12.batch]`; from 23.11 on `slurmstepd infinity` only keeps a
cgroup and belongs to no job (both seen). pgrep(1) returns 0 if there is such a process, 1 if not."""
_SAID = {"steps=0": True, "steps=1": False}


def runs_steps(ssh: Sequence[str], user: str, host: str) -> bool | None:
    """Return what the node says; None if it does not answer, or says anything else.

    Args:
        ssh: the beginning of the command, with its options.
        user: who logs in there.
        host: the node's address.
    """
    if not address(host):
        return None
    try:
        done = run([*ssh, *_OWN, "-l", user, host, _ASK], timeout=SECONDS, limit=4096)
    except MissingToolError:
        return None
    return _SAID.get(done.out.strip()) if done.rc == 0 else None
