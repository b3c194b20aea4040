"""How providers that use Terraform's old SDK for Go plan. Pure.

Source: terraform-plugin-sdk v2, helper/schema (schema.go, grpc_provider.go). What matters: an attribute
without a value that is optional and computed keeps what it has; a default counts as configured; null and a
zero value are the same, except that a default of false differs from nothing; computed attributes are
unknown only on creation.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tf.types import Unknown

State = dict[str, Any]
Block = Mapping[str, Any]


def fill(block: Block, proposed: State, defaults: Mapping[str, Any], *, create: bool) -> State:
    """Return the proposed state with defaults, and for a creation with what is computed as unknown.

    Keys of `defaults` inside of nested blocks are dotted.
    """
    planned: State = {}
    for name, attribute in block["attributes"].items():
        value = proposed.get(name)
        if value is None and name in defaults:
            value = defaults[name]
        elif value is None and create and attribute.get("computed"):
            value = Unknown
        planned[name] = value
    for name, nested in block.get("block_types", {}).items():
        value = proposed.get(name)
        if isinstance(value, list):
            within = {key.partition(".")[2]: of for key, of in defaults.items() if key.startswith(f"{name}.")}
            value = [fill(nested["block"], entry, within, create=create) for entry in value]
        planned[name] = value
    return planned


def same(old: Any, new: Any, kind: Any = None) -> bool:
    """Tell whether the SDK sees no difference. `kind` is an attribute's type in the schema's words."""
    if old is Unknown or new is Unknown:
        return old is new
    if new is None:
        return old in (None, "", 0, False) or old in ([], {})
    if old is None:
        return new in ("", [], {})
    if isinstance(kind, list) and kind[0] == "set":
        return sorted(map(str, old)) == sorted(map(str, new))
    return bool(old == new)


def differences(
    block: Block, old: State, new: State, prefix: tuple[str | int, ...] = ()
) -> list[tuple[Any, ...]]:
    """Return the paths of what differs; for a block that is there once more or less, its own."""
    found: list[tuple[Any, ...]] = []
    for name, attribute in block["attributes"].items():
        if not same(old.get(name), new.get(name), attribute["type"]):
            found.append((*prefix, name))
    for name, nested in block.get("block_types", {}).items():
        before, after = old.get(name), new.get(name)
        if name == "timeouts":
            continue  # the SDK keeps them beside the state
        if before is Unknown or after is Unknown or len(before or []) != len(after or []):
            found.append((*prefix, name))
        elif nested["nesting_mode"] == "set":
            if any(all(differences(nested["block"], a, b) for b in before) for a in after or []):
                found.append((*prefix, name))
        else:
            for number, (a, b) in enumerate(zip(before or [], after or [], strict=True)):
                found += differences(nested["block"], a, b, (*prefix, name, number))
    return found


def replacing(paths: Iterable[tuple[Any, ...]], force_new: frozenset[str]) -> list[tuple[Any, ...]]:
    """Return those of the paths that force a replacement: `force_new` has names, dotted inside of blocks."""
    return [path for path in paths if ".".join(part for part in path if isinstance(part, str)) in force_new]


def known(value: Any) -> Any:
    """Replace what is unknown by null: a state may not hold it."""
    if value is Unknown:
        return None
    if isinstance(value, dict):
        return {key: known(of) for key, of in value.items()}
    return [known(of) for of in value] if isinstance(value, list) else value
