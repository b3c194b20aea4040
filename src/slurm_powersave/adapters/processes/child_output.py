"""A program in the foreground: its output goes where ours goes, and nothing in it acts on a terminal.

ansible-playbook prints what hosts say as they said it. It gets pipes, so it does not colour; we colour its
lines by how they begin.
"""

import codecs
import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO

from slurm_powersave.adapters.processes.foreground import ctrl_c_noted
from slurm_powersave.model.printable import printable_lines

_BLOCK = 1 << 16
_END = "\n"
_LEFT_OPEN = 2.0
"""Seconds for the last words: something that lives on may hold the pipe."""
_LAST_WORK = 10.0
"""Seconds for a program that is interrupted to end what it has begun."""
_COLOURS = {
    "ok: [": "32",
    "changed: [": "33",
    "skipping: [": "36",
    "fatal: [": "31",
    "failed: [": "31",
    "[ERROR]": "31",
    "ERROR!": "31",
    "[WARNING]": "35",
    "[DEPRECATION WARNING]": "35",
}


def run_shown(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a program to its end, without standard input; return its exit code. OSError if it can't be run."""
    process = subprocess.Popen(
        argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    readers = [
        threading.Thread(target=_pass_on, args=(stream, number), daemon=True)
        for stream, number in ((process.stdout, 1), (process.stderr, 2))
    ]
    try:
        for reader in readers:
            reader.start()
        code = process.wait()
    except BaseException:  # Ctrl-C, too; a second one does not leave the program to itself
        with ctrl_c_noted():
            _end(process)
        raise
    for reader in readers:
        reader.join(_LEFT_OPEN)
    return code


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program with all that it has begun: Ansible's workers outlive an Ansible that is killed at once.

    Measured with ansible-core 2.19: after SIGKILL a worker's task ran on, after SIGTERM nothing did.
    """
    process.terminate()
    try:
        process.wait(_LAST_WORK)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pass_on(stream: IO[bytes], number: int) -> None:
    coloured = os.isatty(number) and "NO_COLOR" not in os.environ
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while block := os.read(stream.fileno(), _BLOCK):
        for line in decoder.decode(block).splitlines(keepends=True):
            shown = printable_lines(line)
            _write(number, (_coloured(shown) if coloured else shown).encode())


def _coloured(line: str) -> str:
    colour = next((colour for word, colour in _COLOURS.items() if line.startswith(word)), "")
    return f"\x1b[{colour}m{line.removesuffix(_END)}\x1b[0m{_END}" if colour and line.endswith(_END) else line


def _write(number: int, block: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read it has enough; the program goes on
        while block:
            block = block[os.write(number, block) :]
