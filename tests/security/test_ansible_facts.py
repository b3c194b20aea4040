"""A host answers with facts that have the names of our variables: nothing of the control host is sent to it.

Ansible counts what a module's answer has under `ansible_facts` as facts of the host, whichever module it is
and also if it failed. As variables they stand above our roles' defaults and above the inventory.
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.ansible.playbooks import Hooks
from slurm_powersave.model.errors import PlaybookError
from slurm_powersave.model.nodes import Server
from tests.security.ansible_lab import HONEST, KEY, Lab, attacks

pytestmark = pytest.mark.plays

FACTS = attacks("ansible_facts.yml")
SOME = (
    "the munge key is another file",
    "the epilog is another file",
    "the reboot program is a template with a command",
    "the hooks come from another directory",
    "everything is another one",
    "a template in every variable",
)
"""Where one attack is as good as another one of its kind."""
UP = [f"n{number} idle" for number in range(1, 9)]
"""What sinfo prints."""


def hostile(lab: Lab, name: str, what: str, **more: object) -> None:
    """Lay down what a host answers to everything: an honest answer, and the facts of an attack."""
    lab.answer(name, {**HONEST, **more, "ansible_facts": lab.attack(FACTS[what])})


def test_no_login_node_gets_anything_from_deploy(tmp_path: Path) -> None:
    """Also one that lacks the packages: its distribution chooses the file with their names."""
    lab = Lab(tmp_path)
    liars = {f"liar{number}": what for number, what in enumerate(FACTS, 1)}
    wrong = [what for what in FACTS if "family" in what or "packages" in what]
    bare = {f"bare{number}": what for number, what in enumerate(wrong, 1)}
    lab.more("login", *liars, *bare)
    for name, what in liars.items():
        hostile(lab, name, what)
    for name, what in bare.items():
        hostile(lab, name, what, rc=1)
    played = lab.play("deploy.yml")
    lab.nothing_got_out()
    assert lab.has_munge_key("head"), played.out[-3000:]
    assert "head                       : ok=24" in played.out, (
        "the honest one is done whatever the others say"
    )
    assert "Only the families of Debian and Red Hat are known here" in played.out, (
        "of those that lack packages"
    )


@pytest.mark.parametrize(
    ("playbook", "arguments"),
    [
        ("resize.yml", []),
        ("reset_slurm.yml", ["--extra-vars", "confirm=yes"]),
        ("test.yml", ["--extra-vars", "test_nodes=1"]),
        ("node.yml", []),
    ],
)
def test_no_host_gets_anything_from_another_playbook(
    tmp_path: Path, playbook: str, arguments: Sequence[str]
) -> None:
    lab = Lab(tmp_path, nodes=8)
    lines = {"stdout": "slurmctld is UP", "stdout_lines": UP}
    lab.more("login", *(f"liar{number}" for number, _ in enumerate(SOME, 1)))
    for number, what in enumerate(SOME, 1):
        hostile(lab, f"n{number}", what)
        hostile(lab, f"liar{number}", what, **lines)
    lab.answer("head", {**HONEST, **lines})
    played = lab.play(playbook, *arguments)
    lab.nothing_got_out()
    served = {"test.yml": "head", "reset_slurm.yml": "head"}.get(playbook, "n8")
    assert lab.received(served), played.out[-3000:]
    assert lab.has_munge_key("n8") == (playbook in ("resize.yml", "node.yml")), played.out[-3000:]


@pytest.mark.parametrize(("gathers", "failed"), [(True, False), (False, True)])
def test_no_node_gets_anything_when_it_is_configured(tmp_path: Path, gathers: bool, failed: bool) -> None:
    """With a playbook of the site before ours and after it, in which facts are variables."""
    lab = Lab(tmp_path, nodes=len(FACTS) + 1)
    for number, what in enumerate(FACTS, 1):
        hostile(lab, f"n{number}", what, **({"failed": True, "msg": "x"} if failed else {}))
    honest = f"n{len(FACTS) + 1}"
    task = {"ansible.builtin.command": "true", "register": "site_done", "ignore_errors": True}
    site = tmp_path / "site.yml"
    site.write_text(json.dumps([{"hosts": "nodes", "gather_facts": gathers, "tasks": [task]}]))
    news, _ = lab.configure(*lab.cluster.nodes(), hooks=Hooks(site, site))
    lab.nothing_got_out()
    assert news[honest].ok and lab.has_munge_key(honest)
    assert not failed or [name for name, one in news.items() if one.ok] == [honest]


def test_nothing_is_sent_to_a_server_that_becomes_an_image(tmp_path: Path) -> None:
    """The pool's playbook comes first, and the server may have been an attacker's before."""
    lab = Lab(tmp_path)
    site = tmp_path / "site.yml"
    task = {"ansible.builtin.command": "true", "ignore_errors": True}
    site.write_text(json.dumps([{"hosts": "all", "gather_facts": True, "tasks": [task]}]))
    server = Server("id-1", "sec-builder", "ACTIVE", "10.9.0.99", host_key=KEY)
    for what in ("the public key in an image is another file", "everything is another one"):
        hostile(lab, server.name, what)
        work = tmp_path / "image"
        plays = AnsibleImagePlays(lab.site, work, tmp_path, pool="compute", user="root", before=site)
        with plays, contextlib.suppress(PlaybookError):
            plays.prepare(server, {"name": "{{ x }}"})
        with plays, contextlib.suppress(PlaybookError):
            plays.prove(server)
        got = lab.received(server.name)
        lab.nothing_got_out()
        assert b"ssh-ed25519" in got and b"{{ x }}" in got, "what it is to get it gets"


def test_the_lab_would_see_what_gets_out(tmp_path: Path) -> None:
    """With facts as variables the attacks succeed: so the tests above test something."""
    lab = Lab(tmp_path)
    hostile(lab, "head", "the script of the site is another file")
    lab.play("deploy.yml", env={"ANSIBLE_INJECT_FACT_VARS": "True"})
    with pytest.raises(AssertionError, match="OS-PASSWORD-MARK"):
        lab.nothing_got_out()
