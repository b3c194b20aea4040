"""Request files: what is read, what is refused, and that nothing else can happen."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.adapters.requests.spool import ARGUMENT, LARGEST, RESUME_FILE, parse, parse_named
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request

ID = "3f2b8c1e-9d4a-4f6b-8a1c-0e5d7b9c2a34"


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def content(**changes: str) -> bytes:
    """A request file with some of its lines changed; an empty change drops the line."""
    lines = {
        "first": "slurm-powersave-request 1",
        "id": f"id {ID}",
        "mode": "mode resume",
        "time": "time 1700000000.123456789",
        "job_id": "job_id 42",
        "argc": "argc 2",
        "argv": f"argv {b64('c[1-3]')}\nargv {b64('fast')}",
        "resume_file": f"resume_file {b64('{}')}",
        "end": "end",
    }
    return "".join(f"{line}\n" for line in (lines | changes).values() if line).encode()


WHOLE = content()


def test_a_whole_request() -> None:
    assert parse(WHOLE) == Request(
        id=ID,
        mode=Mode.RESUME,
        hostlist="c[1-3]",
        time=1700000000.123456789,
        job_id=42,
        features="fast",
        resume_file="{}",
    )


def test_what_may_be_missing() -> None:
    request = parse(content(job_id="", resume_file="", argc="argc 1", argv=f"argv {b64('c1')}"))
    assert (request.job_id, request.resume_file, request.features) == (None, "", "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"first": "slurm-powersave-request 2"}, "starts with 'slurm-powersave-request 2'"),
        ({"first": "#!/bin/sh"}, "starts with '#!/bin/sh'"),
        ({"end": ""}, "truncated"),
        ({"id": ""}, "no valid id"),
        ({"id": "id ../../etc/passwd"}, "no valid id"),
        ({"id": f"id {ID}\nid {ID}"}, "too many lines: id"),
        ({"mode": "mode destroy"}, "unknown mode: 'destroy'"),
        ({"mode": ""}, "unknown mode: ''"),
        ({"time": "time yesterday"}, "no valid time"),
        ({"time": "time nan"}, "no valid time"),
        ({"time": ""}, "no valid time"),
        ({"job_id": "job_id -1"}, "no valid job_id"),
        ({"argc": "argc 1"}, "argc '1', but 2 arguments"),
        ({"argc": "", "argv": ""}, "argc '', but 0 arguments"),
        ({"argc": "argc 0", "argv": ""}, "no hostlist"),
        ({"argc": "argc 1", "argv": f"argv {b64(' ')}"}, "no hostlist"),
        ({"argv": "argv c1\nargv c2"}, "argv is not base64"),
        ({"argv": f"argv {b64('c1')}\n" * 1000 + "argv"}, "too many lines: argv"),
        ({"resume_file": "resume_file {}"}, "resume_file is not base64"),
        ({"job_id": "shell rm"}, "unknown key: 'shell'"),
        ({"job_id": "job_id é"}, "is not ASCII"),
    ],
)
def test_what_is_refused_is_named(changes: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(content(**changes))
    assert why in str(caught.value)
    assert caught.value.todo


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        parse(b"x" * (LARGEST + 1))


def test_of_a_long_resume_file_the_beginning_is_kept() -> None:
    request = parse(content(resume_file=f"resume_file {b64('x' * (RESUME_FILE + 5))}"))
    assert request.resume_file == "x" * RESUME_FILE


def test_an_argument_that_linux_would_not_pass_is_refused() -> None:
    parse(content(argc="argc 1", argv=f"argv {b64('n' * (ARGUMENT - 1))}"))
    with pytest.raises(ConfigError, match="an argument of more than"):
        parse(content(argc="argc 1", argv=f"argv {b64('n' * (ARGUMENT + 9))}"))


def test_a_copy_under_another_name_is_not_a_second_request() -> None:
    with pytest.raises(ConfigError, match="its id is"):
        parse_named(ID.replace("3f", "00"), WHOLE)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(ConfigError):
        parse(WHOLE[:length])


@given(st.binary(max_size=300))
def test_no_bytes_crash_it(noise: bytes) -> None:
    with pytest.raises(ConfigError):
        parse(noise)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_no_changed_byte_crashes_it(position: int, value: int) -> None:
    changed = bytearray(WHOLE)
    changed[position] = value
    try:
        parse(bytes(changed))
    except ConfigError as error:
        assert error.why


@given(st.text(min_size=1).filter(str.strip))
def test_every_hostlist_survives(hostlist: str) -> None:
    try:
        encoded = b64(hostlist)
    except UnicodeEncodeError:
        encoded = b64(hostlist.encode("utf-8", "backslashreplace"))
    assert parse(content(argc="argc 1", argv=f"argv {encoded}")).hostlist.strip()
