"""The parts of the cluster file as frozen models; the descriptions are the settings reference."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from slurm_powersave.config import fields
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.hostlist import natural


class Section(BaseModel):
    """What all parts have in common: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Cloud(Section):
    """A cloud that Terraform reaches."""

    adapter: str | None = Field(
        None, description="What tells more of the cloud than Terraform can: openstack, local."
    )
    base_module: fields.LocalPath | None = Field(
        None,
        description="Root module of the network and the login node; only the login node's cloud needs one.",
    )
    nodes_module: fields.LocalPath = Field(description="Root module of the nodes.")
    builder_address: fields.Address | None = Field(
        None,
        description="Address of the server that `image build` makes images with; "
        "one of the nodes' network that nobody has.",
    )
    settings: Annotated[dict[str, Any], AfterValidator(fields.local_paths)] = Field(
        default_factory=dict,
        description="Handed to the adapter, and to both root modules as the variable `cloud`; "
        "a text that begins with ./ or ../ is a path relative to this file.",
    )


class TerraformSettings(Section):
    """How Terraform is run."""

    binary: Annotated[str, AfterValidator(fields.program)] = Field(
        "terraform", description="Name or path of the program."
    )
    cli_config: fields.LocalPath | None = Field(
        None, description="A terraform CLI configuration file (TF_CLI_CONFIG_FILE)."
    )
    apply_timeout: int = Field(1200, ge=10, description="Seconds after which an apply is interrupted.")


class Login(Section):
    """The login node, where slurmctld runs."""

    name: fields.Label = Field(description="Its host name.")
    cloud: str | None = Field(None, description="One of `clouds`; may be left out when there is one.")
    address: fields.Address = Field(description="Its fixed address.")
    image: fields.ChosenName = Field(min_length=1, description="Its image.")
    flavor: fields.ChosenName = Field(min_length=1, description="Its flavor.")
    user: fields.Argument = Field("root", description="SSH login user; uses `sudo -n` if not root.")
    jump: fields.Jump | None = Field(
        None,
        description="user@host or user@host:port: a jump host through which the login node is reached; "
        "its host key must be in STATE/known_hosts_jump. The nodes must be reachable without it.",
    )
    connection: Literal["ssh", "local"] = Field(
        "ssh",
        description="local: slurmctld runs on the engine's own host, which is there already; "
        "the spool is read directly.",
    )


class Requirement(Section):
    """What a flavor must have at least."""

    cores: int = Field(1, ge=1, description="At least so many.")
    ram: fields.Mebibytes = Field(0, description="At least so much; MiB, or with a unit: 30GB is 30720.")
    disk: fields.Gibibytes = Field(0, description="At least so much; GiB, or with a unit.")
    match: fields.Regex = Field("", description="A regular expression that is somewhere in its name.")

    def __str__(self) -> str:
        parts = [f"{self.cores} core{'s' * (self.cores > 1)}"]
        parts += [f"{self.ram} MiB RAM"] if self.ram else []
        parts += [f"{self.disk} GiB disk"] if self.disk else []
        return f"at least {', '.join(parts)}" + f", a name with /{self.match}/" * bool(self.match)


def _flavor_kind(value: Any) -> str:
    return "<requirement>" if isinstance(value, dict | Requirement) else "<name>"


FlavorItem = Annotated[
    Annotated[Requirement, Tag("<requirement>")]
    | Annotated[fields.ChosenName, Field(min_length=1), Tag("<name>")],
    Discriminator(_flavor_kind),
]
"""Tags in <> are left out when a mistake's place is told."""


class SharedStorage(Section):
    """A directory that all hosts of the cluster share by NFS."""

    server: fields.StorageServer = Field(
        "login", description="Who exports it: login, or the address of another server."
    )
    user: fields.Argument | None = Field(
        None,
        description="SSH login user of another server that the base module makes; "
        "null: it is there already, and is left alone.",
    )
    program: Literal["kernel", "ganesha"] = Field(
        "kernel", description="What exports it: the kernel's NFS server, or nfs-ganesha in user space."
    )
    export: fields.Directory = Field("/srv/ohpc", description="The directory on the server.")
    mount: fields.Directory = Field(
        "/mnt/ohpc", description="Where all hosts have it; before slurmd starts, as with `mounts`."
    )
    mount_options: fields.MountOptions = Field(
        "vers=4.2,hard,noatime", description="Options of the nodes' mount (nfs(5))."
    )
    root_squash: bool = Field(True, description="A node's root is nobody there; the login node's is root.")
    clients: tuple[fields.Network, ...] = Field(
        (), description="Networks that may mount it besides login node and nodes."
    )


class Pool(Section):
    """Nodes of one kind."""

    name: fields.Label = Field(description="The pool's name.")
    cloud: str | None = Field(None, description="One of `clouds`; may be left out when there is one.")
    nodes: str | None = Field(
        None, description="Hostlist expression of all its nodes, the largest size that it may have."
    )
    max_nodes: int | None = Field(
        None, ge=1, le=fields.LARGEST_POOL, description="Instead of `nodes`: CLUSTER-POOL-0 to max_nodes - 1."
    )
    min_nodes: int = Field(0, ge=0, description="So many, lowest numbers first, always stay up.")
    image: fields.ChosenName = Field(min_length=1, description="Image of new nodes.")
    image_user: fields.Argument = Field("root", description="SSH login user of the image.")
    flavors: tuple[FlavorItem, ...] = Field(
        min_length=1,
        description="Flavors, the preferred one first: names, requirements, or requirements in short: "
        "m30720c8s100 (MiB of RAM, cores, GiB of disk).",
    )
    zone: fields.ChosenName = Field("", description="Availability zone.")
    features: tuple[fields.SlurmWord, ...] = Field((), description="Slurm's Features of its nodes.")
    gres: fields.SlurmWord = Field("", description="Slurm's Gres of each node, for example gpu:a100:2.")
    addresses: str = Field(description="Fixed addresses, one a node in order: 10.0.1.1-10.0.1.4.")
    cpus: int | None = Field(
        None,
        ge=1,
        description="CPUs of a node; null: the smallest flavor's, or what its first node has said. Needed"
        " where the cloud has no adapter.",
    )
    real_memory: int | None = Field(
        None,
        ge=1,
        description="RealMemory in MiB; null: the smallest flavor's less memory_margin, or what the pool's "
        "first node has found. Needed where the "
        "cloud has no adapter.",
    )
    memory_margin: float = Field(0.10, ge=0, lt=1, description="Share of the flavor's RAM that a node lacks.")
    options: dict[fields.SlurmKey, Annotated[fields.SlurmValue, AfterValidator(fields.slurm_word)]] = Field(
        default_factory=dict, description="Any other option of Slurm's NodeName line, for example Weight."
    )
    before_configure: fields.LocalPath | None = Field(
        None, description="The site's playbook before the node's own play."
    )
    after_configure: fields.LocalPath | None = Field(
        None, description="The site's playbook after it, before slurmd starts."
    )


class Partition(Section):
    """A partition of Slurm."""

    name: fields.SlurmWord = Field(min_length=1, description="The partition's name.")
    pools: tuple[str, ...] = Field((), description="Pools whose nodes belong to it.")
    nodes: str | None = Field(None, description="Hostlist expression of (further) nodes.")
    options: dict[fields.SlurmKey, Annotated[fields.SlurmValue, AfterValidator(fields.slurm_word)]] = Field(
        default_factory=dict, description="Any option of Slurm's PartitionName line, for example MaxTime."
    )


class PowerSave(Section):
    """Slurm's power-save timing, in seconds."""

    suspend_time: int | None = Field(
        600, ge=1, description="Idle for so long, a node is given back; null: never."
    )
    suspend_timeout: int = Field(600, ge=5, description="Longer than any delete takes; released earlier.")
    resume_timeout: int = Field(1800, ge=30, description="Longer than any create and configuration takes.")
    resume_rate: int = Field(0, ge=0, description="Nodes a minute; 0: no limit, the engine has its own.")
    suspend_rate: int = Field(0, ge=0, description="Nodes a minute; 0: no limit.")
    interval: int | None = Field(
        None, ge=1, description="slurmctld's power_save_interval; null: Slurm's own."
    )
    min_interval: int | None = Field(None, ge=0, description="power_save_min_interval; null: Slurm's own.")


_BACKOFFS = {
    FailureClass.CAPACITY: 900,
    FailureClass.QUOTA: 900,
    FailureClass.AUTH: 300,
    FailureClass.CONFIG: 300,
    FailureClass.NODE_LOCAL: 60,
    FailureClass.UNKNOWN: 300,
    FailureClass.INTERNAL: 300,
}


def _over(defaults: dict[FailureClass, int]) -> BeforeValidator:
    """Classes that are not given keep their default."""
    return BeforeValidator(lambda given: {**defaults, **given} if isinstance(given, dict) else given)


class FailurePolicy(Section):
    """What a failed node costs."""

    rest: Annotated[dict[FailureClass, fields.Seconds], _over(_BACKOFFS)] = Field(
        default_factory=lambda: dict(_BACKOFFS),
        description="Seconds, by class of failure, for which a failed node is held back.",
    )
    attempts: Annotated[int, Field(ge=1, le=100)] = Field(
        5,
        description="Failures in a row after which a node rests until `slurm-powersave resume NODE`; "
        "its rest doubles with each before that.",
    )
    boot_timeout: fields.Seconds = Field(
        600,
        description="Seconds from a server's creation to its SSH. This limit and the next two count while "
        "the engine looks; each must be less than power_save.resume_timeout.",
    )
    configure_timeout: fields.Seconds = Field(900, description="Seconds that a node's play may take.")
    registration_timeout: fields.Seconds = Field(
        120, description="Seconds from the end of the play to slurmd's registration."
    )
    unclaimed_after: fields.Seconds = Field(
        900,
        description="Seconds for which Slurm must show a node as POWERED_DOWN before its server is deleted "
        "although nobody has asked for that.",
    )
    restart_after: fields.Seconds = Field(
        300,
        description="Seconds for which a server must be off or silent, under a node that Slurm itself has "
        "set down, until it is started again; once in 24 hours.",
    )
    silent_after: fields.Seconds = Field(
        1800,
        description="Seconds for which a server must be off or silent, under a node that Slurm itself has "
        "set down, until it is deleted and the node is given back; its next resume brings a new server.",
    )


class History(Section):
    """For how long the journal keeps what has ended."""

    keep_days: Annotated[int, Field(ge=2, le=36500)] = Field(
        400,
        description="Days for which ended operations, their requests and the evidence of what was destroyed"
        " are kept. A node's newest operation stays for longer.",
    )


def lowest_first(names: tuple[str, ...]) -> tuple[str, ...]:
    """Sort nodes by their numbers, n2 before n10."""
    return tuple(sorted(names, key=natural))
