"""The tasks that install packages are patient; what they do on Debian: tests/e2e/test_plain_guest.py."""

from pathlib import Path
from typing import Any

import pytest
import yaml

TASKS = Path(__file__).resolve().parents[3] / "roles/packages/tasks"
PATIENCE = "{{ packages_patience }}"


def tasks(name: str) -> list[dict[str, Any]]:
    """All tasks of a file, those of blocks included."""
    found: list[dict[str, Any]] = []
    for task in yaml.safe_load((TASKS / f"{name}.yml").read_text()):
        found += [*task.get("block", ()), *task.get("rescue", ())] or [task]
    return found


@pytest.mark.parametrize(("family", "module"), [("debian", "apt"), ("redhat", "dnf")])
def test_whoever_asks_the_package_manager_waits_for_its_lock_and_retries(family: str, module: str) -> None:
    asking = [task for task in tasks(family) if f"ansible.builtin.{module}" in task]
    assert len(asking) == 2
    for task in asking:
        assert task[f"ansible.builtin.{module}"]["lock_timeout"] == PATIENCE
        assert "name" not in task[f"ansible.builtin.{module}"] or task["retries"] > 1
    assert any(task[f"ansible.builtin.{module}"].get("update_cache") for task in asking)
    assert not [
        task for task in [*tasks("install"), *tasks("main")] if {"ansible.builtin.package"} & task.keys()
    ]


def test_the_first_boot_is_over_before_anything_is_installed() -> None:
    names = [next(key for key in task if key.startswith("ansible.")) for task in tasks("install")]
    (wait,) = [task for task in tasks("install") if "cloud-init" in str(task.get("ansible.builtin.command"))]
    assert wait["when"] == "packages_first_boot" and wait["failed_when"] is False
    assert wait["ansible.builtin.command"]["argv"][:2] == ["timeout", PATIENCE]
    assert names.index("ansible.builtin.command") < names.index("ansible.builtin.include_tasks")
