"""What Slurm on the login node calls a node is a host for Ansible only if the inventory has it."""

from pathlib import Path

import pytest

from tests.security.ansible_lab import HONEST, Lab

pytestmark = pytest.mark.plays

NAMES = (
    "-oProxyCommand=touch${IFS}CANARY",
    "-oProxyCommand=touch${IFS}CANARY,n1",
    "localhost",
    "127.0.0.1",
    "head",
    "all",
    "n1,n2",
    "n[1-2]",
    "@CREDENTIAL",
    "../n1",
    "{{lookup('pipe','touch${IFS}CANARY')}}",
    "{%include('CREDENTIAL')%}",
    "n1\x1b[2J",
    "N1",
    "n1.example.org",
    "²",
    "n9999",
    "x" * 100_000,
)


@pytest.mark.parametrize(
    ("playbook", "arguments"), [("reset_slurm.yml", ["--extra-vars", "confirm=yes"]), ("resize.yml", [])]
)
def test_only_hosts_of_the_inventory_are_spoken_to(
    tmp_path: Path, playbook: str, arguments: list[str]
) -> None:
    lab = Lab(tmp_path)
    lines = [f"{lab.attack(name)} idle" for name in NAMES]
    lines += ["idle", "n2 idle", "n3 idle~", "n2 idle"]
    said = {**HONEST, "stdout": "slurmctld is UP", "stdout_lines": lines}
    lab.answer("head", said)
    played = lab.play(playbook, *arguments)
    lab.nothing_got_out()
    recap = [
        line.split()[0] for line in played.out.partition("PLAY RECAP")[2].splitlines() if " : ok=" in line
    ]
    assert recap == ["head", "n2"], played.out[-3000:]
    assert lab.received("n2") and not lab.received("n1") and not lab.received("n3")


@pytest.mark.parametrize("lines", ["n1", ["", " ", "n1 idle"], [["n1 idle"], {"n1": 1}, None, 7]])
def test_a_list_that_is_none_is_an_error_or_empty(tmp_path: Path, lines: object) -> None:
    lab = Lab(tmp_path)
    lab.answer("head", {**HONEST, "stdout": "slurmctld is UP", "stdout_lines": lines})
    played = lab.play("reset_slurm.yml", "--extra-vars", "confirm=yes")
    assert "Traceback" not in played.out
    recap = [
        line.split()[0] for line in played.out.partition("PLAY RECAP")[2].splitlines() if " : ok=" in line
    ]
    assert recap in (["head"], ["head", "n1"])


def test_nodes_that_are_powered_up_are_in_the_inventory(tmp_path: Path) -> None:
    """Their names go back to the login node, as a part of one argument of scontrol."""
    lab = Lab(tmp_path)
    shown = "NodeName={} Arch=x State=IDLE+CLOUD+POWERED_DOWN ThreadsPerCore=1"
    lines = [shown.format(name) for name in (*NAMES, "n1")] + [" State=IDLE+POWERED_DOWN"]
    lab.answer("head", {**HONEST, "stdout_lines": [lab.attack(line) for line in lines]})
    played = lab.play("deploy.yml")
    assert played.rc == 0, played.out[-3000:]
    lab.nothing_got_out()
    assert b'"nodename=n1"' in lab.received("head")


def test_what_a_slurmd_says_of_itself_powers_nothing_up(tmp_path: Path) -> None:
    """Its OS may hold a state, and the line of another node."""
    lab = Lab(tmp_path, nodes=5)
    off, up = "State=IDLE+CLOUD+POWERED_DOWN ThreadsPerCore=1", "State=ALLOCATED+CLOUD ThreadsPerCore=1"
    lines = [
        f"NodeName=n1 OS=Linux {off}",
        f"NodeName=n2 OS=Linux {off} RealMemory=9 {up}",
        f"NodeName=n3 OS=Linux RealMemory=9 {up}",
        "NodeName=n4 OS=Linux",
        f"NodeName=n3 OS=Linux {off}",
        f"NodeName=n5 OS=Linux State=IDLE+POWERED_DOWN RealMemory=9 {up}",
    ]
    lab.answer("head", {**HONEST, "stdout_lines": lines})
    assert lab.play("deploy.yml").rc == 0
    assert b'"nodename=n1"' in lab.received("head")
