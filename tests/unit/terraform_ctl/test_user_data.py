"""What cloud-init gets on the control host, as data; Terraform itself renders it, without a provider."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.terraform_ctl.user_data import GIVEN, MODULE, console, user_data


def test_cloud_init_writes_two_files_and_runs_one_of_them(tmp_path: Path) -> None:
    settings = {"control_host_python": "python3.11", "odd": "a: 'b' \"c\" $HOME %{d}"}
    text = user_data(tmp_path, settings=settings)
    assert text.startswith("#cloud-config\n")
    content = yaml.safe_load(text)
    assert set(content) == {"write_files", "runcmd"}
    files = {file["path"]: file for file in content["write_files"]}
    script = files["/usr/local/sbin/slurm-powersave-bootstrap"]
    assert (script["content"], script["permissions"]) == ((MODULE / "bootstrap.sh").read_text(), "0755")
    assert json.loads(files["/etc/slurm-powersave/control_host.json"]["content"]) == {
        "control_host_terraform_checksum": f"sha256:{GIVEN['terraform_sha256']}",
        **settings,
    }
    assert content["runcmd"] == [["/usr/local/sbin/slurm-powersave-bootstrap", GIVEN["toolkit"]]]
    assert len(text.encode()) < 16_384, "what Nova takes is 64 KiB, what other clouds take is less"


def test_no_secret_can_get_into_the_user_data() -> None:
    used = set(re.findall(r"\b(?:var|local|data|openstack_\w+)\.\w+", (MODULE / "user_data.tf").read_text()))
    assert used == {"var.toolkit", "var.settings", "var.terraform_sha256"}
    main = (MODULE / "main.tf").read_text()
    assert re.findall(r"user_data\s+= (\S+)", main) == ["local.user_data"]
    secret = re.findall(r"^.*\.secret\b.*$", main + (MODULE / "outputs.tf").read_text(), re.M)
    assert len(secret) == 1, "in the sensitive output and nowhere else"
    output = re.search(r'output "clouds_yaml" \{(.*?)^\}', (MODULE / "outputs.tf").read_text(), re.S | re.M)
    assert output
    assert "sensitive   = true" in output[1]
    assert secret[0] in output[1]


WRONG: dict[str, dict[str, Any]] = {
    "no network may log in": {"ssh_from": []},
    "no network at all": {"ssh_from": ["192.0.2.7"]},
    "a file's name for a public key": {"public_key": "~/.ssh/id_ed25519.pub"},
    "nothing to install": {"toolkit": " "},
    "an address where the checksum would be looked up": {
        "terraform_sha256": "https://example.org/SHA256SUMS"
    },
    "a network too small": {"cidr": "10.0.0.0/28"},
    "no host name": {"name": "Control Host"},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused(case: str, tmp_path: Path) -> None:
    done = console(tmp_path, f"var.{next(iter(WRONG[case]))}", **WRONG[case])
    assert "Invalid value for variable" in done.stdout + done.stderr
