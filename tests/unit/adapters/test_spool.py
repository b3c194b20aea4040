"""Request files: what is read, what is refused, and that nothing else can happen."""

import base64
import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.adapters.spool import LARGEST, SpoolIntake, parse, parse_named
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


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path


def put(spool: Path, number: int, **changes: str) -> str:
    """Leave a request as a hook does; return its id."""
    name = f"{number:08x}{ID[8:]}"
    (spool / "tmp" / name).write_bytes(content(id=f"id {name}", **changes))
    (spool / "tmp" / name).rename(spool / "new" / name)
    return name


def test_requests_come_oldest_first_and_once(spool: Path) -> None:
    younger = put(spool, 1, time="time 1700000002.0")
    older = put(spool, 2, time="time 1700000001.0")
    intake = SpoolIntake(spool)
    assert [request_id for request_id, _ in intake.receive()] == [older, younger]
    assert intake.receive() == []
    assert len(list((spool / "new").iterdir())) == 2


def test_a_request_stays_until_it_is_acknowledged(spool: Path) -> None:
    name = put(spool, 1)
    assert len(SpoolIntake(spool).receive()) == 1
    intake = SpoolIntake(spool)
    assert len(intake.receive()) == 1
    intake.acknowledge(name)
    assert list((spool / "new").iterdir()) == []
    intake.acknowledge(name)


def test_what_is_no_request_is_told_once_and_kept(spool: Path) -> None:
    new = spool / "new"
    (new / "notes.txt").write_text("hello")
    (new / ID).write_bytes(WHOLE[:50])
    os.mkfifo(new / ID.replace("3f", "01"))
    (new / ID.replace("3f", "02")).symlink_to("/etc/passwd")
    (new / ID.replace("3f", "03")).mkdir()
    good = put(spool, 9)
    intake = SpoolIntake(spool)
    found = dict(intake.receive())
    assert isinstance(found.pop(good), Request)
    assert len(found) == 5
    assert all(isinstance(why, str) and str(new) in why for why in found.values())
    assert "not the id of a request" in str(found["notes.txt"])
    assert "truncated" in str(found[ID])
    assert intake.receive() == []
    for name in found:
        intake.acknowledge(name)
    assert {path.name for path in (spool / "refused").iterdir()} == set(found)
    assert [path.name for path in new.iterdir()] == [good]


def test_a_file_that_cannot_be_read_at_present_is_tried_again(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(spool, 1)
    intake = SpoolIntake(spool)
    with monkeypatch.context() as patched:
        patched.setattr(
            os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "Too many open files"))
        )
        assert intake.receive() == []
    assert "Too many open files" in intake.state()
    assert len(intake.receive()) == 1


def test_only_what_was_given_out_can_be_acknowledged(spool: Path) -> None:
    outside = spool / "precious"
    outside.write_text("")
    intake = SpoolIntake(spool)
    intake.receive()
    intake.acknowledge("../precious")
    intake.acknowledge(str(outside))
    assert outside.exists()


def test_an_arrival_wakes(spool: Path) -> None:
    with SpoolIntake(spool) as intake:
        assert not intake.wake.wait(0.15)
        put(spool, 1)
        assert intake.wake.wait(5)


def test_a_missing_spool_is_told_and_may_come_back(tmp_path: Path) -> None:
    with SpoolIntake(tmp_path / "spool") as intake:
        assert intake.receive() == []
        assert "can't be read: No such file" in intake.state()
        for name in ("new", "tmp"):
            (tmp_path / "spool" / name).mkdir(parents=True)
        put(tmp_path / "spool", 1)
        assert intake.wake.wait(5)
        assert len(intake.receive()) == 1
        assert intake.state() == f"reads {tmp_path / 'spool'}"


def test_a_thousand_requests(spool: Path) -> None:
    names = {put(spool, number) for number in range(1000)}
    intake = SpoolIntake(spool)
    begin = time.monotonic()
    received = intake.receive()
    for name, _ in received:
        intake.acknowledge(name)
    assert {name for name, _ in received} == names
    assert list((spool / "new").iterdir()) == []
    assert time.monotonic() - begin < 10
