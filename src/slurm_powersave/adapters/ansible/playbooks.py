"""Configures nodes with Ansible: a detached process per batch, and plays in the foreground for a person."""

import json
import os
import shutil
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.ansible import project
from slurm_powersave.adapters.ansible.configure_run import RUN, ConfigureRun
from slurm_powersave.adapters.ansible.run_inventory import RunInventory
from slurm_powersave.adapters.processes.child_output import run_shown
from slurm_powersave.adapters.processes.process import start_detached
from slurm_powersave.adapters.ssh import known_hosts, probe
from slurm_powersave.adapters.ssh.node_steps import runs_steps
from slurm_powersave.adapters.state_dir import own_files
from slurm_powersave.decide.node.host_keys import Pin, believed
from slurm_powersave.decide.slurm_files import ssh_options
from slurm_powersave.decide.slurm_files.literal import literal
from slurm_powersave.model.errors import ConfigError, MissingToolError
from slurm_powersave.model.nodes import NodeSpec, RunRecord
from slurm_powersave.model.outside_text import BOOT_ID, NODE_NAME, address, matching

SSH_PORT = 22
PROBE_SECONDS = 0.3
PATIENCE = 5.0
"""Seconds for a node that is in trouble: it may be slow."""


@dataclass(frozen=True)
class Hooks:
    """What is a pool's own: the site's playbooks around its nodes' configuration, as absolute paths."""

    before: Path | None = None
    after: Path | None = None
    user: str = "root"
    """Who logs in there."""


@dataclass(frozen=True)
class Site:
    """Where the plays are, and what they are run with."""

    playbooks: Path
    """The directory of deploy.yml and node.yml; ansible.cfg and roles/ are beside it."""
    inventory: Path
    known_hosts: Path
    private_key: Path
    sockets: Path | None = None
    """Where the connections are that a play shares; None: Ansible's own place."""


def environment(site: Site) -> dict[str, str]:
    """Return the whole environment for Ansible: nothing of ours, so no cloud password, gets there.

    ansible-runner switches host key checking off, and forgets where ansible.cfg has the callback plugins,
    unless the environment says so. Facts are no variables: a host would choose what our plays read here.
    """
    ours = Path(sys.executable).parent
    path = [str(ours), *os.environ.get("PATH", os.defpath).split(":")]
    found = {
        "PATH": ":".join(dict.fromkeys(path)),
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "ANSIBLE_CONFIG": str(site.playbooks.parent / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(project.home() / "callback_plugins"),
        "ANSIBLE_INJECT_FACT_VARS": "False",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_PRIVATE_KEY_FILE": str(site.private_key),
        "ANSIBLE_SSH_COMMON_ARGS": ssh_options.ansible(site.known_hosts),
    }
    if site.sockets:
        found["ANSIBLE_SSH_CONTROL_PATH_DIR"] = str(site.sockets)
    return found


class AnsiblePlaybooks:
    """Implements ports.Playbooks."""

    def __init__(
        self, state_dir: Path, site: Site, hooks: Mapping[str, Hooks] | None = None, *, timeout: float = 1200
    ) -> None:
        """`hooks` are by pool name; `timeout` is for a whole play, in seconds."""
        self._runs = state_dir / "runs"
        self._site = site
        self._inventory = RunInventory(site.inventory)
        self._hooks = hooks or {}
        self._timeout = timeout
        self._pins: tuple[Any, dict[tuple[str, ...], Pin]] = (None, {})

    def configure(
        self,
        nodes: Sequence[NodeSpec],
        host_keys: Mapping[str, str],
        boot_ids: Mapping[str, str] | None = None,
        disks: Mapping[str, str] | None = None,
    ) -> ConfigureRun:
        """Record the host keys, then start node.yml for these nodes.

        A key that is recorded for the same disk (`disks`, by node) stays, whatever is given.

        A node that has no key, now or from before, is not tried: it fails with that reason. One that is
        still in the boot of `boot_ids`, or runs another image, fails before anything in it is changed.

        Raises:
            ConfigError: there is no inventory, or it can't be read.
            OwnFileError: the control host's SSH key can't be read; no node is at fault.
        """
        own_files.require_key(self._site.private_key)
        refused = self._record_keys(nodes, host_keys, disks or {})
        groups: dict[Hooks, list[str]] = {}
        for node in nodes:
            if node.name not in refused:
                groups.setdefault(self._hooks.get(node.pool, Hooks()), []).append(node.name)

        run_id = uuid.uuid4().hex
        directory = self._runs / run_id
        directory.mkdir(mode=0o700, parents=True)
        plan = {
            "nodes": [node.name for node in nodes],
            "refused": refused,
            "groups": [
                {
                    "nodes": names,
                    "before": str(hooks.before) if hooks.before else None,
                    "after": str(hooks.after) if hooks.after else None,
                }
                for hooks, names in groups.items()
            ],
            "playbook": str(self._site.playbooks / "node.yml"),
            "expected": {
                # From the journal, and what is in there was once said by a node, or by a backup.
                node.name: {
                    "image": node.image,
                    "not_boot_id": matching(BOOT_ID, (boot_ids or {}).get(node.name)),
                }
                for node in nodes
            },
            "inventory": str(directory / "inventory"),
            "timeout": self._timeout,
        }
        self._inventory.write(directory / "inventory", [node.name for node in nodes])
        (directory / RUN).write_text(json.dumps(plan, indent=1) + "\n")
        argv = [sys.executable, "-m", "slurm_powersave.adapters.ansible.playbook_run", str(directory)]
        record = start_detached(
            argv, directory, run_id=run_id, kind="configure", env=environment(self._site), cwd=directory
        )
        return ConfigureRun(record)

    def pin(self, node: NodeSpec) -> Pin | None:
        """Return the host keys that are recorded of a node's name and address."""
        try:
            found = self._site.known_hosts.stat()
        except FileNotFoundError:
            return None
        # Many nodes may wait, and are looked at several times a second.
        if (seen := (found.st_mtime_ns, found.st_ino, found.st_size)) != self._pins[0]:
            self._pins = (seen, known_hosts.pins(self._site.known_hosts))
        return self._pins[1].get((node.name, node.address))

    def _record_keys(
        self, nodes: Sequence[NodeSpec], host_keys: Mapping[str, str], disks: Mapping[str, str]
    ) -> dict[str, str]:
        """Record the new keys; return node name -> why it can't be trusted."""
        refused = {}
        fresh = {}
        for node in nodes:
            if not matching(NODE_NAME, node.name) or not address(node.address):
                refused[node.name] = f"{node.name!r} at {node.address!r} can't be a host"
                continue
            try:
                disk = disks.get(node.name, "")
                if host_keys.get(node.name) and not (disk and believed(self.pin(node), disk, kept=False)):
                    host = (node.name, node.address)
                    fresh[host] = known_hosts.key_lines(host, host_keys[node.name], disk)
            except ConfigError as error:
                refused[node.name] = error.line
        if fresh:
            known_hosts.record(self._site.known_hosts, fresh)
        known = known_hosts.known(self._site.known_hosts)
        for node in nodes:
            if node.address not in known and node.name not in refused:
                refused[node.name] = "the cloud handed out no SSH host key for this server"
        return refused

    def reattach(self, record: RunRecord) -> ConfigureRun:
        """Take up a run that an earlier engine started; its news come again from the first."""
        return ConfigureRun(record)

    def forget(self, record: RunRecord) -> None:
        """Remove what a run left behind."""
        shutil.rmtree(record.directory, ignore_errors=True)

    def reachable(self, node: NodeSpec) -> bool:
        """Tell whether the node's sshd begins a key exchange, within 0.3 s."""
        return answers(node.address)

    def answers_ssh(self, node: NodeSpec) -> bool | None:
        """Tell whether the node's sshd begins a key exchange within 5 s; None if this host can't ask."""
        return probe.asked(node.address, SSH_PORT, PATIENCE)

    def runs_steps(self, node: NodeSpec) -> bool | None:
        """Ask the node over SSH, believing recorded host keys only, whether a job's slurmstepd runs there."""
        ssh = ssh_options.argv(self._site.known_hosts, self._site.private_key)
        return runs_steps(ssh, self._hooks.get(node.pool, Hooks()).user, node.address)


def answers(address: str) -> bool:
    """Tell whether an sshd begins a key exchange there, within 0.3 s."""
    return probe.answers(address, SSH_PORT, PROBE_SECONDS)


def run_playbook(
    site: Site,
    name: str,
    *,
    limit: Sequence[str] = (),
    extra: Mapping[str, Any] | None = None,
    facts: bool = False,
) -> int:
    """Run a play in the foreground, its output where ours goes; return ansible-playbook's exit code.

    `extra` are variables, in which nothing is a template. `facts`: whether hosts' facts are variables, too;
    for a playbook of the site only.

    Raises:
        MissingToolError: ansible-playbook is not installed.
        ConfigError: `limit` holds what can't be a host.
    """
    if strange := [host for host in limit if not matching(NODE_NAME, host)]:
        raise ConfigError("can't be the name of a host", where=repr(strange[0]))
    env = environment(site) | {"ANSIBLE_INJECT_FACT_VARS": str(facts)}
    program = shutil.which("ansible-playbook", path=env["PATH"])
    if program is None:
        raise MissingToolError("ansible-playbook is not installed", todo="Install the package ansible-core.")
    env |= {key: os.environ[key] for key in ("TERM", "COLUMNS") if key in os.environ}
    argv = [program, "--inventory", str(site.inventory)]
    if limit:
        # Brackets of Slurm's expressions mean something else to Ansible: names only.
        argv += ["--limit", ",".join(limit)]
    if extra:
        argv += ["--extra-vars", json.dumps(literal(extra))]
    argv.append(str(site.playbooks / name))
    return run_shown(argv, env)
