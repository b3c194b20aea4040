"""What identifies a host on its disk: found, removed, and known again after a boot."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.role_files import load

ROLES = Path(__file__).resolve().parents[3] / "roles"
KEY = "ssh-ed25519 AAAAours"


disk_module = load("image_clean", "image_identity_disk")

# Path: content, and what is left of it: None nothing, else the new content.
GONE: dict[str, tuple[str, str | None]] = {
    "etc/munge/munge.key": ("secret", None),
    "var/lib/munge/munge.seed": ("seed", None),
    "etc/slurm/slurm.conf": ("ClusterName=site", None),
    "etc/slurm/gres.conf": ("# Written by slurm-powersave\nName=gpu", None),
    "etc/slurm/jwt.key": ("secret", None),
    "var/lib/slurm/slurmd/cred_state": ("x", None),
    "var/lib/slurm/slurmd/.hidden": ("x", None),
    "usr/lib/slurm-powersave/site-prolog": ("#!/bin/sh", None),
    "etc/systemd/system/mnt-ohpc.mount": ("# Written by slurm-powersave\n[Mount]", None),
    "etc/systemd/system/slurmd.service.d/slurm-powersave-storage.conf": ("[Unit]", None),
    "etc/ssh/ssh_host_ed25519_key": ("secret", None),
    "etc/ssh/ssh_host_ed25519_key.pub": ("public", None),
    "etc/hostname": ("demo-1", None),
    "etc/machine-id": ("0123", ""),
    "var/lib/dbus/machine-id": ("0123", None),
    "var/log/wtmp": ("x", None),
    "var/log/slurm/slurmd.log": ("x", None),
    "etc/hosts": (
        "127.0.0.1 localhost\n127.0.1.1 demo-builder\n10.0.0.9 files\n"
        "# slurm-powersave: begin\n10.0.1.1 demo-1\n# slurm-powersave: end\n10.0.1.2 demo-2 # again\n",
        "127.0.0.1 localhost\n10.0.0.9 files\n",
    ),
    "etc/resolv.conf": ("# Written by slurm-powersave\nnameserver 10.0.0.1\n", ""),
    "root/.ssh/authorized_keys": (f'no-pty,command="x" {KEY} key@control\n', None),
    "home/user/.ssh/authorized_keys": (
        f"ssh-rsa BBBB somebody\n{KEY} key@control\n",
        "ssh-rsa BBBB somebody\n",
    ),
    "root/.bash_history": ("scontrol", None),
    "home/user/.python_history": ("import this", None),
    "var/lib/cloud/instance/obj.pkl": ("x", None),
    "var/lib/systemd/random-seed": ("x", None),
    "tmp/job-7/out": ("x", None),
    "etc/krb5.keytab": ("secret", None),
}
STAYS = {
    "etc/slurm/job_container.conf": "AutoBasePath=true",
    "usr/lib/slurm-powersave/image.json": "{}",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\nbin:x:1:1::/:/bin/sh\n",
    "etc/ssh/sshd_config": "Port 22",
    "etc/systemd/system/data.mount": "[Mount]",
    "home/user/data": "x",
    "tmp/ansible_image_identity_payload_x/module.zip": "x",
    "tmp/systemd-private-1/tmp/x": "x",
    "var/lib/cloud/seed/nocloud/meta-data": "x",
    "var/log/slurm/": "",
}
ANEW = ("etc/hostname", "etc/machine-id", "etc/ssh/ssh_host_ed25519_key", "var/log/syslog", "tmp/x")
"""What a boot makes."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A disk with all of it."""
    for name, text in {**{name: text for name, (text, _) in GONE.items()}, **STAYS}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text(text)
    return tmp_path


def disk(root: Path) -> Any:
    hosts = ["demo-1", "demo-2", "demo-builder"]
    return disk_module.Disk(str(root), f"{KEY} a comment", hosts, ["/etc/krb5*"])


def test_everything_that_identifies_is_found_and_removed_and_nothing_else(root: Path) -> None:
    found = disk(root).left()
    # A directory stands for what is in it.
    for name in GONE:
        assert any(str(root / name).startswith(path) for path in found), name
    assert not {str(root / name) for name in STAYS} & set(found)
    disk(root).remove()
    assert disk(root).left() == {}
    for name, (_, after) in GONE.items():
        assert ((root / name).read_text() if (root / name).exists() else None) == after, name
    for name, text in STAYS.items():
        assert (root / name).is_dir() if name.endswith("/") else (root / name).read_text() == text


def test_a_second_removal_finds_nothing(root: Path) -> None:
    assert disk(root).remove()
    assert disk(root).remove() == []


@pytest.mark.parametrize("name", GONE)
def test_one_thing_left_is_seen(root: Path, name: str) -> None:
    disk(root).remove()
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GONE[name][0])
    (found,) = disk(root).left()
    assert str(path).startswith(found)


def test_after_a_boot_only_what_no_boot_makes_counts(root: Path) -> None:
    disk(root).remove()
    for name in ANEW:
        (root / name).write_text("new")
    (root / "root/.ssh/authorized_keys").write_text(KEY)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n10.0.0.20 demo-proof\n")
    assert disk(root).left(booted=True) == {}
    (root / "etc/munge/munge.key").write_text("secret")
    assert list(disk(root).left(booted=True)) == [str(root / "etc/munge/munge.key")]


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").touch()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp/link").symlink_to("../elsewhere")
    (tmp_path / "var/lib/dbus").mkdir(parents=True)
    (tmp_path / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
    disk(tmp_path).remove()
    assert not (tmp_path / "tmp/link").is_symlink()
    assert (tmp_path / "elsewhere/file").exists()
    assert (tmp_path / "var/lib/dbus/machine-id").is_symlink()


def test_the_marks_are_those_that_the_nodes_role_writes() -> None:
    nodes = load("slurm_host", "slurm_host_files")
    assert (disk_module.HOSTS_BEGIN, disk_module.HOSTS_END) == (nodes.HOSTS_BEGIN, nodes.HOSTS_END)
    assert (
        f'MARK = b"{disk_module.MARK.decode()}"' in (ROLES / "slurm_host/library/slurm_host.py").read_text()
    )
