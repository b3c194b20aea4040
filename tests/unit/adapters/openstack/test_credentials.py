"""Credentials are found once: openstacksdk here and Terraform's provider elsewhere use the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from slurm_powersave.adapters.openstack import credentials
from slurm_powersave.adapters.openstack.api import Api
from slurm_powersave.config.openstack_settings import Settings
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.testing.world import cluster
from slurm_powersave.wiring import LiveSite
from tests.unit.adapters.openstack.lab import SILENCE, World

CHECKOUT = Path(__file__).parents[4]
PROVIDER = """
import sys, threading
from openstack_provider.cloud import Cloud
told = Cloud({"cloud": sys.argv[1] or None}, threading.Event()).call("compute", "GET", "/servers/detail")
print(sorted(told))
"""
"""What the provider for tests does with its settings, without Terraform in between."""


@pytest.fixture
def place(openstack: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and home of somebody who has no credentials yet."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def entry(openstack: World, **more: Any) -> dict[str, Any]:
    """An entry of clouds.yaml that works."""
    auth = {"username": "demo", "password": "x", "project_name": "demo"}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    return {"auth": {"auth_url": f"{openstack.proxy.url('all')}/identity/v3", **auth}, **more}


def write(path: Path, **entries: Any) -> None:
    """Write a clouds.yaml."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"clouds": entries}))


def here(cloud: str) -> None:
    """Log in as the adapter does."""
    assert Api(Settings(cloud=cloud, api_timeout=SILENCE)).listed("compute", "/servers/detail") == []


def terraform(cloud: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Log in as Terraform's provider does, from the directory of a state."""
    directory.mkdir(exist_ok=True)
    settings = {"adapter": "openstack", "nodes_module": "x", "settings": {"cloud": cloud}}
    env = LiveSite(cluster(2, clouds={"mem": settings})).terraform_command("mem").env()
    env |= {"PYTHONPATH": str(CHECKOUT / "tests/openstack/provider")}
    argv = [sys.executable, "-c", PROVIDER, cloud]
    return subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("cloud", ["", "lab"])
@pytest.mark.parametrize(
    "file", ["clouds.yaml", "clouds.yml", "../home/.config/openstack/clouds.yaml", "own/c"]
)
def test_both_log_in_from_each_place_of_clouds_yaml(
    openstack: World, place: Path, monkeypatch: pytest.MonkeyPatch, file: str, cloud: str
) -> None:
    write(place / file, lab=entry(openstack))
    if file == "own/c":
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", file)
    here(cloud)
    done = terraform(cloud, place / "state")
    assert done.stdout == "['servers']\n", done.stderr
    assert os.path.isabs(credentials.find(cloud).file)


def test_a_password_in_secure_yaml(openstack: World, place: Path) -> None:
    known = entry(openstack)
    password = known["auth"].pop("password")
    write(place / "clouds.yaml", lab=known)
    write(place / "secure.yaml", lab={"auth": {"password": password}})
    here("")
    assert terraform("", place / "state").stdout == "['servers']\n"


def test_os_cloud_chooses_and_the_setting_is_stronger(
    openstack: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place / "clouds.yaml", lab=entry(openstack), other=entry(openstack))
    monkeypatch.setenv("OS_CLOUD", "other")
    assert credentials.find().environment()["OS_CLOUD"] == "other"
    assert credentials.find("lab").environment()["OS_CLOUD"] == "lab"


@pytest.mark.parametrize("entries", [("lab", "other"), ()])
def test_which_one_is_meant_is_not_guessed(openstack: World, place: Path, entries: tuple[str, ...]) -> None:
    write(place / "clouds.yaml", **{name: entry(openstack) for name in entries})
    with pytest.raises(CloudError) as caught:
        here("")
    assert caught.value.failure is FailureClass.AUTH
    assert ("lab, other" if entries else str(place)) in caught.value.why


def test_the_variables_of_an_rc_file_are_stronger_than_a_lone_entry(
    openstack: World, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place / "clouds.yaml", lab={"auth": {"auth_url": "http://127.0.0.1:1/v3"}})
    for name, value in entry(openstack)["auth"].items():
        monkeypatch.setenv(f"OS_{name.upper()}", value)
    here("")
    assert terraform("", place / "state").stdout == "['servers']\n"


@pytest.mark.parametrize("way", ["entry", "beside the file", "home", "RC file"])
def test_a_relative_certificate_is_handed_on_absolute(
    openstack: World, place: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    certificate, given, file = place / "ca.pem", "ca.pem", place / "clouds.yaml"
    if way == "beside the file":
        file = place / "own" / "clouds.yaml"
        certificate = file.with_name("ca.pem")
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", "own/clouds.yaml")
    elif way == "home":
        certificate, given = place.parent / "home" / "ca.pem", "~/ca.pem"
    if way == "RC file":
        for name, value in entry(openstack, cacert=given)["auth"].items():
            monkeypatch.setenv(f"OS_{name.upper()}", value)
        monkeypatch.setenv("OS_CACERT", given)
    else:
        write(file, lab=entry(openstack, cacert=given))
    certificate.write_text("")
    assert credentials.find().environment()["OS_CACERT"] == str(certificate)
    settings = Settings(cloud="", api_timeout=SILENCE)
    assert Api(settings)._connected().config.config["cacert"] == str(certificate)


def test_each_cloud_has_its_own(openstack: World, place: Path) -> None:
    """A base state and a shard of another cloud, with another entry and another certificate."""
    write(place / "clouds.yaml", a=entry(openstack, cacert="a.pem"), b=entry(openstack, cacert="b.pem"))
    clouds = {
        name: {"adapter": "openstack", "nodes_module": "x", "settings": {"cloud": name}} for name in "ab"
    }
    base = {"name": "head", "address": "10.0.0.2", "image": "default", "flavor": "small", "cloud": "a"}
    pool = {"name": "compute", "nodes": "n[1-2]", "cloud": "b", "image": "i", "flavors": ["f"]}
    pools = [{**pool, "addresses": "10.0.1.1-10.0.1.2"}]
    made = cluster(2, clouds=clouds, login=base, node_pools=pools)
    shard = made.layout.terraform / "b" / "nodes-001"
    for directory, name in ((made.layout.base, "a"), (shard, "b")):
        env = LiveSite(made).directory(directory)._command.env()
        assert (env["OS_CLOUD"], env["OS_CACERT"]) == (name, str(place / f"{name}.pem"))


def test_another_adapter_needs_none(place: Path) -> None:
    write(place / "clouds.yaml", lab={})
    assert "OS_CLOUD" not in LiveSite(cluster(2)).terraform_command("mem").env()
