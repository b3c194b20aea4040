"""What the engine may ask of the outside world, one Protocol per outside system.

Everything that takes longer than a moment is a `Run`: a process that outlives the engine, is
polled, and can be adopted after a restart. Nothing here blocks for more than its own time limit.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from slurm_powersave.decide.node.host_keys import Pin
from slurm_powersave.decide.node.plan_guard import Contract
from slurm_powersave.model.cloud_facts import CloudFacts
from slurm_powersave.model.images import Image, Look
from slurm_powersave.model.job_note import JobNote
from slurm_powersave.model.leftovers import Leftover
from slurm_powersave.model.nodes import (
    DesiredNode,
    Flavor,
    Limit,
    NodeProgress,
    Request,
    RunRecord,
    RunResult,
    Server,
    SlurmSnapshot,
    SlurmStart,
    StateServer,
    TerraformNode,
)
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.slurm_version import Version


class Clock(Protocol):
    """Time, so that tests can make their own."""

    def wall(self) -> float:
        """Return seconds since the epoch: for people, and for what must survive a restart."""

    def monotonic(self) -> float:
        """Return seconds that never jump, since some moment: for durations."""

    def boot(self) -> str:
        """Name the boot of this host; the monotonic clock begins anew with each."""


class Run(Protocol):
    """A detached process of Terraform or Ansible."""

    @property
    def record(self) -> RunRecord:
        """What must be journalled to adopt this run later."""

    def progress(self) -> Sequence[NodeProgress]:
        """Return the nodes' news since the last call; after an adoption all of them again."""

    def poll(self) -> RunResult | None:
        """Return None while it runs."""

    def interrupt(self) -> None:
        """Send SIGINT once; a run that is still there after the grace is killed by `kill`."""

    def kill(self) -> None:
        """Send SIGKILL to the whole process group."""


class Slurm(Protocol):
    """What is read from and told to slurmctld. Every method raises SlurmError."""

    def snapshot(self, nodes: Sequence[str] = (), jobs: Sequence[int] = ()) -> SlurmSnapshot:
        """Read these nodes, the jobs on them, and these jobs; all nodes and jobs if none are named."""

    def running_version(self) -> Version:
        """Read the version of the slurmctld that runs, which may be older than the installed programs."""

    def power_timers(self) -> Mapping[str, int]:
        """Read ResumeTimeout, SuspendTimeout and SuspendTime, in seconds, as slurmctld has loaded them.

        An infinite one is left out.
        """

    def suspend_exc_nodes(self) -> frozenset[str]:
        """Read which nodes slurmctld never suspends (SuspendExcNodes, as it has loaded it)."""

    def update_nodes(
        self,
        nodes: Sequence[str],
        *,
        state: str = "",
        reason: str = "",
        comment: str | None = None,
        permits: Sequence[Permit] = (),
    ) -> None:
        """Run `scontrol update nodename=... [state=...] [reason=...] [comment=...]`.

        POWER_DOWN_FORCE, DOWN and DRAIN can end jobs: they need a permit for each node; RefusedError without.
        """

    def reboot(self, nodes: Sequence[str], *, reason: str = "", aside: str = "") -> None:
        """Run `scontrol reboot`: ASAP nextstate=RESUME with this reason.

        With `aside` (DRAIN or DOWN, set by somebody else for this reason) in the way that keeps it.
        """

    def job_note(self, job: int) -> JobNote:
        """Read a job's state and AdminComment; of one that has ended, too, while slurmctld remembers it."""

    def update_job(self, job: int, **fields: str) -> None:
        """Run `scontrol update jobid=... FIELD=...` (AdminComment, StartTime)."""

    def last_start(self) -> SlurmStart:
        """Read when slurmctld began to run."""

    def started_on(self, first: datetime, last: datetime) -> frozenset[str]:
        """Name the hosts that run, or should run, the scripts of jobs which began between these moments."""


class Terraform(Protocol):
    """The nodes' root module, applied in several states (shards). Methods raise TerraformError."""

    def shards(self, cloud: str) -> Sequence[str]:
        """Name the shards of a cloud, initialised or not."""

    def init(self, cloud: str, shard: str) -> Run:
        """Lay out a shard (new or old) and run `terraform init` in it."""

    def initialised(self, shard: str) -> bool:
        """Tell whether the shard can be planned in."""

    def nodes(self, shard: str) -> Mapping[str, TerraformNode]:
        """Read the map that the shard's *.auto.tfvars.json holds."""

    def write_nodes(self, shard: str, nodes: Mapping[str, TerraformNode]) -> None:
        """Replace that map, atomically."""

    def newer_module(self, shard: str) -> str:
        """Name the root module's version if the shard has another one; empty if it has this one."""

    def try_module(self, shard: str) -> Run:
        """Start a plan with the newer root module beside the shard; it ends well if nothing would change."""

    def end_trial(self, shard: str, *, take: bool) -> None:
        """Give the shard the root module that was tried, or leave it as it was."""

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        """Read node name -> server from the shard's state; tainted ones too."""

    def busy(self, shard: str) -> bool:
        """Tell whether some terraform process holds the state's lock."""

    def plan(self, shard: str, targets: Sequence[str], *, refresh: bool) -> Run:
        """Start `terraform plan -out` with a target per node, and `terraform show -json` after it."""

    def contract(self, shard: str) -> Contract:
        """Read what the shard's root module promises to the fence."""

    def plan_json(self, plan: RunRecord) -> Mapping[str, Any]:
        """Read what `terraform show -json` said of a finished plan."""

    def apply(self, shard: str, plan: RunRecord, parallelism: int, permits: Sequence[Permit] = ()) -> Run:
        """Start `terraform apply` of the saved plan.

        Each server that the plan deletes, replaces or changes needs its permit; RefusedError without one.
        """

    def forget_servers(self, shard: str, permits: Sequence[Permit]) -> Run:
        """Start `terraform state rm` of the nodes of these permits: their servers are gone."""

    def refresh(self, shard: str) -> Run:
        """Start `terraform apply -refresh-only`: what is gone leaves the state, nothing else is touched."""

    def is_broken(self, shard: str) -> bool:
        """Tell whether the state is empty or not readable, and nobody is writing it now."""

    def put_back(self, shard: str) -> str:
        """Put the copy from before the last apply in the place of a broken state; say what was done."""

    def adopt(self, record: RunRecord) -> Run:
        """Take up a run that an earlier engine started; one whose process is gone polls as ended."""

    def forget(self, record: RunRecord) -> None:
        """Remove what a run left behind: plans and outputs may hold user data."""


class Playbooks(Protocol):
    """What configures nodes."""

    def configure(
        self,
        nodes: Sequence[DesiredNode],
        host_keys: Mapping[str, str],
        boot_ids: Mapping[str, str] | None = None,
        disks: Mapping[str, str] | None = None,
    ) -> Run:
        """Start the play for new nodes, limited to these; record the host keys first, as those of `disks`.

        A key that is recorded for the same disk stays, whatever is given.

        A node that is still in the boot of `boot_ids`, or that says that it runs another image, fails
        before anything is changed in it.
        """

    def pin(self, node: DesiredNode) -> Pin | None:
        """Return the host keys that are recorded of a node's name and address."""

    def adopt(self, record: RunRecord) -> Run:
        """Take up a run that an earlier engine started."""

    def forget(self, record: RunRecord) -> None:
        """Remove what a run left behind."""

    def reachable(self, node: DesiredNode) -> bool:
        """Tell whether the node's sshd answers (bounded to a fraction of a second)."""

    def answers_ssh(self, node: DesiredNode) -> bool | None:
        """Tell whether the node's sshd answers within 5 s; None if this host could not ask."""

    def runs_steps(self, node: DesiredNode) -> bool | None:
        """Ask the node whether a slurmstepd of a job runs there; None if it does not say (within 5 s)."""


class Cloud(Protocol):
    """What Terraform can't tell of a cloud. Methods raise CloudError.

    Those that destroy take a permit of decide/node/guard.py for this act on this server, and raise
    RefusedError before anything is done if it is not one.
    """

    def servers(self) -> Sequence[Server]:
        """List the servers that carry our cluster's tag, in any state but DELETED: such a one is gone."""

    def server(self, server_id: str) -> Server | None:
        """Read one server, with its SSH host key as soon as the cloud hands it out; None when it is gone.

        The key is the first that the server printed. Where it is known that this one can't be had any more,
        `fault` says so. A listing may leave the key empty: on OpenStack it costs a call of its own.
        """

    def delete(self, server_id: str, permit: Permit) -> None:
        """Ask for a deletion by id; one that is gone already is no error."""

    def flavors(self) -> Mapping[str, Flavor]:
        """Read the flavors by name."""

    def images(self) -> frozenset[str]:
        """Read the images' names."""

    def image_id(self, name: str) -> str:
        """Return the id of an image; an id is returned as it is. Class CONFIG if unknown or ambiguous."""

    def flavor_id(self, name: str) -> str:
        """Return the id of a flavor, likewise."""

    def quota(self) -> Mapping[str, Limit]:
        """Read what may be used and what is in use, by all: instances, cores, ram (MiB), and maybe more.

        What is missing has no limit.
        """

    # Each of these returns when the cloud has accepted; until it is done, or has failed (ERROR), the
    # server's status is REBOOT, REBUILD or RESIZE. Refused for a server without our cluster's tag.

    def reboot(self, server_id: str, permit: Permit) -> None:
        """Boot a server again."""

    def rebuild(self, server_id: str, image: str, permit: Permit) -> None:
        """Give a server a fresh disk: same id, name and address."""

    def resize(self, server_id: str, flavor: str, permit: Permit) -> None:
        """Give a server another flavor: same id, name, address and disk."""


@runtime_checkable
class FactsCloud(Protocol):
    """A cloud that can be asked before anything is made in it."""

    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        """Read all that the pre-flight needs, once. Raises nothing; no answer is a trouble, too.

        `images` are names or ids of those that are wanted: an id may lead to one that is in no list.
        Bounded in time: a service that does not answer costs one time limit, and no more of it is asked.
        """


@runtime_checkable
class TellsLeftovers(Protocol):
    """A cloud adapter that can name all that is ours, not the servers alone. Raises CloudError."""

    def leftovers(self) -> Sequence[Leftover]:
        """List everything that carries our cluster's tag or name, asked of the cloud anew."""


@runtime_checkable
class RemovesLeftovers(TellsLeftovers, Protocol):
    """A cloud adapter that can also remove what is neither a server nor an image. Raises CloudError."""

    def parts(self) -> Sequence[Leftover]:
        """List what `leftovers` has not, because it goes with what it is a part of: interfaces, rules."""

    def remove(self, left: Leftover, permit: Permit) -> None:
        """Delete it, if it is still among our cluster's leftovers."""


class Intake(Protocol):
    """Where requests come from: the spool of this host, or the stream from the slurmctld host."""

    def receive(self) -> Sequence[tuple[str, Request | str]]:
        """Return what has come: (id, request), or (id, what is wrong with it). Never blocks."""

    def acknowledge(self, request_id: str) -> None:
        """The request is journalled: the spool may forget it."""


class ImageCloud(Cloud, Protocol):
    """A cloud in which node images can be made: servers that Terraform does not know, and their snapshots.

    Words and manners are those of openstacksdk. Each call returns when the cloud has accepted; a status
    tells when it is done, or ERROR. Servers and images without our cluster's mark are refused. CloudError.
    """

    def create_server(
        self,
        name: str,
        *,
        image: str,
        flavor: str,
        address: str,
        zone: str,
        key_pair: str,
        tags: frozenset[str],
    ) -> str:
        """Ask for a server with our cluster's tag and these; return its id. BUILD, then ACTIVE.

        `key_pair` is a public key, as text.
        """

    def stop_server(self, server_id: str, permit: Permit) -> None:
        """Ask it to power off in good order: SHUTOFF."""

    def list_images(self) -> Sequence[Image]:
        """List all images that servers can be made from, in any status, whoever's."""

    def create_image_snapshot(self, server_id: str, name: str, properties: Mapping[str, str]) -> None:
        """Make an image of a server's disk, with our cluster's mark and these properties; then it is active.

        Of a server that runs it is as after a power failure.
        """

    def update_image_properties(self, name: str, properties: Mapping[str, str]) -> None:
        """Add properties to an image of ours, or replace them."""

    def delete_image(self, name: str) -> None:
        """Delete an image of ours; one that is gone already is no error. A cloud may refuse it while a
        server uses the image.
        """


class ImagePlays(Protocol):
    """What is done inside of a server that becomes an image, and inside of the one that proves it.

    Methods raise PlaybookError or UnreachableError.
    """

    def reachable(self, server: Server) -> bool:
        """Tell whether its sshd answers (bounded to a fraction of a second)."""

    def look(self, server: Server) -> Look:
        """Read what the server says of itself."""

    def prepare(self, server: Server, provenance: Mapping[str, Any]) -> None:
        """Install what is missing, write the provenance file, remove what identifies the server.

        Nobody can log in afterwards.
        """

    def prove(self, server: Server) -> None:
        """Check what a server has that was booted from the image."""
