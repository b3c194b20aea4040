"""Frozen values that travel between the layers: nodes, servers, requests, snapshots."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from slurm_powersave.model import node_state
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import TABLE, Kind, Mode, ModeRow
from slurm_powersave.model.runs import RunRecord as RunRecord
from slurm_powersave.model.runs import RunResult as RunResult


@dataclass(frozen=True)
class NodeSpec:
    """What a node's server is made from. Recorded in the journal, never computed anew."""

    name: str
    pool: str
    cloud: str
    image: str
    flavor: str
    zone: str
    address: str
    generation: int = 0
    """Counts the disks that this name has had: each server's, and each that was made anew in one."""
    image_id: str = ""
    """What the cloud called the image when it was asked for; empty where names are ids."""
    flavor_id: str = ""

    def value(self, attribute: str) -> str:
        """Return the name of its image or flavor."""
        return {"image": self.image, "flavor": self.flavor}[attribute]

    def ref_id(self, attribute: str) -> str:
        """Return the id of its image or flavor; empty where names are ids."""
        return {"image": self.image_id, "flavor": self.flavor_id}[attribute]

    def ref(self, attribute: str) -> str:
        """Return what Terraform is told for image or flavor."""
        return self.ref_id(attribute) or self.value(attribute)

    def changed(self, attribute: str, value: str, ref: str) -> "NodeSpec":
        """Return the node with another image or flavor, and what the cloud calls it."""
        if attribute == "image":
            return replace(self, image=value, image_id=ref)
        return replace(self, flavor=value, flavor_id=ref)


@dataclass(frozen=True)
class Flavor:
    """A server size. RAM in MiB, disk in GiB."""

    name: str
    vcpus: int
    ram: int
    disk: int = 0
    id: str = ""
    """Empty where the cloud knows flavors by name only."""


@dataclass(frozen=True)
class Limit:
    """A quota, and what is used of it by all who share it."""

    limit: int | None
    """None: unlimited."""
    used: int


@dataclass(frozen=True)
class Server:
    """A server as the cloud tells it, found by our cluster's tag."""

    id: str
    name: str
    status: str
    """ACTIVE, BUILD, ERROR, SHUTOFF, as OpenStack names them (model/server_status.py)."""
    address: str = ""
    image: str = ""
    flavor: str = ""
    tags: frozenset[str] = frozenset()
    host_key: str = ""
    """The SSH host's public keys that it printed first, by a trusted way; empty while they are not known."""
    fault: str = ""
    later_keys: tuple[str, ...] = ()
    """Others that its console shows after them: of a disk that was made anew, or somebody's invention."""
    image_id: str = ""
    """What the cloud calls the image; empty where names are ids."""
    locked: bool = False
    """Whether somebody has locked it in the cloud: it can't be deleted or changed until it is unlocked."""


@dataclass(frozen=True)
class Request:
    """What one hook call, or one operator, asked for."""

    id: str
    mode: Mode
    hostlist: str
    time: float
    """Seconds since the epoch, on the host where the hook ran."""
    source: str = "hook"
    """hook, operator or reconcile."""
    job_id: int | None = None
    features: str = ""
    """The second argument with which Slurm called the hook; empty if there was none."""
    resume_file: str = ""
    """The content of SLURM_RESUME_FILE; empty if there was none."""
    action: str = ""
    """What a person or the engine asks for, for example `reimage image=new`; empty for a hook."""


@dataclass(frozen=True)
class Failure:
    """Why a node's operation failed: a value, not an exception."""

    failure: FailureClass
    text: str


@dataclass(frozen=True)
class NodeProgress:
    """One node's news from a run of Terraform or Ansible."""

    node: str
    ok: bool
    server_id: str = ""
    failure: Failure | None = None
    boot_id: str = ""
    """/proc/sys/kernel/random/boot_id as the node itself told it; empty if it did not."""
    hardware: str = ""
    """What it says by `slurmd -C` (model/hardware.py); empty if it did not."""


# Base states and flags as scontrol prints them, joined by "+"; unknown ones are kept, never guessed at.
_BUSY = frozenset({"ALLOCATED", "MIXED"})
_GOING = frozenset({"POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN"})
_IN_SERVICE = _BUSY | {"IDLE"}
_ABSENT = frozenset({"POWERING_UP", "NOT_RESPONDING", "INVALID_REG", "DOWN"}) | _GOING


@dataclass(frozen=True)
class NodeFacts:
    """The hardware of a node as slurm.conf states it; Slurm sets a node down that registers with less."""

    cpus: int
    real_memory: int
    """MiB."""


@dataclass(frozen=True)
class SlurmNode:
    """A node as Slurm shows it."""

    name: str
    flags: frozenset[str]
    """Base state and flags, for example {"IDLE", "CLOUD", "POWERED_DOWN"}."""
    reason: str = ""
    reason_by: str = ""
    """The user who set the reason; empty if Slurm does not tell."""
    comment: str = ""
    configured: NodeFacts | None = None
    """What slurm.conf says of its hardware, whatever the server has; None if Slurm does not tell."""

    @property
    def state(self) -> str:
        """The base state and the flags as scontrol prints them, for example IDLE+CLOUD+POWERED_DOWN."""
        return node_state.joined(self.flags)

    def has(self, *flags: str) -> bool:
        """Tell whether any of the flags is set."""
        return not self.flags.isdisjoint(flags)

    @property
    def powering_up(self) -> bool:
        """Slurm waits for this node's first registration since its resume."""
        return self.has("POWERING_UP")

    @property
    def going_down(self) -> bool:
        """Slurm has given this node up: asked for its power-down, or counts it as off."""
        return self.has(*_GOING)

    @property
    def off_and_drained(self) -> bool:
        """No job runs there, and none can begin."""
        return self.has("POWERED_DOWN") and self.has("DRAIN") and not self.in_use

    @property
    def up(self) -> bool:
        """The node's slurmd has registered since the last resume and answers.

        INVALID_REG means that Slurm refused it: the node has less than slurm.conf says (sinfo(1), INVAL).
        """
        return self.has(*_IN_SERVICE) and not self.has(*_ABSENT)

    @property
    def ready(self) -> bool:
        """A job could start here now; on a reserved node, a job of its reservation."""
        return self.up and not self.has("DRAIN", "FAIL", "REBOOT_ISSUED")

    @property
    def in_use(self) -> bool:
        """A job, also one that is COMPLETING, on a node that has registered since its resume.

        A reservation alone does not count: Slurm may power such a node down, and up again in time.
        A node that is coming up is ALLOCATED+POWERING_UP: its failed boot may be cleaned up (22.05.8).
        """
        if self.powering_up:
            return False
        return self.has("COMPLETING", *_BUSY)


_WAITING = frozenset(
    {"PENDING", "EXPEDITING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
)
"""Job states without nodes: squeue(1), JOB STATE CODES."""


@dataclass(frozen=True)
class SlurmJob:
    """A job as squeue shows it."""

    id: int
    state: str
    nodes: tuple[str, ...] = ()
    reason: str = ""

    @property
    def waiting(self) -> bool:
        """It is in the queue and has no nodes; EXPEDITING (26.05) is a job that was requeued at once."""
        return self.state in _WAITING


@dataclass(frozen=True)
class SlurmSnapshot:
    """One reading of Slurm. `taken` is in seconds since the epoch, for people."""

    taken: float
    nodes: Mapping[str, SlurmNode]
    jobs: tuple[SlurmJob, ...] = ()
    unreadable: frozenset[str] = frozenset()
    """Nodes about which its answer made no sense: nothing is decided on them."""


@dataclass(frozen=True)
class SlurmStart:
    """How slurmctld began to run: at its start, from 23.11 on at `scontrol reconfigure`, too."""

    at: datetime
    """In the local time of slurmctld's host, which is how Slurm tells the times of jobs."""
    age: float
    """Seconds since then."""
    patience: float
    """Seconds after a job's start in which Slurm does not miss its script yet."""


@dataclass(frozen=True)
class TerraformNode:
    """A node's entry in the `nodes` map of a root module."""

    node: NodeSpec
    operation: str
    """The id of the operation that made the server; becomes a tag."""


@dataclass(frozen=True)
class PhaseTime:
    """When an operation entered a phase, in seconds since the epoch."""

    phase: str
    at: float


@dataclass(frozen=True)
class Operation:
    """One node's way through one request."""

    id: str
    request: str
    node: str
    mode: Mode
    phase: str
    created: float
    since: float
    """When the present phase began. Like `created` in seconds since the epoch: for people, judges nothing."""
    outcome: str = ""
    """Empty while it runs; then done, failed, refused, cancelled or joined."""
    failure: FailureClass | None = None
    text: str = ""
    shard: str = ""
    server_id: str = ""
    jobs: tuple[int, ...] = ()
    """Slurm's jobs that waited for the node when it failed."""
    phases: tuple[PhaseTime, ...] = field(default=())
    action: str = ""
    """What a reboot request comes to, a `Kind`; empty until that is decided, and for other modes."""
    target: str = ""
    """The image or flavor that the action asks for."""
    begun: int = 0
    asked: int = 0
    """When operation and phase began, as a number: a reading with a higher one is newer. Not journalled."""
    joined: str = ""
    """The operation that does it already, of one with the outcome joined."""
    waits: str = ""
    """What keeps it in its phase, once that takes long; empty again when it goes on."""

    @property
    def kind(self) -> Kind:
        """The operation's row of the mode table."""
        return Kind(self.action or self.mode)

    @property
    def row(self) -> ModeRow:
        """What is done to the node."""
        return TABLE[self.kind]


@dataclass(frozen=True)
class NodeRecord:
    """What the journal holds of a node: what it is to be, and the server that it has."""

    node: NodeSpec
    shard: str = ""
    """The shard that holds the server; empty while there is none."""
    server_id: str = ""
    failures: int = 0
    """Failed resumes in a row; a success sets it to 0."""
    boot_id: str = ""
    """The node's boot when it was last configured; a reboot or reimage must change it."""
    by_hand: frozenset[str] = frozenset()
    """What of its server (image, flavor) somebody asked for that was not the pool's then."""

    @property
    def disk(self) -> str:
        """What its SSH host key belongs to: this disk of this server."""
        return f"{self.server_id}/{self.node.generation}"


@dataclass(frozen=True)
class StateServer:
    """A server as a Terraform state holds it."""

    id: str
    tainted: bool = False


@dataclass(frozen=True)
class NodeBackoff:
    """After a failure: no new server for the node until a time, in seconds since the epoch."""

    node: str
    operation: str
    failure: FailureClass
    reason: str
    """The reason in Slurm, whole: it must be ours, word for word, before we release the node."""
    until: float
    in_slurm: bool = False
    """Whether Slurm has the DRAIN."""


@dataclass(frozen=True)
class AdminState:
    """A DRAIN or DOWN that somebody else has set on a node, as it was last seen."""

    node: str
    state: str
    """DRAIN or DOWN."""
    reason: str


@dataclass(frozen=True)
class ShardRun:
    """A detached process and what it works on."""

    record: RunRecord
    shard: str
    operations: tuple[str, ...]
