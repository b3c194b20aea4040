"""What commands of a person destroy is in the history, too, before it is begun: with who and from where."""

import os
import pwd
import time
from collections.abc import Callable, Iterable

from slurm_powersave.model.outside_text import address
from slurm_powersave.model.permit import Permit
from slurm_powersave.model.records import Done
from slurm_powersave.ports.journal import ActRecords
from slurm_powersave.ports.site import Site


def caller() -> str:
    """Name who calls; with sudo the person, not only the user whose rights are used."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid {os.getuid()}"
    behind = os.environ.get("SUDO_USER", "")
    return f"{behind} (sudo, as {user})" if behind and behind != user else user


def origin() -> str:
    """Name who calls, this host, and where a person has come from by SSH (sudo may not tell)."""
    came = address(os.environ.get("SSH_CONNECTION", "").partition(" ")[0])
    return f"{caller()} on {os.uname().nodename}{f' from {came}' if came else ''}"


class Acts:
    """Writes permits to the history as they are about to be used."""

    def __init__(
        self, journal: ActRecords | None, command: str, now: Callable[[], float] = time.time
    ) -> None:
        """`command`: what the person has called. Without a journal (it is lost) nothing is written."""
        self._journal, self._command, self._now = journal, command, now

    def record(self, permits: Iterable[Permit]) -> None:
        """Write them.

        Raises:
            JournalError: they could not be written; nothing may be begun.
        """
        by = f"{self._command} by {origin()}"
        found = [
            Done(self._now(), "", one.node, one.act, one.subject, one.row, f"{one.evidence}; {by}")
            for one in permits
        ]
        if found and self._journal:
            self._journal.add_acts(found)


def acts_of(site: Site, command: str) -> Acts:
    """Return what writes the acts of a command to the cluster's journal, if there is one."""
    return Acts(site.existing_journal(), command)
