"""The detached run with the real ansible-runner and ansible-playbook, against this host instead of nodes."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible.configure_run import ConfigureRun
from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Hooks, Site
from slurm_powersave.model.errors import FailureClass
from slurm_powersave.model.nodes import NodeProgress, NodeSpec, RunResult

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
SECRET = "bXVuZ2Uga2V5"

# In the place of ours: notes that the node was configured, or takes long.
MODULE = """
import pathlib, time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {}, "done": {}, "munge_key": {"no_log": True}})
name = module.params["name"]
if name == "slow":
    pathlib.Path(module.params["done"], "slow.begun").touch()
    time.sleep(60)
if name == "broken":
    module.fail_json(msg="not mounted: /mnt/ohpc, key " + module.params["munge_key"])
pathlib.Path(module.params["done"], name).touch()
module.exit_json(changed=True)
"""
PLAY = f"""
- hosts: nodes
  gather_facts: false
  tasks:
    - slurm_host: {{name: "{{{{ inventory_hostname }}}}", done: "{{{{ done }}}}", munge_key: {SECRET}}}
"""
BEFORE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ lookup('ansible.builtin.pipe', 'env') }}"
        dest: "{{ done }}/environment"
      delegate_to: localhost
      run_once: true
    - ansible.builtin.fail: {msg: no GPU}
      when: inventory_hostname == 'gpu1'
"""
AFTER = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.assert: {that: inventory_hostname != 'gpu2', fail_msg: no licence, quiet: true}
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A checkout with a play of its own, and an inventory whose hosts are all this one."""
    library = tmp_path / "playbooks/library"
    library.mkdir(parents=True)
    (library / "slurm_host.py").write_text(MODULE)
    for name, text in (("node", PLAY), ("before", BEFORE), ("after", AFTER)):
        (tmp_path / f"playbooks/{name}.yml").write_text(text)
    (tmp_path / "ansible.cfg").write_text("[defaults]\nhost_key_checking = true\n")
    (tmp_path / "done").mkdir()
    hosts = dict.fromkeys(["cpu1", "broken", "slow", "gpu1", "gpu2", "gpu3"])
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "done": str(tmp_path / "done"),
    }
    children = {"login": {"hosts": {"login": {}}}, "nodes": {"hosts": hosts}}
    group_vars = tmp_path / "inventory/group_vars/all"
    group_vars.mkdir(parents=True)
    # JSON is YAML.
    (tmp_path / "inventory/hosts.yml").write_text(json.dumps({"all": {"children": children}}))
    (group_vars / "slurm_powersave.yml").write_text(json.dumps(variables))
    (tmp_path / "key").write_text("key\n")
    return Site(tmp_path / "playbooks", tmp_path / "inventory", tmp_path / "known_hosts", tmp_path / "key")


def configure(
    site: Site, *names: str, hooks: Mapping[str, Hooks] | None = None, timeout: float = 60
) -> tuple[dict[str, NodeProgress], RunResult, ConfigureRun]:
    """Run it to its end."""
    made = AnsiblePlaybooks(site.inventory.parent, site, hooks, timeout=timeout)
    nodes = [NodeSpec(name, name[:3], "local", "i", "f", "", f"10.0.0.{n}") for n, name in enumerate(names)]
    run = made.configure(nodes, dict.fromkeys(names, KEY))
    deadline = time.monotonic() + 120
    news: list[NodeProgress] = []
    while (result := run.poll()) is None:
        news += run.progress()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    news += run.progress()
    found = {one.node: one for one in news}
    assert len(found) == len(news) == len(names), "each node is told exactly once"
    return found, result, run


def why(progress: NodeProgress) -> tuple[FailureClass, str]:
    """Return class and text of a failure."""
    assert progress.failure
    return progress.failure.failure, progress.failure.text


def test_good_nodes_are_done_whatever_becomes_of_the_others(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "hunter2")
    hooks = {"gpu": Hooks(site.playbooks / "before.yml", site.playbooks / "after.yml")}
    news, result, run = configure(site, "cpu1", "broken", "gpu1", "gpu2", "gpu3", "lost", hooks=hooks)

    assert {name for name, one in news.items() if one.ok} == {"cpu1", "gpu3"}
    failure, text = why(news["broken"])
    assert failure is FailureClass.NODE_LOCAL
    assert text.startswith("not mounted")
    assert why(news["gpu1"]) == (FailureClass.NODE_LOCAL, "ansible.builtin.fail: no GPU")
    assert why(news["gpu2"]) == (FailureClass.NODE_LOCAL, "ansible.builtin.assert: no licence")
    assert why(news["lost"])[0] is FailureClass.CONFIG, "Ansible says nothing of a host it does not know"
    assert not result.ok
    assert "4 of 6" in result.text

    done = {path.name for path in (tmp_path / "done").iterdir()}
    assert done == {"cpu1", "gpu2", "gpu3", "environment"}, "gpu1 failed before, and did not get to ours"
    assert "hunter2" not in (tmp_path / "done/environment").read_text()

    directory = Path(run.record.directory)
    assert {path.name for path in directory.iterdir()} == {"run.json", "stdout.jsonl", "stderr", "rc"}
    written = "".join(path.read_text() for path in directory.iterdir())
    assert SECRET not in written
    assert "hunter2" not in written
    assert (directory / "stderr").read_text() == ""


def test_a_playbook_that_is_not_there_is_a_mistake_in_the_configuration(site: Site) -> None:
    hooks = {"cpu": Hooks(before=site.playbooks / "missing.yml")}
    news, result, _ = configure(site, "cpu1", hooks=hooks)
    failure, text = why(news["cpu1"])
    assert failure is result.failure is FailureClass.CONFIG
    assert "missing.yml" in text


def test_a_play_that_takes_too_long_is_stopped(site: Site) -> None:
    news, result, _ = configure(site, "cpu1", "slow", timeout=8)
    assert news["cpu1"].ok
    assert "stopped after 8 s" in why(news["slow"])[1]
    assert not result.ok


@pytest.mark.parametrize("moment", ["group-0/artifacts", "slow.begun"])
def test_an_interrupted_play_ends_and_leaves_nothing(site: Site, moment: str) -> None:
    """Also what runs in a session of its own: each worker of ansible-core 2.19 does."""
    made = AnsiblePlaybooks(site.inventory.parent, site)
    run = made.configure([NodeSpec("slow", "cpu", "l", "i", "f", "", "10.0.0.1")], {"slow": KEY})
    directory = Path(run.record.directory)
    deadline = time.monotonic() + 60
    while not any((place / moment).exists() for place in (directory, site.inventory.parent / "done")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.interrupt()
    while run.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [one.ok for one in run.progress()] == [False]
    result = run.poll()
    assert result
    assert "interrupted" in result.text
    assert not (directory / "group-0").exists()
    # They are killed, which takes a moment; the module would sleep for a minute.
    deadline = time.monotonic() + 10
    while left := [pid for pid in os.listdir("/proc") if pid.isdigit() and _mentions(pid, str(directory))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def _mentions(pid: str, directory: str) -> bool:
    try:
        return directory in Path("/proc", pid, "cmdline").read_text(errors="replace")
    except OSError:
        return False
