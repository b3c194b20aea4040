"""What one look at a server means, when it is the network, and what `status` says of it."""

import pytest

from slurm_powersave.decide.node import silence, silence_text
from slurm_powersave.decide.node.silence import Silence, Standing, is_network, standing
from slurm_powersave.model.nodes import SlurmNode

DOWN = SlurmNode("n1", frozenset({"DOWN", "CLOUD", "NOT_RESPONDING"}), "Not responding", "slurm")


@pytest.mark.parametrize(
    ("status", "answers", "found"),
    [
        ("ACTIVE", None, Standing.UNKNOWN),
        ("ACTIVE", False, Standing.SILENT),
        ("ACTIVE", True, Standing.ANSWERS),
        ("REBOOT", False, Standing.SILENT),
        ("SHUTOFF", False, Standing.OFF),
        ("SHUTOFF", None, Standing.OFF),
        ("SHUTOFF", True, Standing.ANSWERS),
        ("SUSPENDED", False, Standing.PUT_AWAY),
        ("PAUSED", None, Standing.PUT_AWAY),
        ("SHELVED", False, Standing.PUT_AWAY),
        ("SHELVED_OFFLOADED", False, Standing.PUT_AWAY),
        ("RESCUE", False, Standing.RESCUED),
        ("RESCUE", True, Standing.RESCUED),
        ("ERROR", False, Standing.ERROR),
        ("ERROR", True, Standing.ERROR),
        ("", None, Standing.GONE),
        ("SOFT_DELETED", False, Standing.GONE),
        ("DELETED", False, Standing.GONE),
        ("MIGRATING", False, Standing.CHANGING),
        ("RESIZE", False, Standing.CHANGING),
        ("BUILD", False, Standing.CHANGING),
        ("UNKNOWN", False, Standing.CHANGING),
        ("A_WORD_OF_TOMORROW", False, Standing.CHANGING),
    ],
)
def test_what_one_look_means(status: str, answers: bool | None, found: Standing) -> None:
    assert standing(status, answers) is found


@pytest.mark.parametrize(
    ("status", "found"),
    [("ACTIVE", Standing.ANSWERS), ("SHUTOFF", Standing.OFF), ("RESCUE", Standing.RESCUED)],
)
def test_a_slurmd_that_slurm_hears_is_no_silence(status: str, found: Standing) -> None:
    assert standing(status, False, heard=True) is found


@pytest.mark.parametrize(
    ("flags", "reason", "by", "down"),
    [
        ("DOWN+NOT_RESPONDING", "Not responding", "slurm", True),
        ("DOWN+NOT_RESPONDING", "Not responding", "root", True),
        ("DOWN+NOT_RESPONDING", " : Not responding", "slurm", True),
        ("DOWN+NOT_RESPONDING", "slurm-powersave: (quota) no room : Not responding", "slurm", True),
        ("DOWN+DRAIN+NOT_RESPONDING", "bad DIMM : Not responding", "slurm", False),
        ("DOWN", "Node unexpectedly rebooted", "slurm", True),
        ("DOWN+NOT_RESPONDING", "burnt", "root", False),
        ("DOWN+NOT_RESPONDING", "", "", False),
        ("DOWN+POWERED_DOWN", "ResumeTimeout reached", "slurm", False),
        ("DOWN+POWER_DOWN", "Not responding", "slurm", False),
        ("DOWN+REBOOT_ISSUED", "Not responding : reboot issued", "slurm", False),
        ("ALLOCATED+NOT_RESPONDING", "", "", False),
        ("IDLE+NOT_RESPONDING", "Not responding", "slurm", False),
    ],
)
def test_what_slurm_itself_has_set_down(flags: str, reason: str, by: str, down: bool) -> None:
    assert silence.is_down(SlurmNode("n1", frozenset(flags.split("+")), reason, by)) is down


@pytest.mark.parametrize(
    ("fell", "servers", "network"),
    [
        ([], 0, False),
        ([0, 0], 2, False),
        ([0, 1, 2], 10, False),
        ([0, 1, 2, 600], 10, True),
        ([600, 2, 1, 0], 10, True),
        ([0, 1, 2, 601], 10, False),
        ([0, 700, 701, 702, 1300], 10, True),
        ([0, 300, 601, 901, 1202], 10, False),
        ([0] * 10, 100, False),
        ([0] * 11, 100, True),
        ([0] * 4, 39, True),
    ],
)
def test_when_it_is_the_network(fell: list[float], servers: int, network: bool) -> None:
    assert is_network(fell, servers) is network


def said(found: Silence, kept: str = "", node: SlurmNode = DOWN, status: str = "ACTIVE") -> str:
    return silence_text.warning(node, status, found, kept, restart_after=300, silent_after=1800)


def test_what_status_says() -> None:
    silent = Silence(Standing.SILENT)
    begin = "Slurm has set it DOWN (Not responding); its server (ACTIVE) does not answer SSH. "
    again = "It is started again when that has lasted for 300 s, and replaced when that has lasted for 1800 s"
    assert said(silent) == begin + again
    once = Silence(Standing.SILENT, restarted=True)
    assert "started again in the last 24 hours; it is replaced" in said(once)
    assert said(silent, "paused by ops") == begin + "Nothing is done about it: paused by ops"
    assert "systemctl status slurmd" in said(Silence(Standing.ANSWERS))
    heard = SlurmNode("n1", frozenset({"DOWN"}), "Node unexpectedly rebooted", "slurm")
    assert "state=RESUME" in said(Silence(Standing.ANSWERS), node=heard)
    assert "A person works on it" in said(Silence(Standing.RESCUED), status="RESCUE")
    assert "(SUSPENDED) was stopped by people of the cloud. It is started" in said(
        Silence(Standing.PUT_AWAY), status="SUSPENDED"
    )
    assert said(Silence(Standing.GONE), status="").endswith("its server is gone")


def test_a_text_stays_as_it_is_while_nothing_changes() -> None:
    texts = {said(Silence(Standing.SILENT, seconds)) for seconds in (0.0, 61.0, 299.0)}
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("flags", "unheard"),
    [
        ("ALLOCATED+NOT_RESPONDING", True),
        ("MIXED+NOT_RESPONDING+DRAIN", True),
        ("IDLE+COMPLETING+NOT_RESPONDING", True),
        ("ALLOCATED", False),
        ("ALLOCATED+NOT_RESPONDING+POWERING_UP", False),
        ("IDLE+NOT_RESPONDING", False),
        ("DOWN+NOT_RESPONDING", False),
    ],
)
def test_a_node_in_use_that_slurm_does_not_hear(flags: str, unheard: bool) -> None:
    assert silence_text.is_unheard(SlurmNode("n1", frozenset(flags.split("+")))) is unheard
