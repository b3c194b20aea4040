"""Where our ssh goes, and what it hands over, is not bent by anybody's configuration of ssh.

Each command of ours is caught (a program called ssh that notes its words), and the real ssh is asked what it
makes of these words where the files /root/.ssh/config and /etc/ssh/ssh_config are an attacker's.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import yaml

from slurm_powersave.adapters import connect, image_plays, playbooks
from slurm_powersave.adapters.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.playbooks import Site
from slurm_powersave.decide import ssh_options
from slurm_powersave.decide.addresses import assign
from slurm_powersave.decide.inventory import inventory
from slurm_powersave.decide.settings import Cluster
from slurm_powersave.model.errors import PlaybookError, SlurmError, UnreachableError
from slurm_powersave.model.nodes import NodeFacts, Server
from slurm_powersave.testing.world import cluster as make_cluster
from tests.contract.test_stream_sshd import Sshd

ROOT = Path(__file__).resolve().parents[2]
SSH = shutil.which("ssh") or "ssh"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"

HOSTILE = """\
Host *
  HostName 192.0.2.66
  Port 2222
  User mallory
  ProxyCommand touch /tmp/owned
  RemoteCommand id
  LocalCommand id
  PermitLocalCommand yes
  ControlMaster auto
  ControlPath /tmp/mallory-%C
  ControlPersist 600
  ForwardAgent yes
  ForwardX11 yes
  ForwardX11Trusted yes
  LocalForward 127.0.0.1:1234 127.0.0.1:22
  RemoteForward 1234 127.0.0.1:22
  DynamicForward 1235
  Tunnel yes
  StrictHostKeyChecking no
  UserKnownHostsFile /tmp/mallory
  GlobalKnownHostsFile /tmp/mallory
  KnownHostsCommand /tmp/mallory
  HostKeyAlias mallory
  VerifyHostKeyDNS yes
  UpdateHostKeys yes
  IdentityFile /tmp/mallory
  CertificateFile /tmp/mallory
  IdentityAgent /tmp/mallory
  AddKeysToAgent yes
  PKCS11Provider /tmp/mallory.so
  SecurityKeyProvider /tmp/mallory.so
  PasswordAuthentication yes
  GSSAPIAuthentication yes
  GSSAPIDelegateCredentials yes
  HostbasedAuthentication yes
  SendEnv *
  SetEnv A=B
  RequestTTY force
  SessionType none
  ForkAfterAuthentication yes
  BindAddress 127.0.0.9
  CanonicalizeHostname always
  CanonicalDomains evil.example
  Ciphers aes128-ctr
"""
"""What a person's, or the system's, configuration may say. `Match exec` is tried as well."""
MATCH_EXEC = 'Match exec "touch {mark}"\n'


# What a command of ours is


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Put a program called ssh before the real one; return what it was called with."""
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("ssh", "sftp", "scp"):
        script = (
            f'#!{sys.executable}\nimport json, sys\nwith open({str(tmp_path / "calls")!r}, "a") as file:\n'
        )
        script += "    file.write(json.dumps(sys.argv) + '\\n')\nsys.exit(255)\n"
        (place / name).write_text(script)
        (place / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(place), prepend=":")
    # Ansible's PATH begins with that of our own Python.
    own = playbooks.environment
    monkeypatch.setattr(
        playbooks,
        "environment",
        lambda site: own(site) | {"PATH": f"{place}:{own(site)['PATH']}", "PYTHONPATH": str(ROOT / "src")},
    )

    def read() -> list[list[str]]:
        lines = (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
        return [json.loads(line) for line in lines]

    return read


def a_cluster(tmp_path: Path, **login: str) -> Cluster:
    """A cluster with a state directory, and the inventory that deploy would write."""
    base = {"name": "login", "address": "10.0.0.2", "image": "default", "flavor": "small"}
    made = make_cluster(2, login=base | login, state_dir=tmp_path / "state")
    layout = made.layout
    layout.private_key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.root.chmod(0o700)
    layout.private_key.touch(mode=0o600)
    written = inventory(made, {"compute": NodeFacts(1, 900)}, assign(made, {}))
    for name, text in written.files().items():
        (layout.inventory / name).parent.mkdir(parents=True, exist_ok=True)
        (layout.inventory / name).write_text(text)
    return made


PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def _play(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A play that reaches every host, beside our ansible.cfg."""
    place = tmp_path / "project"
    (place / "playbooks").mkdir(parents=True)
    (place / "playbooks/all.yml").write_text(PLAY)
    (place / "ansible.cfg").write_text((ROOT / "ansible.cfg").read_text())
    for name in ("callback_plugins", "roles"):
        (place / name).symlink_to(ROOT / name)
    monkeypatch.setattr(connect.project, "home", lambda: place)
    return connect.site(cluster)


def _slurm(cluster: Cluster, *_: object) -> None:
    with pytest.raises(SlurmError):
        connect.slurm(cluster).snapshot()


def _intake(cluster: Cluster, *_: object) -> None:
    with connect.intake(cluster) as intake:
        intake.wake.wait(1.0)


def _login(cluster: Cluster, *_: object) -> None:
    subprocess.run([*connect.login_argv(cluster), "tail", "x"], check=False)


def _look(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = _play(cluster, tmp_path, monkeypatch)
    server = Server("id-1", "n1", "ACTIVE", "10.0.1.1", host_key=KEY)
    with (
        AnsibleImagePlays(
            site, cluster.layout.image, tmp_path, pool="compute", user="root", before=None
        ) as it,
        pytest.raises(UnreachableError),
    ):
        it.look(server)


def _image(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = _play(cluster, tmp_path, monkeypatch)
    (site.playbooks / "image.yml").write_text(PLAY)
    server = Server("id-1", "n1", "ACTIVE", "10.0.1.1", host_key=KEY)
    with (
        AnsibleImagePlays(
            site, cluster.layout.image, tmp_path, pool="compute", user="root", before=None
        ) as it,
        pytest.raises(PlaybookError),
    ):
        it.prepare(server, {})


def _deploy(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playbooks.run_playbook(_play(cluster, tmp_path, monkeypatch), "all.yml")


def _shared(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As playbooks/resize.yml shares the connection to the login node."""
    site = _play(cluster, tmp_path, monkeypatch)
    (resize,) = (
        play["vars"]["ansible_ssh_args"]
        for play in yaml.safe_load((ROOT / "playbooks/resize.yml").read_text())
        if "ansible_ssh_args" in play.get("vars", {})
    )
    playbooks.run_playbook(site, "all.yml", limit=["login"], extra={"ansible_ssh_args": resize})


def _by_hand(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = _play(cluster, tmp_path, monkeypatch).playbooks.parent
    argv = ["ansible-playbook", "-i", str(cluster.layout.inventory), str(place / "playbooks/all.yml")]
    env = os.environ | {"ANSIBLE_CONFIG": str(place / "ansible.cfg"), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)


WAYS: dict[str, Callable[[Cluster, Path, pytest.MonkeyPatch], None]] = {
    "slurm": _slurm,
    "requests": _intake,
    "logs": _login,
    "image, look": _look,
    "image, play": _image,
    "deploy": _deploy,
    "resize": _shared,
    "playbook by hand": _by_hand,
}
"""Every way in which ssh is called for a user."""


# What the real ssh makes of it

ENTER = """
set -e
mount -t tmpfs -o mode=700 tmpfs /root
mkdir -m 700 /root/.ssh
cp "$1" /root/.ssh/config
mount --bind "$1" /etc/ssh/ssh_config
shift
exec "$@"
"""


@pytest.fixture
def understood(tmp_path: Path) -> Callable[[Sequence[str]], dict[str, list[str]]]:
    """Ask the real ssh what it would do, where root's and the system's configuration are hostile."""
    hostile, mark = tmp_path / "hostile", tmp_path / "executed"
    hostile.write_text(MATCH_EXEC.format(mark=mark) + HOSTILE)
    hostile.chmod(0o600)

    def ask(argv: Sequence[str]) -> dict[str, list[str]]:
        words = [SSH, "-G", *argv[1:]]
        enter = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(hostile)]
        done = subprocess.run([*enter, *words], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, (words, done.stderr)
        found: dict[str, list[str]] = {}
        for line in done.stdout.splitlines():
            key, _, value = line.partition(" ")
            found.setdefault(key, []).append(value)
        found["executed"] = [str(mark.exists())]
        mark.unlink(missing_ok=True)
        return found

    return ask


pytestmark = [pytest.mark.root]
# -G prints nothing for what is not set, or "none".
UNSET = """
proxyjump remotecommand localcommand localforward remoteforward dynamicforward knownhostscommand
hostkeyalias certificatefile sendenv setenv bindaddress canonicaldomains pkcs11provider
"""
WANTED = {
    "port": "22",
    "permitlocalcommand": "no",
    "forwardagent": "no",
    "forwardx11": "no",
    "clearallforwardings": "yes",
    "tunnel": "false",
    "globalknownhostsfile": "/dev/null",
    "stricthostkeychecking": "true",
    "verifyhostkeydns": "false",
    "updatehostkeys": "false",
    "identitiesonly": "yes",
    "identityagent": "none",
    "addkeystoagent": "false",
    "gssapiauthentication": "no",
    "hostbasedauthentication": "no",
    "canonicalizehostname": "false",
    "executed": "False",
}


def wrong(found: dict[str, list[str]], cluster: Cluster) -> dict[str, object]:
    """Name what is not as it is to be."""
    differs: dict[str, object] = {
        key: found.get(key) for key, value in WANTED.items() if found.get(key) != [value]
    }
    differs |= {key: found[key] for key in UNSET.split() if found.get(key, ["none"]) != ["none"]}
    (host,) = found["hostname"]
    if not host.startswith("10.0."):
        differs["hostname"] = host
    (known,) = found["userknownhostsfile"]
    if not known.startswith(str(cluster.layout.root)):
        differs["userknownhostsfile"] = known
    if found["identityfile"] != [str(cluster.layout.private_key)]:
        differs["identityfile"] = found["identityfile"]
    if found["user"] != ["root"]:
        differs["user"] = found["user"]
    (shared,) = found.get("controlpath", ["none"])
    place = os.path.dirname(shared.strip('"'))
    # An image build has a socket in the directory that it is given, which is the test's here.
    if shared != "none" and place not in (str(connect._sockets(cluster)), str(cluster.layout.root.parent)):
        differs["controlpath"] = shared
    return differs


@pytest.mark.parametrize("way", WAYS)
def test_no_configuration_bends_it(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Callable[[], list[list[str]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> None:
    cluster = a_cluster(tmp_path)
    monkeypatch.setattr(image_plays, "LOOK_SECONDS", 10)
    WAYS[way](cluster, tmp_path, monkeypatch)
    calls = recorded()
    assert calls, "ssh was not called"
    for argv in calls:
        assert os.path.basename(argv[0]) == "ssh", argv
        found = understood(argv)
        assert wrong(found, cluster) == {}, argv
        assert found.get("proxycommand", ["none"]) == ["none"]


def test_the_hostile_configuration_would_bend_an_ssh_that_reads_it(
    tmp_path: Path, understood: Callable[[Sequence[str]], dict[str, list[str]]]
) -> None:
    cluster = a_cluster(tmp_path)
    layout = cluster.layout
    old = ["ssh", "-T", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"]
    old += [f"-oUserKnownHostsFile={layout.known_hosts}", "-oGlobalKnownHostsFile=/dev/null"]
    differs = wrong(understood([*old, "-i", str(layout.private_key), "root@10.0.0.2"]), cluster)
    assert {"hostname", "port", "localforward", "remotecommand", "executed", "controlpath"} <= set(differs)


def test_a_shared_connection_is_ended_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Callable[[], list[list[str]]]
) -> None:
    cluster = a_cluster(tmp_path)
    site = _play(cluster, tmp_path, monkeypatch)
    with AnsibleImagePlays(
        site, cluster.layout.image, tmp_path, pool="compute", user="root", before=None
    ) as it:
        it._socket.touch()
    ((_, *words),) = recorded()
    assert words[:2] == ["-F", "none"] and "exit" in words


def test_the_demo_s_shell(
    tmp_path: Path,
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "demo"))
    from walk import tools

    for terminal in (False, True):
        found = understood(tools.ssh("id", terminal=terminal))
        assert (found["hostname"], found["port"], found["user"]) == ([tools.LOGIN], ["22"], ["root"])
        assert found.get("proxycommand", ["none"]) == ["none"] and found["executed"] == ["False"]
        assert found["userknownhostsfile"] == [f"{tools.STATE}/known_hosts"]


# The jump host


def test_the_jump_is_for_the_login_node_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Callable[[], list[list[str]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> None:
    cluster = a_cluster(tmp_path, jump="ops@gate.example.org:2022")
    _deploy(cluster, tmp_path, monkeypatch)
    _slurm(cluster)
    _intake(cluster)
    seen = {}
    for argv in recorded():
        found = understood(argv)
        assert wrong(found, cluster) == {}
        seen[found["hostname"][0]] = found.get("proxycommand", ["none"])[0]
    assert seen.pop("10.0.0.2") != "none"
    assert seen == {"10.0.1.1": "none", "10.0.1.2": "none"}


def test_the_jump_s_own_ssh_is_told_as_much(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Callable[[], list[list[str]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> None:
    cluster = a_cluster(tmp_path, jump="ops@gate.example.org:2022")
    _slurm(cluster)
    _deploy(cluster, tmp_path, monkeypatch)
    for argv in recorded():
        (command,) = understood(argv).get("proxycommand", ["none"])
        if command == "none":
            continue
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
    monkeypatch.setattr(connect, "SSH_PORT", sshd.port)
    return cluster


def _run(cluster: Cluster, port: int, command: str) -> "subprocess.CompletedProcess[str]":
    argv = [*connect.login_argv(cluster)[:-1], "-p", str(port), connect.login_argv(cluster)[-1], command]
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


def test_through_a_real_sshd(jumped: Cluster, sshd: Sshd) -> None:
    done = _run(jumped, sshd.port, "echo $SSH_CONNECTION")
    assert done.returncode == 0, done.stderr
    assert connect.answers(jumped, jumped.login.address)
    assert connect.jump_is_known(jumped)


@pytest.mark.parametrize("content", ["", "[127.0.0.1]:{port} " + KEY + "\n"], ids=["unknown", "another's"])
def test_a_jump_host_whose_key_is_not_known_is_not_believed(
    jumped: Cluster, sshd: Sshd, content: str
) -> None:
    jumped.layout.jump_known_hosts.write_text(content.format(port=sshd.port))
    done = _run(jumped, sshd.port, "echo reached")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr
    assert not connect.answers(jumped, jumped.login.address)
    assert connect.jump_is_known(jumped) is bool(content)


def test_a_login_node_behind_the_jump_host_must_have_its_own_key(jumped: Cluster, sshd: Sshd) -> None:
    jumped.layout.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {KEY}\n")
    done = _run(jumped, sshd.port, "echo reached")
    assert done.returncode == 255 and "Host key verification failed" in done.stderr


def test_no_word_of_a_jump_host_becomes_a_command() -> None:
    from slurm_powersave.decide.fields import jump

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
