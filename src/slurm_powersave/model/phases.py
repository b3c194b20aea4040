"""The phases of an operation, and what each needs to be read before it can go on."""

WAITING = "waiting"
"""Behind another operation of the same node."""
ASKING = "asking"
"""An operator's request: Slurm is asked to power the node up or down."""
DRAINING = "draining"
"""Slurm was asked for a reboot; it waits for the node's jobs, however long they take."""
CHECKING = "checking"
"""Slurm and the cloud are read: is this still wanted, and may it be done?"""
QUEUED = "queued"
PLANNING = "planning"
APPLYING = "applying"
BOOTING = "booting"
CONFIGURING = "configuring"
REGISTERING = "registering"
"""Configured; Slurm has not counted it as up yet."""
UPDATE_QUEUED = "update-queued"
UPDATE_PLANNING = "update-planning"
UPDATING = "updating"
"""Image or flavor of the server is being changed in place."""
RESTORING = "restoring"
"""That failed: what is the server now?"""
REFUSING = "refusing"
"""Nothing was touched; Slurm is told why, and gets the node back as it was."""
FAILING = "failing"
"""Failed; Slurm is being told."""
DELETE_QUEUED = "delete-queued"
DELETE_PLANNING = "delete-planning"
DELETING = "deleting"
VERIFYING = "verifying"
"""The deletion was accepted; the server's id must be gone."""
RELEASING = "releasing"
"""The server is gone; Slurm gets the node back."""
RECOVERING = "recovering"
"""The engine died while Terraform worked: state and cloud are read before anything is done."""

NEEDS_SLURM = frozenset(
    {ASKING, CHECKING, REGISTERING, FAILING, DELETE_QUEUED, DELETE_PLANNING, RELEASING, UPDATE_QUEUED}
    | {UPDATE_PLANNING, REFUSING, RESTORING, VERIFYING}
)
NEEDS_CLOUD = frozenset(
    {CHECKING, QUEUED, BOOTING, DELETE_QUEUED, VERIFYING, RECOVERING, UPDATE_QUEUED, RESTORING}
)
NOT_BEGUN = frozenset({WAITING, ASKING, DRAINING, CHECKING, QUEUED, UPDATE_QUEUED})
"""What brings a node up has touched nothing yet in one of these."""
IN_BATCH = frozenset({PLANNING, APPLYING, DELETE_PLANNING, DELETING, UPDATE_PLANNING, UPDATING})
"""A Terraform run works on it; nothing else may."""
GOING = (DELETE_QUEUED, DELETE_PLANNING, DELETING, VERIFYING)
"""The node's server is being deleted."""
CREATING = frozenset({PLANNING, APPLYING})

# Outcomes
DONE = "done"
FAILED = "failed"
REFUSED = "refused"
CANCELLED = "cancelled"
JOINED = "joined"
