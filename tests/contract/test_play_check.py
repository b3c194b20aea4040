"""A play in check mode with the real ansible-runner and ansible-playbook, against this host."""

import json
import sys
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.play_check import check
from slurm_powersave.adapters.ansible.playbooks import Site
from slurm_powersave.decide.commands.play_plan import FileChange, file_change
from slurm_powersave.model.errors import PlaybookError

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy: {content: "{{ text }}\\n", dest: "{{ done }}/open", mode: "0644"}
      when: inventory_hostname != 'broken'
    - ansible.builtin.copy: {content: "{{ lookup('ansible.builtin.pipe', 'env') }}", dest: "{{ done }}/env"}
      when: inventory_hostname == 'two'
    - ansible.builtin.copy: {content: secret, dest: "{{ done }}/unseen", mode: "0600"}
      diff: false
      when: inventory_hostname == 'one'
    - ansible.builtin.fail: {msg: no unit munge}
      when: inventory_hostname == 'broken'
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A checkout with a play of its own, and an inventory whose hosts are all this one."""
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/play.yml").write_text(PLAY)
    (tmp_path / "playbooks/wrong.yml").write_text("- hosts: all\n  roles: [no-such-role]\n")
    (tmp_path / "ansible.cfg").write_text("[defaults]\n")
    (tmp_path / "done").mkdir()
    (tmp_path / "done/open").write_text("before\n")
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = dict.fromkeys(["one", "two", "broken"])
    content = {"all": {"hosts": hosts, "vars": {**variables, "done": str(tmp_path / "done")}}}
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "hosts.yml").write_text(json.dumps(content))  # JSON is YAML
    return Site(tmp_path / "playbooks", inventory, tmp_path / "known_hosts", tmp_path / "key")


def test_what_a_play_would_change_is_told_and_not_done(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "hunter2")
    text = "after {{ done }}"
    plan = check(site, "play.yml", {"text": text}, tmp_path)
    path = str(tmp_path / "done/open")
    change = file_change(path, "before\n", f"{text}\n")
    assert plan.hosts["one"].files == {path: change}, "what we hand in is no template"
    assert plan.hosts["one"].others, "what Ansible does not tell is named by its task"
    environment = plan.hosts["two"].files[str(tmp_path / "done/env")]
    assert "+LANG=C.UTF-8" in "\n".join(environment.lines) and "hunter2" not in str(environment)
    assert "no unit munge" in plan.hosts["broken"].unread and not plan.refused
    assert FileChange() not in plan.hosts["one"].files.values()
    assert [one.name for one in (tmp_path / "done").iterdir()] == ["open"]
    assert (tmp_path / "done/open").read_text() == "before\n"
    assert not list(tmp_path.glob("check-*"))


def test_a_play_that_can_not_be_run(site: Site, tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="no-such-role"):
        check(site, "wrong.yml", {}, tmp_path)
