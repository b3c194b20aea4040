"""What a wheel carries besides the package, below share/slurm-powersave: playbooks, roles, hooks, modules.

setuptools' own table of data files (pyproject.toml) wants every directory by name; these grow.
"""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent
CARRIED = ("playbooks", "roles", "callback_plugins", "slurmscripts", "terraform_ohpc", "terraform_ctl")
SHARE = Path("share", "slurm-powersave")
LEFT_OUT = (".terraform", "__pycache__")
STATES = (".tfstate", ".tfvars", ".tfvars.json", ".backup", ".tfplan", ".hcl")
"""A checkout may hold a person's states and credentials: they belong into no wheel."""


def data_files() -> list[tuple[str, list[str]]]:
    """Map each directory of the share to its files, relative to this one as setuptools wants it."""
    found: dict[str, list[str]] = {str(SHARE): ["ansible.cfg"]}
    for top in CARRIED:
        for path in sorted((ROOT / top).rglob("*")):
            inside = path.relative_to(ROOT)
            if path.is_file() and not set(inside.parts) & set(LEFT_OUT) and not path.name.endswith(STATES):
                found.setdefault(str(SHARE / inside.parent), []).append(str(inside))
    return list(found.items())


setup(data_files=data_files())
