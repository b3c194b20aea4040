"""Classes of failures, rests and reasons."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.decide.node import failure_policy
from slurm_powersave.model.errors import FailureClass

CASES = yaml.safe_load((Path(__file__).parents[2] / "cases/failure_texts.yml").read_text())


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.get('status', '')} {case['text'][-60:]}".strip()
)
def test_classes(case: dict[str, Any]) -> None:
    if "status" in case:
        assert failure_policy.classify_answer(case["status"], case["text"]) == case["class"]
    else:
        assert failure_policy.classify(case["text"]) == case["class"]


@pytest.mark.parametrize(
    "around",
    [
        "node n-429: {}",
        "ssh-quota.example.org: {}",
        "server timeout-5 (1 of 503): {}",
        "fatal: [unauthorized-401]: {}",
        'Post "https://quota.example.org:5000/v3/rate-limit/429": {}',
        "{} (Request-ID: req-429a0c5e-5030-4290-8503-4295045035ab)",
        "Error: {}",
    ],
)
@pytest.mark.parametrize("case", [case for case in CASES if case["text"] and "status" not in case], ids=str)
def test_names_and_numbers_around_a_text_do_not_change_its_class(case: dict[str, Any], around: str) -> None:
    assert failure_policy.classify(around.format(case["text"])) == case["class"]


@given(st.text(max_size=2000))
def test_every_text_has_a_class(text: str) -> None:
    assert failure_policy.classify(text) in FailureClass
    assert failure_policy.classify_answer(503, text) in FailureClass


@pytest.mark.parametrize(
    "piece", ["image ", "'", '{"message": "', "\\", "<a", "quota ", ": ", '\n  File "', "exceed"]
)
def test_a_long_text_is_classed_in_a_moment(piece: str) -> None:
    began = time.process_time()
    failure_policy.classify(piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 1


def test_every_class_has_a_case() -> None:
    # No text of the outside's is an error of the engine itself.
    assert {case["class"] for case in CASES} == set(FailureClass) - {FailureClass.INTERNAL}


def test_a_rest_doubles_up_to_eight_times() -> None:
    rests = dict.fromkeys(FailureClass, 60.0)
    seconds = [
        failure_policy.backoff_seconds(rests, FailureClass.QUOTA, count)
        for count in (0, 1, 2, 3, 4, 5, 9, 5000)
    ]
    assert [round(one / 60) for one in seconds] == [1, 1, 2, 4, 8, 8, 8, 8]


def test_a_reason_reads_as_designed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    reason = failure_policy.reason(
        FailureClass.QUOTA, "needs 64 cores, 12 left", "1a2b", 0.1 + 14 * 3600 + 300
    )
    assert reason.startswith("slurm-powersave: (quota) needs 64 cores, 12 left; rests until ")
    assert reason.endswith(" [op 1a2b]")


@given(st.text(max_size=400), st.sampled_from(FailureClass))
def test_a_reason_is_one_printable_line_that_we_know_again(text: str, failure: FailureClass) -> None:
    reason = failure_policy.reason(failure, text, "1a2b", 1000.0)
    assert failure_policy.is_ours(reason)
    assert reason.isascii() and reason.isprintable() and len(reason) < 260
    assert not set(reason) & set("\"'\\")
    assert reason == " ".join(reason.split()), "Slurm or a shell may fold spaces"


def test_a_reason_has_what_the_cloud_said_and_not_how_it_was_asked() -> None:
    text = (
        "Error creating OpenStack server: Expected HTTP response code [200 202] when accessing [POST"
        ' https://c:8774/v2.1/servers], but got 403 instead: {"forbidden": {"code": 403, "message":'
        ' "Quota exceeded for cores: Requested 64, but already used 12 of 64 cores"}}'
    )
    assert failure_policy.reason(FailureClass.QUOTA, text, "1a2b") == (
        "slurm-powersave: (quota) Error creating OpenStack server: Quota exceeded for cores: Requested 64,"
        " but already used 12 of 64 cores (HTTP 403) [op 1a2b]"
    )
    assert failure_policy.spoken("got nothing: {}") == "got nothing: {}"


def test_a_reason_is_not_put_into_a_reason() -> None:
    first = failure_policy.reason(FailureClass.QUOTA, "cores (64) are gone", "1a2b", 1000.0)
    again = failure_policy.reason(FailureClass.QUOTA, first, "3c4d", 2000.0)
    assert again.count("slurm-powersave") == 1 and "cores (64) are gone;" in again


@pytest.mark.parametrize(
    "reason", ["", "bad DIMM", "see slurm-powersave: docs", "Slurm-powersave: x", "slurm-powersave"]
)
def test_what_others_wrote_is_not_ours(reason: str) -> None:
    assert not failure_policy.is_ours(reason)
