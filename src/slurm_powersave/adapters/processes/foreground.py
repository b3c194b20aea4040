"""A process that somebody waits for, and that is not killed by the person's Ctrl-C.

Terraform with a pipe to us would die of SIGPIPE when we do, and what it was making would be in no state.
"""

import secrets
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from slurm_powersave.adapters.processes.process import Completed, exit_code, signal_run, start_detached
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.model.nodes import RunRecord

_LOOK = 0.05
"""Seconds between two looks whether it has ended."""
_LAST = 300.0
"""Seconds from SIGINT to SIGKILL: Terraform waits for the calls that it has made."""


def run(argv: Sequence[str], *, timeout: float, env: Mapping[str, str], cwd: Path) -> Completed:
    """Run a command to its end, in a session of its own and with its output in files.

    After `timeout` seconds it is interrupted as by Ctrl-C, and waited for; `rc` is None then.

    Raises:
        MissingToolError: the program does not exist or may not be run.
        KeyboardInterrupt: the person has interrupted us; it was told once, and has ended.
    """
    with ctrl_c_noted() as interrupted:
        place = Path(tempfile.mkdtemp(prefix="run-", dir=cwd))
        try:
            record = start_detached(
                argv, place, run_id=secrets.token_hex(4), kind="run", env=env, cwd=cwd, stdout="stdout"
            )
            interrupted_by_us = _wait(record, timeout, interrupted)
            rc = exit_code(record)
            out, err = (read_text(place / name, errors="replace") for name in ("stdout", "stderr"))
        finally:
            shutil.rmtree(place, ignore_errors=True)
    if interrupted.is_set():
        raise KeyboardInterrupt
    return (
        Completed(None, out, f"no end within {timeout:g} s") if interrupted_by_us else Completed(rc, out, err)
    )


@contextmanager
def ctrl_c_noted() -> Iterator[threading.Event]:
    """Note Ctrl-C: raised while the process is started, or looked at, it would leave it to itself.

    In another thread than the main one Python raises nothing, and where Ctrl-C is ignored it stays so.
    """
    noted = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield noted
        return
    signal.signal(signal.SIGINT, lambda *_: noted.set())
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(record: RunRecord, timeout: float, interrupted: threading.Event) -> bool:
    """Wait for the end; return whether it was told to end.

    A second Ctrl-C ends no waiting: Terraform that is told twice leaves without writing its state.
    """
    deadline, interrupted_by_us = time.monotonic() + timeout, False
    while exit_code(record) is None:
        time.sleep(_LOOK)
        late = time.monotonic() > deadline
        if interrupted_by_us and late:
            signal_run(record, signal.SIGKILL)
        elif late or (interrupted.is_set() and not interrupted_by_us):
            interrupted_by_us, deadline = True, time.monotonic() + _LAST
            signal_run(record, signal.SIGINT)
    return interrupted_by_us
