"""The nodes' root module in several states, one directory (shard) each.

A shard is a directory where a person can run `terraform plan` as well: a copy of the root module,
`nodes.auto.tfvars.json` with the nodes that have a server there, and the state.
"""

import json
import re
import secrets
import shlex
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slurm_powersave.adapters.processes.process import (
    Tail,
    exit_code,
    said_beside,
    signal_run,
    start_detached,
    wrote_no_exit_code,
)
from slurm_powersave.adapters.terraform import module_version, providers, state_file
from slurm_powersave.adapters.terraform.command import Command, diagnostics, failure_of, parse_line
from slurm_powersave.adapters.terraform.state_file import STATE, read_json, write_synced
from slurm_powersave.config.plain_file import read_bytes
from slurm_powersave.decide.node import plan_permits
from slurm_powersave.decide.node.plan_guard import Contract
from slurm_powersave.model import machine
from slurm_powersave.model.errors import MachineError, RefusedError, TerraformError
from slurm_powersave.model.nodes import (
    NodeProgress,
    NodeSpec,
    RunRecord,
    RunResult,
    StateServer,
    TerraformNode,
)
from slurm_powersave.model.outside_text import SERVER_ID, matching
from slurm_powersave.model.permit import Act, Permit, use_all
from slurm_powersave.ports.run import Run

VARIABLES = "nodes.auto.tfvars.json"
_NOT_STARTED = (126, 127)
"""Exit codes of sh where a program may not be run, or is not there (sh(1))."""
_KEY = re.compile(r'\["([^"]+)"\]$')


@dataclass(frozen=True)
class Module:
    """A cloud's root module of nodes, and what its variables `cluster`, `cloud`, `key_pair` are to be."""

    path: Path
    cluster: str
    settings: Mapping[str, Any]
    key_pair: str
    base: Mapping[str, Any] = field(default_factory=dict)
    """The base module's output `shared`: what the nodes need of the network; becomes the variable `base`."""
    credentials: Callable[[], Mapping[str, str]] = dict
    """As a Command's: another cloud has others."""

    def contract(self) -> Contract:
        """Read contract.json beside the module.

        Raises:
            TerraformError: it is missing or not what the plan guard needs.
        """
        return read_contract(self.path)


def read_contract(module: Path) -> Contract:
    """Read a root module's contract.json: the names that the plan guard compares.

    Raises:
        TerraformError: it is missing or incomplete.
    """
    path = module / "contract.json"
    try:
        content = json.loads(read_bytes(path))
        return Contract(
            content["resource"], content["attributes"], frozenset(content.get("computed_by_update", ()))
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TerraformError(
            "the contract of the nodes' root module can't be read",
            where=str(path),
            why=str(error),
            todo="See docs/reference/root-modules.md for what the file holds.",
        ) from error


class ShardedTerraform:
    """Implements ports.Terraform with one directory a shard below STATE/terraform/CLOUD/."""

    def __init__(self, state_dir: Path, modules: Mapping[str, Module], command: Command) -> None:
        self._root = state_dir / "terraform"
        self._runs = state_dir / "runs"
        self._modules = modules
        self._command = command
        self._whole: dict[str, tuple[int, int]] = {}
        """Shard -> its state as it was when it was found whole: that is asked often."""

    def directory(self, shard: str) -> Path:
        """Return where a shard is."""
        return self._root / shard

    def shards(self, cloud: str) -> Sequence[str]:
        """Name the shards of a cloud, in order."""
        return sorted(
            f"{cloud}/{path.name}" for path in (self._root / cloud).glob("nodes-*") if path.is_dir()
        )

    def initialised(self, shard: str) -> bool:
        """Tell whether `terraform init` has ended well there."""
        return providers.initialised(self.directory(shard))

    def init(self, cloud: str, shard: str) -> Run:
        """Copy the root module into the shard and start `terraform init`."""
        directory = self.directory(shard)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        module_version.copy(self._modules[cloud].path, directory)
        if not (directory / VARIABLES).exists():
            self.write_nodes(shard, {})
        return self._start(providers.init(self._command, directory), "init", directory)

    def nodes(self, shard: str) -> Mapping[str, TerraformNode]:
        """Read the map that the shard's variables file holds."""
        path = self.directory(shard) / VARIABLES
        cloud = shard.split("/")[0]
        found = {}
        for name, entry in read_json(path)["nodes"].items():
            node = NodeSpec(
                name,
                entry["pool"],
                cloud,
                entry["image"],
                entry["flavor"],
                entry["zone"],
                entry["address"],
                image_id=entry.get("image_id", ""),
                flavor_id=entry.get("flavor_id", ""),
            )
            found[name] = TerraformNode(node, entry["operation"])
        return found

    def write_nodes(self, shard: str, nodes: Mapping[str, TerraformNode]) -> None:
        """Replace the variables file, atomically and synced."""
        write_synced(self.directory(shard) / VARIABLES, self._variables(shard, nodes))

    def _variables(self, shard: str, nodes: Mapping[str, TerraformNode]) -> str:
        module = self._modules[shard.split("/")[0]]
        entries = {
            name: {
                key: value
                for key, value in asdict(entry.node).items()
                if key in ("pool", "image", "flavor", "zone", "address")
            }
            | {f"{key}_id": entry.node.ref(key) for key in ("image", "flavor")}
            | {"operation": entry.operation, "shard": shard.rpartition("/")[2]}
            for name, entry in sorted(nodes.items())
        }
        content = {
            "cluster": module.cluster,
            "cloud": module.settings,
            "key_pair": module.key_pair,
            "nodes": entries,
        }
        if module.base:
            content["base"] = module.base
        return json.dumps(content, indent=1) + "\n"

    def newer_module(self, shard: str) -> str:
        """Name the root module's version if the shard has another one, and its cloud is known."""
        module = self._modules.get(shard.split("/")[0])
        if module is None or not self.initialised(shard):
            return ""
        return module_version.newer(module.path, self.directory(shard))

    def try_module(self, shard: str) -> Run:
        """Start a plan with the newer root module beside the shard; it ends well if nothing would change."""
        module, run_id = self._modules[shard.split("/")[0]].path, secrets.token_hex(4)
        variables = {VARIABLES: self._variables(shard, self.nodes(shard))}
        place = module_version.lay_out(module, self.directory(shard), variables)
        out = self._runs / run_id / "tfplan"
        script = module_version.script(self._command, place, out, empty=not self.servers(shard))
        return self._start(["/bin/sh", "-c", script], "module", place, run_id)

    def end_trial(self, shard: str, *, take: bool) -> None:
        """Give the shard the root module that was tried, or leave it as it was."""
        directory = self.directory(shard)
        place = module_version.trial(directory)
        if take:
            module_version.copy(place, directory)
            self.write_nodes(shard, self.nodes(shard))
        shutil.rmtree(place, ignore_errors=True)

    def busy(self, shard: str) -> bool:
        """Tell whether some terraform process, ours or a person's, holds the state's lock."""
        return state_file.is_locked(self.directory(shard))

    def servers(self, shard: str) -> Mapping[str, StateServer]:
        """Read node name -> server from the state file; tainted ones too.

        The file is parsed, not asked of `terraform show`: 20 ms instead of 330 at 1,000 nodes.
        """
        path = self.directory(shard) / STATE
        if not path.exists() or (path.stat().st_size == 0 and self.busy(shard)):
            # Terraform makes the file empty to lock it, and writes it when it knows something.
            return {}
        found = {}
        for resource in read_json(path).get("resources", []):
            if resource.get("mode") == "managed" and resource.get("name") == "node":
                for instance in resource.get("instances", []):
                    server_id = matching(SERVER_ID, (instance.get("attributes") or {}).get("id"))
                    tainted = instance.get("status") == "tainted"
                    found[str(instance.get("index_key"))] = StateServer(server_id, tainted)
        return found

    def state_version(self, shard: str) -> str:
        """Name the version of the shard's state by what the file system says of its file."""
        return state_file.stamp(self.directory(shard))

    def plan(self, shard: str, targets: Sequence[str], *, refresh: bool) -> Run:
        """Start `terraform plan` for these nodes, and `terraform show -json` of it after it."""
        resource = self.contract(shard).resource
        directory = self.directory(shard)
        run_id = secrets.token_hex(4)
        out = self._runs / run_id / "tfplan"
        targeted = [f'{resource}["{name}"]' for name in targets]
        plan = shlex.join(self._command.plan(out, targeted, refresh=refresh))
        show = shlex.join(self._command.show(out))
        # One process for both: the engine would see the end of the first only at its next look.
        script = f"umask 077; {plan} && exec {show} >{shlex.quote(str(out.with_name('plan.json')))}"
        return self._start(["/bin/sh", "-c", script], "plan", directory, run_id)

    def contract(self, shard: str) -> Contract:
        """Read what the shard's root module promises to the plan guard."""
        return self._modules[shard.split("/")[0]].contract()

    def plan_json(self, plan: RunRecord) -> Mapping[str, Any]:
        """Read what `terraform show -json` said of the plan.

        Raises:
            MachineError: it was not written whole.
        """
        path = Path(plan.directory) / "plan.json"
        try:
            plan_json: Mapping[str, Any] = read_json(path)
        except TerraformError as error:
            raise MachineError("a plan was not written whole", where=str(path), why=error.why) from error
        return plan_json

    def apply(self, shard: str, plan: RunRecord, parallelism: int, permits: Sequence[Permit] = ()) -> Run:
        """Start `terraform apply` of the saved plan, if each server that it changes has a permit."""
        plan_permits.use(self.plan_json(plan), permits)
        state_file.keep(self.directory(shard))
        argv = self._command.apply(Path(plan.directory) / "tfplan", parallelism)
        return self._start(argv, "apply", self.directory(shard))

    def forget_servers(self, shard: str, permits: Sequence[Permit]) -> Run:
        """Start `terraform state rm` of entries whose servers are gone."""
        held, resource = self.servers(shard), self.contract(shard).resource
        names = {server.id: name for name, server in held.items()}
        if strange := [permit for permit in permits if names.get(permit.subject) != permit.node]:
            raise RefusedError(f"{strange[0].node} is not {strange[0].subject} in {shard}")
        use_all(permits, Act.VANISHED, [permit.subject for permit in permits])
        addresses = [f'{resource}["{permit.node}"]' for permit in permits]
        return self._start(self._command.forget(addresses), "forget", self.directory(shard))

    def refresh(self, shard: str) -> Run:
        """Start `terraform apply -refresh-only`: what is gone leaves the state, nothing else is touched."""
        state_file.keep(self.directory(shard))
        return self._start(self._command.refresh(), "refresh", self.directory(shard))

    def is_broken(self, shard: str) -> bool:
        """Tell whether the state is empty or not readable, and nobody is writing it now."""
        seen = state_file.version(self.directory(shard))
        if self._whole.get(shard) == seen:
            return False
        if state_file.is_whole(self.directory(shard)):
            self._whole[shard] = seen
            return False
        return not self.busy(shard)

    def put_back(self, shard: str) -> str:
        """Put the copy from before the last apply in the place of a broken state; say what was done."""
        return state_file.put_back(self.directory(shard))

    def reattach(self, record: RunRecord) -> Run:
        """Take up a run that an earlier engine started."""
        return _Run(record)

    def forget(self, record: RunRecord) -> None:
        """Remove a run's directory: plan files hold user data."""
        shutil.rmtree(record.directory, ignore_errors=True)

    def _start(self, argv: Sequence[str], kind: str, directory: Path, run_id: str = "") -> "_Run":
        run_id = run_id or secrets.token_hex(4)
        command = replace(self._command, credentials=self._modules[directory.parent.name].credentials)
        record = start_detached(
            argv, self._runs / run_id, run_id=run_id, kind=kind, env=command.env(), cwd=directory
        )
        return _Run(record)


class _Run:
    """A terraform process whose -json output is tailed."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._tail = Tail(Path(record.directory) / "stdout.jsonl")
        self._errors: list[str] = []
        self._general: list[str] = []
        """Those that are about no resource."""
        self._unread: list[NodeProgress] = []

    @property
    def record(self) -> RunRecord:
        return self._record

    def progress(self) -> Sequence[NodeProgress]:
        self._read()
        news, self._unread = self._unread, []
        return news

    def _read(self) -> None:
        news = self._unread
        lines = self._tail.lines()
        for line in lines:
            event = parse_line(line)
            hook = event.get("hook", {})
            node = str(hook.get("resource", {}).get("resource_key") or "")
            if event.get("type") == "apply_complete" and node:
                news.append(NodeProgress(node, True, server_id=matching(SERVER_ID, hook.get("id_value"))))
            elif event.get("type") == "apply_errored" and node:
                # Terraform tells the reason only when the other resources are done, as a diagnostic.
                news.append(NodeProgress(node, False))
        for address, text in diagnostics(lines):
            if key := _KEY.search(address):
                news.append(NodeProgress(key.group(1), False, failure=failure_of(text)))
            else:
                self._general.append(text)
            self._errors.append(text)

    def poll(self) -> RunResult | None:
        rc = exit_code(self._record)
        if rc is None:
            return None
        if rc == 0:
            return RunResult(True)
        self._read()
        stderr = said_beside(self._record)
        text = "; ".join(self._errors) or stderr.strip()[-400:]
        if not text:
            text = "terraform was killed" if rc == -1 else f"terraform ended with {rc}"
        # What is about a resource is the cloud's word: there, too, a disk may be full.
        machines = machine.says("; ".join([*self._general, stderr])) or wrote_no_exit_code(self._record)
        machines = machines or rc in _NOT_STARTED
        return RunResult(False, text, failure_of(text).failure, machines)

    def interrupt(self) -> None:
        signal_run(self._record, signal.SIGINT)

    def kill(self) -> None:
        signal_run(self._record, signal.SIGKILL)
