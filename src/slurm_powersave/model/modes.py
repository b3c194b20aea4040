"""The mode table: what each kind of work does to a node, as data.

It is the table at the end of eiffel-ohpc's README (deploy, resume, suspend, enlarge, shrink, update),
with `update` split by what changes, and the request of ResumeFailProgram added.
"""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a request asks for: the hook that was called, or the operator's command."""

    RESUME = "resume"
    SUSPEND = "suspend"
    RESUME_FAIL = "resume-fail"
    REBOOT = "reboot"

    @property
    def brings_up(self) -> bool:
        """Whether the node is to be up in the end; else its server is to go."""
        return self in (Mode.RESUME, Mode.REBOOT)


class Kind(StrEnum):
    """A row of the table."""

    DEPLOY = "deploy"
    RESUME = "resume"
    SUSPEND = "suspend"
    RESUME_FAIL = "resume-fail"
    ENLARGE = "enlarge"
    SHRINK = "shrink"
    REBOOT = "reboot"
    REIMAGE = "reimage"
    REPLACE = "replace"
    RESIZE = "resize"
    RESTART = "restart"
    """A dead server is started again on our own account; Slurm has not asked for it."""


class Scope(StrEnum):
    """On which hosts something is done."""

    NONE = ""
    NODES = "nodes"
    """The nodes of the request."""
    ALL = "all"
    """The login node, and the nodes of the request."""


@dataclass(frozen=True)
class ModeRow:
    """One column of the seed's table: the steps, in their order."""

    initiator: str
    """Who asks: user, slurmctld through a hook, or the engine."""
    drain: bool = False
    """The nodes get no more jobs before anything else is done to them."""
    wait: bool = False
    """Their jobs are waited for."""
    delete: bool = False
    create: bool = False
    reboot: bool = False
    """The server boots again as it is."""
    update: str = ""
    """The one attribute of the server that Terraform may change in place: image or flavor."""
    configure: Scope = Scope.NONE
    slurm_conf: Scope = Scope.NONE
    """Where slurm.conf is written; a change of it restarts or reconfigures what reads it."""
    give_back: bool = False
    """The node is given back to Slurm by RESUME when its server is gone."""


TABLE: dict[Kind, ModeRow] = {
    Kind.DEPLOY: ModeRow("user", create=True, configure=Scope.ALL, slurm_conf=Scope.ALL),
    Kind.RESUME: ModeRow("slurmctld", create=True, configure=Scope.NODES, slurm_conf=Scope.NODES),
    Kind.SUSPEND: ModeRow("slurmctld", delete=True),
    Kind.RESUME_FAIL: ModeRow("slurmctld", delete=True, give_back=True),
    Kind.ENLARGE: ModeRow("user", create=True, configure=Scope.NODES, slurm_conf=Scope.ALL),
    Kind.SHRINK: ModeRow("user", drain=True, wait=True, delete=True, slurm_conf=Scope.ALL),
    Kind.REBOOT: ModeRow(
        "slurmctld", drain=True, wait=True, reboot=True, configure=Scope.NODES, slurm_conf=Scope.NODES
    ),
    Kind.REIMAGE: ModeRow(
        "slurmctld", drain=True, wait=True, update="image", configure=Scope.NODES, slurm_conf=Scope.NODES
    ),
    Kind.REPLACE: ModeRow(
        "slurmctld",
        drain=True,
        wait=True,
        delete=True,
        create=True,
        configure=Scope.NODES,
        slurm_conf=Scope.NODES,
    ),
    Kind.RESIZE: ModeRow(
        "slurmctld", drain=True, wait=True, update="flavor", configure=Scope.NODES, slurm_conf=Scope.NODES
    ),
    Kind.RESTART: ModeRow("engine", reboot=True, configure=Scope.NODES, slurm_conf=Scope.NODES),
}
