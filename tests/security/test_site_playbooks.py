"""In a playbook of the site facts are variables, as usual with Ansible; nothing of ours is at stake there."""

import json
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from slurm_powersave.adapters.ansible.playbooks import Hooks
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import Server
from tests.security.ansible_lab import HONEST, KEY, Lab

pytestmark = pytest.mark.plays

GATHERED = {**HONEST, "ansible_facts": {"ansible_os_family": "Debian", "ansible_eth7": {"mtu": 9000}}}
"""What the module `setup` answers on an honest node."""


def playbook(lab: Lab, name: str, *words: str, **play: Any) -> Path:
    """Write a playbook of the site that says some words to its hosts."""
    task = {"ansible.builtin.command": {"argv": [name, *words]}, **play.pop("task", {})}
    content = {"hosts": "nodes", "gather_facts": True, "tasks": [task], **play}
    path = lab.root / f"{name}.yml"
    path.write_text(json.dumps([content]))
    return path


def steps(lab: Lab, name: str) -> list[Any]:
    """Return what a node was told, in order: the site's words, and whether ours started slurmd."""
    found: list[Any] = []
    for given in lab.arguments(name):
        if "argv" in given:
            found.append([str(word) for word in given["argv"]])
        elif "slurmd" in given:
            found.append(given["start"])
    return found


def test_facts_are_variables_there_and_slurmd_starts_last(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for name in ("n1", "n2", "n3"):
        lab.answer(name, HONEST, setup=GATHERED)
    words = (
        "{{ ansible_os_family }}",
        "{{ ansible_facts.os_family }}",
        "{{ ansible_eth7.mtu }}",
        "{{ cluster_name }}",
    )
    hooks = Hooks(playbook(lab, "before", *words), playbook(lab, "after", *words))
    news, result = lab.configure("n1", hooks=hooks)
    assert result.ok, news
    said = ["Debian", "Debian", "9000", "sec"]
    assert steps(lab, "n1") == [["before", *said], False, ["after", *said], True]
    assert lab.configure("n2", hooks=Hooks(hooks.before))[1].ok
    assert steps(lab, "n2") == [["before", *said], True]
    assert lab.configure("n3", hooks=Hooks(None, hooks.after))[1].ok
    assert steps(lab, "n3") == [False, ["after", *said], True]
    assert lab.configure("n4")[1].ok
    assert steps(lab, "n4") == [True]


def test_a_node_that_a_playbook_refuses_gets_no_further(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for name in ("n1", "n2"):
        lab.answer(name, HONEST, setup=GATHERED, command={**HONEST, "failed": True, "msg": "no GPU"})
    lab.answer("n3", HONEST, setup=GATHERED)
    before = playbook(lab, "before", task={"when": "inventory_hostname != 'n2'"})
    after = playbook(lab, "after", task={"when": "inventory_hostname != 'n1'"})
    news, _ = lab.configure("n1", "n2", "n3", hooks=Hooks(before, after))
    failures = {name: one.failure for name, one in news.items()}
    assert failures["n3"] is None and news["n3"].ok
    for name in ("n1", "n2"):
        failure = failures[name]
        assert failure and failure.failure is FailureClass.NODE_LOCAL
        assert failure.text == "ansible.builtin.command: no GPU"
    assert not lab.has_munge_key("n1"), "it did not get to ours"
    assert steps(lab, "n2") == [False, ["after"]]


def test_a_playbook_that_ends_for_all_is_no_success_for_any(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.answer("n1", HONEST, command={**HONEST, "failed": True, "msg": "no GPU"})
    before = playbook(lab, "before", any_errors_fatal=True, gather_facts=False)
    news, _ = lab.configure("n1", "n2", hooks=Hooks(before))
    assert not news["n1"].ok and not news["n2"].ok
    assert not lab.has_munge_key("n2")


def test_a_playbook_need_not_be_for_all_nodes_of_a_pool(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    news, _ = lab.configure("n1", "n2", hooks=Hooks(playbook(lab, "before", hosts="n2", gather_facts=False)))
    assert news["n1"].ok and news["n2"].ok
    assert (steps(lab, "n1"), steps(lab, "n2")) == ([True], [["before"], True])


def test_a_fact_replaces_no_variable_of_the_cluster_file_there(tmp_path: Path) -> None:
    """A site that copies a file which its own variable names does not send another one."""
    licence = tmp_path / "licence"
    licence.write_text("LICENCE-OF-THE-SITE")
    lab = Lab(tmp_path, site_licence=str(licence), site_user="{ }")
    lie = {"site_licence": str(lab.credential), "slurm_powersave": {"public_key": str(lab.credential)}}
    lab.answer("n1", {**HONEST, "ansible_facts": lie})
    words = (
        "{{ lookup('file', site_licence) }} {{ lookup('file', slurm_powersave.public_key) }} {{ site_user }}"
    )
    hooks = Hooks(playbook(lab, "before", words), playbook(lab, "after", words))
    news, _ = lab.configure("n1", "n2", hooks=hooks)
    lab.nothing_got_out()
    assert news["n1"].ok and news["n2"].ok
    assert steps(lab, "n1") == steps(lab, "n2")
    assert steps(lab, "n1")[0][1] == f"LICENCE-OF-THE-SITE {KEY} {{ }}"


def test_what_a_site_lays_beside_the_inventory_still_counts(tmp_path: Path) -> None:
    lab = Lab(tmp_path, site_gpu="none")
    (lab.site.inventory / "group_vars/pool_compute.yml").write_text("site_gpu: a100\n")
    assert lab.configure("n1", hooks=Hooks(playbook(lab, "before", "{{ site_gpu }}", gather_facts=False)))[
        1
    ].ok
    assert steps(lab, "n1")[0] == ["before", "a100"]


@pytest.mark.parametrize("name", ["slurm_host_munge_key", "hooks_site_prolog", "slurm_host_expected"])
def test_no_lookup_of_ours_is_in_a_run_of_the_sites(tmp_path: Path, name: str) -> None:
    lab = Lab(tmp_path)
    hooks = Hooks(playbook(lab, "before", f"{{{{ {name} | default('none of ours') }}}}", gather_facts=False))
    assert lab.configure("n1", hooks=hooks)[1].ok
    assert steps(lab, "n1")[0] == ["before", "none of ours"]


def test_a_server_that_becomes_an_image_has_facts_as_variables_too(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    server = Server("id-1", "sec-builder", "ACTIVE", "10.9.0.99", host_key=KEY)
    lab.answer(server.name, HONEST, setup=GATHERED)
    site = playbook(lab, "before", "{{ ansible_os_family }}", "{{ image_build | string }}")
    with AnsibleImagePlays(
        lab.site, tmp_path / "image", tmp_path, pool="compute", user="root", before=site
    ) as plays:
        plays.prepare(server, {"name": "gold"})
    told = lab.arguments(server.name)
    assert steps(lab, server.name)[0] == ["before", "Debian", "True"]
    assert {"name": "gold"} in [given.get("provenance") for given in told]
