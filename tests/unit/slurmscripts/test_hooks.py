"""The real hooks, called as slurmctld calls them."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.requests.spool import is_request_id
from slurm_powersave.decide.node.reboot import is_reboot
from slurm_powersave.model.modes import Mode
from tests.hook_scripts import HookScripts

NOBODY = 65534
LARGEST_ARGUMENT = 131_071
"""Bytes: MAX_ARG_STRLEN of Linux less the final NUL."""


def only_line(hooks: HookScripts) -> str:
    (line,) = (hooks.root / "syslog").read_text().splitlines()
    return line


@pytest.mark.parametrize("mode", list(Mode))
def test_a_call_becomes_a_request(hooks: HookScripts, mode: Mode) -> None:
    before = time.time()
    assert hooks.call(mode.value, "c[1-3],d7", "fast") == 0
    (request,) = hooks.requests()
    assert (request.mode, request.hostlist, request.features) == (mode, "c[1-3],d7", "fast")
    assert (request.job_id, request.resume_file) == (None, "")
    assert before - 0.01 <= request.time <= time.time()
    assert list((hooks.spool / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "hostlist",
    ["n1\nn2", "$(id)", "n*", "`id`", "-n", "--help", "n1;rm -rf /", "'\"\\", " n1 ", "n1\n", "%s%n", "é"],
)
def test_what_slurm_hands_over_arrives_unchanged(hooks: HookScripts, hostlist: str) -> None:
    assert hooks.call("resume", hostlist) == 0
    assert [request.hostlist for request in hooks.requests()] == [hostlist]


def test_bytes_that_are_no_text_become_visible(hooks: HookScripts) -> None:
    assert hooks.call("resume", b"n1,\xff\xfe") == 0
    assert [request.hostlist for request in hooks.requests()] == ["n1,\\xff\\xfe"]


def test_the_longest_hostlist(hooks: HookScripts) -> None:
    hostlist = ",".join(f"n{number:07}" for number in range(20_000))[:LARGEST_ARGUMENT]
    assert hooks.call("resume", hostlist) == 0
    assert [request.hostlist for request in hooks.requests()] == [hostlist]


def test_only_the_owner_may_read_a_request(hooks: HookScripts) -> None:
    hooks.call("resume", "n1")
    (path,) = hooks.new.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_job_that_caused_it(hooks: HookScripts) -> None:
    hooks.call("resume", "n1", env={"SLURM_JOB_ID": "4711"})
    hooks.call("resume", "n1", env={"SLURM_JOB_ID": "1\nmode suspend"})
    assert [(request.job_id, request.mode) for request in hooks.requests()] == [
        (4711, Mode.RESUME),
        (None, Mode.RESUME),
    ]


def test_the_resume_file_is_read_at_once(hooks: HookScripts) -> None:
    content = '{"jobs":[{"job_id":1,"nodes":"c1"}],"all_nodes":"c1"}\n'
    descriptor = os.memfd_create("resume")
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        assert (
            hooks.call("resume", "c1", env={"SLURM_RESUME_FILE": f"/proc/{os.getpid()}/fd/{descriptor}"}) == 0
        )
    assert [request.resume_file for request in hooks.requests()] == [content]


@pytest.mark.parametrize("kind", ["gone", "closed descriptor", "directory", "fifo", "empty name"])
def test_without_a_readable_resume_file_the_request_is_taken_all_the_same(
    hooks: HookScripts, kind: str
) -> None:
    path = hooks.root / "resume-file"
    if kind == "directory":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    name = {"closed descriptor": f"/proc/{os.getpid()}/fd/9999", "empty name": ""}.get(kind, str(path))
    assert hooks.call("resume", "c1", env={"SLURM_RESUME_FILE": name}) == 0
    assert [(request.hostlist, request.resume_file) for request in hooks.requests()] == [("c1", "")]


@pytest.mark.parametrize("arguments", [(), ("",), ("", "features")])
def test_no_hostlist_is_told_to_syslog(hooks: HookScripts, arguments: tuple[str, ...]) -> None:
    assert hooks.call("suspend", *arguments) == 1
    assert "suspend request not taken: called without a hostlist" in only_line(hooks)
    assert hooks.requests() == []


@pytest.mark.parametrize("kind", ["missing", "a file", "half missing"])
def test_an_unwritable_spool_is_told_to_syslog(hooks: HookScripts, kind: str) -> None:
    (hooks.new).rmdir()
    if kind != "half missing":
        (hooks.spool / "tmp").rmdir()
        hooks.spool.rmdir()
    if kind == "a file":
        hooks.spool.write_text("")
    assert hooks.call("resume", "c[1-9]") == 1
    line = only_line(hooks)
    assert f"resume request not taken: cannot write to {hooks.spool}" in line
    assert "nodes: c[1-9]" in line
    assert kind != "half missing" or list((hooks.spool / "tmp").iterdir()) == []


def test_a_request_that_is_not_taken_makes_one_short_line(hooks: HookScripts) -> None:
    hooks.new.rmdir()
    assert hooks.call("resume", "n" * LARGEST_ARGUMENT) == 1
    assert len(only_line(hooks)) < 1024


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """pytest's own directories are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.mark.root
def test_a_spool_of_somebody_else_is_told_to_syslog(public_directory: Path) -> None:
    hooks = HookScripts(public_directory)
    (log := public_directory / "syslog").touch(0o666)
    log.chmod(0o666)
    hooks.log_to(log)
    for directory in (hooks.spool, hooks.new, hooks.spool / "tmp"):
        directory.chmod(0o755)
    assert hooks.call("resume", "c1", user=NOBODY) == 1
    assert "Permission denied" in only_line(hooks)
    assert hooks.requests() == []


@pytest.mark.root
def test_a_call_by_root_into_the_spool_of_somebody_else_is_refused(public_directory: Path) -> None:
    """The reader is the spool's owner and could not read it."""
    hooks = HookScripts(public_directory)
    hooks.log_to(public_directory / "syslog")
    for directory in (hooks.spool, hooks.new, hooks.spool / "tmp"):
        os.chown(directory, NOBODY, NOBODY)
    assert hooks.call("resume", "c1") == 1
    assert "called by root; only the owner" in only_line(hooks)
    assert not list(hooks.new.iterdir())


@pytest.mark.root
def test_a_resume_file_of_somebody_else_is_left_out(public_directory: Path) -> None:
    hooks = HookScripts(public_directory)
    for directory in (hooks.spool, hooks.new, hooks.spool / "tmp"):
        os.chown(directory, NOBODY, NOBODY)
    secret = public_directory / "secret"
    secret.touch(0o600)
    assert hooks.call("resume", "c1", user=NOBODY, env={"SLURM_RESUME_FILE": str(secret)}) == 0
    assert [request.resume_file for request in hooks.requests()] == [""]


@pytest.fixture
def tiny_disk(hooks: HookScripts) -> Iterator[HookScripts]:
    """The hooks with a spool on a file system of 64 KiB."""
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(hooks.spool))
    subprocess.run(mount, check=True)
    try:
        (hooks.spool / "tmp").mkdir()
        hooks.new.mkdir()
        yield hooks
    finally:
        subprocess.run(("umount", str(hooks.spool)), check=True)


@pytest.mark.root
def test_a_full_disk_is_told_to_syslog_and_leaves_nothing(tiny_disk: HookScripts) -> None:
    assert tiny_disk.call("resume", "n" * LARGEST_ARGUMENT) == 1
    assert "resume request not taken: cannot write" in only_line(tiny_disk)
    assert list(tiny_disk.new.iterdir()) == []
    assert list((tiny_disk.spool / "tmp").iterdir()) == []
    assert tiny_disk.call("resume", "n1") == 0
    assert len(tiny_disk.requests()) == 1


def test_file_and_directory_are_synced_in_this_order(hooks: HookScripts) -> None:
    steps = hooks.root / "steps"
    hooks.program("sync", f'printf "sync %s\\n" "$1" >>{steps}; /usr/bin/sync "$@"')
    hooks.program("mv", f'printf "mv %s\\n" "$2" >>{steps}; /usr/bin/mv "$@"')
    assert hooks.call("resume", "c1") == 0
    (request,) = hooks.requests()
    assert steps.read_text().splitlines() == [
        f"sync {hooks.spool}/tmp/{request.id}",
        f"mv {hooks.new}/{request.id}",
        f"sync {hooks.new}",
    ]


def test_200_calls_at_once(hooks: HookScripts) -> None:
    calls = [hooks.start("resume", f"n{number}") for number in range(200)]
    assert [call.wait(60) for call in calls] == [0] * 200
    requests = hooks.requests()
    assert {request.hostlist for request in requests} == {f"n{number}" for number in range(200)}
    assert len({request.id for request in requests}) == 200


@pytest.mark.parametrize("step", ["date", "base64", "sync", "mv"])
def test_a_hook_killed_midway_leaves_nothing_to_read(hooks: HookScripts, step: str) -> None:
    reached = hooks.root / "reached"
    hooks.program(step, f"touch {reached}; exec sleep 60")
    hook = hooks.start("resume", "c1", start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not reached.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        os.killpg(hook.pid, signal.SIGKILL)
        hook.wait()
    assert reached.exists()
    assert hooks.requests() == []


def test_hooks_killed_at_any_moment_leave_only_whole_requests(hooks: HookScripts) -> None:
    for attempt in range(25):
        hook = hooks.start("resume", "n" * 50_000, start_new_session=True)
        time.sleep(attempt * 0.001)
        os.killpg(hook.pid, signal.SIGKILL)
        hook.wait()
    assert all(is_request_id(path.name) for path in hooks.new.iterdir())
    assert all(len(request.hostlist) == 50_000 for request in hooks.requests())


@pytest.mark.parametrize(
    ("reason", "reboots"),
    [
        ("reboot", True),
        ("reboot: new kernel : reboot issued [slurm@2026-11-21T05:00:00]", True),
        ("Reboot : reboot issued [root@2026-11-21T05:00:00]", True),
        ("Reboot ASAP : reboot issued [slurm@2026-11-21T05:00:00]", False),
        ("reboot requested : reboot issued [slurm@2026-11-21T05:00:00]", False),
        ("reimage image=x : reboot issued [slurm@2026-11-21T05:00:00]", False),
        ("rebooted : reboot issued [slurm@2026-11-21T05:00:00]", False),
        ("", False),
    ],
)
def test_a_node_reboots_itself_only_when_the_reason_says_so(
    hooks: HookScripts, reason: str, reboots: bool
) -> None:
    node = f"NodeName=n1 State=DOWN+CLOUD+REBOOT_ISSUED {f'Reason={reason}' if reason else 'Owner=N/A'}"
    hooks.program("scontrol", f"echo '{node}'")
    hooks.program("systemctl", f'echo "$@" >{hooks.root}/done')
    done = subprocess.run([hooks.root / "reboot-node.sh"], env={"PATH": "/nonexistent"}, check=False)
    assert done.returncode == 0
    assert (hooks.root / "done").exists() == reboots
    assert is_reboot(reason.partition(" [")[0]) == reboots
    assert not hooks.requests()
