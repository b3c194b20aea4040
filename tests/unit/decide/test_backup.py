"""Backup files: which files belong, what they are called, and which one is refused where."""

import pytest

from slurm_powersave.decide.commands import backup
from slurm_powersave.decide.commands.backup import Manifest, Member
from slurm_powersave.model.errors import ConfigError, RefusedError

MANIFEST = Manifest(
    "demo", 1764000000.5, "0.3.1", 3, "ctl", "/etc/a.yml", "/var/lib/demo", {"cluster.yml": Member(7, "ab")}
)


@pytest.mark.parametrize(
    ("path", "is_part"),
    [
        ("applied.json", True),
        ("known_hosts", True),
        ("keys/id_ed25519", True),
        ("keys/munge.key", True),
        ("inventory/group_vars/all/slurm.yml", True),
        ("terraform/base/terraform.tfstate", True),
        ("terraform/base/.terraform.lock.hcl", True),
        ("terraform/os/providers.lock.hcl", True),
        ("terraform/os/providers/registry.terraform.io/a/b/1.0.0/linux_amd64/x", False),
        ("terraform/os/try-nodes-001/terraform.tfstate", False),
        ("terraform/local/nodes-001/nodes.auto.tfvars.json", True),
        ("terraform/local/nodes-001/main.tf", True),
        ("terraform/local/nodes-001/.terraform/providers/x", False),
        ("terraform/local/nodes-001/.terraform.tfstate.lock.info", False),
        ("terraform/local/nodes-001/terraform.tfstate.backup", False),
        ("terraform/base/plan-abc/tfplan", False),
        ("runs/1a2b/tfplan", False),
        ("backups/slurm-powersave-demo-20250101T000000Z.tar.gz", False),
        ("journal.db", False),
        ("journal.db-wal", False),
        ("engine.lock", False),
        ("engine.log", False),
    ],
)
def test_what_belongs(path: str, is_part: bool) -> None:
    assert backup.belongs(path) is is_part


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("cluster.yml", True),
        ("state/keys/id_ed25519", True),
        ("logs/slurmctld.log", True),
        ("/etc/passwd", False),
        ("state/../../etc/passwd", False),
        ("state//x", False),
        ("elsewhere/x", False),
        ("state/./x", False),
    ],
)
def test_names_of_members(name: str, safe: bool) -> None:
    assert backup.is_safe(name) is safe


def test_a_manifest_reads_as_it_was_written() -> None:
    assert backup.parse(MANIFEST.text(), "x") == MANIFEST
    assert '"date": "2025-11-24T16:00:00Z"' in MANIFEST.text()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", MANIFEST.text().replace('"size": 7', '"length": 7'), '{"date": 1, "format": "x"}'],
)
def test_what_is_no_manifest_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="not a backup"):
        backup.parse(text, "x")


def test_a_later_format_names_the_version_that_reads_it() -> None:
    with pytest.raises(ConfigError, match=r"format 2.*\n.*0\.3\.1 or later"):
        backup.parse(MANIFEST.text().replace('"format": 1', '"format": 2'), "x")


@pytest.mark.parametrize(
    ("cluster", "version", "journal", "why"),
    [
        ("demo", "0.3.1", 3, None),
        (None, "0.10.0", 4, None),
        ("other", "0.3.1", 3, "of cluster demo, and the cluster file is of other"),
        ("demo", "0.3.0", 3, "made by slurm-powersave 0.3.1"),
        ("demo", "0.3.1", 2, "made by slurm-powersave 0.3.1"),
    ],
)
def test_which_backup_is_refused(cluster: str | None, version: str, journal: int, why: str | None) -> None:
    if why is None:
        backup.refuse(MANIFEST, cluster, version, journal)
        return
    with pytest.raises(RefusedError, match=why):
        backup.refuse(MANIFEST, cluster, version, journal)


def test_the_oldest_of_this_cluster_are_outdated() -> None:
    ours = [backup.file_name("demo", at) for at in (1e9, 2e9, 3e9)]
    others = [backup.file_name("demo-2", 1e8), "slurm-powersave-demo-notes.txt", f"{ours[0]}.asc"]
    assert backup.outdated([*reversed(ours), *others], "demo", 1) == ours[:2]
    assert backup.outdated(ours, "demo", 7) == []
