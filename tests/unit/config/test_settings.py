"""The cluster file: found, loaded, asked."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from slurm_powersave.config.settings import SEARCHED, VARIABLE, Cluster, find, load, report
from slurm_powersave.model.errors import ConfigError, FailureClass

Make = Callable[..., Cluster]
EXAMPLE = Path(__file__).parents[3] / "group_vars" / "all.yml"


def test_the_example_is_right_and_says_what_it_says() -> None:
    cluster = load(EXAMPLE)
    assert cluster.cluster_name == "demo"
    assert cluster.nodes() == ("demo-1", "demo-2", "demo-3", "demo-4")
    assert cluster.persistent() == ("demo-1",)
    assert cluster.login.address == "10.79.0.10"
    assert cluster.node_spec("demo-4").address == "10.79.1.4"


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Cluster]:
    """Load a text as if it were the example."""
    file = tmp_path / "group_vars" / "all.yml"
    for directory in (file.parent, tmp_path / "demo" / "base", tmp_path / "demo" / "nodes"):
        directory.mkdir(parents=True)

    def example(text: str) -> Cluster:
        file.write_text(text)
        return load(file)

    return example


def test_the_example_s_commented_values_are_the_defaults(example: Callable[[str], Cluster]) -> None:
    text = EXAMPLE.read_text()
    before = example(text)
    # `# key: value` or `#   key: value`, with or without more text behind it; sections as a whole.
    commented = re.compile(r"^( *)# ([a-z_]+:(?: .*)?)$((?:\n#   .*)*)", re.M)
    uncommented = 0
    for match in commented.finditer(text):
        indent, key, rest = match.groups()
        if key.startswith(("images:", "cloud:", "null:")):
            continue  # an example; what null means there; a sentence
        lines = [indent + key, *(line[2:] for line in rest.splitlines() if line)]
        assert example(text.replace(match[0], "\n".join(lines))) == before, match[0]
        uncommented += 1
    assert uncommented > 20


def test_every_key_is_in_the_example() -> None:
    text = EXAMPLE.read_text()
    missing = [
        name for name, field in Cluster.model_fields.items() if not field.exclude and f"{name}:" not in text
    ]
    assert not missing


def test_every_key_is_described() -> None:
    assert all(field.description or field.exclude for field in Cluster.model_fields.values())


def test_defaults(make: Make) -> None:
    cluster = make()
    assert cluster.state_dir == Path("/var/lib/slurm-powersave/demo")
    assert cluster.power_save.suspend_time == 600
    assert cluster.failure.rest[FailureClass.QUOTA] == 900
    assert set(cluster.failure.rest) == set(FailureClass)
    assert cluster.cloud_of(cluster.login) == "local"
    assert cluster.mounts == ("/mnt/ohpc",)
    assert cluster.terraform.binary == "terraform"


def test_one_class_of_failure_leaves_the_others(make: Make) -> None:
    cluster = make({"failure": {"rest": {"quota": 5}}})
    assert cluster.failure.rest[FailureClass.QUOTA] == 5
    assert cluster.failure.rest[FailureClass.CAPACITY] == 900


def test_nothing_below_a_key_is_as_good_as_no_key(make: Make) -> None:
    cluster = make({"power_save": None, "terraform": None, "slurm_conf_extra": None})
    assert cluster.power_save.resume_timeout == 1800


def test_nodes_by_pool_in_order(make: Make) -> None:
    cluster = make(
        {
            "node_pools[0].nodes": "demo-[10-11],demo-[2-3]",
            "node_pools[0].min_nodes": 3,
            "partitions[1].nodes": None,
        }
    )
    assert cluster.nodes() == ("demo-10", "demo-11", "demo-2", "demo-3", "demo-big-0", "demo-big-1")
    assert cluster.nodes_of("big") == ("demo-big-0", "demo-big-1")
    assert cluster.persistent() == ("demo-2", "demo-3", "demo-10")
    assert cluster.pool_of("demo-big-1").name == "big"
    assert cluster.pool("compute").min_nodes == 3
    assert cluster.address_by_position("demo-2") == "10.79.1.3"


def test_desired(make: Make) -> None:
    cluster = make({"node_pools[1].zone": "az1"})
    node = cluster.node_spec("demo-big-1")
    assert (node.name, node.pool, node.cloud, node.image) == ("demo-big-1", "big", "local", "default")
    assert (node.flavor, node.zone, node.address, node.generation) == ("large", "az1", "10.79.2.9", 0)
    assert cluster.node_spec("demo-1", address="10.79.7.7").address == "10.79.7.7"
    with pytest.raises(ConfigError, match="demo-9 is not a configured node"):
        cluster.node_spec("demo-9")


def test_partition_nodes_without_duplicates(make: Make) -> None:
    cluster = make({"partitions[0].nodes": "demo-[4,3],demo-big-0"})
    assert cluster.partition_nodes(cluster.partitions[0]) == (
        "demo-1", "demo-2", "demo-3", "demo-4", "demo-big-0",
    )  # fmt: skip


def test_paths_are_relative_to_the_file(make: Make, directory: Path) -> None:
    settings = {"root": "./cloud", "images": {"default": "../image", "other": "plain"}, "list": ["./x", 1]}
    cluster = make(
        {
            "state_dir": "state",
            "prolog": "prolog.sh",
            "terraform.cli_config": "site.yml",
            "terraform.binary": "bin/terraform",
            "clouds.local.settings": settings,
            "node_pools[0].after_configure": str(directory / "site.yml"),
        }
    )
    assert cluster.state_dir == directory / "state"
    assert cluster.prolog == directory / "prolog.sh"
    assert cluster.terraform.cli_config == directory / "site.yml"
    assert cluster.terraform.binary == str(directory / "bin" / "terraform")
    assert cluster.clouds["local"].base_module == directory / "base"
    assert cluster.clouds["local"].settings == {
        "root": str(directory / "cloud"),
        "images": {"default": str(directory.parent / "image"), "other": "plain"},
        "list": [str(directory / "x"), 1],
    }
    assert cluster.node_pools[0].after_configure == directory / "site.yml"
    assert cluster.layout.journal == directory / "state" / "journal.db"


def test_a_relative_file_gives_absolute_paths(
    write: Callable[..., Path], directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"state_dir": "state"})
    monkeypatch.chdir(directory)
    cluster = load(Path("cluster.yml"))
    assert cluster.state_dir == directory / "state"
    assert cluster.file == directory / "cluster.yml"


def test_words_of_slurm_survive_yaml(write: Callable[..., Path]) -> None:
    text = write(remove=("partitions[0].options",)).read_text()
    text = text.replace(
        "- name: main\n",
        "- name: main\n"
        "  options: {Default: yes, Hidden: off, MaxTime: 24:00:00, GraceTime: 010, PriorityTier: 5}\n",
    )
    cluster = load(
        write(text + "slurm_version: 22.05\nslurm_conf_extra: {A: yes, B: [1, x], C: null, D: 1:30:00}\n")
    )
    assert cluster.partitions[0].options == {
        "Default": "YES",
        "Hidden": "NO",
        "MaxTime": "24:00:00",
        "GraceTime": "010",
        "PriorityTier": "5",
    }
    assert cluster.slurm_version == "22.05"
    assert cluster.slurm_conf_extra == {"A": ("YES",), "B": ("1", "x"), "C": (), "D": ("1:30:00",)}


def test_keys_of_the_site_are_kept_apart(make: Make) -> None:
    cluster = make({"site_ldap": {"uri": "ldap://x"}, "ansible_port": 2222})
    assert cluster.site == {"site_ldap": {"uri": "ldap://x"}, "ansible_port": 2222}


def test_a_cluster_never_changes(make: Make) -> None:
    cluster = make()
    with pytest.raises(ValidationError):
        cluster.cluster_name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("version", "setting", "expected"),
    [
        ("22.05", None, False),
        ("22.05.8", None, False),
        ("23.02", None, True),
        ("24.11", None, True),
        ("22.05", True, True),
        ("24.11", False, False),
    ],
)
def test_fast_start_by_version(make: Make, version: str, setting: bool | None, expected: bool) -> None:
    assert make({"slurm_version": version, "fast_start": setting}).fast_start_on is expected


def test_large_clusters_load_in_time(make: Make) -> None:
    cluster = make(
        {
            "node_pools[0].nodes": "n[00001-10000]",
            "node_pools[0].addresses": "10.1.0.1-10.1.39.16",
            "partitions[1].nodes": None,
        }
    )
    assert cluster.node_spec("n10000").address == "10.1.39.16"
    assert len(cluster.nodes()) == 10_002


def test_find_by_name_environment_here_and_etc(tmp_path: Path) -> None:
    named, set_, here = tmp_path / "a.yml", tmp_path / "b.yml", tmp_path / "group_vars" / "all.yml"
    here.parent.mkdir()
    for file in (named, set_, here):
        file.touch()
    assert find(named, {VARIABLE: str(set_)}, tmp_path) == named
    assert find(Path("a.yml"), {}, tmp_path) == named
    assert find(None, {VARIABLE: str(set_)}, tmp_path) == set_
    assert find(None, {VARIABLE: ""}, tmp_path) == here
    assert find(None, {}, tmp_path) == here


def test_find_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such cluster file: named by --cluster") as caught:
        find(Path("none.yml"), {}, tmp_path)
    assert caught.value.where == str(tmp_path / "none.yml")
    with pytest.raises(ConfigError, match=VARIABLE):
        find(None, {VARIABLE: "none.yml"}, tmp_path)


def test_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "slurm_powersave.config.settings.SEARCHED", (SEARCHED[0], tmp_path / "etc" / "cluster.yml")
    )
    with pytest.raises(ConfigError) as caught:
        find(None, {}, tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "group_vars" / "all.yml") in text
    assert str(tmp_path / "etc" / "cluster.yml") in text
    assert "--cluster FILE" in text


def test_report_of_the_example_is_empty() -> None:
    assert report(EXAMPLE) == []
