"""`make test`: stages side by side, their output apart, and what they took against the budget."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "tools" / "stages.py"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/stages.py, with a place of its own."""
    spec = importlib.util.spec_from_file_location("stages", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stages", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PLACE", tmp_path / "test")
    return module


def shell(tool: ModuleType, name: str, script: str, share: float = 9, beside: str = "") -> object:
    return tool.Stage(name, ("sh", "-c", script), share, frozenset(beside.split()))


def test_stages_that_may_run_beside_each_other_do_and_others_wait(
    tool: ModuleType, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    # The first two need each other; the third must not see either.
    meet = (
        f"touch {tmp_path}/%s; until test -e {tmp_path}/%s; do sleep 0.05; done; sleep 0.3; rm {tmp_path}/%s"
    )
    stages = tool.Stages(
        [
            shell(tool, "a", meet % ("a", "b", "a"), beside="b"),
            shell(tool, "alone", f"test ! -e {tmp_path}/a && test ! -e {tmp_path}/b"),
            shell(tool, "b", meet % ("b", "a", "b"), beside="a"),
        ],
        "",
    )
    stages.run()
    assert [run.code for run in stages.ended] == [0, 0, 0]
    assert stages.ended[-1].stage.name == "alone"


def test_output_is_whole_and_every_stage_runs_though_one_has_failed(
    tool: ModuleType, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    talk = "for i in 1 2 3; do echo %s $i; sleep 0.1; done; echo %s >&2; exit %d"
    stages = tool.Stages(
        [
            shell(tool, "a", talk % ("one", "wrong", 3), beside="b"),
            shell(tool, "b", talk % ("two", "right", 0), beside="a"),
        ],
        "",
    )
    stages.run()
    out = capfdbinary.readouterr().out.decode()
    assert "one 1\none 2\none 3\nwrong\n" in out and "two 1\ntwo 2\ntwo 3\nright\n" in out
    assert {run.stage.name: run.code for run in stages.ended} == {"a": 3, "b": 0}
    assert "a has ended after 0 s: FAILED (exit code 3)" in out


def test_the_slowest_are_added_up_and_a_stage_over_its_share_is_named(tool: ModuleType) -> None:
    tool.PLACE.mkdir()
    facts = [
        {"test": "t::slow", "seconds": 2.0},
        {"test": "t::fast", "seconds": 0.1},
        {"test": "t::slow", "seconds": 3.5},
        {"cluster": "deployed of t::slow", "seconds": 30.0},
    ]
    text = "".join(json.dumps(fact) + "\n" for fact in facts)
    (tool.PLACE / "e2e.times").write_text(text + '{"test": "t::cut o')
    runs = [
        tool.Run(shell(tool, "unit", "", share=100), None, 0.0, seconds=99, code=1),
        tool.Run(shell(tool, "e2e", "", share=100), None, 0.0, seconds=101, code=0),
    ]
    lines = list(tool.summary(runs, 1201.0, tool.BUDGET, shares=True))
    assert lines.index("    5.5 s  t::slow") < lines.index("    0.1 s  t::fast")
    assert "   30.0 s  deployed of t::slow" in lines
    assert "unit           99 s of  100 s  FAILED (exit code 1)" in lines
    assert "e2e           101 s of  100 s  ok  MORE THAN ITS SHARE" in lines
    loud = [line for line in lines if line.startswith("***")]
    assert len(loud) == 2 and "e2e took 101 s" in loud[0] and "20.0 minutes" in loud[1]
    assert not [line for line in tool.summary(runs, 1201.0, None, shares=False) if "***" in line]


INTERRUPTED = """
import importlib.util, sys
from pathlib import Path

source, place = sys.argv[1:]
spec = importlib.util.spec_from_file_location("stages", source)
tool = importlib.util.module_from_spec(spec)
sys.modules["stages"] = tool
spec.loader.exec_module(tool)
tool.PLACE = Path(place)
script = "trap 'echo tidied; exit 2' INT; touch $0; while :; do sleep 0.1; done"
names = ("lint", "unit")
argv = ("sh", "-c", script)
tool.STAGES = [tool.Stage(name, (*argv, f"{place}/{name}"), 9, frozenset(names)) for name in names]
sys.argv = ["stages.py", "lint", "unit"]
sys.exit(tool.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_what_is_running_and_shows_what_it_printed(
    tmp_path: Path, number: signal.Signals
) -> None:
    argv = (sys.executable, "-c", INTERRUPTED, str(SOURCE), str(tmp_path))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not ((tmp_path / "lint").exists() and (tmp_path / "unit").exists()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "interrupted" in err
    assert out.count("tidied") == 2, out
