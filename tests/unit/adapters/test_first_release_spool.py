"""What the first release's hooks and reader leave in a spool is taken in."""

import re
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from tests import first_release
from tests.hook_scripts import HookScripts
from tests.waiting import within


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path / "login")


def reader(hooks: HookScripts, which: str) -> list[str]:
    """Argv of our reader, or of that release's, which stays on the login node until the next deploy."""
    ours = hooks.reader()
    if which == "ours":
        return ours
    script = hooks.root / "reader.py"
    script.write_text((first_release.RECORDED / "reader.py.txt").read_text())
    return [ours[0], str(script), *ours[2:]]


def received(intake: StreamIntake, count: int) -> list[tuple[str, Request | str]]:
    found: list[tuple[str, Request | str]] = []
    assert within(10, lambda: len(found.extend(intake.receive()) or found) >= count), found
    return found


@pytest.mark.parametrize("which", ["ours", "the first release's"])
def test_what_is_in_the_spool_is_taken_in_once(hooks: HookScripts, tmp_path: Path, which: str) -> None:
    asked = first_release.spool(hooks.new)
    assert sorted(asked.values()) == sorted(["resume", "suspend", "resume-fail", "reboot"] * 2)
    with closing(SqliteJournal(tmp_path / "journal.db")) as journal:
        for takes in range(2):
            with StreamIntake(reader(hooks, which)) as intake:
                found = received(intake, len(asked)) if takes == 0 or hooks.requests() else []
                new = [journal.add_request(r, 5.0) for _, r in found if isinstance(r, Request)]
                assert new == [takes == 0] * len(asked)
                if takes:
                    for request_id, _ in found:
                        intake.acknowledge(request_id)
                    assert within(5, lambda: hooks.requests() == [])
        requests = journal.unplanned_requests()
        assert {request.id: request.mode.value for request in requests} == asked
        resumes = [request for request in requests if request.mode is Mode.RESUME]
        assert {(r.hostlist, r.features, r.job_id) for r in resumes} == {("up-[4-5]", "disk", 4)}
        assert all('"job_id":4' in request.resume_file for request in resumes)


@pytest.mark.parametrize("which", ["ours", "the first release's"])
def test_a_request_with_a_resume_file_that_its_hooks_did_not_cut(hooks: HookScripts, which: str) -> None:
    """Those of 10,000 jobs have 5 MB: nothing is decided on them, and the request must not get lost."""
    request_id = next(iter(first_release.spool(hooks.new)))
    content = (hooks.new / request_id).read_text()
    for path in hooks.new.iterdir():
        path.unlink()
    long = b64encode(b'{"jobs":[' + b'{"job_id":1,"nodes":"up-1"},' * 180_000).decode()
    first_release.write(hooks.new / request_id, re.sub("resume_file .*", f"resume_file {long}", content))
    with StreamIntake(reader(hooks, which)) as intake:
        ((found, request),) = received(intake, 1)
        assert found == request_id and isinstance(request, Request), request
        assert request.hostlist == "up-[4-5]" and len(request.resume_file) <= 1 << 20
