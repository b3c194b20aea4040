"""What every ssh of ours is told. Pure.

No configuration file is read, neither a person's nor the system's: a Port, ProxyJump, RemoteCommand or
ControlMaster in one would lead a command of ours elsewhere. Only the cluster's key is offered, only host keys
of one file are believed, and the other side gets nothing of ours: no agent, no display, no port.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from slurm_powersave.config.fields import split_jump
from slurm_powersave.config.layout import Layout

NO_FILE = ("-F", "none")
_TARGET = "target:port"
CLOSED = {
    "StrictHostKeyChecking": "yes",
    "GlobalKnownHostsFile": "/dev/null",
    "UpdateHostKeys": "no",
    "VerifyHostKeyDNS": "no",
    "IdentitiesOnly": "yes",
    "IdentityAgent": "none",
    "PreferredAuthentications": "publickey",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "ClearAllForwardings": "yes",
    "PermitLocalCommand": "no",
    "Tunnel": "no",
}
_UNATTENDED = {
    "BatchMode": "yes",
    "ConnectTimeout": "5",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",
    "LogLevel": "ERROR",
}
_PLAY = {"ConnectTimeout": "10", "ServerAliveInterval": "10", "ServerAliveCountMax": "3"}
"""ConnectTimeout ends with the banner. From then on ssh gives up a host that says nothing for interval times
count: in the key exchange and the login, too (ssh_packet_set_timeout, measured with 9.2). A module that runs
for long without a word is no silence: its sshd answers."""


def argv(known_hosts: Path, private_key: Path) -> list[str]:
    """Return the beginning of a command that asks nobody anything; what it multiplexes is added behind."""
    given = _UNATTENDED | {"UserKnownHostsFile": str(known_hosts)} | CLOSED
    return [
        "ssh",
        "-T",
        *NO_FILE,
        *(f"-o{key}={value}" for key, value in given.items()),
        "-i",
        str(private_key),
    ]


def ansible(known_hosts: Path, *more: str) -> str:
    """Return the same for Ansible, which splits it as a shell would, and names the key itself."""
    given = {"UserKnownHostsFile": str(known_hosts)} | CLOSED | _PLAY
    words = [*NO_FILE, *(word for key, value in given.items() for word in ("-o", f"{key}={value}")), *more]
    return shlex.join(words)


def through(jump: str | None, layout: Layout) -> Sequence[str]:
    """Return the option that leads to the login node through a jump host; none without one.

    ProxyJump would hand none of our options to the ssh that it starts.
    """
    if not jump:
        return ()
    words = [word.replace("%", "%%") for word in to_jump(jump, layout, _TARGET)]
    return ("-o", f"ProxyCommand={shlex.join(words).replace(_TARGET, '%h:%p')}")


def to_jump(jump: str, layout: Layout, target: str) -> list[str]:
    """Return the command that connects to `target`, an address and a port, as the jump host would.

    The jump host's own key is in a file that a person writes: no cloud of ours knows it.
    """
    user, host, port = split_jump(jump)
    ssh = argv(layout.jump_known_hosts, layout.private_key)
    return [*ssh, "-oControlPath=none", "-W", target, "-p", str(port), "-l", user, host]
