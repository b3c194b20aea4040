"""What a failed test tells of the clusters that it used: operations, the engine's log, and what Slurm says.

A cluster is any object whose class has a method `evidence`: it returns what there is to tell, each under a
heading, as functions that are called only when a test has failed.
"""

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.nodes import Operation

Evidence = Mapping[str, Callable[[], str]]
LONGEST = 8000
"""Characters under one heading."""
_MOST = 4
"""Clusters that one test tells of."""
_OPERATIONS = 20
_TOLD = "_told_with"


# What there is to tell


def tail(path: Path, lines: int = 60) -> str:
    """Return the last lines of a log."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LONGEST * 2))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def operations(path: Path) -> str:
    """Return a journal's newest operations, oldest first: how each went, and its own error."""
    if not path.exists():
        return "there is no journal"
    journal = SqliteJournal(path)
    try:
        found = [_words(operation) for operation in reversed(journal.history(limit=_OPERATIONS))]
        found += [f"refused: {node}: {why}" for node, why in journal.recent_refusals(5)]
        found += [f"not yet planned: {request}" for request in journal.unplanned_requests()[:5]]
    finally:
        journal.close()
    return "\n".join(found) or "none"


def _words(operation: Operation) -> str:
    began = time.strftime("%H:%M:%S", time.localtime(operation.created))
    went = [f"{phase.phase} +{phase.at - operation.created:.1f} s" for phase in operation.phases]
    what = f"{began} {operation.id} {operation.node} {operation.kind.value}: {', '.join(went)}"
    ended = operation.outcome or f"still {operation.phase} after {time.time() - operation.created:.0f} s"
    why = f" ({operation.failure.value})" if operation.failure else ""
    return f"{what}; {ended}{why}{f': {operation.text}' if operation.text else ''}"


def kept(evidence: Evidence) -> Evidence:
    """Read it now: what it is read from goes away."""
    texts = {heading: read(what) for heading, what in evidence.items()}
    return {heading: lambda text=text: text for heading, text in texts.items()}


def read(what: Callable[[], str]) -> str:
    """Read one thing, whatever comes of it: the test's own failure is what counts."""
    try:
        text = what()
    except Exception as error:
        text = f"could not be read: {type(error).__name__}: {error}"
    if len(text) <= LONGEST:
        return text
    return f"(the last {LONGEST} of {len(text)} characters)\n{text[-LONGEST:]}"


# Which clusters a test used


def _clusters(values: Iterable[object], depth: int = 2) -> Iterator[Any]:
    """Find clusters among values, and among what those hold that the tests have made."""
    for value in values:
        if callable(getattr(type(value), "evidence", None)):
            yield value
        elif depth and type(value).__module__.startswith("test"):
            yield from _clusters(list(getattr(value, "__dict__", {}).values()), depth - 1)


def _locals(traceback: TracebackType | None) -> Iterator[object]:
    """What the functions of a traceback had at hand: a fixture that failed has returned nothing."""
    while traceback:
        yield from list(traceback.tb_frame.f_locals.values())
        traceback = traceback.tb_next


def sections(item: pytest.Item, error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield headings and texts of all clusters that a failed test used."""
    before = getattr(error, _TOLD, "")
    if before:
        # A fixture that has failed fails each test that needs it, with one and the same exception.
        yield "cluster", f"as told with {before}"
        return
    setattr(error, _TOLD, item.nodeid)
    for stream in ("stdout", "stderr"):
        # CalledProcessError and TimeoutExpired say which command it was, not what it said.
        said = getattr(error, stream, None) if isinstance(error, subprocess.SubprocessError) else None
        if said:
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            yield f"{stream} of the command", read(lambda text=text: text)
    values = [*getattr(item, "funcargs", {}).values(), *_locals(error.__traceback__)]
    found = {id(cluster): cluster for cluster in _clusters(values)}
    for cluster in list(found.values())[:_MOST]:
        name = f"{type(cluster).__name__} {getattr(cluster, 'name', '')}".strip()
        for heading, what in cluster.evidence().items():
            yield f"{name}: {heading}", read(what)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add to the report of a failed test what its clusters tell."""
    report: Any = yield
    if report.failed and call.excinfo:
        try:
            report.sections.extend(sections(item, call.excinfo.value))
        except Exception as error:
            report.sections.append(("cluster", f"could not be read: {type(error).__name__}: {error}"))
    return report
