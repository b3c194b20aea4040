"""What Terraform starts: launch.py SOCKET PACKAGE CERTIFICATE SITE-PACKAGES...

Hands the start over to the warm process (warm.py) at SOCKET, and lives as long as the provider that
this one forks. Where there is none, starts one for the next time and becomes main.py. Imports
nothing that Python has not loaded anyway: this is the part that every start pays for.
"""

import _signal
import _socket
import os
import sys

PRIVATE = 0o077


def call(path: str) -> bool:
    """Have a provider forked and wait for its end; False if there is nobody to do it."""
    try:
        owner = os.lstat(os.path.dirname(path))
        if owner.st_uid != os.getuid() or owner.st_mode & PRIVATE:
            return False
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        connection.connect(path)
        environment = [name + b"=" + value for name, value in os.environb.items()]
        body = b"\0".join([str(os.getppid()).encode(), *environment])
        fds = b"".join(number.to_bytes(4, sys.byteorder) for number in range(3))
        head = len(body).to_bytes(8, "big")
        connection.sendmsg([head], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fds)])
        connection.sendall(body)
        if connection.recv(1) != b"k":
            return False
    except OSError:
        return False
    for number in (_signal.SIGINT, _signal.SIGTERM):
        _signal.signal(number, _signal.SIG_IGN)
    try:
        while connection.recv(1):
            pass
    except OSError:
        pass
    return True


def warm_up(here: str, path: str, arguments: list[str]) -> None:
    """Start a warm process in a session of its own."""
    argv = [sys.executable, "-I", "-S", f"{here}/warm.py", *arguments]
    null = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_RDWR, 0) for number in range(3)]
    environment = {"SLURM_POWERSAVE_PROVIDER_SOCKET": path, "PATH": os.environ.get("PATH", os.defpath)}
    os.posix_spawn(argv[0], argv, environment, file_actions=null, setsid=True)


def main() -> None:
    """Be, or stand for, the provider."""
    path, *arguments = sys.argv[1:]
    if call(path):
        os._exit(0)
    here = os.path.dirname(os.path.realpath(__file__))
    warm_up(here, path, arguments)
    os.execv(sys.executable, [sys.executable, "-I", "-S", f"{here}/main.py", *arguments])


main()
