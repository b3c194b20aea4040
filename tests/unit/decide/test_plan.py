"""What becomes of a request for one node: tests/cases/plan.yml."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.decide.node.plan import verdict
from slurm_powersave.model import phases
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.modes import Mode
from slurm_powersave.model.nodes import NodeBackoff, Operation

CASES = yaml.safe_load(Path(__file__).parents[2].joinpath("cases/plan.yml").read_text())
NOW = 1000.0
OUTCOMES = {phases.DONE, phases.FAILED, phases.REFUSED, phases.CANCELLED, phases.JOINED}


def operation(number: int, mode: str, phase: str, word: str = "") -> tuple[Operation, float]:
    """An open operation and the time of its request."""
    failure = FailureClass.QUOTA if word == "failed" else None
    op = Operation(f"op{number}", "r", "n1", Mode(mode), phase, 900, 900, failure=failure)
    return op, {"later": NOW + 1, "much later": NOW + 3600}.get(word, 900.0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_verdict(case: dict[str, Any]) -> None:
    backoff = (
        NodeBackoff("n1", "op0", FailureClass.QUOTA, "r", NOW + 60) if case.get("hold") == "rests" else None
    )
    decided = verdict(
        Mode(case["mode"]),
        source=case.get("source", "hook"),
        time=NOW,
        open_operations=[operation(number, *words) for number, words in enumerate(case.get("open", []))],
        has_server=case.get("server", False),
        backoff=backoff,
    )
    assert (decided.outcome or decided.phase) == case["becomes"]
    assert len(decided.cancels) == case.get("cancels", 0)


_PHASES = st.sampled_from(
    [phases.WAITING, phases.ASKING, phases.CHECKING, phases.QUEUED, phases.APPLYING, phases.VERIFYING]
)


@given(
    mode=st.sampled_from(Mode),
    source=st.sampled_from(["hook", "operator", "reconcile"]),
    queue=st.lists(
        st.tuples(st.sampled_from(Mode), _PHASES, st.sampled_from(["", "failed", "later", "much later"])),
        max_size=4,
    ),
    server=st.booleans(),
    rests=st.booleans(),
)
def test_any_queue_gives_a_phase_or_an_outcome_and_never_cancels_what_has_begun(
    mode: Mode, source: str, queue: list[tuple[Mode, str, str]], server: bool, rests: bool
) -> None:
    operations = [operation(number, *words) for number, words in enumerate(queue)]
    decided = verdict(
        mode,
        source=source,
        time=NOW,
        open_operations=operations,
        has_server=server,
        backoff=NodeBackoff("n1", "x", FailureClass.QUOTA, "r", NOW) if rests else None,
    )
    assert bool(decided.phase) != bool(decided.outcome)
    assert not decided.outcome or decided.outcome in OUTCOMES
    by_id = {op.id: op for op, _ in operations}
    for cancelled in decided.cancels:
        assert by_id[cancelled].mode.brings_up and by_id[cancelled].phase in phases.NOT_BEGUN
        assert not mode.brings_up
    left = [op for op, _ in operations if op.id not in decided.cancels]
    # Nothing starts beside something that runs.
    assert decided.phase in ("", phases.WAITING) or not left
