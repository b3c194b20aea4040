"""Every command that changes something is in the history: who, when, from where, what of the cluster file.

What the engine reads anew of the cluster file is there, too.
"""

import os
import pwd
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from slurm_powersave.commands.act_records import origin
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands import file_diff
from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.records import Command
from slurm_powersave.ports.journal import Commands
from slurm_powersave.ports.site import Site

DONE, INTERRUPTED = "done", "interrupted"
ENGINE = "engine: takes the cluster file"


@contextmanager
def in_history(find: Callable[[], Site | None], text: str, say: Callable[[str], None]) -> Iterator[None]:
    """Record a command as it begins, and how it ends.

    A history that can't be written stops nobody: the command may be what mends it.

    Args:
        find: tells which cluster, if that is known (yet); a restore may bring its file.
        text: what was typed.
        say: tells a person that the history could not be written.
    """
    command = Command(secrets.token_hex(8), time.time(), text, origin())
    _write(find(), command, say)
    outcome = DONE
    try:
        yield
    except BaseException as error:
        outcome = _outcome(error)
        raise
    finally:
        # The first deploy has made the journal meanwhile, a restore another one.
        _write(find(), replace(command, outcome=outcome), say)


def engine_took(site: Site) -> None:
    """Record that the engine uses a cluster file that differs from the one that was last used.

    Raises:
        JournalError: it could not be written.
    """
    with site:
        journal, file = site.journal(), site.cluster.file
        if journal.used_file() != _shown(file):
            by = _saved_by(file)
            _save(journal, site.cluster, Command(secrets.token_hex(8), time.time(), ENGINE, by, outcome=DONE))


def _write(site: Site | None, command: Command, say: Callable[[str], None]) -> None:
    if site is None:
        return
    try:
        # Closed at once: a restore puts another journal in its place.
        with site:
            if journal := site.existing_journal():
                _save(journal, site.cluster, command)
    except PowersaveError as error:
        say(f"this command could not be written to the history: {error.line}")


def _save(journal: Commands, cluster: Cluster, command: Command) -> None:
    before, after = journal.used_file(), _shown(cluster.file)
    diff = "" if before is None else file_diff.difference(before, after)
    journal.save_command(replace(command, diff=diff), after)


def _shown(path: Path) -> str:
    try:
        return file_diff.shown(read_text(path, "replace"))
    except OSError:
        return ""


def _outcome(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    code = getattr(error, "exit_code", None)
    if code == 0:
        return DONE
    said = error.line if isinstance(error, PowersaveError) else ""
    if code == 130:
        return INTERRUPTED
    if code is None:
        return f"failed: {type(error).__name__}: {error}"
    return f"exit code {code}" + f": {said}" * bool(said)


def _saved_by(path: Path) -> str:
    """Name the owner of a file and when it was saved: nobody else is known to have changed it."""
    try:
        found = path.stat()
    except OSError:
        return f"engine on {os.uname().nodename}"
    try:
        owner = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        owner = f"uid {found.st_uid}"
    saved = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.st_mtime))
    return f"owner {owner}, saved at {saved}, on {os.uname().nodename}"
