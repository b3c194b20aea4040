"""What a server's status in the cloud means for its node, in one place. The words are Nova's.

https://docs.openstack.org/api-guide/compute/server_concepts.html#server-status
"""

GONE = frozenset({"SOFT_DELETED", "DELETED"})
"""Deleted; the cloud may still keep what it was."""
PUT_AWAY = frozenset({"SUSPENDED", "PAUSED", "SHELVED", "SHELVED_OFFLOADED"})
"""Stopped by people of the cloud, in a way that only they, or a hard reboot, end."""
OFF = frozenset({"SHUTOFF"}) | GONE | PUT_AWAY
"""Runs nothing. One in ERROR may run: a resize that failed leaves it so."""
RESCUED = frozenset({"RESCUE"})
"""A person has booted another system there, to work on its disk."""
RUNNING = frozenset({"ACTIVE", "REBOOT"})
"""Should answer SSH, now or when it has booted."""
