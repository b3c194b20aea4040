"""The roles' own Python, imported as Ansible would on a host."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

ROLES = Path(__file__).resolve().parents[3] / "roles"


def load(role: str, name: str) -> Any:
    """Import one of a role's module_utils under the name that Ansible gives it."""
    whole = f"ansible.module_utils.{name}"
    spec = importlib.util.spec_from_file_location(whole, ROLES / role / "module_utils" / f"{name}.py")
    assert spec and spec.loader
    sys.modules[whole] = made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made
