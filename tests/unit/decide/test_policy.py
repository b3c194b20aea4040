"""Classes of failures, rests and reasons."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_powersave.decide import policy
from slurm_powersave.model.errors import FailureClass

# Words of Nova, Neutron, Keystone, Terraform's openstack provider, Ansible, and ours.
TEXTS = {
    FailureClass.QUOTA: [
        "Quota exceeded for cores, ram: Requested 8, 16384, but already used 40, 81920 of 40 cores",
        "Error creating server: Expected HTTP response code [200 202] but got 403 instead: "
        '{"forbidden": {"code": 403, "message": "Quota exceeded for instances: Requested 1"}}',
        "VolumeSizeExceedsAvailableQuota",
        "OverLimit Retry...",
    ],
    FailureClass.CAPACITY: [
        "No valid host was found. There are not enough hosts available.",
        "Insufficient compute resources: Requested instance NUMA topology cannot fit",
    ],
    FailureClass.AUTH: [
        "Authentication failed",
        "The request you have made requires authentication. (HTTP 401)",
        "got 401 instead: Unauthorized",
        "Policy doesn't allow os_compute_api:servers:create to be performed: not allowed by policy",
    ],
    FailureClass.CONFIG: [
        "Image 7f could not be found.",
        "Flavor m9.huge could not be found",
        "400 Bad Request: Invalid key_name",
        "Unable to find network with name or id 'nope'",
        'Unsupported argument: An argument named "x"',
    ],
    FailureClass.NODE_LOCAL: [
        "Failed to connect to the host via ssh: Connection timed out",
        "/mnt/ohpc is not a mount point",
        "did not boot: no SSH within 600 s",
        "slurmd is running but did not register within 120 s",
    ],
    FailureClass.UNKNOWN: ["", "500 Internal Server Error", "kaputt"],
}


@pytest.mark.parametrize(
    ("failure", "text"), [(kind, text) for kind, texts in TEXTS.items() for text in texts]
)
def test_classes(failure: FailureClass, text: str) -> None:
    assert policy.classify(text) is failure


def test_a_rest_doubles_up_to_eight_times() -> None:
    rests = dict.fromkeys(FailureClass, 60.0)
    seconds = [policy.rest_seconds(rests, FailureClass.QUOTA, count) for count in (0, 1, 2, 3, 4, 5, 9, 5000)]
    assert [round(one / 60) for one in seconds] == [1, 1, 2, 4, 8, 8, 8, 8]


def test_a_reason_reads_as_designed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    reason = policy.reason(FailureClass.QUOTA, "needs 64 cores, 12 left", "1a2b", 0.1 + 14 * 3600 + 300)
    assert reason.startswith("slurm-powersave: (quota) needs 64 cores, 12 left; rests until ")
    assert reason.endswith(" [op 1a2b]")


@given(st.text(max_size=400), st.sampled_from(FailureClass))
def test_a_reason_is_one_printable_line_that_we_know_again(text: str, failure: FailureClass) -> None:
    reason = policy.reason(failure, text, "1a2b", 1000.0)
    assert policy.is_ours(reason)
    assert reason.isascii() and reason.isprintable() and len(reason) < 260
    assert not set(reason) & set("\"'\\")
    assert reason == " ".join(reason.split()), "Slurm or a shell may fold spaces"


def test_a_reason_is_not_put_into_a_reason() -> None:
    first = policy.reason(FailureClass.QUOTA, "cores (64) are gone", "1a2b", 1000.0)
    again = policy.reason(FailureClass.QUOTA, first, "3c4d", 2000.0)
    assert again.count("slurm-powersave") == 1 and "cores (64) are gone;" in again


@pytest.mark.parametrize(
    "reason", ["", "bad DIMM", "see slurm-powersave: docs", "Slurm-powersave: x", "slurm-powersave"]
)
def test_what_others_wrote_is_not_ours(reason: str) -> None:
    assert not policy.is_ours(reason)
