"""Whether the role restarts slurmctld for a changed number of nodes, as Ansible understands its variables."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "slurmctld"


def restart_keys(tmp_path: Path, inventory: dict[str, Any]) -> list[str]:
    """Ask Ansible for the keys that need a restart, with what the inventory has under slurm_powersave."""
    play = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "connection": "local",
            "vars": {"slurm_powersave": inventory, "to": str(tmp_path / "keys")},
            "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ slurmctld_restart_keys | to_json }}",
                        "dest": "{{ to }}",
                        "mode": "0600",
                    }
                }
            ],
        }
    ]
    file = tmp_path / "play.yml"
    file.write_text(json.dumps(play))
    subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", file],
        check=True,
        capture_output=True,
        timeout=60,
        env={
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            "PATH": "/usr/bin:/bin",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
    )
    found: list[str] = json.loads((tmp_path / "keys").read_text())
    return found


@pytest.mark.parametrize(
    ("inventory", "restart"),
    [
        ({"reconfigure_takes_nodes": True}, False),
        ({"reconfigure_takes_nodes": False}, True),
        ({}, True),
    ],
    ids=["new", "old", "an inventory of an older toolkit"],
)
def test_a_changed_number_of_nodes(tmp_path: Path, inventory: dict[str, Any], restart: bool) -> None:
    keys = restart_keys(tmp_path, inventory)
    assert ("NodeName" in keys) is restart
    assert "SelectType" in keys
