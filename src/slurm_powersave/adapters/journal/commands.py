"""What people have typed that changes something, and the cluster file as it was last used."""

from slurm_powersave.adapters.journal.database import Database
from slurm_powersave.model.printable import printable, printable_lines
from slurm_powersave.model.records import Command

_USED = "cluster file"


class Commands(Database):
    """The table `commands`, and the mark that holds the cluster file."""

    def save_command(self, command: Command, used: str) -> None:
        """Record a command and the cluster file that it uses; of one that is recorded, how it has ended."""
        with self._write() as db:
            if not db.execute("SELECT 1 FROM commands WHERE id = ?", (command.id,)).fetchone():
                db.execute("INSERT OR REPLACE INTO marks VALUES (?,?)", (_USED, printable_lines(used)))
            db.execute(
                "INSERT INTO commands (id, at, text, by, diff, outcome) VALUES (?,?,?,?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome",
                (
                    command.id,
                    command.at,
                    printable(command.text),
                    printable(command.by),
                    printable_lines(command.diff),
                    printable(command.outcome),
                ),
            )

    def commands(self, limit: int) -> list[Command]:
        """Return the newest, newest first."""
        rows = self._rows(
            "SELECT id, at, text, by, diff, outcome FROM commands ORDER BY number DESC LIMIT ?", limit
        )
        return [Command(*row) for row in rows]

    def used_file(self) -> str | None:
        """Return the cluster file as it was last used; None if that is not known."""
        rows = self._rows("SELECT value FROM marks WHERE name = ?", _USED)
        return str(rows[0]["value"]) if rows else None
