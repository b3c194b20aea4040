"""Every parser of what other hosts say, with anything: it returns a value or its own error, and soon."""

import base64
import importlib.util
import string
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurm_powersave.adapters.requests import spool
from slurm_powersave.adapters.requests.link import LinkError
from slurm_powersave.adapters.requests.stream import StreamIntake
from slurm_powersave.adapters.slurm import slurm_text
from slurm_powersave.adapters.slurm.commands import ScontrolSlurm
from slurm_powersave.model import hostlist
from slurm_powersave.model.errors import ConfigError, HostlistError, SlurmError
from slurm_powersave.model.nodes import Request
from tests.security.fuzz import FEW
from tests.slurmctld import Slurmctld, line

CONTROLS = ["\n", "\r", "\0", "\x1b[2J", "\x0b", "\x1c", "\x85", "\u2028", "\u202e", "\ud800"]
DIGITS = ["\u00b2", "\u0661", "9" * 5000, "-1", "1e9"]
PROGRAMS = ["{{x}}", "$(id)", "--help", "-oProxyCommand=id", "../../etc", "A" * 5000, " " * 5000]
NODES = [
    "NodeName=",
    " State=",
    "State=IDLE+CLOUD",
    " ThreadsPerCore=1",
    " Reason=",
    " Comment=",
    "BootTime=",
]
ANSWERS = ["Node n1 not found", "No nodes in the system", "==jobs==", "n1", "n2", "RUNNING", "None"]
HOSTLISTS = ["|", ",", "[", "]", "[1-99999999]", "[1-3]", "="]
STREAM = ["slurm-powersave-request 1", "argv ", "id ", "end", "hello 2", "req ", "odd ", "ack ", "ping", " "]
NASTY = st.sampled_from([*CONTROLS, *DIGITS, *PROGRAMS, *NODES, *ANSWERS, *HOSTLISTS, *STREAM])
TEXT = st.lists(st.one_of(NASTY, st.text(max_size=20)), max_size=12).map("".join)


@contextmanager
def at_once(seconds: float = 2.0) -> Iterator[None]:
    """See that something does not take long, however busy this machine is."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < seconds


def load(name: str) -> Any:
    """Load a program of the login node as a module."""
    path = Path(__file__).resolve().parents[2] / "slurmscripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"login_node_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@given(TEXT)
@FEW
def test_a_request(text: str) -> None:
    with at_once():
        try:
            got = spool.parse(text.encode("utf-8", "surrogatepass"))
        except ConfigError:
            return
    assert isinstance(got, Request)


@given(
    st.lists(
        st.one_of(TEXT.map(lambda text: base64.b64encode(text.encode("utf-8", "replace")).decode()), TEXT)
    )
)
@FEW
def test_a_request_with_these_arguments(values: list[str]) -> None:
    lines = [spool.FIRST_LINE, "id 3f2b8c1e-9d4a-4f6b-8a1c-0e5d7b9c2a34", "mode resume", "time 1.0"]
    lines += [f"argc {len(values)}", *(f"argv {value}" for value in values), "end", ""]
    try:
        got = spool.parse("\n".join(lines).encode("utf-8", "surrogatepass"))
    except ConfigError:
        return
    assert got.hostlist and len(got.hostlist) <= 4 * spool.ARGUMENT


@given(st.lists(TEXT, max_size=8))
@FEW
def test_lines_of_a_reader(lines: list[str]) -> None:
    intake = StreamIntake(["/bin/false"])
    with at_once():
        for text in ["hello 2", *lines]:
            for one in text.encode("utf-8", "replace").decode("ascii", "replace").split("\n"):
                try:
                    intake._hear(one)
                except LinkError as error:
                    assert len(str(error)) < 500
    for _, got in intake.receive():
        assert isinstance(got, Request) or len(got) < 2000
    intake._poked.close()
    intake._poker.close()


@given(TEXT, st.sampled_from([None, ["n1"], ["n1", "n2"]]))
@example("State=" + "A+" * 50_000, None)
@example(" State=A" * 20_000, ["n1"])
@FEW
def test_node_lines(text: str, asked: list[str] | None) -> None:
    with at_once():
        found = slurm_text.read_nodes(text, asked)
    assert asked is None or found.nodes.keys() <= set(asked)
    assert found.odd.isprintable() and len(found.odd) < 500
    for name, node in found.nodes.items():
        assert node.name == name and name.isascii() and name.isprintable()
        assert all(set(flag) <= set(string.ascii_uppercase + "_") for flag in node.flags)


@given(TEXT)
@FEW
def test_words_of_a_slurmd(words: str) -> None:
    """Whatever it says of itself, it is read as Slurm shows it, or not at all; and so are the others."""
    nodes = {name: line(name, "ALLOCATED+CLOUD") for name in ("n1", "n2", "n3")}
    nodes["n2"] = line("n2", "ALLOCATED+CLOUD", system=words)
    with at_once():
        snapshot = ScontrolSlurm(Slurmctld(nodes)).snapshot()
    assert {
        "n1",
        "n3",
    } <= snapshot.nodes.keys() and snapshot.nodes.keys() | snapshot.unreadable == nodes.keys()
    assert all(node.flags == {"ALLOCATED", "CLOUD"} for node in snapshot.nodes.values())


@given(TEXT)
@FEW
def test_what_stands_behind_the_state(words: str) -> None:
    """slurmd says its Extra, InstanceId and InstanceType as well."""
    nodes = {name: line(name, "ALLOCATED+CLOUD") for name in ("n1", "n2", "n3")}
    nodes["n2"] = line("n2", "ALLOCATED+CLOUD", end=f" Extra={words}")
    snapshot = ScontrolSlurm(Slurmctld(nodes)).snapshot(["n1", "n2", "n3"])
    assert {"n1", "n3"} <= snapshot.nodes.keys()
    assert all(node.flags == {"ALLOCATED", "CLOUD"} for node in snapshot.nodes.values())
    assert all(node.reason == "" and node.comment == "" for node in snapshot.nodes.values())


@given(TEXT)
@FEW
def test_job_lines(text: str) -> None:
    with at_once():
        found = slurm_text.read_jobs(text)
    assert found.odd.isprintable() and len(found.odd) < 500
    for job in found.jobs:
        assert 0 <= job.id < 10**10 and all(hostlist._NAME.fullmatch(name) for name in job.nodes)


@given(st.tuples(TEXT, TEXT, TEXT))
@FEW
def test_whole_answers(parts: tuple[str, str, str]) -> None:
    class Anything(Slurmctld):
        def run(self, command: str) -> tuple[str, int, str]:
            return parts[len(self.asked) % 3], 0, ""

    with at_once():
        try:
            snapshot = ScontrolSlurm(Anything({})).snapshot(["n1", "n2"])
        except SlurmError:
            return
    assert snapshot.nodes.keys() | snapshot.unreadable <= {"n1", "n2"}


@given(TEXT)
@FEW
def test_hostlists(text: str) -> None:
    with at_once():
        found = hostlist.split(text, {"n1", "n2"})
        try:
            names = hostlist.expand_any(text, 1000)
        except HostlistError:
            names = ()
    assert set(found.nodes) <= {"n1", "n2"}
    assert all(hostlist._NAME.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    ("part", "times"),
    [
        ("a,", 500_000),
        ("a,", 60_000),
        ("x1,", 43_000),
        ("$,", 60_000),
        ("[", 100_000),
        ("n[1-9]", 9),
        ("n[1-2],", 18_000),
    ],
)
def test_long_hostlists(part: str, times: int) -> None:
    with at_once():
        hostlist.split(part * times, {"n1", "n2"})


@given(TEXT)
@FEW
def test_sinfo_names(text: str) -> None:
    assert all(name.isascii() and name.isprintable() for name in slurm_text.read_names(text))


@given(st.binary(max_size=300), TEXT)
@FEW
def test_sinfo_on_the_login_node(noise: bytes, text: str) -> None:
    ready = load("ready")
    watch = ready.Watch("/tmp", "/bin/false")
    for said in (noise, text.encode("utf-8", "replace"), b"n1 idle\n../x idle\n" + noise):
        ready.output = lambda command, said=said: said
        states = watch.states()
        assert all("/" not in name and name not in (".", "..") for name, _ in states)


@given(TEXT)
@FEW
def test_what_the_control_host_says_to_the_reader(text: str) -> None:
    reader = load("reader")
    asked: list[str] = []

    class Spool:
        acknowledge = refuse = staticmethod(asked.append)

    class Told:
        tell = staticmethod(lambda message: None)

    connection = object.__new__(reader.Connection)
    connection.spool, connection.ready, connection.look = Spool(), Told(), False
    for one in text.encode("utf-8", "replace").decode("ascii", "replace").split("\n"):
        connection.obey(one)
    assert all(reader.REQUEST_ID.match(name) for name in asked)


@given(st.binary(max_size=200), st.integers(0, 3_000_000))
@FEW
def test_a_resume_file_is_cut_and_nothing_else_is(noise: bytes, size: int) -> None:
    reader = load("reader")
    before = b"slurm-powersave-request 1\nargv " + noise.replace(b"\nresume_file ", b"")
    whole = before + b"\nresume_file " + b"A" * size + b"\nend\n"
    cut = reader.shortened(whole)
    assert cut == before + b"\nresume_file " + b"A" * min(size, reader.RESUME_FILE) + b"\nend\n"
