"""Slurm's files as they are on the slurmctld host, in one call."""

import base64
import binascii
import shlex
from collections.abc import Sequence

from slurm_powersave.adapters.processes.process import run
from slurm_powersave.config.layout import LIVE_FILES, SLURM_FILES
from slurm_powersave.decide.slurm_files.live_files import NAMES, LiveFiles
from slurm_powersave.model.errors import UnreachableError

_LARGEST = 16 << 20
"""Bytes; a slurm.conf of 100,000 nodes has less than a tenth of it."""
_READ = (
    "for f in {files}; do base64 -w 0 $f 2>/dev/null; echo; done; "
    'said=$(timeout 5 sinfo --version 2>&1) || printf %s "$said" | base64 -w 0; echo'
)


def read(login: Sequence[str], *, timeout: float = 20.0) -> LiveFiles:
    """Read the live files and those that we wrote last; `login` goes before a command of root's.

    Raises:
        UnreachableError: no answer, or none that can be read.
    """
    paths = [f"{place}/{name}" for place in (SLURM_FILES, f"{LIVE_FILES}/written") for name in NAMES]
    script = _READ.format(files=" ".join(paths))
    argv = ["sh", "-c", shlex.quote(script) if login else script]
    done = run([*login, *argv], timeout=timeout, limit=_LARGEST)
    lines = done.out.split("\n")
    try:
        if done.rc != 0 or len(lines) != len(paths) + 2:
            raise ValueError(done.err.strip()[-300:] or f"exit code {done.rc}")
        texts = [base64.b64decode(line, validate=True).decode(errors="replace") for line in lines[:-1]]
    except (ValueError, binascii.Error) as error:
        raise UnreachableError("Slurm's files can't be read", where=SLURM_FILES, why=str(error)) from error
    half = len(NAMES)
    live, written = (dict(zip(NAMES, part, strict=True)) for part in (texts[:half], texts[half:-1]))
    return LiveFiles(live, written, texts[-1].strip()[-300:] if live["slurm.conf"] else "")
