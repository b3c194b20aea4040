"""What a cloud says of servers and images has the form that it must have, or is not taken."""

import json
from pathlib import Path

import pytest

from slurm_powersave.adapters.local_cloud import cloud
from slurm_powersave.adapters.local_cloud.images import LocalImageCloud
from slurm_powersave.adapters.openstack import names, server_json
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.terraform.command import Command
from slurm_powersave.adapters.terraform.shards import Module, ShardedTerraform
from slurm_powersave.model.errors import CloudError
from tests.permits import permit
from tests.security.nova_words import ID, LOCAL, nova

BAD = [
    "{{ x }}",
    "-oProxyCommand=id",
    "../x",
    "a b",
    "a\n",
    "a\x00",
    "\x1b[2J",
    "²",
    "x" * 5000,
    "",
    None,
    7,
    ["a"],
    {},
]
"""What is neither an id nor an address nor a status."""
CONTROLS = ["a\nb", "\x1b]52;c;aGk=\x07", "a\x9b2J", "a\u202eb", "a\x00", "", None, 7, ["a"], "x" * 300]
"""What can't be a name that people have chosen either."""
CHOSEN = ["Rocky 9 \u2013 prod {{x}}", "--force", "../x", "$(id)", "日本語"]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_id_no_address_and_no_status_is_not_taken(bad: object) -> None:
    for told in (
        lambda: server_json.to_server(nova(id=bad), {}),
        lambda: cloud._server({**LOCAL, "id": bad}),
    ):
        with pytest.raises(CloudError, match="without an id"):
            told()
    place = {"net": [{"version": 4, "addr": bad}, {"version": 4, "addr": "10.0.0.2"}]}
    server = server_json.to_server(nova(addresses=place, status=bad, image={"id": bad}), {})
    assert (server.address, server.status, server.image) == ("10.0.0.2", "UNKNOWN", "")
    guest = cloud._server({**LOCAL, "address": bad, "status": bad})
    assert (guest.address, guest.status) == ("", "UNKNOWN")


@pytest.mark.parametrize("bad", CONTROLS)
def test_a_name_with_control_characters_is_none(bad: object) -> None:
    flavor = {"original_name": bad, "id": "f1"}
    server = server_json.to_server(nova(name=bad, flavor=flavor, tags=["a", bad]), {"i1": bad})  # type: ignore[dict-item]
    assert (server.name, server.flavor, server.image) == ("", "f1", "")
    assert all(isinstance(tag, str) for tag in server.tags)
    guest = cloud._server({**LOCAL, "name": bad, "image": bad, "flavor": bad})
    assert (guest.name, guest.image, guest.flavor) == ("", "", "")
    assert names.shown([{"id": ID, "name": bad, "status": "active"}]) == {ID: ID}


@pytest.mark.parametrize("chosen", CHOSEN)
def test_any_other_name_is_taken_as_it_is(chosen: str) -> None:
    server = server_json.to_server(nova(flavor={"original_name": chosen}), {"i1": chosen})
    assert (server.flavor, server.image) == (chosen, chosen)
    assert names.shown([{"id": ID, "name": chosen, "status": "active"}]) == {ID: chosen}


@pytest.mark.parametrize("bad", BAD)
def test_an_id_in_a_state_of_terraform_is_one_or_none(tmp_path: Path, bad: object) -> None:
    node = {"mode": "managed", "name": "node", "instances": [{"index_key": "n1", "attributes": {"id": bad}}]}
    terraform = ShardedTerraform(tmp_path, {"os": Module(tmp_path, "demo", {}, "", {})}, Command("terraform"))
    directory = terraform.directory("os/1")
    directory.mkdir(parents=True)
    (directory / "terraform.tfstate").write_text(json.dumps({"version": 4, "resources": [node]}))
    assert terraform.servers("os/1")["n1"].id == ""


def test_an_image_is_the_one_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Glance takes "in:" for an operator: the name of one image would lead to another one."""
    cloud = OpenStackCloud("demo", {})
    found = [{"id": "i1", "name": "rocky", "status": "active"}]
    monkeypatch.setattr(cloud._api, "listed", lambda *_, **__: found)
    assert cloud.image_id("rocky") == "i1"
    with pytest.raises(CloudError, match="no active image in:rocky"):
        cloud.image_id("in:rocky")


@pytest.mark.parametrize("chosen", [*CHOSEN, "-x", "--flavor=large"])
def test_a_name_is_no_option_of_the_local_cloud_s_command(
    monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "demo"))
    from local_cloud import cli

    asked: list[list[str]] = []
    answer = Completed(0, json.dumps({**LOCAL, "tags": ["cluster=demo"]}), "")
    monkeypatch.setattr(process, "run", lambda argv, **_: asked.append(argv) or answer)
    cloud = LocalImageCloud("demo", {"root": "/x"})
    cloud.rebuild(ID, chosen, permit("rebuild", ID))
    cloud.resize(ID, chosen, permit("resize", ID))
    cloud.create_image_snapshot(ID, chosen, {"a": chosen})
    words = [argv[argv.index("--root") :] for argv in asked]
    read = [cli.parser().parse_args(one) for one in words if one[2] in ("begin", "snapshot")]
    assert [read[0].image, read[1].flavor, read[2].name] == [chosen] * 3
