"""What differs between versions of Slurm: the only place that compares them. Pure.

Each member of Difference is a row of a table: what Slurm does from one version to another, what we do because
of it, and how that is known. docs/reference/slurm-versions.md is made from it (tools/reference.py).
"""

from dataclasses import dataclass
from enum import Enum, StrEnum, unique

from slurm_powersave.model.slurm_version import Version

DEFAULT = "22.05"
"""What a cluster file means that names no version."""


@dataclass(frozen=True)
class Row:
    """One difference."""

    what: str
    """What Slurm does in these versions."""
    consequence: str
    """What we do because of it."""
    source: str
    """How it is known: measured on which versions, or read where."""
    since: Version | None = None
    """The first version that does it; None: all that we know."""
    before: Version | None = None
    """The first version that does not do it any more; None: all do it to this day."""


@unique
class Difference(Enum):
    """The table."""

    POWER_DOWN_FORCE = Row(
        "The states POWER_DOWN_FORCE and POWER_DOWN_ASAP exist.",
        "Older versions are refused: nothing else ends a failed resume at once.",
        "read in scontrol(1); measured on 22.05.8, 24.11.5 and 26.05.5",
        since=Version(21, 8),
    )

    # slurm.conf

    SUSPEND_EXC_STATES = Row(
        "SuspendExcStates keeps nodes that are DRAIN or DOWN from being suspended.",
        "slurm.conf gets SuspendExcStates=DRAIN,DOWN and idle_on_node_suspend. Older versions get neither: a "
        "drained node is suspended there, and keeps its flag and its reason.",
        "read in slurm.conf(5); measured on 22.05.8, 24.11.5 and 26.05.5",
        since=Version(23, 2),
    )
    KEEP_POWER_SAVE_SETTINGS = Row(
        "ReconfigFlags=KeepPowerSaveSettings exists.",
        "slurm.conf gets it.",
        "read in slurm.conf(5)",
        since=Version(23, 2),
    )
    HIDES_POWERED_DOWN_NODES = Row(
        "sinfo shows nodes that are powered down only with PrivateData=cloud.",
        "slurm.conf gets PrivateData=cloud.",
        "read in slurm.conf(5)",
        before=Version(23, 2),
    )
    SENDS_THROUGH_NODES = Row(
        "slurmctld sends messages through other nodes and remembers addresses, with cloud nodes too.",
        "slurm.conf gets TreeWidth=65533 and CommunicationParameters=NoAddrCache.",
        "read in slurm.conf(5)",
        before=Version(23, 11),
    )
    REQUEUE_ON_RESUME_FAILURE = Row(
        "SchedulerParameters=requeue_on_resume_failure exists.",
        "slurm.conf gets it.",
        "read in slurm.conf(5); measured on 26.05.5",
        since=Version(25, 5),
    )
    PROLOG_SLURMCTLD_DELAYS_SALLOC = Row(
        "Any PrologSlurmctld makes salloc take 3 s on nodes that are up; later it takes about 0.1 s.",
        "Fast start is off unless the cluster file has `fast_start: true`.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; that it ends with 23.02 is assumed",
        before=Version(23, 2),
    )
    SUSPEND_EXC_NODES_COUNT = Row(
        "A list in SuspendExcNodes may end in `:COUNT`: so many of its nodes stay up.",
        "All nodes of such a list count as nodes that are never suspended.",
        "measured on 26.05.5; older versions were not looked at and are treated alike",
    )

    # Hooks

    HOOKS_KILLED = Row(
        "slurmctld kills a hook that runs longer than the larger of ResumeTimeout and SuspendTimeout.",
        "A hook writes one file and exits, on every version.",
        "read in Slurm's source; measured on 24.11.5 and 26.05.5",
        since=Version(23, 2),
    )
    HOOK_DESCRIPTORS_CLOSED = Row(
        "ResumeProgram, SuspendProgram and ResumeFailProgram start with descriptors 0 to 2 closed.",
        "The hooks open them on /dev/null first, on every version.",
        "read in Slurm's source; measured on 22.05.8, 24.11.5 and 26.05.5",
        before=Version(23, 2),
    )
    REBOOT_HOOK_CLEAN = Row(
        "RebootProgram of slurmctld gets ranges (`c[1-2]`) and an environment with SLURM_CONF only; before "
        "that a comma list and slurmctld's whole environment.",
        "The hook sets its own PATH and reads any hostlist expression, on every version.",
        "read in Slurm's source; measured on 22.05.8, 24.11.5 and 26.05.5",
        since=Version(26, 5),
    )
    RESUME_FILE_NODES_RESUME = Row(
        "SLURM_RESUME_FILE has `all_nodes_resume` and `nodes_resume`; before that `all_nodes` and `nodes`.",
        "The hostlist expression in the hook's arguments counts; the file is only kept.",
        "read in Slurm's source; measured on 22.05.8, 24.11.5 and 26.05.5",
        since=Version(23, 2),
    )
    RESUME_FILE_PRIORITY = Row(
        "The jobs in SLURM_RESUME_FILE have `exclusive` and `priority`, too.",
        "Not used.",
        "read in Slurm's source; measured on 24.11.5 and 26.05.5",
        since=Version(26, 5),
    )
    POWER_ACTION = Row(
        "PowerAction gives a program a name and arguments of its own.",
        "Not used.",
        "read in slurm.conf(5); measured on 26.05.5",
        since=Version(26, 5),
    )

    # Nodes and jobs

    DRAIN_HOLDS_DURING_POWER_DOWN = Row(
        "A DRAIN set before POWER_DOWN_FORCE stays until the node is POWERING_DOWN: no job gets the node in "
        "between. On 22.05 no job gets it either, because it is DOWN (not responding) in that time.",
        "After a failed resume the engine sets DRAIN, then POWER_DOWN_FORCE, and DRAIN once more as soon as "
        "the node is POWERING_DOWN, which wipes the first one. Before 24.11 only the last two.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(24, 11),
    )
    NO_REQUEUE_JOBS_ARE_REQUEUED = Row(
        "With requeue_on_resume_failure a failed resume (DRAIN while POWERING_UP, ResumeTimeout) requeues "
        "jobs of `--no-requeue`, too; before that they end.",
        "The parameter is set where it exists.",
        "measured on 24.11.5 and 26.05.5; 22.05 is treated like 24.11; the beginning was read",
        since=Version(25, 5),
    )
    POWER_UP_FORGOTTEN = Row(
        "POWER_UP for a node that is POWERING_DOWN is accepted and forgotten.",
        "`resize` and `resume` ask again when the node is POWERED_DOWN.",
        "measured on 22.05.8, 24.11.5 and 26.05.5",
    )
    POWER_UP_TAKES_REASON = Row(
        "POWER_UP of a drained node that is powered down keeps the DRAIN and takes its reason away.",
        "The engine puts back the reason that it saw before, on every version.",
        "measured on 22.05.8; read in Slurm's newest source, and treated alike in between",
    )
    NODE_ADDR_BECOMES_NAME = Row(
        "When a node is POWERED_DOWN its NodeAddr becomes its name; before that only with cloud_reg_addrs.",
        "The login node's /etc/hosts has all nodes, and cloud_reg_addrs is not set, on every version.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; assumed from where cloud_reg_addrs is the default",
        since=Version(23, 11),
    )
    REASON_STAYS = Row(
        "The reason of a node stays when it is back in service after RESUME or a reboot, and the next plain "
        "`scontrol reboot` shows it as its own. Slurm's own ` : Not responding` is written after it.",
        "The engine blanks a reason that it has served: an old `reimage` must not be read once more. A node "
        "that Slurm hears again, and leaves DOWN because of that blank, is resumed.",
        "measured on 24.11.5; gone on 22.05.8 and 26.05.5; where it begins and ends is not known",
        since=Version(23, 2),
        before=Version(26, 5),
    )
    ASAP_KEEPS_DRAIN = Row(
        "`scontrol reboot ASAP` without nextstate keeps a DRAIN that was there; before that it is lost.",
        "A DRAIN of somebody else is put back after a reboot, on every version.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(24, 11),
    )
    RESUME_OF_NODE_THAT_IS_OFF_IS_CLEAN = Row(
        "RESUME of a drained node that is powered down leaves it IDLE and POWERED_DOWN; before that "
        "NOT_RESPONDING, too, and after a reconfigure 22.05 gives such a node to no job.",
        "A node that is POWERED_DOWN and NOT_RESPONDING is powered down once more, on every version.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(26, 5),
    )
    JOB_REBOOT_IGNORED = Row(
        "`sbatch --reboot` for a node that is up is ignored: the job starts there without a reboot. Before "
        "that ResumeProgram is called for the node.",
        "Nothing can be done: nobody is told. `scontrol reboot` does it.",
        "measured on 22.05.8, 24.11.5 and 26.05.5, without NodeFeaturesPlugins; where it begins is not known",
        since=Version(24, 11),
    )
    EXPEDITING = Row(
        "A job of `sbatch --requeue=expedite` is EXPEDITING, not PENDING, while it waits again.",
        "It counts as a job that waits, on every version.",
        "measured on 26.05.5; where it begins is not known",
        since=Version(26, 5),
    )

    # slurmctld

    RECONFIGURE_TAKES_NODES = Row(
        "`scontrol reconfigure` starts a new slurmctld process, which takes over a changed number of nodes; "
        'before that slurmctld dies of it ("MaxNodeCount has changed").',
        "For a changed number of nodes slurmctld reconfigures. Older ones are restarted, which keeps jobs.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; the beginning was read",
        since=Version(23, 11),
    )
    REMOVED_NODE_LOSES_JOBS = Row(
        "A reconfigure that removes a node with a running job forgets the job and reports no error; the "
        "job's processes go on.",
        "A node leaves slurm.conf only when it is powered down and has no job, on every version.",
        "measured on 26.05.5; assumed where `reconfigure` takes over a changed number of nodes",
        since=Version(23, 11),
    )
    WAITING_PROLOG_KILLED = Row(
        "A reconfigure or restart of slurmctld kills a waiting PrologSlurmctld and does not run it again.",
        "With fast start such a job begins up to 30 s later; it is not lost. Our own reconfigure or restart "
        "waits, at most a minute, until no job is CONFIGURING.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; where it begins is not known: assumed from 25.05 on",
        since=Version(25, 5),
    )
    LAST_SCRIPTS_LOST = Row(
        "A job that is let go while slurmctld ends is RUNNING, and its script is never sent; Slurm requeues "
        "it when its node registers the next time, up to half an hour later.",
        "A minute after each start of slurmctld the engine lets the nodes of such jobs register.",
        "measured on 22.05.8 and 24.11.5 at a restart, on 26.05.5 at a restart and at a reconfigure",
    )

    # What commands answer

    REBOOT_OF_NODE_THAT_IS_OFF_COMPLAINS = Row(
        "`scontrol reboot` of a node that is powered down writes an error and ends with exit code 0; before "
        "that it writes nothing.",
        "An error on standard error is a refusal, on every version.",
        "measured on 22.05.8, 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(24, 11),
    )
    NODE_HAS_INSTANCE = Row(
        "`scontrol -o show node` has Extra, InstanceId and InstanceType behind Reason and Comment.",
        "The line is read in the same way on every version.",
        "measured on 24.11.5 and 26.05.5; the beginning was read",
        since=Version(23, 11),
    )
    NODE_HAS_RESERVATION = Row(
        "`scontrol -o show node` has ReservationName behind Reason.",
        "The line is read in the same way on every version.",
        "measured on 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(24, 11),
    )
    NODE_HAS_TOPOLOGY = Row(
        "`scontrol -o show node` has Topology behind Reason.",
        "The line is read in the same way on every version.",
        "measured on 24.11.5 and 26.05.5; where it begins is not known",
        since=Version(26, 5),
    )
    SHOW_NODE_JSON = Row(
        "`scontrol show node --json` exists.",
        "Not used: every version has the text with one line for a node.",
        "read in scontrol(1)",
        since=Version(23, 2),
    )


TESTED = (Version.of("22.05.8"), Version.of("24.11.5"), Version.of("26.05.5"))
"""The versions that we were tested with, in order."""
NEWEST = TESTED[-1]


class Standing(StrEnum):
    """What is known of a version."""

    TESTED = "tested"
    BY_THE_TABLE = "by the table, not tested"
    NEWER = "newer than all that were tested"


def standing(version: Version) -> Standing:
    """Say whether a version was tested, is covered by the table alone, or is not known yet."""
    if version > NEWEST:
        return Standing.NEWER
    return Standing.TESTED if version in TESTED else Standing.BY_THE_TABLE


def has(version: Version, difference: Difference) -> bool:
    """Tell whether a version does it. One that is newer than all we know does what the newest does."""
    row, known = difference.value, min(version, NEWEST)
    return (row.since is None or row.since <= known) and (row.before is None or known < row.before)
