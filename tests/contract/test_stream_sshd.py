"""The stream through this host's ssh and a real sshd, with keys and a configuration of the test's own."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurm_powersave.adapters.requests.stream import StreamIntake
from tests.contract.sshd import Sshd, kill
from tests.hook_scripts import HookScripts
from tests.intake_chaos import Journal, all_delivered, children, every_hook_called, processes
from tests.waiting import within

pytestmark = pytest.mark.root  # for the guest image


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "ssh")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def hooks(tmp_path: Path) -> HookScripts:
    return HookScripts(tmp_path / "site")


def test_a_call_arrives_through_ssh(sshd: Sshd, hooks: HookScripts) -> None:
    with StreamIntake(sshd.ssh(hooks.reader())) as intake:
        assert within(10, lambda: intake.connected), intake.state()
        began = time.monotonic()
        hooks.call("resume", "c1")
        assert intake.wake.wait(5)
        assert time.monotonic() - began < 1
        ((request_id, _),) = intake.receive()
        intake.acknowledge(request_id)
        assert within(5, lambda: hooks.requests() == [])
    assert within(5, lambda: processes(str(hooks.spool)) == []), "the reader outlived the connection"


def test_a_host_whose_key_is_not_ours_is_named(sshd: Sshd, hooks: HookScripts) -> None:
    (sshd.directory / "known_hosts").write_text("")
    with StreamIntake(sshd.ssh(hooks.reader())) as intake:
        assert within(10, lambda: "Host key verification failed" in intake.state()), intake.state()


def test_a_host_that_is_away_for_a_while(sshd: Sshd, hooks: HookScripts) -> None:
    sshd.stop()
    with StreamIntake(sshd.ssh(hooks.reader()), longest_backoff=0.5) as intake:
        assert within(10, lambda: "Connection refused" in intake.state()), intake.state()
        hooks.call("resume", "c1")
        sshd.process = sshd.run()
        assert intake.wake.wait(10)
        assert len(intake.receive()) == 1


def test_200_calls_through_everything_that_can_be_killed(sshd: Sshd, hooks: HookScripts) -> None:
    dice = random.Random(7)
    journal = Journal()
    reader = f"--spool\0{hooks.spool}"
    cuts: dict[str, Callable[[], object]] = {
        "ssh killed": lambda: kill(children("StrictHostKeyChecking")),
        "sshd's sessions killed": sshd.drop,
        "reader killed": lambda: kill(set(processes(reader)) - set(children(reader))),
        "engine gone": lambda: None,
    }
    turns = itertools.cycle(cuts)
    made: list[str] = []
    with every_hook_called(hooks, 200, pause=0.1) as calls:
        while not all_delivered(hooks, calls):
            with StreamIntake(sshd.ssh(hooks.reader()), backoff=0.02, longest_backoff=0.2) as intake:
                turn = ""
                until = time.monotonic() + 3
                while turn != "engine gone" and time.monotonic() < until:
                    before = len(journal.requests)
                    journal.collect(intake, forget=dice.random() < 0.2)
                    if len(journal.requests) > before + 3:
                        turn = next(turns)
                        cuts[turn]()
                        made.append(turn)
            assert time.monotonic() < calls.deadline, "not all were delivered in time"
    assert journal.nodes() == sorted(f"n{number}" for number in range(200))
    assert set(made) == set(cuts)


def test_a_connection_that_hangs_is_given_up(sshd: Sshd, hooks: HookScripts) -> None:
    with StreamIntake(sshd.ssh(hooks.reader()), silence=6.0) as intake:
        assert within(10, lambda: intake.connected), intake.state()
        hung = children("sshd", of=sshd.process.pid)
        for pid in hung:
            os.kill(pid, signal.SIGSTOP)
        hooks.call("resume", "c1")
        assert intake.wake.wait(12)
        assert len(children("sshd", of=sshd.process.pid)) > len(hung)
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
        ((request_id, _),) = intake.receive()
        intake.acknowledge(request_id)
        assert within(5, lambda: hooks.requests() == [])
        assert within(5, lambda: len(processes(f"reader.py\0--spool\0{hooks.spool}")) == 1)
        assert intake.receive() == []
