"""The log: one record is one line, whatever was said in it, and no character of it acts on a terminal."""

from __future__ import annotations

import copy
import io
import logging
import sys
import threading
import traceback
from types import TracebackType

from slurm_powersave.model.errors import PowersaveError
from slurm_powersave.model.printable import printable, printable_lines


class PrintableFormatter(logging.Formatter):
    """Formats all that we log. Lines of a traceback are indented, so that none looks like a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        shown = copy.copy(record)
        # The text of an exception may have been cached by a handler that is not ours.
        shown.exc_text = None
        shown.msg, shown.args = printable(_message(record)), None
        return super().format(shown)

    def formatException(self, ei: logging._SysExcInfoType) -> str:
        """Write the traceback of a record."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:
        """Write the stack of a record."""
        return _indented(stack_info)


def _message(record: logging.LogRecord) -> str:
    args = record.args
    if isinstance(args, tuple):
        # Our own errors have a second line, which says what to do.
        args = tuple(arg.line if isinstance(arg, PowersaveError) else arg for arg in args)
    return str(record.msg) % args if args else str(record.msg)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in printable_lines(text).split("\n"))


def set_up(level: int) -> None:
    """Log to standard error, as the engine does."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=level)


def for_commands() -> None:
    """Do the same for the warnings that a command lets through."""
    if logging.lastResort:
        logging.lastResort.setFormatter(PrintableFormatter("slurm-powersave: %(message)s"))


def for_this_process() -> None:
    """Do the same for what Python itself would print: warnings, and errors in threads."""
    logging.captureWarnings(True)
    threading.excepthook = lambda args: tell_unexpected(args.exc_type, args.exc_value, args.exc_traceback)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a letter is no reason to fail


def tell_unexpected(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    """Log an unexpected error; its text may hold anything."""
    lines = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
    sys.stderr.write(_indented(lines).removeprefix("  ") + "\n")
