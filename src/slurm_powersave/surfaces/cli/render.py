"""How things look: tables and colours for people, plain lines for pipes, JSON for programs.

All that a command prints goes through here: whatever it is about may hold what a node or a cloud has said.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from slurm_powersave.model.errors import CloudError, PowersaveError
from slurm_powersave.model.printable import json_text, paragraph, printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

    from slurm_powersave.model.nodes import Operation

OUTCOME_STYLES = {
    "done": "green",
    "joined": "dim",
    "cancelled": "dim",
    "failed": "bold red",
    "refused": "bold yellow",
}


def console(*, no_color: bool = False, file: IO[str] | None = None) -> Console:
    """Return a console for the file (default: stdout); colours only if it is a terminal."""
    from rich.console import Console

    file = file or sys.stdout
    terminal = file.isatty()
    return Console(
        file=file,
        no_color=True if no_color or not terminal else None,
        force_terminal=None if terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def print_json_lines(values: Iterable[Any]) -> None:
    """Print one JSON document a line to stdout."""
    sys.stdout.writelines(f"{json_text(value)}\n" for value in values)


def print_lines(lines: Iterable[str]) -> None:
    """Print plain lines to stdout: no wrapping, no colours."""
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def print_text(text: str) -> None:
    """Print a text of several lines, such as a plan, to stdout."""
    sys.stdout.write(printable_lines(text) + "\n")


def say(text: str, *, err: bool = False) -> None:
    """Print a message at once: other programs print in between."""
    stream = sys.stderr if err else sys.stdout
    stream.write(paragraph(text) + "\n")
    stream.flush()


def show(text: str, *, err: bool = False) -> None:
    """Print a text of several lines at once."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable_lines(text) + "\n")
    stream.flush()


def print_table(
    out: Console,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    styles: Mapping[str, str] | None = None,
) -> None:
    """Print rows under headings. On a terminal, a cell that is a key of `styles` gets that style."""
    from rich.table import Table
    from rich.text import Text

    rows = [[printable(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        out.file.writelines(f"{line}\n" for line in _aligned([columns, *rows]))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=(styles or {}).get(cell, "")) for cell in row))
    out.print(table)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns; each row stays one line, however long, so that grep and awk work on it."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def error_value(error: PowersaveError) -> dict[str, Any]:
    """Return an error as it stands in JSON output."""
    value: dict[str, Any] = {
        "what": error.what,
        "where": error.where,
        "why": error.why,
        "todo": error.todo,
        "exit_code": error.exit_code,
    }
    if isinstance(error, CloudError):
        value["failure"] = error.failure.value
    return {"error": value}


def print_error(error: PowersaveError, *, as_json: bool) -> None:
    """Print an error to stderr; stdout stays for results."""
    text = json_text(error_value(error)) if as_json else paragraph(f"slurm-powersave: {error}")
    sys.stderr.write(text + "\n")


def note(text: str) -> None:
    """Print a remark that is no part of the result, to stderr."""
    sys.stderr.write(paragraph(f"slurm-powersave: {text}") + "\n")


def clock(at: float) -> str:
    """Say a time today as 14:05:09, another day's as 2025-11-21 14:05:09; local time."""
    then = time.localtime(at)
    today = time.localtime()
    pattern = "%H:%M:%S" if then[:3] == today[:3] else "%Y-%m-%d %H:%M:%S"
    return time.strftime(pattern, then)


def duration(seconds: float) -> str:
    """Say a length of time: 4.2 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    seconds = max(seconds, 0.0)  # between dates of a clock that was set back there may be less
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(count: int) -> str:
    """Say a number of bytes: 512 KiB, 3.4 MiB, 1.2 GiB."""
    amount, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "KiB" or amount >= 100 else f"{amount:.1f} {unit}"


def operation_value(operation: Operation) -> dict[str, Any]:
    """Return an operation as it stands in JSON output. Times are seconds since the epoch."""
    return {
        "id": operation.id,
        "request": operation.request,
        "node": operation.node,
        "mode": operation.mode.value,
        "phase": operation.phase,
        "created": operation.created,
        "since": operation.since,
        "outcome": operation.outcome,
        "failure": operation.failure.value if operation.failure else None,
        "text": operation.text,
        "shard": operation.shard,
        "server_id": operation.server_id,
        "joined": operation.joined,
        "waits": operation.waits,
        "phases": [{"phase": phase.phase, "at": phase.at} for phase in operation.phases],
    }
