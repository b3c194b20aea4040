"""What tests/conftest.py does: a skip is a failure in CI, and workers get what belongs together."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.conftest import ByCluster
from tests.e2e import guests
from tests.pytest_runs import run_tests

SKIPS = {
    "call": "import pytest\ndef test_one():\n    pytest.skip('not here')\n",
    "mark": "import pytest\n@pytest.mark.skip(reason='not here')\ndef test_one():\n    pass\n",
    "module": "import pytest\npytest.importorskip('no_such_module')\ndef test_one():\n    pass\n",
}


@pytest.mark.parametrize("kind", SKIPS)
@pytest.mark.parametrize("ci", [True, False])
def test_a_skip_fails_in_ci_only(tmp_path: Path, kind: str, ci: bool) -> None:
    result = run_tests(tmp_path, SKIPS[kind] + "def test_two():\n    pass\n", CI="true" if ci else "")
    assert ("skipped, which is a failure in CI" in result.stdout) == ci, result.stdout
    assert (result.returncode == 1 or result.returncode == 2) == ci, result.stdout


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The scheduler, without pytest around it; it notes what it hands out."""
    monkeypatch.setattr(
        LoadScopeScheduling,
        "_assign_work_unit",
        lambda self, node: node.append(self.workqueue.popitem(last=False)),
    )
    monkeypatch.setattr(guests, "MAIN_SLURM", "26.05")
    return object.__new__(ByCluster)


def test_a_worker_gets_all_tests_of_another_version_of_slurm_and_else_a_module(scheduler: Any) -> None:
    scope = scheduler._split_scope
    assert scope("tests/e2e/test_chain.py::test_one[22.05]") == "22.05"
    assert scope("tests/e2e/test_contract_slurm.py::test_real_slurm[22.05-a_case]") == "22.05"
    assert scope("tests/e2e/test_contract_slurm.py::test_real_slurm[26.05-a_case]").endswith(
        "contract_slurm.py"
    )
    assert scope("tests/e2e/test_chain.py::test_one[26.05]").endswith("::test_one[26.05]"), "on any worker"
    assert scope("tests/openstack/test_lab.py::test_one") == "openstack"
    assert scope("tests/e2e/test_slurm_conf.py::test_one") == scope("tests/e2e/test_playbooks.py::test_two")


def test_the_units_that_take_longest_begin_first(scheduler: Any) -> None:
    tests = {
        "short": ["tests/e2e/test_contract_cloud.py::test_one[26.05]"],
        "long": ["tests/e2e/test_resize.py::test_one[26.05]"],
        "many": [f"tests/e2e/test_contract_slurm.py::test_one[22.05-{number}]" for number in range(40)],
    }
    scheduler.workqueue = OrderedDict((scope, dict.fromkeys(nodes, False)) for scope, nodes in tests.items())
    handed: list[Any] = []
    for _ in tests:
        scheduler._assign_work_unit(handed)
    assert [scope for scope, _ in handed] == ["many", "long", "short"]
