"""What of Terraform there is on this host."""

from pathlib import Path

from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.versions import locked, read

LOCK = """\
# This file is maintained automatically by "terraform init".
provider "registry.terraform.io/terraform-provider-openstack/openstack" {{
  version     = "{}"
  constraints = ">= 3.4.0, < 4.0.0"
  hashes = ["h1:x"]
}}

provider "registry.terraform.io/hashicorp/null" {{
  version = "3.2.0"
}}
"""
OPENSTACK = "registry.terraform.io/terraform-provider-openstack/openstack"


def test_of_several_states_the_oldest_provider_counts(tmp_path: Path) -> None:
    for state, version in {"base": "3.10.0", "os/nodes-001": "3.4.0", "os/nodes-002": "3.9.1"}.items():
        (tmp_path / state).mkdir(parents=True)
        (tmp_path / state / ".terraform.lock.hcl").write_text(LOCK.format(version))
    found = locked(tmp_path)
    assert found == {OPENSTACK: "3.4.0", "registry.terraform.io/hashicorp/null": "3.2.0"}


def test_before_the_first_deploy_there_is_none(tmp_path: Path) -> None:
    assert locked(tmp_path / "none") == {}


def test_a_missing_terraform_is_told_and_not_raised(tmp_path: Path) -> None:
    found = read(Command(str(tmp_path / "no-terraform")), tmp_path)
    assert found.terraform == "" and "no-terraform" in found.trouble and "\n" not in found.trouble
