"""Names that people of a cloud chose may hold anything that can be seen: they stay texts wherever they go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, run_playbook
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import VARIABLES as TFVARS
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.config.settings import report
from slurm_powersave.decide.slurm_files.inventory import VARIABLES
from slurm_powersave.decide.slurm_files.literal import literal, read_yaml, yaml_text
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.nodes import TerraformNode
from tests.security.ansible_lab import BOOT, KEY, Lab

ROCKY = "Rocky 9 \u2013 prod {{x}}"
NAMES = (
    ROCKY,
    "{% include '/etc/passwd' %}",
    "a {{ lookup('ansible.builtin.pipe', 'touch CANARY') }}",
    "#jinja2: variable_start_string: '[%'\n".strip() + " [% lookup('pipe', 'touch CANARY') %]",
    "{# no comment #}",
    "!unsafe {{ x }}",
    "--extra-vars",
    "${1+1} %{if true}",
    "$(touch CANARY)`touch CANARY`;|&",
    "'\"\\",
    "日本語",
)


def test_a_cluster_file_with_such_names_is_deployed(tmp_path: Path) -> None:
    """Image, flavor and zone go through the inventory to Ansible, which evaluates none of them."""
    names = [name.replace("CANARY", str(tmp_path / "canary")) for name in NAMES]
    pools = [
        {
            "name": f"p{number}",
            "nodes": f"n{number}",
            "image": name,
            "flavors": [name],
            "zone": name,
            "addresses": f"10.9.0.{number}",
        }
        for number, name in enumerate(names, 1)
    ]
    lab = Lab(
        tmp_path, node_pools=pools, partitions=[{"name": "main", "pools": [pool["name"] for pool in pools]}]
    )
    assert [pool.image for pool in lab.cluster.node_pools] == names
    play = tmp_path / "show.yml"
    loop = {"argv": ["{{ item.image }}", "{{ item.flavors[0] }}", "{{ item.zone }}"]}
    task = {"ansible.builtin.command": loop, "loop": "{{ node_pools }}"}
    play.write_text(json.dumps([{"hosts": "n1", "gather_facts": False, "tasks": [task]}]))
    played = lab.play(str(play))
    assert played.rc == 0, played.out
    lab.nothing_got_out()
    assert [given["argv"] for given in lab.arguments("n1")] == [[name, name, name] for name in names]


def test_what_a_node_was_booted_for_is_no_template(tmp_path: Path) -> None:
    """The image of a server that was found in the cloud, and a boot id that an older journal holds."""
    lab = Lab(tmp_path, nodes=len(NAMES))
    nodes = [
        replace(lab.cluster.node_spec(name), image=image.replace("CANARY", str(lab.canary)))
        for name, image in zip(lab.cluster.nodes(), NAMES, strict=True)
    ]
    boots = dict(zip(lab.cluster.nodes(), NAMES, strict=True)) | {"n1": BOOT}
    made = AnsiblePlaybooks(lab.state, lab.site, timeout=120)
    news, result = lab.follow(made.configure(nodes, {node.name: KEY for node in nodes}, boots))
    assert result.ok, news
    lab.nothing_got_out()
    for node in nodes:
        (given,) = lab.arguments(node.name)
        assert given["expected"] == {"image": node.image, "not_boot_id": BOOT if node.name == "n1" else ""}


def test_extra_variables_in_the_foreground_are_no_templates(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    play = tmp_path / "show.yml"
    task = {"ansible.builtin.command": {"argv": ["x", "{{ item }}"]}, "loop": "{{ image_provenance.names }}"}
    play.write_text(json.dumps([{"hosts": "n1", "gather_facts": False, "tasks": [task]}]))
    names = [name.replace("CANARY", str(lab.canary)) for name in NAMES]
    assert run_playbook(lab.site, str(play), limit=["n1"], extra={"image_provenance": {"names": names}}) == 0
    assert [given["argv"][1] for given in lab.arguments("n1")] == names
    lab.nothing_got_out()


@pytest.mark.parametrize(
    "limit", ["-i/tmp/x", "@/etc/passwd", "n1:&n2", "!n1", "~n", "", "n1\n", "localhost,n1", "*"]
)
def test_a_limit_is_a_host(tmp_path: Path, limit: str) -> None:
    lab = Lab(tmp_path)
    with pytest.raises(ConfigError, match="the name of a host"):
        run_playbook(lab.site, "node.yml", limit=["n1", limit])
    assert not lab.received("n1")


def test_a_node_of_a_journal_that_can_be_no_host_is_not_tried(tmp_path: Path) -> None:
    lab = Lab(tmp_path, nodes=8)
    bad = {
        f"n{number}": address
        for number, address in enumerate(("-oProxyCommand=id", "{{ x }}", "10.0.0.1 n2", ""))
    }
    bad |= dict.fromkeys(("n1,n2", "n1\nn2", "-oProxyCommand=id", "", "a b"), "10.0.0.1")
    nodes = [
        replace(lab.cluster.node_spec("n1"), name=name, address=address) for name, address in bad.items()
    ]
    nodes.append(lab.cluster.node_spec("n8"))
    made = AnsiblePlaybooks(lab.state, lab.site, timeout=120)
    news, _ = lab.follow(made.configure(nodes, {node.name: KEY for node in nodes}))
    assert news["n8"].ok
    for name in bad:
        failure = news[name].failure
        assert failure and "can't be a host" in failure.text
    assert not lab.received("n1")
    assert len(lab.site.known_hosts.read_text().splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_terraform_reads_it_as_json(tmp_path: Path, name: str) -> None:
    lab = Lab(tmp_path)
    terraform = ShardedTerraform(
        tmp_path, {"local": Module(tmp_path, "sec", {}, "", {})}, Command("terraform")
    )
    terraform.directory("local/1").mkdir(parents=True)
    (terraform.directory("local/1") / TFVARS).write_text("{}")
    node = replace(lab.cluster.node_spec("n1"), image=name, flavor=name, zone=name)
    terraform.write_nodes("local/1", {"n1": TerraformNode(node, "op1")})
    found = json.loads((terraform.directory("local/1") / TFVARS).read_text())["nodes"]["n1"]
    assert {found["image"], found["flavor"], found["zone"]} == {name}


def test_a_variable_file_is_read_as_it_was_written() -> None:
    content = {"a": list(NAMES), "b": {name: {"c": name} for name in NAMES}, "d": [None, 1, True, 0.5, ""]}
    assert read_yaml(yaml_text(content).encode()) == content
    with pytest.raises(yaml.YAMLError):
        yaml.safe_load(yaml_text({"a": ROCKY}))
    assert literal({"a": [ROCKY, "x"]}) == {"a": [{"__ansible_unsafe": ROCKY}, "x"]}


def test_no_variable_that_we_write_is_a_template(tmp_path: Path) -> None:
    """Wherever a cluster file lets braces in."""
    lab = Lab(tmp_path, nodes=2, pool={"image": ROCKY}, login={**LOGIN, "image": ROCKY, "flavor": ROCKY})
    text = (lab.site.inventory / VARIABLES).read_text()
    assert text.count("{{x}}") == text.count("!unsafe") == 3


LOGIN = {"name": "head", "address": "10.9.1.1"}


def test_a_value_that_is_all_template_is_told(tmp_path: Path) -> None:
    """A person who writes {{ image }} means a template, and has none here."""
    Lab(tmp_path)
    path = tmp_path / "cluster.yml"
    content = json.loads(path.read_text())
    content["node_pools"][0]["image"] = "{{ image }}"
    path.write_text(json.dumps(content))
    (mistake,) = report(path)
    assert (mistake.key, mistake.wrong) == ("node_pools[0].image", "a template")
