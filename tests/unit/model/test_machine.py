"""Which errors are the host's own trouble."""

import errno
import os
import sqlite3
from itertools import islice

import pytest

from slurm_powersave.model import machine
from slurm_powersave.model.errors import (
    CloudError,
    ConfigError,
    JournalError,
    MachineError,
    MissingToolError,
    OwnFileError,
)

PASSING = [
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOLCK),
    *(errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM),
]
"""What ends when the host has room again, or its file server answers."""
NUMBERS = [*PASSING, errno.EACCES, errno.EPERM]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_error_of_the_host_wherever_it_is_wrapped(number: int) -> None:
    error = OSError(number, os.strerror(number))
    assert machine.is_at_fault(error)
    try:
        try:
            raise error
        except OSError as first:
            raise CloudError("no answer") from first
    except CloudError as second:
        assert machine.is_at_fault(second)
    try:
        try:
            raise error
        except OSError:
            raise MissingToolError("could not be started")  # noqa: B904  # as a library does
    except MissingToolError as second:
        assert machine.is_at_fault(second)


def test_an_error_that_replaces_another_on_purpose_stands_alone() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError:
            raise CloudError("quota") from None
    except CloudError as error:
        assert not machine.is_at_fault(error)


def test_errors_that_name_each_other_as_their_cause_are_each_looked_at_once() -> None:
    first, second = KeyError("n1"), CloudError("no answer")
    first.__cause__, second.__cause__ = second, first
    assert list(islice(machine._chain(first), 5)) == [first, second]


@pytest.mark.parametrize(
    "error",
    [
        JournalError("full"),
        MemoryError(),
        RuntimeError("can't start new thread"),
    ],
)
def test_others_of_the_host(error: Exception) -> None:
    assert machine.is_at_fault(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "no such file"),
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError("timed out"),
        KeyError("n1"),
        RuntimeError("dictionary changed size during iteration"),
        ConfigError("wrong"),
        CloudError("quota"),
        sqlite3.IntegrityError("UNIQUE constraint failed"),
    ],
)
def test_what_is_not_of_the_host(error: Exception) -> None:
    assert not machine.is_at_fault(error)


@pytest.mark.parametrize(
    "text",
    [
        "Error: Failed to write plan file: open tfplan: no space left on device",
        "OSError: [Errno 28] No space left on device",
        "fork/exec .terraform/providers/x: resource temporarily unavailable",
        "sh: 1: Cannot fork",
        "open errored.tfstate: read-only file system",
        "socket: too many open files",
        "runtime: out of memory: cannot allocate 4194304-byte block",
        "runtime/cgo: pthread_create failed: Operation not permitted",
        "sqlite3.OperationalError: database or disk is full",
        "Error acquiring the state lock: stale NFS file handle",  # Go's word for ESTALE
        *(os.strerror(number) for number in PASSING),
    ],
)
def test_words_of_programs(text: str) -> None:
    assert machine.says(text)


@pytest.mark.parametrize("text", ["Quota exceeded for cores", "No valid host was found", "unreachable", ""])
def test_words_about_others(text: str) -> None:
    assert not machine.says(text)


def test_what_somebody_has_to_put_right_does_not_end_by_itself() -> None:
    for error in (
        PermissionError(errno.EACCES, "denied"),
        OSError(errno.EPERM, "not yours"),
        OwnFileError("gone"),
    ):
        assert machine.is_at_fault(error) and machine.is_lasting(error)
    for error in (*(OSError(number, "") for number in PASSING), JournalError("full"), MemoryError()):
        assert machine.is_at_fault(error) and not machine.is_lasting(error)


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP]
)
def test_a_file_of_our_own_that_is_not_one_does_not_end_by_itself(number: int) -> None:
    """A lock, a journal or a list of host keys whose place holds something else, or that is gone."""
    error = MachineError("can't be opened")
    error.__cause__ = OSError(number, os.strerror(number))
    assert machine.is_at_fault(error) and machine.is_lasting(error)
