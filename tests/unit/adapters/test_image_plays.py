"""What Ansible and ssh are given for the servers of an image build."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters import image_plays
from slurm_powersave.adapters.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.playbooks import Site
from slurm_powersave.adapters.process import Completed
from slurm_powersave.decide.inventory import HOSTS, VARIABLES
from slurm_powersave.model.errors import PlaybookError, UnreachableError
from slurm_powersave.model.nodes import Server

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
BUILDER = Server("id-1", "demo-builder", "ACTIVE", "10.0.0.20", host_key=KEY)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    inventory = tmp_path / "inventory"
    (inventory / VARIABLES).parent.mkdir(parents=True)
    (inventory / VARIABLES).write_text("site_x: 1\n")
    hosts = {
        "login": {"hosts": {"login": {}}},
        "nodes": {"children": {"pool_big_mem": {"hosts": {"n1": {}}}}},
    }
    (inventory / HOSTS).write_text(json.dumps({"all": {"children": hosts}}))
    return Site(tmp_path / "playbooks", inventory, tmp_path / "known_hosts", tmp_path / "key")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would be played, read while it is there."""
    found: list[dict[str, Any]] = []

    def run_playbook(site: Site, name: str, *, limit: Sequence[str], extra: Mapping[str, Any]) -> int:
        path = Path(name)
        found.append(
            {
                "playbook": json.loads(path.read_text()) if path.is_absolute() else name,
                "limit": limit,
                "extra": extra,
                "hosts": json.loads((site.inventory / "hosts.json").read_text()),
                "builder": json.loads((site.inventory / "builder.json").read_text()),
                "known_hosts": site.known_hosts.read_text(),
                "place": site.inventory.parent,
                "files": sorted(path.name for path in site.inventory.parent.iterdir()),
            }
        )
        return 2 if "fails" in extra.get("image_provenance", {}) else 0

    monkeypatch.setattr(image_plays, "run_playbook", run_playbook)
    return found


def plays_of(site: Site, user: str = "root", before: Path | None = None) -> AnsibleImagePlays:
    root = site.inventory.parent
    return AnsibleImagePlays(site, root / "image", root, pool="big-mem", user=user, before=before)


def test_the_builder_is_one_of_the_pool_and_gets_its_playbook_first(
    site: Site, played: list[dict[str, Any]]
) -> None:
    (site.inventory.parent / "image").mkdir()
    (site.inventory.parent / "image/of-a-killed-build").touch()
    with plays_of(site, user="cloud-user", before=Path("/site/ldap.yml")) as plays:
        plays.prepare(BUILDER, {"name": "gold"})
        plays.prove(BUILDER)
    first, second = played
    assert first["playbook"] == [
        {"ansible.builtin.import_playbook": "/site/ldap.yml"},
        {"ansible.builtin.import_playbook": str(site.playbooks / "image.yml")},
    ]
    assert second["playbook"] == "image_proof.yml"
    assert first["files"] == ["image-with-hooks.yml", "inventory", "known_hosts"]
    assert first["limit"] == second["limit"] == ["demo-builder"]
    assert first["extra"] == {"image_provenance": {"name": "gold"}}
    groups = first["builder"]["all"]["children"]["nodes"]["children"]
    host = groups["image_builder"]["hosts"]["demo-builder"]
    assert groups["pool_big_mem"]["hosts"] == {"demo-builder": {}}
    assert (host["ansible_host"], host["ansible_user"], host["ansible_become"]) == (
        "10.0.0.20",
        "cloud-user",
        True,
    )
    assert "ControlMaster=auto" in host["ansible_ssh_args"], "its last tasks take the keys away"
    assert f"UserKnownHostsFile={first['place']}/known_hosts" in host["ansible_ssh_common_args"]
    assert first["known_hosts"] == f"demo-builder,10.0.0.20 {KEY}\n"
    assert first["hosts"]["all"]["children"]["nodes"]["children"]["pool_big_mem"]["hosts"] == {}
    assert not first["place"].exists()
    assert not site.known_hosts.exists(), "the cluster's known_hosts is not for builders"


def test_a_play_that_fails_is_an_error(site: Site, played: list[dict[str, Any]]) -> None:
    with plays_of(site) as plays, pytest.raises(PlaybookError) as caught:
        plays.prepare(BUILDER, {"fails": True})
    assert "exit code 2" in str(caught.value)
    assert not played[0]["place"].exists()


@pytest.mark.parametrize(
    ("out", "machine", "boot", "provenance"),
    [
        ('0123\nb-1\n{"name": "gold"}\n', "0123", "b-1", {"name": "gold"}),
        ("\nb-1\n{}\n", "", "b-1", {}),
        ("0123\nb-1\n{half", "0123", "b-1", {}),
    ],
)
def test_what_a_server_says_of_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, out: str, machine: str, boot: str, provenance: dict[str, str]
) -> None:
    monkeypatch.setattr(image_plays, "run", lambda argv, timeout: Completed(0, out, ""))
    with plays_of(site) as plays:
        look = plays.look(BUILDER)
    assert (look.identity.host_key, look.identity.machine_id, look.identity.boot_id) == (KEY, machine, boot)
    assert look.provenance == provenance


def test_a_server_that_can_not_be_reached_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_plays, "run", lambda argv, timeout: Completed(255, "", "Connection refused"))
    with plays_of(site) as plays, pytest.raises(UnreachableError) as caught:
        plays.look(BUILDER)
    assert "demo-builder (10.0.0.20)" in str(caught.value) and "refused" in str(caught.value)
