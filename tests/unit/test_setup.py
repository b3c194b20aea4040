"""What a wheel carries besides the package."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[2]
CARRIED = ("playbooks", "roles", "callback_plugins", "slurmscripts", "terraform_ohpc", "terraform_ctl")


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Map where a file is installed, below the prefix, to where it is here."""
    found: dict[str, str] = {}
    monkeypatch.setattr(setuptools, "setup", lambda data_files: found.update(_flat(data_files)))
    exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {"__file__": str(ROOT / "setup.py")})
    yield found


def _flat(data_files: list[tuple[str, list[str]]]) -> dict[str, str]:
    return {f"{place}/{Path(name).name}": name for place, names in data_files for name in names}


def test_every_file_of_playbooks_roles_hooks_and_modules_is_carried(carried: dict[str, str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *CARRIED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(listed) > 50
    there = [name for name in listed if os.path.exists(ROOT / name)]
    assert {carried.get(f"share/slurm-powersave/{name}") for name in there} == set(there)
    assert carried["share/slurm-powersave/ansible.cfg"] == "ansible.cfg"


def test_states_and_credentials_of_a_checkout_are_not(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text((ROOT / "setup.py").read_text())
    module = tmp_path / "terraform_ctl"
    (module / ".terraform/providers").mkdir(parents=True)
    for name in ("main.tf", "terraform.tfstate", "terraform.tfstate.backup", "my.auto.tfvars", "x.tfplan"):
        (module / name).touch()
    (module / ".terraform/providers/x").touch()
    (module / ".terraform.lock.hcl").touch()
    code = "import setuptools; setuptools.setup = lambda data_files: print(data_files); "
    code += "exec(open('setup.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", f"__file__ = 'setup.py'; {code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert eval(done.stdout) == [
        ("share/slurm-powersave", ["ansible.cfg"]),
        ("share/slurm-powersave/terraform_ctl", ["terraform_ctl/main.tf"]),
    ]
