"""The plan guard: what a Terraform plan may contain. Pure; reads the JSON of `terraform show -json PLAN`.

`-target` is no safety boundary (measured: with linked resources it reaches other nodes, and a
target that does not exist is "No changes" with exit code 0), so every plan is held against what the
journal says was asked for, attribute by attribute, and refused as a whole for a single difference.
Format of the JSON: https://developer.hashicorp.com/terraform/internals/json-format
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slurm_powersave.model.nodes import TerraformNode


class PlanMode(StrEnum):
    """What a plan is for; decides which actions it may hold."""

    CREATE = "create"
    DELETE = "delete"
    UPDATE = "update"
    """In place: image or flavor of the nodes, and nothing else of them."""


@dataclass(frozen=True)
class Contract:
    """What a root module promises (contract.json): its resource, and the names of the attributes."""

    resource: str
    """For example openstack_compute_instance_v2.node; its for_each keys are the node names."""
    attributes: Mapping[str, str]
    """Our word (name, image, flavor, zone, address, tags) -> dotted path in the resource."""
    computed: frozenset[str] = frozenset()
    """Attributes that follow from image or flavor: an update in place may leave them unknown until then."""


@dataclass(frozen=True)
class Expected:
    """One node that was asked for, as the journal holds it."""

    entry: TerraformNode
    server_id: str = ""
    """The server that is to be deleted or changed; empty where it is not known (a failed create)."""
    update: str = ""
    """For an update: image or flavor, the one attribute that may change."""


@dataclass(frozen=True)
class Violation:
    """One thing in a plan that nobody asked for, or that is missing."""

    address: str
    text: str

    def __str__(self) -> str:
        return f"{self.address}: {self.text}"


def tags(cluster: str, shard: str, entry: TerraformNode) -> frozenset[str]:
    """Return the tags that a server of ours carries: the cloud is the last witness."""
    return frozenset(
        {
            "slurm-powersave",
            f"cluster={cluster}",
            f"pool={entry.node.pool}",
            f"node={entry.node.name}",
            # Nova takes no slash in a tag; the cloud's name is not needed in the cloud.
            f"shard={shard.rpartition('/')[2]}",
            f"operation={entry.operation}",
        }
    )


def check(
    plan: Mapping[str, Any],
    mode: PlanMode,
    expected: Mapping[str, Expected],
    *,
    contract: Contract,
    cluster: str,
    shard: str,
) -> list[Violation]:
    """Return all that is wrong with a plan; an empty list lets it through."""
    wrong = whole(plan)
    seen: dict[str, int] = {}
    for change in plan.get("resource_changes") or []:
        address = str(change.get("address", "?"))
        actions = tuple(change.get("change", {}).get("actions", ["?"]))
        if change.get("previous_address"):
            wrong.append(Violation(address, f"moved here from {change['previous_address']}"))
        if actions == ("no-op",) or (change.get("mode") == "data" and actions == ("read",)):
            continue
        node = _node_of(address, contract, expected)
        if node is None:
            wrong.append(Violation(address, f"{'/'.join(actions)} of something that was not asked for"))
            continue
        seen[node] = seen.get(node, 0) + 1
        if actions != (mode.value,):
            why = change.get("action_reason")
            wrong.append(
                Violation(
                    address, f"{'/'.join(actions)} instead of {mode.value}" + (f" ({why})" if why else "")
                )
            )
        elif "importing" in change["change"] or change.get("deposed"):
            wrong.append(Violation(address, "imports or deposed objects were not asked for"))
        elif mode is PlanMode.CREATE:
            wrong += _create(
                address,
                change["change"],
                expected[node],
                contract,
                tags(cluster, shard, expected[node].entry),
            )
        elif mode is PlanMode.UPDATE:
            wrong += _update(address, change["change"], expected[node], contract, cluster)
        else:
            wrong += _delete(address, change["change"], expected[node], contract, cluster)
    gone = _drifted_away(plan) if mode is PlanMode.DELETE else frozenset()
    for node in expected:
        address = f'{contract.resource}["{node}"]'
        if seen.get(node, 0) != 1 and address not in gone:
            wrong.append(
                Violation(
                    address, f"{mode.value} was asked for once and is in the plan {seen.get(node, 0)} times"
                )
            )
    return wrong


def whole(plan: Mapping[str, Any]) -> list[Violation]:
    """Return what of a plan as a whole is not understood, or was not asked for."""
    wrong = []
    version = str(plan.get("format_version", "none"))
    if version.split(".")[0] != "1":
        wrong.append(Violation("plan", f"format {version} is unknown; 1.x is known"))
    if plan.get("errored"):
        wrong.append(Violation("plan", "Terraform says that planning failed"))
    for key in ("deferred_changes", "action_invocations"):
        if plan.get(key):
            wrong.append(Violation("plan", f"{key} were not asked for"))
    return wrong


def _node_of(address: str, contract: Contract, expected: Iterable[str]) -> str | None:
    prefix = contract.resource + '["'
    if address.startswith(prefix) and address.endswith('"]'):
        name = address[len(prefix) : -2]
        return name if name in expected else None
    return None


def _create(
    address: str, change: Mapping[str, Any], expected: Expected, contract: Contract, want_tags: frozenset[str]
) -> list[Violation]:
    node = expected.entry.node
    wanted: dict[str, Any] = {
        "name": node.name,
        "image": node.ref("image"),
        "flavor": node.ref("flavor"),
        "address": node.address,
        "tags": want_tags,
    }
    if node.zone:
        wanted["zone"] = node.zone
    wrong = []
    for word, want in wanted.items():
        path = contract.attributes.get(word)
        if path is None:
            wrong.append(Violation(address, f"the contract does not name the attribute for {word}"))
            continue
        if _at(change.get("after_unknown"), path) not in (None, False, [], {}) and word != "tags":
            wrong.append(Violation(address, f"{path} is not known before the apply; {want!r} was asked for"))
            continue
        value = _at(change.get("after"), path)
        if word == "tags":
            value = frozenset(value or ())
        if value != want:
            wrong.append(Violation(address, f"{path} is {_show(value)} where {_show(want)} was asked for"))
    return wrong


def _update(
    address: str, change: Mapping[str, Any], expected: Expected, contract: Contract, cluster: str
) -> list[Violation]:
    before, after = change.get("before") or {}, change.get("after") or {}
    unknown = change.get("after_unknown") or {}
    wrong = _ours(address, "changes", before, expected, contract, cluster)
    path = contract.attributes.get(expected.update)
    if path is None:
        return [*wrong, Violation(address, f"the contract does not name the attribute {expected.update!r}")]
    want = expected.entry.node.ref(expected.update)
    if _at(after, path) != want or _at(unknown, path):
        wrong.append(
            Violation(address, f"{path} becomes {_show(_at(after, path))} where {_show(want)} was asked for")
        )
    for key in sorted({*before, *after, *unknown} - {path} - contract.computed):
        if unknown.get(key) not in (None, False, [], {}) and not _known(unknown[key]):
            wrong.append(Violation(address, f"{key} is not known before the apply; it was not to change"))
        elif before.get(key) != after.get(key):
            text = f"{key} changes from {_show(before.get(key))} to {_show(after.get(key))}"
            wrong.append(Violation(address, f"{text}; only {path} was to change"))
    return wrong


def _known(unknown: Any) -> bool:
    """Tell whether a nested `after_unknown` marks nothing as unknown."""
    if isinstance(unknown, Mapping):
        return all(map(_known, unknown.values()))
    return all(map(_known, unknown)) if isinstance(unknown, list) else not unknown


def _delete(
    address: str, change: Mapping[str, Any], expected: Expected, contract: Contract, cluster: str
) -> list[Violation]:
    return _ours(address, "deletes", change.get("before") or {}, expected, contract, cluster)


def _ours(
    address: str, verb: str, before: Mapping[str, Any], expected: Expected, contract: Contract, cluster: str
) -> list[Violation]:
    wrong = []
    if expected.server_id and before.get("id") != expected.server_id:
        wrong.append(
            Violation(address, f"{verb} the server {before.get('id')}, not {expected.server_id} as asked for")
        )
    carried = frozenset(_at(before, contract.attributes.get("tags", "tags")) or ())
    if f"cluster={cluster}" not in carried:
        wrong.append(Violation(address, "the server does not carry our cluster's tag"))
    name = _at(before, contract.attributes.get("name", "name"))
    if name not in (None, "", expected.entry.node.name):
        wrong.append(Violation(address, f"the server is called {name!r}"))
    return wrong


def _drifted_away(plan: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        str(drift.get("address"))
        for drift in plan.get("resource_drift") or []
        if drift.get("change", {}).get("actions") == ["delete"]
    )


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(part)
        else:
            return None
    return value


def _show(value: Any) -> str:
    return str(sorted(value)) if isinstance(value, frozenset) else repr(value)
