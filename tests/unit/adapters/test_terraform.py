"""Shards on disk, and runs of a Terraform that a script plays."""

import fcntl
import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import VARIABLES, Module, ShardedTerraform
from slurm_powersave.adapters.terraform.state_file import write_synced
from slurm_powersave.model.errors import FailureClass, MachineError, TerraformError
from slurm_powersave.model.nodes import NodeSpec, RunResult, StateServer, TerraformNode
from slurm_powersave.ports.run import Run

SHARD = "os/nodes-001"


@pytest.fixture
def terraform(tmp_path: Path) -> ShardedTerraform:
    """One cloud, `os`, with a root module; `terraform` is tmp_path/terraform."""
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text("# nothing\n")
    (module / "contract.json").write_text(json.dumps({"resource": "x.node", "attributes": {"name": "name"}}))
    play(tmp_path, "true")
    return ShardedTerraform(
        tmp_path / "state",
        {"os": Module(module, "demo", {"region": "r1"}, "ssh-ed25519 AAAA")},
        Command(str(tmp_path / "terraform")),
    )


def play(tmp_path: Path, text: str) -> None:
    """Let `terraform` be a script."""
    path = tmp_path / "terraform"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def finish(run: Run) -> RunResult:
    """Wait for a run's end."""
    deadline = time.monotonic() + 15
    while (result := run.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


@pytest.fixture
def shard(terraform: ShardedTerraform) -> Path:
    """A shard's directory, laid out."""
    assert finish(terraform.init("os", SHARD)).ok
    return terraform.directory(SHARD)


def node(name: str = "n1") -> TerraformNode:
    """An entry of the map."""
    ids = {"image_id": "9c21", "flavor_id": "small"}
    return TerraformNode(NodeSpec(name, "compute", "os", "img", "small", "az", "10.0.1.1", **ids), "op1")


def test_init_lays_a_shard_out(terraform: ShardedTerraform, shard: Path) -> None:
    assert (shard / "main.tf").read_text() == "# nothing\n"
    content = json.loads((shard / VARIABLES).read_text())
    assert content == {
        "cluster": "demo",
        "cloud": {"region": "r1"},
        "key_pair": "ssh-ed25519 AAAA",
        "nodes": {},
    }
    assert terraform.shards("os") == [SHARD] and terraform.shards("other") == []
    assert not terraform.initialised(SHARD), "there is no lock file"
    assert stat.S_IMODE((shard / VARIABLES).stat().st_mode) == 0o600


def test_a_map_comes_back_as_it_was_written(terraform: ShardedTerraform, shard: Path) -> None:
    terraform.write_nodes(SHARD, {"n1": node()})
    assert terraform.nodes(SHARD) == {"n1": node()}
    terraform.init("os", SHARD)
    assert terraform.nodes(SHARD) == {"n1": node()}, "init again keeps the map"


def state(*instances: dict[str, object]) -> str:
    """A state file."""
    resource = {"mode": "managed", "type": "x", "name": "node", "instances": list(instances)}
    other = {"mode": "data", "type": "x", "name": "node", "instances": [{"attributes": {"id": "image"}}]}
    return json.dumps({"version": 4, "resources": [resource, other]})


def test_a_state_is_read(terraform: ShardedTerraform, shard: Path) -> None:
    assert terraform.servers(SHARD) == {}
    text = state(
        {"index_key": "n1", "attributes": {"id": "a"}},
        {"index_key": "n2", "attributes": {"id": "b"}, "status": "tainted"},
        {"index_key": "n3", "attributes": None, "status": "tainted"},
    )
    (shard / "terraform.tfstate").write_text(text)
    assert terraform.servers(SHARD) == {
        "n1": StateServer("a"),
        "n2": StateServer("b", tainted=True),
        "n3": StateServer("", tainted=True),
    }


@pytest.mark.parametrize("text", ["", "{", '{"resources": [{"mo', "\0\0\0"])
def test_a_truncated_state_is_said_with_what_to_do(
    terraform: ShardedTerraform, shard: Path, text: str
) -> None:
    (shard / "terraform.tfstate").write_text(text)
    with pytest.raises(TerraformError, match=r"terraform\.tfstate.*(\n.*)*backup"):
        terraform.servers(SHARD)


_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_somebody_holds_is_seen(terraform: ShardedTerraform, shard: Path) -> None:
    path = shard / "terraform.tfstate"
    assert not terraform.busy(SHARD)
    path.write_text("")
    other = subprocess.Popen(
        [sys.executable, "-c", _LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout and other.stdin and other.stdout.readline() == b"locked\n"
    try:
        assert terraform.busy(SHARD)
        assert terraform.servers(SHARD) == {}, "Terraform locks a first state by making it, empty"
    finally:
        other.communicate()
    assert not terraform.busy(SHARD)
    with path.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def lines(*events: dict[str, object]) -> str:
    """A script's text that prints these events."""
    return "cat <<'EOF'\n" + "\n".join(json.dumps(one) for one in events) + "\nEOF"


def done(name: str) -> dict[str, object]:
    """Terraform's word that a node was made."""
    hook = {"resource": {"resource_key": name}, "id_value": f"id-{name}"}
    return {"type": "apply_complete", "hook": hook}


def errored(name: str) -> dict[str, object]:
    """Terraform's word that a node was not made; the reason comes later."""
    return {"type": "apply_errored", "hook": {"resource": {"resource_key": name}}}


def reason(name: str, text: str) -> dict[str, object]:
    """The reason."""
    return {
        "type": "diagnostic",
        "diagnostic": {"severity": "error", "summary": text, "address": f'x.node["{name}"]'},
    }


def plan_run(terraform: ShardedTerraform, tmp_path: Path) -> Run:
    """A plan that ended well."""
    play(tmp_path, 'echo "{}"')
    run = terraform.plan(SHARD, ["n1"], refresh=False)
    assert finish(run).ok
    return run


def test_an_apply_tells_of_each_node(terraform: ShardedTerraform, shard: Path, tmp_path: Path) -> None:
    plan = plan_run(terraform, tmp_path)
    assert terraform.plan_json(plan.record) == {}
    play(tmp_path, lines(done("n1"), errored("n2"), reason("n2", "Quota exceeded for cores")) + "\nexit 1")
    run = terraform.apply(SHARD, plan.record, 5)
    result = finish(run)
    news = [(one.node, one.ok, one.server_id, one.failure and one.failure.failure) for one in run.progress()]
    assert news == [
        ("n1", True, "id-n1", None),
        ("n2", False, "", None),
        ("n2", False, "", FailureClass.QUOTA),
    ]
    assert result == RunResult(False, "Quota exceeded for cores", FailureClass.QUOTA)


@pytest.mark.parametrize(
    "script",
    [
        "echo 'Error: open tfplan: no space left on device' >&2; exit 1",
        lines(
            {
                "type": "diagnostic",
                "diagnostic": {"severity": "error", "summary": "Failed to save state: disk quota exceeded"},
            }
        )
        + "\nexit 1",
    ],
)
def test_an_apply_that_the_host_could_not_run_is_told_as_that(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path, script: str
) -> None:
    plan = plan_run(terraform, tmp_path)
    (shard / "terraform.tfstate").write_text(state())
    play(tmp_path, script)
    assert finish(terraform.apply(SHARD, plan.record, 5)).machine
    assert (shard / "terraform.tfstate.before-apply").read_text() == state()


def test_a_full_disk_in_the_cloud_is_the_node_s(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    plan = plan_run(terraform, tmp_path)
    play(tmp_path, lines(reason("n1", "Build failed: No space left on device")) + "\nexit 1")
    assert not finish(terraform.apply(SHARD, plan.record, 5)).machine


def test_a_run_that_had_no_room_for_its_exit_code(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    play(tmp_path, "sleep 30")
    run = terraform.plan(SHARD, ["n1"], refresh=False)
    (Path(run.record.directory) / "rc.new").touch()
    run.kill()
    assert finish(run).machine


def test_a_plan_that_was_not_written_whole_is_the_host_s_trouble(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    plan = plan_run(terraform, tmp_path)
    (Path(plan.record.directory) / "plan.json").write_text('{"resource_ch')
    with pytest.raises(MachineError, match="not written whole"):
        terraform.plan_json(plan.record)


def test_a_spoiled_state_is_put_back(terraform: ShardedTerraform, shard: Path, tmp_path: Path) -> None:
    path = shard / "terraform.tfstate"
    path.write_text(state({"index_key": "n1", "attributes": {"id": "a"}}))
    plan = plan_run(terraform, tmp_path)
    play(tmp_path, f": >{path}; exit 1")
    finish(terraform.apply(SHARD, plan.record, 5))
    assert terraform.is_broken(SHARD)
    with pytest.raises(TerraformError):
        terraform.servers(SHARD)
    terraform.put_back(SHARD)
    assert terraform.servers(SHARD) == {"n1": StateServer("a")}


def test_a_refresh_changes_nothing_but_the_state(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    play(tmp_path, f'echo "$@" >{tmp_path / "args"}')
    assert finish(terraform.refresh(SHARD)).ok
    words = (tmp_path / "args").read_text().split()
    assert words[:3] == ["apply", "-refresh-only", "-auto-approve"]


def test_each_node_keeps_its_own_reason_however_late_it_is_read(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    """Terraform prints all reasons in its last moment: they are there when it has ended."""
    plan = plan_run(terraform, tmp_path)
    play(tmp_path, lines(reason("n1", "No valid host"), reason("n2", "Quota exceeded")) + "\nexit 1")
    run = terraform.apply(SHARD, plan.record, 5)
    finish(run)
    assert run.poll() is not None
    assert {one.node: one.failure.text for one in run.progress() if one.failure} == {
        "n1": "No valid host",
        "n2": "Quota exceeded",
    }
    assert run.progress() == []


def test_an_adopted_run_tells_all_of_it_again(
    terraform: ShardedTerraform, shard: Path, tmp_path: Path
) -> None:
    plan = plan_run(terraform, tmp_path)
    play(tmp_path, lines(done("n1")))
    run = terraform.apply(SHARD, plan.record, 5)
    finish(run)
    run.progress()
    again = terraform.reattach(run.record)
    assert [one.node for one in again.progress()] == ["n1"]
    assert finish(again).ok
    terraform.forget(run.record)
    assert not Path(run.record.directory).exists()


def test_a_killed_terraform_says_so(terraform: ShardedTerraform, shard: Path, tmp_path: Path) -> None:
    plan = plan_run(terraform, tmp_path)
    play(tmp_path, "exec sleep 30")
    run = terraform.apply(SHARD, plan.record, 5)
    run.kill()
    assert finish(run) == RunResult(False, "terraform was killed", FailureClass.UNKNOWN)


def test_a_plan_that_fails_is_not_shown(terraform: ShardedTerraform, shard: Path, tmp_path: Path) -> None:
    play(tmp_path, "echo 'Error: lock held by ann' >&2; exit 1")
    result = finish(terraform.plan(SHARD, ["n1"], refresh=False))
    assert not result.ok and "lock held by ann" in result.text


def test_a_contract_that_is_missing_is_said(terraform: ShardedTerraform, tmp_path: Path) -> None:
    (tmp_path / "module" / "contract.json").unlink()
    with pytest.raises(TerraformError, match=r"contract\.json"):
        terraform.contract(SHARD)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_synced(path, "new")
    assert path.read_text() == "new" and [one.name for one in tmp_path.iterdir()] == ["file"]
