"""The jump host is for the login node alone, is told as much as any ssh of ours, and must be known."""

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.ssh import login_host
from slurm_powersave.adapters.ssh.login_host import SshLoginHost
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files import ssh_options
from slurm_powersave.testing.world import cluster as make_cluster
from tests.contract.sshd import Sshd
from tests.security.ssh_lab import (
    KEY,
    a_cluster,
    ask_slurm,
    deploy,
    recorded,
    take_requests,
    understood,
    wrong,
)

__all__ = ["recorded", "understood"]

pytestmark = [pytest.mark.root]


@pytest.fixture
def behind_jump(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Callable[[], list[list[str]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> tuple[Cluster, list[dict[str, list[str]]]]:
    """A cluster behind a jump host, and what the real ssh makes of each command of ours for it."""
    cluster = a_cluster(tmp_path, jump="ops@gate.example.org:2022")
    deploy(cluster, tmp_path, monkeypatch)
    ask_slurm(cluster)
    take_requests(cluster)
    return cluster, [understood(argv) for argv in recorded()]


def test_the_jump_is_for_the_login_node_alone(
    behind_jump: tuple[Cluster, list[dict[str, list[str]]]],
) -> None:
    cluster, commands = behind_jump
    seen = {}
    for found in commands:
        assert wrong(found, cluster) == {}
        seen[found["hostname"][0]] = found.get("proxycommand", ["none"])[0]
    assert seen.pop("10.0.0.2") != "none"
    assert seen == {"10.0.1.1": "none", "10.0.1.2": "none"}


def test_the_jump_s_own_ssh_is_told_as_much(
    behind_jump: tuple[Cluster, list[dict[str, list[str]]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> None:
    cluster, commands = behind_jump
    jumps = {found.get("proxycommand", ["none"])[0] for found in commands} - {"none"}
    assert jumps
    for command in jumps:
        inner = shlex.split(command)
        assert inner[0] == "ssh" and inner[inner.index("-W") + 1] == "%h:%p"
        found = understood([word.replace("%h:%p", "10.0.0.2:22") for word in inner])
        expected = {"port": ["2022"], "user": ["ops"], "hostname": ["gate.example.org"]}
        assert {key: found[key] for key in expected} == expected
        assert found["userknownhostsfile"] == [str(cluster.layout.jump_known_hosts)]
        left = set(wrong(found, cluster)) - {"port", "user", "hostname"}
        assert left == set()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd") / "ssh")
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def jumped(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster whose login node is reached through a real sshd: the same one, to keep it small."""
    cluster = a_cluster(tmp_path, jump=f"root@127.0.0.1:{sshd.port}")
    cluster = cluster.model_copy(
        update={
            "login": cluster.login.model_copy(update={"address": "127.0.0.1"}),
            "state_dir": tmp_path / "state",
        }
    )
    shutil.copy(sshd.directory / "client", cluster.layout.private_key)
    cluster.layout.private_key.chmod(0o600)
    for path in (cluster.layout.known_hosts, cluster.layout.jump_known_hosts):
        shutil.copy(sshd.directory / "known_hosts", path)
    monkeypatch.setattr(login_host, "SSH_PORT", sshd.port)
    return cluster


def _run(cluster: Cluster, port: int, command: str) -> "subprocess.CompletedProcess[str]":
    login = SshLoginHost(cluster).argv()
    argv = [*login[:-1], "-p", str(port), login[-1], command]
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


def test_through_a_real_sshd(jumped: Cluster, sshd: Sshd) -> None:
    done = _run(jumped, sshd.port, "echo $SSH_CONNECTION")
    assert done.returncode == 0, done.stderr
    assert SshLoginHost(jumped).answers(jumped.login.address)
    assert SshLoginHost(jumped).jump_is_known()


@pytest.mark.parametrize("content", ["", "[127.0.0.1]:{port} " + KEY + "\n"], ids=["unknown", "another's"])
def test_a_jump_host_whose_key_is_not_known_is_not_believed(
    jumped: Cluster, sshd: Sshd, content: str
) -> None:
    jumped.layout.jump_known_hosts.write_text(content.format(port=sshd.port))
    done = _run(jumped, sshd.port, "echo reached")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr
    assert not SshLoginHost(jumped).answers(jumped.login.address)
    assert SshLoginHost(jumped).jump_is_known() is bool(content)


def test_a_login_node_behind_the_jump_host_must_have_its_own_key(jumped: Cluster, sshd: Sshd) -> None:
    jumped.layout.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {KEY}\n")
    done = _run(jumped, sshd.port, "echo reached")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr


def test_no_word_of_a_jump_host_becomes_a_command() -> None:
    from slurm_powersave.config.fields import jump

    for text in (
        "a@b;id",
        "a@$(id)",
        "a@`id`",
        "a@b c",
        "a@-oX",
        "-o@b",
        "a@b\n",
        "a@b:22:x",
        "@b",
        "a@",
        "a@b%h",
    ):
        with pytest.raises(ValueError, match="jump host"):
            jump(text)
    for text in ("a@b", "a@b:22", "ops@gate.example.org:2022", "_x@192.0.2.7"):
        assert jump(text) == text
        assert ssh_options.through(text, make_cluster().layout)
