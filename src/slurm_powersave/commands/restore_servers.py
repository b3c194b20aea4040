"""What was reimaged or resized after a backup: the cloud is asked, so that Terraform changes nothing back."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from slurm_powersave.decide.node.drift import image_of
from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.nodes import NodeRecord, NodeSpec, Server
from slurm_powersave.ports.cloud import Cloud
from slurm_powersave.ports.journal import Journal
from slurm_powersave.ports.terraform import Terraform


def take_over(
    journal: Journal, terraform: Terraform, clouds: Mapping[str, Cloud], say: Callable[[str], None]
) -> None:
    """Record each server's image and flavor as the cloud tells them, and write them for Terraform.

    Servers that are not there, or that the journal does not know, are the engine's to find out.
    """
    records = journal.node_records()
    for name, cloud in clouds.items():
        try:
            servers = {server.id: server for server in cloud.servers()}
        except CloudError as error:
            say(f"cloud {name} can't be read: images and flavors are those of the backup ({error.line})")
            continue
        changed: dict[str, NodeRecord] = {}
        for record in records.values():
            server = servers.get(record.server_id) if record.node.cloud == name else None
            node = _as_in_the_cloud(record.node, server, cloud) if server else record.node
            if node != record.node:
                say(f"{node.name}: {_difference(record.node, node)}, as the cloud tells it")
                changed[node.name] = replace(record, node=node)
        _write(journal, terraform, changed)


def _as_in_the_cloud(node: NodeSpec, server: Server, cloud: Cloud) -> NodeSpec:
    image, flavor = image_of(server, node.image), server.flavor
    if image and (image != node.image or server.image_id not in ("", node.image_id)):
        ref = server.image_id or _ref(cloud.image_id, image)
        node = replace(node, image=image, image_id=ref, generation=node.generation + 1)
    if flavor and flavor != node.flavor:
        node = replace(node, flavor=flavor, flavor_id=_ref(cloud.flavor_id, flavor))
    return node


def _ref(ask: Callable[[str], str], name: str) -> str:
    try:
        return ask(name)
    except CloudError:
        return ""  # it was deleted since; the name stands for it


def _difference(before: NodeSpec, now: NodeSpec) -> str:
    pairs = [(word, getattr(before, word), getattr(now, word)) for word in ("image", "flavor")]
    words = [f"{word} {old} -> {new}" for word, old, new in pairs if old != new]
    return ", ".join(words) or f"image {now.image} was made anew"


def _write(journal: Journal, terraform: Terraform, changed: Mapping[str, NodeRecord]) -> None:
    journal.save_nodes(changed.values())
    for shard in sorted({record.shard for record in changed.values() if record.shard}):
        entries = dict(terraform.nodes(shard))
        for name, record in changed.items():
            if record.shard == shard and name in entries:
                entries[name] = replace(entries[name], node=record.node)
        terraform.write_nodes(shard, entries)
