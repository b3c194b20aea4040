"""What Ansible and ssh are given for the servers of an image build."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters.ansible import image_plays
from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.ansible.playbooks import Site
from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.decide.slurm_files.inventory import HOSTS, VARIABLES
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

    def run_playbook(
        site: Site, name: str, *, limit: Sequence[str], extra: Mapping[str, Any], facts: bool
    ) -> int:
        path = Path(name)
        found.append(
            {
                "playbook": json.loads(path.read_text()) if path.is_absolute() else name,
                "limit": limit,
                "extra": extra,
                "facts": facts,
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
    sites, first, second = played
    assert sites["playbook"] == [
        {"ansible.builtin.import_playbook": "/site/ldap.yml", "vars": {"site_x": 1}},
    ]
    assert (first["playbook"], second["playbook"]) == ("image.yml", "image_proof.yml")
    assert [one["facts"] for one in played] == [True, False, False], "where they are variables"
    assert sites["files"] == ["inventory", "known_hosts", "site.yml"]
    assert sites["limit"] == first["limit"] == second["limit"] == ["demo-builder"]
    assert (sites["extra"], first["extra"]) == ({}, {"image_provenance": {"name": "gold"}})
    assert sites["builder"] == first["builder"], "over one connection"
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


MACHINE, BOOT = "0123456789abcdef0123456789abcdef", "0c2f6a3e-7a55-4f53-9f05-4b8a0d2ad1c9"
TOLD = {
    "name": "gold",
    "base": "Rocky 9 {{x}}",
    "roles": {"version": "0.1", "git": "v1-2-gabc-dirty"},
    "packages": {"slurm": "22.05.8"},
}
BAD = {
    "name": ["gold"],
    "base": "a\x1bb",
    "node": "",
    "created": {},
    "more": 1,
    "packages": 7,
    "roles": {"a b": "1", "git": ""},
}


@pytest.mark.parametrize(
    ("out", "machine", "boot", "provenance"),
    [
        (f"{MACHINE}\n{BOOT}\n{json.dumps(TOLD, indent=1)}\n", MACHINE, BOOT, TOLD),
        (f"\n{BOOT}\n{{}}\n", "", BOOT, {}),
        (f"{MACHINE}\n{BOOT}\n{{half", MACHINE, BOOT, {}),
        (f"{MACHINE}\n{BOOT}", MACHINE, BOOT, {}),
        ("", "", "", {}),
        ("{{ x }}\n\x1b[2J\n[1]", "", "", {}),
        (f"{MACHINE}x\n{BOOT}-1\n{'[' * 60_000}", "", "", {}),
        (f"\n\n{json.dumps(BAD)}", "", "", {"node": "", "roles": {"git": ""}}),
        (
            '\n\n{"packages": {"slurm": "1; id", "munge": "0.5", "x": {}}}',
            "",
            "",
            {"packages": {"munge": "0.5"}},
        ),
        (f'\n\n{{"name": "gold", "x": "{"y" * 70_000}"}}', "", "", {}),
    ],
)
def test_what_a_server_says_of_itself(
    site: Site, monkeypatch: pytest.MonkeyPatch, out: str, machine: str, boot: str, provenance: dict[str, Any]
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
