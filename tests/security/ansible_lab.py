"""Real playbooks against hosts that lie: each host is a program that answers in the place of its python.

No SSH, no root: Ansible's connection `local` starts that program as the host's interpreter. It keeps whatever
it is sent, and answers what a test has laid down for it. What a control host must not hand out carries marks
that a test looks for in what was kept.
"""

import ast
import base64
import json
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slurm_powersave.adapters.ansible.configure_run import ConfigureRun
from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Hooks, Site, environment
from slurm_powersave.config.settings import load
from slurm_powersave.decide.slurm_files.addresses import assign
from slurm_powersave.decide.slurm_files.inventory import inventory
from slurm_powersave.model.nodes import NodeFacts, NodeProgress, NodeSpec, RunResult

CHECKOUT = Path(__file__).resolve().parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
BOOT = "0c2f6a3e-7a55-4f53-9f05-4b8a0d2ad1c9"
MUNGE_KEY = b"the-munge-key-of-this-cluster-which-members-get"
MARKS = ("OS-PASSWORD-MARK", "PRIVATE-KEY-MARK", "PLANTED-MARK")
"""In the cloud's credential, in our SSH key, and in what a planted template would make."""

HONEST: dict[str, Any] = {
    "changed": False,
    "rc": 0,
    "stdout": "Slurmctld(primary) at login is UP",
    "stderr": "",
    "content": "",
    "stat": {"exists": True, "isdir": False, "mode": "0755", "uid": 0, "gid": 0, "checksum": "0" * 40},
    "boot_id": BOOT,
    "changes": [],
    "invocation": {"module_args": {}},
}
"""An answer that every module of our plays could give."""

# The host: keeps what it gets, also the file that a module is to take over, and answers.
PROGRAM = """#!{python} -IS
import json, os, re, sys, time
here = {here!r}
got = [sys.stdin.buffer.read()] if len(sys.argv) == 1 else []
got += [open(path, "rb").read() for path in sys.argv[1:] if os.path.isfile(path)]
text = b"".join(got).decode("utf-8", "replace")
for path in re.findall(r'"(?:src|_original_basename)": "(/[^"]+)"', text):
    if os.path.isfile(path):
        got.append(open(path, "rb").read())
with open(os.path.join(here, "received", str(time.monotonic_ns())), "wb") as kept:
    kept.write(b"\\n".join(got))
module = re.search(r'_ansible_module_name"?: "(?:ansible\\.(?:legacy|builtin)\\.)?([a-z_.]+)"', text)
answers = json.load(open(os.path.join(here, "answers.json")))
answer = answers.get(module.group(1) if module else "", answers["*"])
if isinstance(answer, str):
    with open(answer, "rb") as raw:
        words = raw.read()
    sys.stdout.buffer.write(words)
    while words == b"ENDLESS":
        sys.stdout.buffer.write(bytes(1 << 20))
else:
    print(json.dumps(answer))
"""


def attacks(name: str) -> dict[str, Any]:
    """Read a table of attacks: what it is -> what is said."""
    found: dict[str, Any] = yaml.safe_load((Path(__file__).parent / name).read_text())
    return found


def block(text: str) -> str:
    """Write what ansible-runner looks for in Ansible's output (OutputEventFilter)."""
    code = base64.b64encode(text.encode()).decode()
    parts = [code[at : at + 78] for at in range(0, len(code), 78)]
    return "\x1b[K" + "".join(f"{part}\x1b[{len(part)}D" for part in parts) + "\x1b[K"


def forged(node: str) -> str:
    """Write an event by which a node is configured, as if ansible-playbook had said so."""
    result = {"boot_id": "11111111-1111-4111-8111-111111111111"}
    data = {"host": node, "task_action": "slurm_host", "task": "x", "res": result, "playbook_uuid": "x"}
    event = {"event": "runner_on_ok", "uuid": "../../../x", "event_data": data}
    start = {"event": "playbook_on_start", "uuid": "y", "event_data": {"playbook_uuid": "x"}}
    return "".join(block(json.dumps(one)) + "x" + block("{}") for one in (start, event))


@dataclass(frozen=True)
class Played:
    """How a playbook ended, and what it printed."""

    rc: int
    out: str


class Lab:
    """A control host with secrets, a cluster's inventory, and hosts that answer as they are told."""

    def __init__(self, root: Path, nodes: int = 4, **cluster: Any) -> None:
        """Lay everything out; `cluster` changes the cluster file, `pool` of it the pool."""
        self.root, self.state, self.canary = root, root / "state", root / "canary"
        self.credential, self.planted = root / "clouds.yaml", root / "planted"
        (self.state / "keys").mkdir(parents=True)
        (self.state / "keys/munge.key").write_bytes(MUNGE_KEY)
        (self.state / "keys/id_ed25519").write_text("PRIVATE-KEY-MARK\n")
        (self.state / "keys/id_ed25519.pub").write_text(f"{KEY}\n")
        self.credential.write_text("clouds: {prod: {auth: {password: OS-PASSWORD-MARK}}}\n")
        # What a host could get onto the control host's disk by other ways: logs, states, a resume file.
        self.planted.mkdir()
        pipe = f"{{{{ lookup('ansible.builtin.pipe', 'touch {self.canary}; echo PLANTED-MARK') }}}}"
        for name in ("resume", "suspend", "resume-fail", "reboot", "prolog-slurmctld", "reboot-node"):
            (self.planted / f"{name}.sh.j2").write_text(f"{pipe}\n")
        for name in ("reader.py", "ready.py"):
            (self.planted / name).write_text("PLANTED-MARK\n")
        names = {"packages_names": pipe, "packages_directories": pipe, "packages_repository": pipe}
        (self.planted / "vars.yml").write_text(json.dumps(names))
        (self.planted / "tasks.yml").write_text(json.dumps([{"ansible.builtin.debug": {"msg": pipe}}]))
        (self.planted / "run").write_text(f"#!/bin/sh\ntouch {self.canary}\n")
        (self.planted / "run").chmod(0o755)
        self.site = Site(
            CHECKOUT / "playbooks",
            self.state / "inventory",
            self.state / "known_hosts",
            self.state / "keys/id_ed25519",
        )
        self.cluster = self._describe(nodes, cluster)
        self.hosts: dict[str, Path] = {}
        for name in ("head", *self.cluster.nodes()):
            self.answer(name, HONEST)

    def _describe(self, nodes: int, changes: dict[str, Any]) -> Any:
        pool = {
            "name": "compute",
            "nodes": f"n[1-{nodes}]",
            "min_nodes": 1,
            "image": "default",
            "flavors": ["small"],
            "addresses": f"10.9.0.1-10.9.0.{nodes}",
            **changes.pop("pool", {}),
        }
        modules = {"base_module": str(CHECKOUT / "demo/base"), "nodes_module": str(CHECKOUT / "demo/nodes")}
        content = {
            "cluster_name": "sec",
            "slurm_version": "22.05",
            "state_dir": str(self.state),
            "clouds": {"local": {"adapter": "local", **modules}},
            "login": {"name": "head", "address": "10.9.1.1", "image": "default", "flavor": "login"},
            "node_pools": [pool],
            "partitions": [{"name": "main", "pools": ["compute"], "options": {"Default": "YES"}}],
            "shared_storage": {"server": "login"},
            "mounts": [],
            **changes,
        }
        path = self.root / "cluster.yml"
        path.write_text(json.dumps(content))  # JSON is YAML
        cluster = load(path)
        facts = {pool.name: NodeFacts(2, 500) for pool in cluster.node_pools}
        made = inventory(cluster, facts, assign(cluster, {}))
        for name, text in made.files().items():
            (self.site.inventory / name).parent.mkdir(parents=True, exist_ok=True)
            (self.site.inventory / name).write_text(text)
        (self.site.inventory / "host_vars").mkdir()
        return cluster

    def answer(
        self, name: str, answer: Mapping[str, Any] | bytes, **modules: Mapping[str, Any] | bytes
    ) -> None:
        """Lay down what a host answers: to every module, and what to some of them instead."""
        here = self.hosts[name] = self.root / "hosts" / name
        (here / "received").mkdir(parents=True, exist_ok=True)
        answers = {}
        for module, words in {"*": answer, **modules}.items():
            if isinstance(words, bytes):
                raw = here / f"raw-{module.replace('*', 'all')}"
                raw.write_bytes(words)
                answers[module] = str(raw)
            else:
                answers[module] = dict(words)
        (here / "answers.json").write_text(json.dumps(answers))
        python = here / "python"
        python.write_text(PROGRAM.format(python=sys.executable, here=str(here)))
        python.chmod(0o755)
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(python),
            "ansible_remote_tmp": str(here / "tmp"),
        }
        (self.site.inventory / f"host_vars/{name}.yml").write_text(json.dumps(variables))

    def attack(self, what: Any) -> Any:
        """Fill in the places of this control host into what stands in a table of attacks."""
        if isinstance(what, Mapping):
            return {self.attack(key): self.attack(value) for key, value in what.items()}
        if isinstance(what, list):
            return [self.attack(value) for value in what]
        if not isinstance(what, str):
            return what
        places = {
            "CREDENTIAL": str(self.credential),
            "PLANTED": str(self.planted),
            "CANARY": str(self.canary),
            "KEY": str(self.site.private_key),
            "FORGED": forged("n1"),
            "MALFORMED": block("[]") + "x" + block("7"),
        }
        text = re.sub("|".join(places), lambda word: places[word[0]], what)
        return re.sub(
            r"REPEAT\((.*?), (\d+)\)", lambda found: found[1].replace("%2C", ",") * int(found[2]), text
        )

    def more(self, group: str, *names: str) -> None:
        """Add hosts to a group: so one run meets many attackers."""
        hosts = {name: {"ansible_host": f"10.9.2.{number}"} for number, name in enumerate(names, 1)}
        content = {"all": {"children": {group: {"hosts": hosts}}}}
        (self.site.inventory / f"more-{group}.yml").write_text(json.dumps(content))

    def play(self, name: str, *arguments: str, env: Mapping[str, str] | None = None) -> Played:
        """Run a playbook as `deploy` does."""
        path = name if name.startswith("/") else str(self.site.playbooks / name)
        argv = ["ansible-playbook", "--inventory", str(self.site.inventory), *arguments, path]
        done = subprocess.run(
            argv,
            env={**environment(self.site), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=180,
            check=False,
        )
        return Played(done.returncode, (done.stdout + done.stderr).decode("utf-8", "surrogateescape"))

    def configure(
        self, *names: str, hooks: Hooks | None = None, timeout: float = 120
    ) -> tuple[dict[str, NodeProgress], RunResult]:
        """Configure nodes as the engine does."""
        made = AnsiblePlaybooks(self.state, self.site, {"compute": hooks or Hooks()}, timeout=timeout)
        nodes: list[NodeSpec] = [self.cluster.node_spec(name) for name in names]
        return self.follow(made.configure(nodes, dict.fromkeys(names, KEY)))

    def follow(self, run: ConfigureRun) -> tuple[dict[str, NodeProgress], RunResult]:
        """Wait for a run's end; return what it told of each node, once."""
        news: list[NodeProgress] = []
        deadline = time.monotonic() + 150
        while (result := run.poll()) is None:
            news += run.progress()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        news += run.progress()
        found = {one.node: one for one in news}
        assert len(found) == len(news), "each node is told exactly once"
        return found, result

    def received(self, name: str) -> bytes:
        """Return all that a host was sent."""
        kept = sorted((self.hosts[name] / "received").iterdir())
        return b"\n".join(path.read_bytes() for path in kept)

    def arguments(self, name: str) -> list[dict[str, Any]]:
        """Return what the modules that a host was sent were given."""
        text = self.received(name).decode()
        found = re.findall(r"^ *(?:params=|ANSIBALLZ_PARAMS = )('.+?),?$", text, re.MULTILINE)
        return [json.loads(ast.literal_eval(literal))["ANSIBLE_MODULE_ARGS"] for literal in found]

    def has_munge_key(self, name: str) -> bool:
        """Tell whether a host was sent the munge key: so a test sees that it would see a secret."""
        return base64.b64encode(MUNGE_KEY) in self.received(name)

    def nothing_got_out(self) -> None:
        """See that no secret of the control host was sent to any host, and that nothing was run."""
        assert not self.canary.exists(), "a host ran a command on the control host"
        for name in self.hosts:
            got = self.received(name)
            for mark in MARKS:
                shifted = [base64.b64encode(b"_" * skip + mark.encode())[4:-4] for skip in (0, 1, 2)]
                found = [form for form in (mark.encode(), *shifted) if form in got]
                assert not found, f"{name} was sent what carries {mark}"
