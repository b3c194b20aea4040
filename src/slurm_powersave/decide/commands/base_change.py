"""One change in the JSON of a Terraform plan, whatever kind of resource it is of. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slurm_powersave.model.printable import printable

REBUILD = ("image_id", "image_name", "image")
"""Attributes whose change in place gives a server a new disk (openstack provider 3.4, local cloud)."""
STOPS = ("flavor_id", "flavor_name")
"""Attributes whose change in place stops a server for the time of a resize."""
ADDRESS = ("fixed_ip", "fixed_ip_v4", "network")
"""Attributes whose change in place takes an address away (a port's fixed_ip, a server's network)."""

_REPLACES = (("delete", "create"), ("create", "delete"))
_REASONS = {
    "replace_because_tainted": "it is tainted",
    "replace_because_cannot_update": "it can't be changed in place",
    "replace_by_request": "it was asked for with -replace",
    "replace_by_triggers": "something that its replace_triggered_by names changes",
    "delete_because_no_resource_config": "the root module no longer has it",
    "delete_because_no_module": "the root module no longer has it",
    "delete_because_no_move_target": "the root module no longer has it",
    "delete_because_wrong_repetition": "the root module changed its count or for_each",
    "delete_because_count_index": "the cluster file no longer asks for it",
    "delete_because_each_key": "the cluster file no longer asks for it",
}
"""What the values of Terraform's `action_reason` mean (internal/command/jsonplan/resource.go)."""
_LONGEST = 80
"""Characters of a value that are shown."""
_MISSING = object()


@dataclass(frozen=True)
class Change:
    """What a plan does to one resource."""

    address: str
    actions: tuple[str, ...]
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    unknown: Any
    secret: tuple[Any, Any]
    """Which values of `before` and of `after` Terraform marks as sensitive."""
    paths: Sequence[Sequence[Any]]
    """The attributes that force a replacement."""
    reason: str = ""
    previous: str = ""
    """The address in the state until now, if it is another one."""
    deposed: str = ""
    """The key of a deposed object: one that Terraform could not delete after it had made its replacement."""
    reads: bool = False
    """It is a data source: Terraform only reads it."""

    @classmethod
    def of(cls, content: Any) -> "Change | None":
        """Read an entry of `resource_changes`; None if it can't be read."""
        inner = content.get("change") if isinstance(content, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("actions"), list):
            return None
        address, previous = str(content.get("address", "?")), content.get("previous_address")
        return cls(
            address=address,
            actions=tuple(map(str, inner["actions"])),
            before=_mapping(inner.get("before")),
            after=_mapping(inner.get("after")),
            unknown=inner.get("after_unknown"),
            secret=(inner.get("before_sensitive"), inner.get("after_sensitive")),
            paths=inner.get("replace_paths") or (),
            reason=str(content.get("action_reason") or ""),
            previous=str(previous) if previous and previous != address else "",
            deposed=str(content.get("deposed") or ""),
            reads=content.get("mode") == "data",
        )

    @property
    def id(self) -> str:
        """The id that the cloud gave it; empty for a new resource."""
        return str(self.before.get("id") or "")

    @property
    def thing(self) -> str:
        """Its name and id in brackets."""
        words = dict.fromkeys(printable(str(self.before.get(key) or "")) for key in ("name", "id"))
        return f"({', '.join(filter(None, words)) or 'without name and id'})"

    @property
    def word(self) -> str:
        """The actions as one word."""
        return "/".join(self.actions) or "none"

    @property
    def nothing(self) -> bool:
        """Nothing outside is changed."""
        return self.actions == ("no-op",) or (self.reads and self.actions == ("read",))

    @property
    def creates(self) -> bool:
        """It is created, and nothing existed at this address before."""
        return self.actions == ("create",) and not self.before

    @property
    def updates(self) -> bool:
        """It is changed in place."""
        return self.actions == ("update",)

    @property
    def replaces(self) -> bool:
        """It is deleted, and another one is created in its place."""
        return self.actions in _REPLACES

    @property
    def deletes(self) -> bool:
        """It is deleted."""
        return self.actions == ("delete",)

    @property
    def forgets(self) -> bool:
        """It is removed from the state, and not deleted."""
        return "forget" in self.actions

    @property
    def tainted(self) -> bool:
        """Its creation has failed, as far as Terraform knows."""
        return self.reason == "replace_because_tainted"

    @property
    def switches_off(self) -> bool:
        """Its power_state becomes something other than active (openstack_compute_instance_v2)."""
        power = self.after.get("power_state")
        return power not in (None, "active") and power != self.before.get("power_state")

    def touched(self, names: Iterable[str]) -> tuple[str, ...]:
        """Name those of the attributes that change, or whose new value is not known yet."""
        return tuple(
            name
            for name in names
            if _unknown(_at(self.unknown, [name])) or self.before.get(name) != self.after.get(name)
        )

    def holds(self, value: str) -> bool:
        """Tell whether any of its present attributes has this value."""
        return bool(value) and value in _leaves(self.before)

    def because(self, wanted: Mapping[str, object]) -> str:
        """Say what forces a replacement or a deletion; `wanted`: key of the cluster file -> value."""
        if self.paths:
            return self.differences(self.paths, wanted)
        return _REASONS.get(self.reason, self.reason) or "Terraform does not say why"

    def differences(self, paths: Iterable[str | Sequence[Any]], wanted: Mapping[str, object]) -> str:
        """Say the old and the new value of each attribute, and which key of the cluster file sets it."""
        found = [self._difference([path] if isinstance(path, str) else list(path), wanted) for path in paths]
        return " and ".join(found)

    def _difference(self, path: list[Any], wanted: Mapping[str, object]) -> str:
        old, new = _at(self.before, path), _at(self.after, path)
        said = _words(old, hidden=_at(self.secret[0], path))
        if _unknown(_at(self.unknown, path)):
            return f"{_dotted(path)} from {said} to a value that is known only after the apply"
        keys = [key for key, value in wanted.items() if value == new and new not in (None, "", _MISSING)]
        behind = f" ({' or '.join(keys)})" if keys else ""
        return f"{_dotted(path)} from {said} to {_words(new, hidden=_at(self.secret[1], path))}{behind}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _at(value: Any, path: Sequence[Any]) -> Any:
    """Return the value at a path. Where Terraform marks a whole object with `true`, all in it is `true`."""
    for part in path:
        if value is True:
            return True
        if isinstance(value, Mapping):
            value = value.get(part, _MISSING)
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            return _MISSING
    return value


def _unknown(mark: Any) -> bool:
    """Tell whether `after_unknown` marks a value, or something in it."""
    if isinstance(mark, Mapping):
        return any(map(_unknown, mark.values()))
    return any(map(_unknown, mark)) if isinstance(mark, list) else mark is True


def _leaves(value: Any) -> set[str]:
    if isinstance(value, Mapping):
        return set().union(*map(_leaves, value.values()))
    if isinstance(value, list):
        return set().union(*map(_leaves, value))
    return {str(value)}


def _words(value: Any, *, hidden: Any) -> str:
    if _unknown(hidden):
        return "(sensitive)"
    text = "null" if value is _MISSING else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _dotted(path: Sequence[Any]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
