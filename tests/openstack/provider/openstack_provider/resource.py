"""What all resource types share."""

from typing import Any, ClassVar

from openstack_provider import schema
from openstack_provider.cloud import Cloud, CloudError, duration
from openstack_provider.plan import State


def names(text: str) -> frozenset[str]:
    """Split words."""
    return frozenset(text.split())


class Resource:
    """A type of resource; one object per call. States are changed in place, as the SDK does.

    So what a failing create or update has already set stays: with an id it is in Terraform's state, tainted.
    """

    type_name: ClassVar[str]
    force_new: ClassVar[frozenset[str]] = frozenset()
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    @property
    def block(self) -> schema.Block:
        """The schema."""
        return schema.resource(self.type_name)

    def planned(self, prior: State | None, state: State, config: State) -> None:
        """Change what is planned; `prior` is None for a creation."""

    def forcing(self, prior: State) -> frozenset[str]:
        """Name the attributes whose change forces a replacement of what there is."""
        return self.force_new

    def create(self, state: State, config: State) -> None:
        """Make it; set `id` as soon as there is one."""
        raise NotImplementedError

    def read(self, state: State) -> bool:
        """Set all from the cloud; False when it is gone."""
        raise NotImplementedError

    def update(self, prior: State, state: State) -> None:
        """Change it."""
        raise NotImplementedError

    def delete(self, state: State) -> None:
        """Remove it."""
        raise NotImplementedError

    def imported(self, id: str) -> State:
        """Return the state of something that exists."""
        state = {**schema.empty(self.block), "id": id}
        if not self.read(state):
            raise CloudError("Cannot import non-existent remote object")
        return state

    def seconds(self, state: State, verb: str, minutes: float = 30) -> float:
        """Return the time limit of create, update or delete."""
        return duration((state.get("timeouts") or {}).get(verb), minutes * 60)


def read_tags(state: State, tags: list[str]) -> None:
    """Set all_tags, and of `tags` those that are still there: after an import `tags` stays empty."""
    state["all_tags"] = sorted(tags)
    if state.get("tags"):
        state["tags"] = sorted(set(state["tags"]) & set(tags))
