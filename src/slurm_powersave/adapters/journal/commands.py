"""What people have typed that changes something, and the cluster file as it was last used."""

from dataclasses import asdict

from slurm_powersave.adapters.journal.database import Database, write
from slurm_powersave.adapters.journal.tables import value
from slurm_powersave.model.printable import printable, printable_lines
from slurm_powersave.model.records import Command

_USED = "cluster file"


class Commands(Database):
    """The table `commands`, and the mark that holds the cluster file."""

    def save_command(self, command: Command, used: str) -> None:
        """Record a command and the cluster file that it uses; of one that is recorded, how it has ended."""
        with self._write() as db:
            ended = printable(command.outcome)
            known = db.execute("UPDATE commands SET outcome = ? WHERE id = ?", (ended, command.id)).rowcount
            if not known:
                write(db, "marks", [{"name": _USED, "value": printable_lines(used)}])
                write(db, "commands", [_row(command)], "INSERT")

    def commands(self, limit: int) -> list[Command]:
        """Return the newest, newest first."""
        rows = self._rows("SELECT * FROM commands ORDER BY number DESC LIMIT ?", limit)
        return [value(Command, row) for row in rows]

    def used_file(self) -> str | None:
        """Return the cluster file as it was last used; None if that is not known."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _USED)
        return str(rows[0]["value"]) if rows else None


def _row(command: Command) -> dict[str, object]:
    return asdict(command) | {
        "text": printable(command.text),
        "by": printable(command.by),
        "diff": printable_lines(command.diff),
        "outcome": printable(command.outcome),
    }
