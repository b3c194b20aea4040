"""The module leaving_nodes: what stands against a slurm.conf that leaves nodes or partitions out."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave.model.hostlist import expand_any

PATH = Path(__file__).parents[3] / "roles/leaving/library/leaving_nodes.py"
OFF, DRAINED = "IDLE+CLOUD+POWERED_DOWN", "IDLE+CLOUD+DRAIN+POWERED_DOWN"


@pytest.fixture(scope="module")
def module() -> Any:
    """The module, imported as a file."""
    spec = importlib.util.spec_from_file_location("leaving_nodes", PATH)
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (DRAINED, ""),
        ("IDLE+CLOUD+DRAIN+POWERING_DOWN", ""),
        (OFF, "not drained"),
        ("IDLE+CLOUD", "not powered down"),
        ("IDLE+CLOUD+DRAIN", "not powered down"),
        ("ALLOCATED+CLOUD+POWERING_UP", "have a job"),
        ("IDLE+CLOUD+COMPLETING+POWERING_DOWN", "have a job"),
        ("IDLE+DRAIN", ""),  # no cloud node: the site's own
        ("IDLE", ""),
        ("ALLOCATED", "have a job"),
        ("MIXED+DRAIN", "have a job"),
    ],
)
def test_nodes(module: Any, state: str, says: str) -> None:
    nodes = module.parse([f"NodeName=n1 Arch=x NodeAddr=10.0.0.1 State={state} ThreadsPerCore=1"])
    found = "; ".join(module.mistakes(nodes, [], [], [], []))
    assert says in found and bool(says) == bool(found)


def test_a_node_that_squeue_names_is_in_use_whatever_its_state_says(module: Any) -> None:
    nodes = module.parse([f"NodeName=n1 Arch=x State={DRAINED} ThreadsPerCore=1"])
    assert "have a job: n1" in module.mistakes(nodes, ["n1"], [], [], [])[0]


def test_dynamic_nodes_do_not_leave(module: Any) -> None:
    assert module.parse(["NodeName=n1 Arch=x State=IDLE+DYNAMIC_NORM ThreadsPerCore=1"]) == {}


def test_servers_and_jobs(module: Any) -> None:
    nodes = module.parse([f"NodeName=n1 NodeAddr=10.0.0.1 State={DRAINED} ThreadsPerCore=1"])
    assert "still answer: n1" in module.mistakes(nodes, [], ["n1"], [], [])[0]
    assert (
        "loses long, and Slurm with it these jobs: 7 8"
        in module.mistakes({}, [], [], ["long"], ["7", "8"])[0]
    )
    assert module.mistakes({}, [], [], ["long"], []) == []


def test_names_of_both_kinds(module: Any) -> None:
    text = "NodeName=n[1-2],m NodeAddr=x\nPartitionName=a Nodes=n1\n# NodeName=no\nnodename=p1 State=CLOUD\n"
    text += "NodeName=DEFAULT CPUs=2\nInclude gpu.conf\n  include /srv/x.conf\n"
    assert module.names(text, "NodeName") == ["n[1-2],m", "p1"]
    assert module.names(text, "PartitionName") == ["a"]
    assert module.included(text, "/etc/slurm") == ["/etc/slurm/gpu.conf", "/srv/x.conf"]


class Fake:
    """An AnsibleModule that answers for scontrol and squeue."""

    def __init__(self, params: dict[str, Any], shown: str | None, held: str = "") -> None:
        self.params, self.shown, self.held = params, shown, held
        self.said: dict[str, Any] = {}
        self.installed = True
        self.no_conf = False
        """There is no slurm.conf: scontrol expands nothing."""
        self.broken = ""
        """What is in a slurm.conf that Slurm can't read."""
        self.warned: list[str] = []
        self.warn = self.warned.append
        self.tmpdir = str(Path(params["loaded_file"]).parent / "tmp")
        Path(self.tmpdir).mkdir(exist_ok=True)

    def run_command(self, argv: list[str], **_: Any) -> tuple[int, str, str]:
        words = " ".join(argv)
        read = Path(os.environ.get("SLURM_CONF", self.params["slurm_conf_path"]))
        if self.broken and self.broken in read.read_text():
            return 1, "", "fatal: Unable to process configuration file"
        if "--version" in argv:
            return 0, "slurm-wlm 26.05.5\n", ""
        if argv[0] == "slurmctld":
            return (0, "slurm-wlm 26.05.5\n", "") if self.installed else (2, "", "no such file")
        if "hostnames" in words and self.no_conf:
            return 1, "", "scontrol: fatal: Could not establish a configuration source"
        if "hostnames" in words:
            return 0, "\n".join(expand_any(argv[-1])) + "\n", ""
        if self.shown is None:
            return 1, "", "Unable to contact slurm controller (connect failure)"
        if "show node" in words:
            return 0, self.shown, ""
        if "show partition" in words:
            return 0, "PartitionName=main AllowGroups=ALL\nPartitionName=second AllowGroups=ALL\n", ""
        return 0, "7\n" if "--partition" in words else self.held, ""

    def fail_json(self, **said: Any) -> None:
        self.said = {"failed": True, **said}
        raise SystemExit(1)

    def exit_json(self, **said: Any) -> None:
        self.said = said
        raise SystemExit(0)


def run(
    module: Any,
    path: Path,
    new: str,
    old: str,
    shown: str | None,
    held: str = "",
    version: str = "26.05",
    installed: bool = True,
    broken: str = "",
) -> dict[str, Any]:
    """Run the module; `shown` None: slurmctld does not answer."""
    loaded = path / "loaded"
    if old:
        loaded.write_text(old)
    params = {
        "slurm_conf": new,
        "slurm_conf_path": str(path / "slurm.conf"),
        "loaded_file": str(loaded),
        "last_good": str(path / "good.conf"),
        "port": 1,
    }
    fake = Fake(params, shown, held)
    fake.installed, params["version"] = installed, version
    fake.no_conf, fake.broken = shown is None and not old, broken
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(module, "AnsibleModule", lambda **_: fake)
        patch.setenv("SLURM_CONF", "")  # put back afterwards
        patch.delenv("SLURM_CONF")
        module.main()
    return fake.said


TWO = "PartitionName=main Nodes=ALL\nPartitionName=second Nodes=ALL\n"
N12 = "".join(f"NodeName=n{i} Arch=x NodeAddr=127.0.0.9 State={DRAINED} ThreadsPerCore=1\n" for i in (1, 2))


@pytest.mark.parametrize("good", [True, False], ids=["the last good one", "the new one"])
def test_with_a_broken_slurm_conf_slurmctld_is_asked_with_another_one(
    module: Any, tmp_path: Path, good: bool
) -> None:
    (tmp_path / "slurm.conf").write_text("MaxArraySise=1\n")
    if good:
        (tmp_path / "good.conf").write_text("ClusterName=x\n")
    text = f"NodeName=n1\n{TWO}"
    busy = N12.replace(DRAINED, "ALLOCATED")
    assert "n2 (ALLOCATED)" in run(module, tmp_path, text, "", busy, broken="MaxArraySise")["msg"]
    assert run(module, tmp_path, text, "", N12, broken="MaxArraySise") == {"changed": False, "nodes": ["n2"]}


def test_with_a_broken_slurm_conf_and_no_slurmctld_every_node_counts_as_in_use(
    module: Any, tmp_path: Path
) -> None:
    (tmp_path / "slurm.conf").write_text("MaxArraySise=1\n")
    old = "NodeName=n[1-2]\n"
    said = run(module, tmp_path, "NodeName=n1\n", old, None, broken="MaxArraySise")
    assert "slurm.conf loses n2, and slurmctld can't be asked" in said["msg"]


def test_a_node_that_only_slurmctld_knows_leaves_as_well(module: Any, tmp_path: Path) -> None:
    """The file of what was loaded is lost, or somebody has added the node by hand."""
    said = run(
        module,
        tmp_path,
        f"NodeName=n1\n{TWO}",
        "",
        N12.replace(f"n2 Arch=x NodeAddr=127.0.0.9 State={DRAINED}", "n2 Arch=x State=ALLOCATED"),
    )
    assert said["failed"] and "n2 (ALLOCATED)" in said["msg"]


def test_what_may_go_goes(module: Any, tmp_path: Path) -> None:
    said = run(module, tmp_path, f"NodeName=n1\n{TWO}", "NodeName=n[1-2] NodeAddr=127.0.0.[1-2]\n", N12)
    assert said == {"changed": False, "nodes": ["n2"]}


def test_a_job_on_it_is_seen_in_the_queue(module: Any, tmp_path: Path) -> None:
    said = run(module, tmp_path, f"NodeName=n1\n{TWO}", "", N12, held="n[2-3]\n\n")
    assert "have a job: n2" in said["msg"]


def test_a_partition_with_a_job_stays(module: Any, tmp_path: Path) -> None:
    said = run(module, tmp_path, "NodeName=n[1-2]\nPartitionName=main Nodes=ALL\n", "", N12)
    assert "loses second, and Slurm with it these jobs: 7" in said["msg"]


def test_an_included_file_counts(module: Any, tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("NodeName=n2 State=CLOUD\n")
    said = run(module, tmp_path, f"NodeName=n1\nInclude more.conf\n{TWO}", "", N12)
    assert said == {"changed": False, "nodes": []}


@pytest.mark.parametrize(
    ("old", "failed"),
    [
        ("", False),
        ("NodeName=n1\nPartitionName=main\nPartitionName=second\n", False),
        ("NodeName=n[1-2]\n", True),
        ("NodeName=n1\nPartitionName=third\n", True),
    ],
)
def test_a_slurmctld_that_does_not_answer(module: Any, tmp_path: Path, old: str, failed: bool) -> None:
    """The first deploy, and one that repairs it, go on; nothing is left out of it unseen."""
    said = run(module, tmp_path, f"NodeName=n1\n{TWO}", old, None)
    assert bool(said.get("failed")) is failed
    assert not failed or "can't be asked" in said["msg"]


@pytest.mark.parametrize(
    ("version", "installed", "failed"),
    [("26.05", True, False), ("22.05", True, True), ("", True, False), ("22.05", False, False)],
)
def test_a_slurm_conf_for_another_version_is_refused(
    module: Any, tmp_path: Path, version: str, installed: bool, failed: bool
) -> None:
    said = run(module, tmp_path, f"NodeName=n[1-2]\n{TWO}", "", N12, version=version, installed=installed)
    assert bool(said.get("failed")) is failed
    assert not failed or "slurmctld 26.05 is installed here" in said["msg"]


def liar(system: str) -> str:
    """What scontrol shows of n3, whose slurmd says this of itself."""
    return f"NodeName=n3 OS={system} RealMemory=1 State={DRAINED} ThreadsPerCore=1"


def line(name: str, state: str) -> str:
    """What scontrol shows of an honest node."""
    return f"NodeName={name} OS=x RealMemory=1 State={state} ThreadsPerCore=1"


LIES = [
    f"x\n{line('n2', DRAINED)}\nfoo",
    f"x State={DRAINED} ThreadsPerCore=1\nNodeName=n2 OS=y",
    f"x State={DRAINED} ThreadsPerCore=1",
    "x\nNode n2 not found\nfoo",
    "x\nfoo",
]


@pytest.mark.parametrize("lie", LIES)
def test_a_slurmd_that_lies_does_not_get_another_node_out_of_slurm_conf(
    module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """n2 is up, and n3 says that it is drained and off; n1 stays."""
    shown = {"n1": line("n1", "IDLE+CLOUD"), "n2": line("n2", "IDLE+CLOUD"), "n3": liar(lie)}

    def run_command(self: Fake, argv: list[str], **_: Any) -> tuple[int, str, str]:
        if argv[0] == "sinfo":
            return 0, "n1\nn2\nn3\n", ""
        if argv[:4] == ["scontrol", "--oneliner", "show", "node"]:
            return 0, "".join(f"{shown[name]}\n" for name in argv[4:] or shown), ""
        return original(self, argv)

    original = Fake.run_command
    monkeypatch.setattr(Fake, "run_command", run_command)
    said = run(module, tmp_path, f"NodeName=n1\n{TWO}", "", "")
    assert said["failed"] and "n2 (IDLE+CLOUD)" in said["msg"] and "n3 (CLOUD+UNREADABLE)" in said["msg"]
    shown["n3"] = line("n3", DRAINED)
    assert "n3" not in run(module, tmp_path, f"NodeName=n1\n{TWO}", "", "")["msg"].partition("(")[0]


@pytest.mark.parametrize(
    "system", ["State=" + "A" * 200_000, " State=A" * 30_000, " State=" + "A+" * 100_000]
)
def test_a_long_line_is_read_in_a_moment(module: Any, system: str) -> None:
    module.parse([liar(system)])
