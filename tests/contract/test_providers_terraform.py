"""One choice of providers for all shards, by the real Terraform: the registry is asked once."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.adapters.state_dir.lock import EngineLock
from slurm_powersave.adapters.terraform import providers
from slurm_powersave.adapters.terraform.base import State
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.commands import provider_upgrade
from slurm_powersave.config.settings import Cluster
from slurm_powersave.model.errors import LockedError, TerraformError
from slurm_powersave.testing.world import cluster

CHECKOUT = Path(__file__).parents[2]
SOURCE = "slurm-powersave.internal/demo/localcloud"
OPENSTACK = "terraform-provider-openstack/openstack"


def needs(source: str) -> str:
    """A root module that needs a provider and makes nothing."""
    return f'terraform {{\n  required_providers {{\n    it = {{ source = "{source}" }}\n  }}\n}}\n'


pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")


class Site:
    """A state directory, a registry that is a mirror here, and a root module."""

    def __init__(self, root: Path) -> None:
        self.state, self.registry = root / "state", root / "registry"
        argv = [sys.executable, str(CHECKOUT / "tests/openstack/provider/mirror"), str(self.registry)]
        made = subprocess.run(argv, capture_output=True, text=True, check=True)
        self.command = Command("terraform", Path(made.stdout.strip()))
        module = root / "module"
        module.mkdir()
        (module / "main.tf").write_text(needs(SOURCE))
        self.module = module
        modules = {"os": Module(module, "demo", {}, "ssh-ed25519 AAAA")}
        self.terraform = ShardedTerraform(self.state, modules, self.command)

    def publish(self, version: str) -> None:
        """Let the registry have another version."""
        (package,) = (self.registry / SOURCE).glob("0.1.0")
        target = shutil.copytree(package, package.with_name(version))
        for file in target.rglob("*_v0.1.0"):
            file.rename(file.with_name(file.name.replace("0.1.0", version)))

    def away(self) -> None:
        """Let the registry be out of reach."""
        shutil.rmtree(self.registry / "slurm-powersave.internal")

    def init(self, number: int) -> tuple[bool, str]:
        """Make a shard; return whether that went well, and Terraform's words."""
        run = self.terraform.init("os", f"os/nodes-{number:03d}")
        end = time.monotonic() + 60
        while (result := run.poll()) is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        return result.ok, result.text

    def directory(self, number: int) -> Path:
        return self.state / "terraform" / "os" / f"nodes-{number:03d}"

    def version(self, number: int) -> str:
        """What a shard's lock file says."""
        return (self.directory(number) / providers.LOCK).read_text().split('version = "')[1].split('"')[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_second_shard_takes_the_first_ones_provider_and_needs_no_registry(site: Site) -> None:
    assert site.init(1) == (True, "")
    site.publish("0.2.0")
    assert site.init(2) == (True, "")
    site.away()
    assert site.init(3) == (True, "")
    assert [site.version(number) for number in (1, 2, 3)] == ["0.1.0"] * 3
    installed = next(site.directory(3).glob(f".terraform/providers/{SOURCE}/0.1.0/*"))
    assert installed.is_symlink() and not Path(installed.readlink()).is_absolute(), "one copy for all of them"
    assert site.terraform.initialised("os/nodes-003")
    moved = site.state.rename(site.state.with_name("moved"))
    argv = ["terraform", f"-chdir={moved}/terraform/os/nodes-003", "validate", "-json"]
    done = subprocess.run(argv, env=site.command.env(), capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["valid"], done.stdout


def test_the_first_shard_takes_the_provider_of_the_login_nodes_state(site: Site) -> None:
    base = State(site.state / "terraform" / "base", site.command)
    base.lay_out(site.module, {}, "x.auto.tfvars.json")
    site.publish("0.2.0")
    assert site.init(1) == (True, "")
    assert site.version(1) == "0.1.0"


def test_a_provider_that_the_login_nodes_state_has_not_comes_from_the_registry(site: Site) -> None:
    base = State(site.state / "terraform" / "base", site.command)
    bare = site.module.with_name("bare")
    bare.mkdir()
    (bare / "main.tf").write_text(needs(OPENSTACK))
    base.lay_out(bare, {}, "x.auto.tfvars.json")
    assert site.init(1) == (True, "") and site.init(2) == (True, "")
    assert site.version(2) == "0.1.0"


def test_without_the_providers_the_locked_version_is_fetched_again(site: Site) -> None:
    """As after a restore: the lock file is in the backup, the providers are not."""
    assert site.init(1) == (True, "") and site.init(2) == (True, "")
    site.publish("0.2.0")
    shutil.rmtree(site.state / "terraform" / "os" / "providers")
    for number in (1, 2):
        shutil.rmtree(site.directory(number) / ".terraform")
        State(site.directory(number), site.command, shard=True).init()
    assert site.init(3) == (True, "")
    assert [site.version(number) for number in (1, 2, 3)] == ["0.1.0"] * 3


def test_a_shard_that_could_not_be_initialised_is_none_yet(site: Site) -> None:
    assert site.init(1) == (True, "")
    assert site.init(2) == (True, "")
    shutil.rmtree(site.state / "terraform" / "os" / "providers")
    shutil.rmtree(site.directory(1) / ".terraform")
    shutil.rmtree(site.directory(2) / ".terraform")
    site.away()
    ok, text = site.init(3)
    assert not ok and "localcloud" in text
    assert not site.terraform.initialised("os/nodes-003")


def clustered(site: Site) -> Cluster:
    """The cluster file of this site."""
    clouds = {"os": {"nodes_module": site.module}}
    return cluster(2, state_dir=site.state, clouds=clouds, terraform={"cli_config": site.command.cli_config})


def test_an_upgrade_takes_all_states_to_the_same_newer_version(site: Site) -> None:
    made = clustered(site)
    State(made.layout.base, site.command).lay_out(site.module, {}, "x.auto.tfvars.json")
    for number in (1, 2):
        assert site.init(number) == (True, "")
    site.publish("0.2.0")
    said: list[str] = []
    assert provider_upgrade.upgrade(wiring.site(made), said.append) == {SOURCE: ("0.1.0", "0.2.0")}
    assert [line.rpartition(" ")[2] for line in said] == ["base", "os/nodes-001", "os/nodes-002"]
    site.publish("0.3.0")
    assert site.init(3) == (True, "")
    assert [site.version(number) for number in (1, 2, 3)] == ["0.2.0"] * 3
    assert 'version = "0.2.0"' in (made.layout.base / providers.LOCK).read_text()


def test_an_upgrade_that_fails_leaves_what_was_there(site: Site) -> None:
    made = clustered(site)
    assert site.init(1) == (True, "")
    site.away()
    with pytest.raises(TerraformError):
        provider_upgrade.upgrade(wiring.site(made), lambda line: None)
    assert site.version(1) == "0.1.0"


def test_an_upgrade_is_refused_while_the_engine_runs(site: Site) -> None:
    made = clustered(site)
    site.state.mkdir()
    lock = EngineLock(made.layout.lock)
    with pytest.raises(LockedError):
        provider_upgrade.upgrade(wiring.site(made), lambda line: None)
    lock.release()
