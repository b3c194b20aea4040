"""A host answers a module with what no module says: it harms nobody but itself, and nobody believes it.

Each node of a batch is another attacker. The honest ones beside them are configured.
"""

import json
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.playbooks import Hooks
from slurm_powersave.model.errors import FailureClass
from tests.security.ansible_lab import BOOT, HONEST, Lab, attacks

pytestmark = pytest.mark.plays

ANSWERS = attacks("ansible_answers.yml")
BELIEVED = (
    "a host to be added",
    "a group to be added",
    "files to be included",
    "statistics",
    "a boot id that is long",
    "hardware that nobody has",
    "hardware that is long",
)
"""Some of those whose node is configured all the same: what they add means nothing."""


def hostile(lab: Lab, name: str, what: str) -> None:
    """Lay down what a host answers to everything."""
    said = lab.attack(ANSWERS[what])
    lab.answer(name, said.encode("utf-8", "surrogateescape") if isinstance(said, str) else {**HONEST, **said})


@pytest.mark.parametrize("hooks", [False, True])
def test_a_batch_of_attackers_harms_no_other_node(tmp_path: Path, hooks: bool) -> None:
    lab = Lab(tmp_path, nodes=len(ANSWERS) + 3)
    broken, *honest = "n1", f"n{len(ANSWERS) + 2}", f"n{len(ANSWERS) + 3}"
    lab.answer(broken, {**HONEST, "failed": True, "msg": "not mounted"})
    liars = {f"n{number}": what for number, what in enumerate(ANSWERS, 2)}
    for name, what in liars.items():
        hostile(lab, name, what)
    site = tmp_path / "site.yml"
    task = {"ansible.builtin.command": "true", "register": "site_said", "ignore_errors": True}
    site.write_text(json.dumps([{"hosts": "nodes", "gather_facts": False, "tasks": [task]}]))
    began = time.monotonic()
    news, result = lab.configure(*lab.cluster.nodes(), hooks=Hooks(site, site) if hooks else Hooks())
    print(f"{time.monotonic() - began:.1f} s")
    lab.nothing_got_out()
    for name in honest:
        assert (news[name].ok, news[name].boot_id) == (True, BOOT), news[name]
        assert lab.has_munge_key(name)
    failure = news[broken].failure
    assert failure and (failure.failure, failure.text) == (FailureClass.NODE_LOCAL, "not mounted"), (
        "nobody has told otherwise on its behalf"
    )
    assert {one.boot_id for one in news.values()} <= {BOOT, ""}
    for name, one in news.items():
        if one.failure:
            assert len(one.failure.text) <= 400, liars[name]
    found = {what: news[name].ok for name, what in liars.items()}
    assert all(found[what] for what in BELIEVED), found
    assert not any(ok for what, ok in found.items() if what.startswith(("a failure", "a list", "half"))), (
        found
    )
    assert not result.ok


def test_an_answer_without_an_end_takes_no_more_memory_than_it_may(tmp_path: Path) -> None:
    lab = Lab(tmp_path, nodes=2)
    lab.answer("n1", b"ENDLESS")
    news, _ = lab.configure("n1", "n2")
    assert not news["n1"].ok
    assert news["n2"].ok
    lab.answer("head", b"ENDLESS")
    played = lab.play("reset_slurm.yml", "--extra-vars", "confirm=yes")
    assert played.rc == 2 and "fatal: [head]" in played.out


def test_attackers_harm_no_honest_login_node(tmp_path: Path) -> None:
    """In deploy.yml, where the answers of every module of Ansible's own are read."""
    lab = Lab(tmp_path)
    liars = {f"liar{number}": what for number, what in enumerate(ANSWERS, 1)}
    lab.more("login", *liars)
    for name, what in liars.items():
        hostile(lab, name, what)
    played = lab.play("deploy.yml")
    lab.nothing_got_out()
    assert "head                       : ok=24" in played.out, played.out[-3000:]
    assert lab.has_munge_key("head")
