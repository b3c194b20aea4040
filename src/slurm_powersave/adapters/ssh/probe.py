"""Asks whether an sshd answers: with its banner, and with the first packet of its key exchange.

A banner alone is no answer: a host that hangs after it keeps every login waiting. Nothing is believed here,
nor is anybody's key needed; who it is that answers is found out by the login.
"""

import errno
import socket
import time

_KEXINIT = 20
"""SSH_MSG_KEXINIT (RFC 4250, section 4.1.2), which either side sends right after its banner."""
_TYPE = 5
"""Place of the message's number in a packet: after four bytes of length and one of padding (RFC 4253, 6)."""
_OURS = b"SSH-2.0-slurm_powersave\r\n"
_MOST = 1024
"""Bytes that are read at most."""
_OUR_OWN = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETUNREACH}
    | {errno.ENETDOWN, errno.EPERM, errno.EACCES}
)
"""What connect(2) says where the trouble is this host's: no file, no memory, no network, a rule."""


def answers(address: str, port: int, seconds: float) -> bool:
    """Tell whether an sshd there begins a key exchange, within so many seconds."""
    return bool(asked(address, port, seconds))


def asked(address: str, port: int, seconds: float) -> bool | None:
    """Tell the same; None if this host could not ask, and so knows nothing."""
    end = time.monotonic() + seconds
    try:
        with socket.create_connection((address, port), timeout=seconds) as connection:
            connection.sendall(_OURS)
            return _begins(connection, end)
    except OSError as error:
        return None if error.errno in _OUR_OWN else False


def _begins(connection: socket.socket, end: float) -> bool:
    said = b""
    while len(said) < _MOST and (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        more = connection.recv(_MOST)
        said += more
        if not more or not said.startswith(b"SSH-"[: len(said)]):
            return False
        packet = said.partition(b"\n")[2]
        if len(packet) > _TYPE:
            return packet[_TYPE] == _KEXINIT
    return False
