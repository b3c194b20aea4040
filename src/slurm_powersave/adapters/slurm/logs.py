"""Logs that would be lost with the login node. Each is bounded in time and size; none is ever an obstacle."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from slurm_powersave.adapters.processes import process
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import MissingToolError

LARGEST = 8 << 20
"""Bytes of each log, from its end."""
_SECONDS = 20.0
_SLURMCTLD_LOG = "/var/log/slurm/slurmctld.log"
_ENGINE_UNIT = "slurm-powersave-engine"


def collect(cluster: Cluster, login: Sequence[str], place: Path) -> dict[str, str]:
    """Write the logs below a directory; return name -> why for those that could not be had.

    `login` goes before a command of root's on the slurmctld host.
    """
    (slurmctld, *_) = cluster.slurm_conf_extra.get("SlurmctldLogFile") or (_SLURMCTLD_LOG,)
    tail = ["tail", f"--bytes={LARGEST}"]
    engine = [*tail, str(cluster.layout.log)]
    if not cluster.layout.log.exists():
        engine = ["journalctl", f"--unit={_ENGINE_UNIT}", "--lines=20000", "--no-pager", "--output=short-iso"]
    on_login = [*tail, slurmctld]
    wanted = {
        # ssh gives its words to a shell there.
        "slurmctld.log": [*login, shlex.join(on_login)] if login else on_login,
        "engine.log": engine,
    }
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    missing = {name: _save(argv, place / name) for name, argv in wanted.items()}
    return {name: why for name, why in missing.items() if why}


def _save(argv: Sequence[str], target: Path) -> str:
    try:
        done = process.run(argv, timeout=_SECONDS)
    except MissingToolError as error:
        return str(error)
    if done.rc != 0:
        return done.err.strip()[-300:] or f"exit code {done.rc}"
    target.touch(mode=0o600)
    target.write_text(done.out[-LARGEST:])
    return ""
