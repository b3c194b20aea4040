"""The way to the host of slurmctld: here, or over SSH with known keys only, perhaps through a jump host."""

import hashlib
from pathlib import Path

from slurm_powersave.adapters.ansible import playbooks
from slurm_powersave.adapters.ansible.playbooks import SSH_PORT
from slurm_powersave.adapters.processes.process import run
from slurm_powersave.adapters.slurm import live_files, logs
from slurm_powersave.adapters.ssh import sockets
from slurm_powersave.config.fields import split_jump
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files import ssh_options
from slurm_powersave.decide.slurm_files.live_files import LiveFiles

_JUMP_SECONDS = 10.0


class SshLoginHost:
    """Implements ports.LoginHost."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._login, self._layout = cluster, cluster.login, cluster.layout

    @property
    def become(self) -> list[str]:
        """What makes a command root's there."""
        return [] if self._login.user == "root" else ["sudo", "-n"]

    def sockets(self) -> Path:
        """Return the directory of the shared connections."""
        return sockets.directory(self._layout.root, self._layout.sockets)

    def argv(self) -> list[str]:
        """Return what goes before a command that is to run as root on the slurmctld host, once."""
        if self._login.connection == "local":
            return []
        return [*self._ssh(), "-oControlPath=none", self._target, *self.become]

    def shared_argv(self) -> list[str]:
        """Return ssh to that host through one connection for all: 20 ms a command, not 200."""
        digest = hashlib.sha256(str(self._cluster.state_dir).encode()).hexdigest()[:12]
        control = ["-oControlMaster=auto", "-oControlPersist=60", f"-oControlPath={self.sockets()}/{digest}"]
        return [*self._ssh(), *control, self._target]

    def _ssh(self) -> list[str]:
        """Return ssh without user and address: known keys only, no question ever asked."""
        ssh = ssh_options.argv(self._layout.known_hosts, self._layout.private_key)
        return [*ssh, *ssh_options.through(self._login.jump, self._layout)]

    @property
    def _target(self) -> str:
        return f"{self._login.user}@{self._login.address}"

    def answers(self, address: str) -> bool:
        """Tell whether an sshd answers there with its banner; the login node's through the jump host."""
        if not self._login.jump or address != self._login.address:
            return playbooks.answers(address)
        argv = ssh_options.to_jump(self._login.jump, self._layout, f"{address}:{SSH_PORT}")
        return run(argv, timeout=_JUMP_SECONDS).out.startswith("SSH-")

    def jump_is_known(self) -> bool:
        """Tell whether the jump host's key is in its file; also if there is no jump host."""
        if not self._login.jump:
            return True
        _, host, port = split_jump(self._login.jump)
        name = host if port == 22 else f"[{host}]:{port}"  # as ssh writes it (sshd(8))
        argv = ["ssh-keygen", "-F", name, "-f", str(self._layout.jump_known_hosts)]
        return run(argv, timeout=_JUMP_SECONDS).rc == 0

    def live_files(self) -> LiveFiles:
        """Read Slurm's files there."""
        return live_files.read(self.argv())

    def save_logs(self, place: Path) -> dict[str, str]:
        """Write the logs below a directory; return name -> why for those that could not be had."""
        return logs.collect(self._cluster, self.argv(), place)
