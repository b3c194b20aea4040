"""Where things are in a cluster's state directory, and on its nodes."""

from dataclasses import dataclass
from pathlib import Path

SPOOL = "/var/spool/slurm-powersave"
"""On the slurmctld host: what the hooks accepted and the engine has not journalled yet."""
HOOKS = "/usr/lib/slurm-powersave"
"""On the slurmctld host (and the nodes, for reboot and site scripts): what Slurm calls."""
SLURM_FILES = "/etc/slurm"
"""Where Slurm's files are."""
LIVE_FILES = f"{SLURM_FILES}/slurm-powersave.d"
"""On the slurmctld host: a new slurm.conf that is tried, the last good one, and old ones."""
FAST_START = f"{HOOKS}/prolog-slurmctld"
SITE_PROLOG_SLURMCTLD = f"{HOOKS}/site-prolog-slurmctld"
SITE_PROLOG = f"{HOOKS}/site-prolog"
SITE_EPILOG = f"{HOOKS}/site-epilog"


@dataclass(frozen=True)
class Layout:
    """The state directory of one cluster; nothing here touches the disk."""

    root: Path

    @property
    def journal(self) -> Path:
        """The SQLite journal."""
        return self.root / "journal.db"

    @property
    def pause(self) -> Path:
        """While this file exists the cluster is paused; its content is the reason."""
        return self.root / "pause"

    @property
    def lock(self) -> Path:
        """Held by the running engine."""
        return self.root / "engine.lock"

    @property
    def command_lock(self) -> Path:
        """Held by a running command that itself changes servers or files."""
        return self.root / "command.lock"

    @property
    def identity(self) -> Path:
        """Which cluster's this directory is, and of which cluster file."""
        return self.root / "cluster.json"

    @property
    def slurm_conf_in_use(self) -> Path:
        """What of slurm.conf slurmctld was last given."""
        return self.root / "applied.json"

    @property
    def cluster_files(self) -> Path:
        """The last cluster files that were applied."""
        return self.root / "cluster-files"

    @property
    def image(self) -> Path:
        """What a running `image build` works with: inventory and host keys of its servers."""
        return self.root / "image"

    @property
    def log(self) -> Path:
        """The engine's log."""
        return self.root / "engine.log"

    @property
    def private_key(self) -> Path:
        """SSH key of the control host."""
        return self.root / "keys" / "id_ed25519"

    @property
    def public_key(self) -> Path:
        """Its public half: the key pair of the servers."""
        return self.root / "keys" / "id_ed25519.pub"

    @property
    def munge_key(self) -> Path:
        """The cluster's munge key."""
        return self.root / "keys" / "munge.key"

    @property
    def known_hosts(self) -> Path:
        """Host keys that came by a trusted way; written by us only."""
        return self.root / "known_hosts"

    @property
    def jump_known_hosts(self) -> Path:
        """Host keys of the jump host; written by a person."""
        return self.root / "known_hosts_jump"

    @property
    def sockets(self) -> Path:
        """Where ssh's shared connections are."""
        return self.root / "ssh"

    @property
    def inventory(self) -> Path:
        """For `ansible-playbook -i`."""
        return self.root / "inventory"

    @property
    def next_inventory(self) -> Path:
        """The inventory of a running `deploy` or `resize`, until slurmctld has taken its slurm.conf."""
        return self.root / "inventory.next"

    @property
    def base(self) -> Path:
        """Terraform's state of network and login node."""
        return self.root / "terraform" / "base"

    @property
    def terraform(self) -> Path:
        """All states; the shards are CLOUD/nodes-NNN below it."""
        return self.root / "terraform"

    @property
    def backups(self) -> Path:
        """Where backups go that are told no other place."""
        return self.root / "backups"

    @property
    def runs(self) -> Path:
        """One directory per detached run."""
        return self.root / "runs"
