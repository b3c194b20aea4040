"""The provider for tests has the real one's schema, and the root modules fit it. No cloud, no root."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.openstack.harness import CHECKOUT, clean_environment, mirror

FACTS = json.loads((CHECKOUT / "tests/openstack/provider/schema.json").read_text())
HOSTS = ("registry.terraform.io", "registry.opentofu.org")
SOURCE = "terraform-provider-openstack/openstack"
MISTAKES = yaml.safe_load((CHECKOUT / "tests/cases/openstack_settings.yml").read_text())
GOOD = {
    "base": {
        "cluster": "c",
        "key_pair": "ssh-ed25519 AAAA",
        "login": {"name": "login", "address": "10.0.0.10", "image": "i", "flavor": "f"},
    },
    "nodes": {"cluster": "c"},
}

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")


def terraform(directory: Path, rc: Path, *argv: str) -> "subprocess.CompletedProcess[str]":
    """Run Terraform; no cloud is named, so whoever asks one fails."""
    environment = clean_environment() | {"TF_CLI_CONFIG_FILE": str(rc), "OS_CLIENT_CONFIG_FILE": os.devnull}
    return subprocess.run(
        ["terraform", f"-chdir={directory}", *argv, "-no-color"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Copy a root module and init it; once for each."""
    scratch = tmp_path_factory.mktemp("modules")
    rc = mirror(scratch / "mirror")

    def made(name: str) -> tuple[Path, Path]:
        directory = scratch / name
        if not directory.exists():
            shutil.copytree(CHECKOUT / "terraform_ohpc" / name, directory)
            done = terraform(directory, rc, "init", "-input=false")
            assert done.returncode == 0, done.stderr
        return directory, rc

    return made


def bare(block: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is no fact of the real schema: descriptions, and what is false."""
    kept: dict[str, Any] = {
        "attributes": {
            name: {key: of for key, of in attribute.items() if of and key != "description_kind"}
            for name, attribute in block.get("attributes", {}).items()  # a block may have none
        }
    }
    if nested := block.get("block_types"):
        kept["block_types"] = {
            name: {
                "block": bare(entry["block"]),
                **{key: entry[key] for key in ("nesting_mode", "max_items") if key in entry},
            }
            for name, entry in nested.items()
        }
    return kept


def test_a_block_without_attributes_is_compared_as_one() -> None:
    """Terraform leaves out what is empty: the real provider has such blocks."""
    inner = {"block_types": {"timeouts": {"nesting_mode": "single", "block": {}}}}
    found = bare(inner)
    assert found["attributes"] == {} and found["block_types"]["timeouts"]["block"] == {"attributes": {}}


def test_schema_is_the_real_ones(module: Any) -> None:
    """Names, types, required, optional, computed and sensitive of all that we use."""
    directory, rc = module("base")
    told = json.loads(terraform(directory, rc, "providers", "schema", "-json").stdout)
    (served,) = told["provider_schemas"].values()
    assert list(told["provider_schemas"]) == [f"registry.terraform.io/{SOURCE}"]
    for kind in ("resource_schemas", "data_source_schemas"):
        # The real one serves hundreds of others.
        assert {name: bare(served[kind][name]["block"]) for name in FACTS[kind]} == {
            name: bare(entry["block"]) for name, entry in FACTS[kind].items()
        }
    assert bare(served["provider"]["block"]) == bare(FACTS["provider_schema"]["block"])


@pytest.mark.parametrize("name", ["base", "nodes"])
def test_module_is_valid(module: Any, name: str) -> None:
    """Every attribute in the module is one of the real schema."""
    done = terraform(*module(name), "validate")
    assert done.returncode == 0, done.stderr


def test_unknown_attribute_is_noticed(module: Any) -> None:
    """The test above can fail."""
    directory, rc = module("nodes")
    wrong = shutil.copytree(directory, directory.parent / "wrong", symlinks=True)
    text = (wrong / "main.tf").read_text()
    (wrong / "main.tf").write_text(text.replace("force_delete ", "forcibly_delete "))
    done = terraform(wrong, rc, "validate")
    assert done.returncode == 1 and "forcibly_delete" in done.stderr


@pytest.mark.parametrize("case", MISTAKES, ids=lambda case: case["name"])
def test_wrong_settings_are_refused_with_words(module: Any, case: dict[str, Any]) -> None:
    """A setting that can't work is refused before anything is asked of the cloud."""
    directory, rc = module(case["module"])
    variables = GOOD[case["module"]] | case["variables"]
    file = directory / f"{case['name'].replace(' ', '-')}.tfvars.json"
    file.write_text(json.dumps(variables))
    done = terraform(directory, rc, "plan", "-input=false", "-refresh=false", f"-var-file={file}")
    assert done.returncode == 1
    assert case["says"] in " ".join(done.stderr.replace("│", " ").split())


def test_no_lock_file_is_kept() -> None:
    """A lock file names one provider's hash: with it the modules would not work with the other."""
    assert not list((CHECKOUT / "terraform_ohpc").rglob(".terraform.lock.hcl"))


@pytest.mark.parametrize("host", HOSTS)
def test_mirror_serves_terraform_and_opentofu(tmp_path: Path, host: str) -> None:
    """OpenTofu's default registry is another host."""
    rc = mirror(tmp_path / "mirror")
    found = list((tmp_path / "mirror" / host / SOURCE).rglob("terraform-provider-openstack_v*"))
    assert len(found) == 1 and os.access(found[0], os.X_OK)
    assert f'"{host}/{SOURCE}"' in rc.read_text()
