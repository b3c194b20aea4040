"""A test that fails tells of the clusters that it used, whatever state they are in."""

from dataclasses import replace
from pathlib import Path

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import Request
from tests import evidence
from tests.pytest_runs import run_tests

CLUSTER = """
import pytest
from pathlib import Path
from tests import evidence

class Cluster:
    name = "e2e"

    def __init__(self, root):
        self.root, self.left = root, {}

    def evidence(self):
        return self.left or {
            "operations": lambda: evidence.operations(self.root / "journal.db"),
            "engine's log": lambda: evidence.tail(self.root / "engine.log"),
            "Slurm": self.ask,
        }

    def ask(self):
        raise TimeoutError("slurmctld does not answer")

    def fail(self):
        assert not "the server came"

class Around:
    def __init__(self, cluster):
        self.cluster = cluster

@pytest.fixture(scope="module")
def cluster():
    return Cluster(Path.cwd())

@pytest.fixture
def around(cluster):
    return Around(cluster)

@pytest.fixture(scope="module")
def broken():
    made = Cluster(Path.cwd())
    try:
        made.fail()
        yield made
    finally:
        made.left = evidence.kept({"engine's log": lambda: evidence.tail(made.root / "engine.log")})
"""


def a_journal(path: Path) -> None:
    """Write a journal with an operation that failed, and one that is under way."""
    journal = SqliteJournal(path)
    journal.add_request(Request("r1", Mode.RESUME, "n[1-2]", 0.0), 0.0)
    first, second = (
        journal.new_operation("r1", name, Mode.RESUME, "accepted", 100.0) for name in ("n1", "n2")
    )
    journal.plan_request("r1", [first, second], [("n9", "not a configured node")], 100.0)
    journal.save_operation(replace(first, phase="applying", since=102.5))
    text = "No valid host was found"
    ended = {"outcome": "failed", "failure": FailureClass.CAPACITY, "text": text}
    journal.save_operation(replace(first, phase="ended", since=104.0, **ended))
    journal.save_operation(replace(second, phase="applying", since=102.5))
    journal.close()


def test_operations_with_their_errors_and_history_and_the_end_of_the_log(tmp_path: Path) -> None:
    a_journal(tmp_path / "journal.db")
    (tmp_path / "engine.log").write_text("".join(f"line {number}\n" for number in range(1000)))
    told = run_tests(tmp_path, CLUSTER + "def test_one(cluster):\n    cluster.fail()\n").stdout
    assert "Cluster e2e: operations" in told
    assert (
        "n1 resume: accepted +0.0 s, applying +2.5 s, failed +4.0 s; failed (capacity): No valid host" in told
    )
    assert "n2 resume: accepted +0.0 s, applying +2.5 s; still applying after" in told
    assert "refused: n9: not a configured node" in told
    assert "line 999" in told and "line 940" in told and "line 939" not in told
    assert "could not be read: TimeoutError: slurmctld does not answer" in told
    assert "assert not 'the server came'" in told and "1 failed" in told


def test_a_cluster_that_another_fixture_has_wrapped(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("the end of the log\n")
    told = run_tests(tmp_path, CLUSTER + "def test_one(around):\n    assert False\n").stdout
    assert told.count("the end of the log") == 1


def test_a_fixture_that_failed_is_told_once_though_its_cluster_is_gone(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("the end of the log\n")
    tests = "".join(f"def test_{name}(broken):\n    pass\n" for name in ("one", "two"))
    told = run_tests(tmp_path, CLUSTER + tests).stdout
    assert told.count("the end of the log") == 1
    assert "as told with tests/test_it.py::test_one" in told and "2 errors" in told


def test_a_cluster_that_can_not_tell_anything_hides_no_failure(tmp_path: Path) -> None:
    broken = "class Broken(Cluster):\n    def evidence(self):\n        return self.no_such_thing\n"
    test = "def test_one():\n    Broken(Path.cwd()).fail()\n"
    told = run_tests(tmp_path, CLUSTER + broken + test).stdout
    assert "could not be read: AttributeError" in told
    assert "assert not 'the server came'" in told and "1 failed" in told


def test_a_command_that_failed_tells_what_it_said(tmp_path: Path) -> None:
    code = (
        "import subprocess\n\ndef test_one():\n    argv = ['sh', '-c', 'echo told; echo wrong >&2; exit 3']\n"
    )
    code += "    subprocess.run(argv, capture_output=True, check=True)\n"
    told = run_tests(tmp_path, code).stdout
    assert "stdout of the command -" in told and "stderr of the command -" in told
    assert "\nwrong\n" in told and "\ntold\n" in told


def test_a_test_that_passes_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("the end of the log\n")
    told = run_tests(tmp_path, CLUSTER + "def test_one(cluster):\n    pass\n").stdout
    assert "the end of the log" not in told and "1 passed" in told


def test_it_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_bytes(b"x" * 50_000 + b"\xff\n" + b"y" * 1000 + b"\n")
    assert len(evidence.tail(log)) <= 2 * evidence.LONGEST
    text = evidence.read(lambda: "z" * 50_000 + "end")
    assert len(text) < evidence.LONGEST + 100 and text.endswith("end") and "of 50003 characters" in text
    assert evidence.operations(tmp_path / "none.db") == "there is no journal"
