"""The phases of an operation, and what each needs to be read before it can go on."""

WAITING = "waiting"
"""Behind another operation of the same node."""
ASKING = "asking"
"""An operator's request: Slurm is asked to power the node up or down."""
CHECKING = "checking"
"""Slurm and the cloud are read: is this still wanted, and may it be done?"""
QUEUED = "queued"
PLANNING = "planning"
APPLYING = "applying"
BOOTING = "booting"
CONFIGURING = "configuring"
REGISTERING = "registering"
"""Configured; Slurm has not counted it as up yet."""
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

NEEDS_SLURM = frozenset({ASKING, CHECKING, REGISTERING, FAILING, DELETE_QUEUED, DELETE_PLANNING, RELEASING})
NEEDS_CLOUD = frozenset({CHECKING, QUEUED, BOOTING, DELETE_QUEUED, VERIFYING, RECOVERING})
NOT_BEGUN = frozenset({WAITING, ASKING, CHECKING, QUEUED})
"""A create in one of these has touched nothing yet."""
IN_BATCH = frozenset({PLANNING, APPLYING, DELETE_PLANNING, DELETING})
"""A Terraform run works on it; nothing else may."""
CREATING = frozenset({PLANNING, APPLYING})

# Outcomes
DONE = "done"
FAILED = "failed"
REFUSED = "refused"
CANCELLED = "cancelled"
JOINED = "joined"
