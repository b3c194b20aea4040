"""Where our ssh goes: each call is caught, and the real ssh is asked what it makes of hostile files."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from slurm_powersave.adapters.ansible import playbooks, project
from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.ansible.playbooks import Site
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import inventory
from slurm_powersave.model.errors import PlaybookError, SlurmError, UnreachableError
from slurm_powersave.model.nodes import NodeFacts, Server
from slurm_powersave.testing.world import cluster as make_cluster
from slurm_powersave.wiring import LiveSite

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


BUILDER = Server("id-1", "n1", "ACTIVE", "10.0.1.1", host_key=KEY)
PLAY = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.ping:\n"


def site_with_a_play(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A play that reaches every host, beside our ansible.cfg."""
    place = tmp_path / "project"
    (place / "playbooks").mkdir(parents=True)
    (place / "playbooks/all.yml").write_text(PLAY)
    (place / "ansible.cfg").write_text((ROOT / "ansible.cfg").read_text())
    for name in ("callback_plugins", "roles"):
        (place / name).symlink_to(ROOT / name)
    monkeypatch.setattr(project, "home", lambda: place)
    return LiveSite(cluster).play_site()


def ask_slurm(cluster: Cluster, *_: object) -> None:
    with pytest.raises(SlurmError):
        LiveSite(cluster).slurm().snapshot()


def take_requests(cluster: Cluster, *_: object) -> None:
    with LiveSite(cluster).intake() as intake:
        intake.wake.wait(1.0)


def read_a_log(cluster: Cluster, *_: object) -> None:
    subprocess.run([*LiveSite(cluster).login_host().argv(), "tail", "x"], check=False)


def image_plays(cluster: Cluster, site: Site, tmp_path: Path) -> AnsibleImagePlays:
    return AnsibleImagePlays(site, cluster.layout.image, tmp_path, pool="compute", user="root", before=None)


def look(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_with_a_play(cluster, tmp_path, monkeypatch)
    with image_plays(cluster, site, tmp_path) as it, pytest.raises(UnreachableError):
        it.look(BUILDER)


def prepare_image(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_with_a_play(cluster, tmp_path, monkeypatch)
    (site.playbooks / "image.yml").write_text(PLAY)
    with image_plays(cluster, site, tmp_path) as it, pytest.raises(PlaybookError):
        it.prepare(BUILDER, {})


def deploy(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    playbooks.run_playbook(site_with_a_play(cluster, tmp_path, monkeypatch), "all.yml")


def share(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As playbooks/resize.yml shares the connection to the login node."""
    site = site_with_a_play(cluster, tmp_path, monkeypatch)
    (resize,) = (
        play["vars"]["ansible_ssh_args"]
        for play in yaml.safe_load((ROOT / "playbooks/resize.yml").read_text())
        if "ansible_ssh_args" in play.get("vars", {})
    )
    playbooks.run_playbook(site, "all.yml", limit=["login"], extra={"ansible_ssh_args": resize})


def by_hand(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = site_with_a_play(cluster, tmp_path, monkeypatch).playbooks.parent
    argv = ["ansible-playbook", "-i", str(cluster.layout.inventory), str(place / "playbooks/all.yml")]
    env = os.environ | {"ANSIBLE_CONFIG": str(place / "ansible.cfg"), "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)


WAYS: dict[str, Callable[[Cluster, Path, pytest.MonkeyPatch], None]] = {
    "slurm": ask_slurm,
    "requests": take_requests,
    "logs": read_a_log,
    "image, look": look,
    "image, play": prepare_image,
    "deploy": deploy,
    "resize": share,
    "playbook by hand": by_hand,
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
    if shared != "none" and place not in (
        str(LiveSite(cluster).login_host().sockets()),
        str(cluster.layout.root.parent),
    ):
        differs["controlpath"] = shared
    return differs
