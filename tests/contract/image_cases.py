"""What `image build` relies on in a cloud adapter, as cases for the fake and for the real one."""

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from slurm_powersave.model.errors import CloudError
from slurm_powersave.model.images import BASE, BUILDER_TAG, BUILDING, CLUSTER, READY, ROLE, Image, NewServer
from slurm_powersave.model.nodes import Server
from slurm_powersave.ports.images import ImageCloud
from tests.contract.cloud_cases import CLUSTER as OUR_CLUSTER
from tests.contract.cloud_cases import OURS, ids, until
from tests.permits import permit

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"


class Subject(Protocol):
    """A cloud to be tried, by the adapter of the cluster `contract`; its image `default` is there."""

    cloud: ImageCloud
    address: str
    """One that no server has."""

    def create(self, name: str, tags: frozenset[str]) -> str:
        """Make a server of flavor `small` past the adapter; return its id."""

    def foreign_image(self, server_id: str, name: str) -> None:
        """Make an image of a server that is off, past the adapter."""

    def let_pass(self, seconds: float) -> None:
        """Let some time go by."""


def builder(subject: Subject, image: str = "default") -> Server:
    """A server that has booted."""
    wanted = NewServer("builder", image, "small", subject.address, "", KEY, frozenset({BUILDER_TAG}))
    server_id = subject.cloud.create_server(wanted)

    def up() -> bool:
        found = subject.cloud.server(server_id)
        assert found and found.status in ("BUILD", "ACTIVE")
        return found.status == "ACTIVE" and bool(found.host_key)

    until(subject, up)
    found = subject.cloud.server(server_id)
    assert found
    return found


def stop(subject: Subject, server_id: str) -> None:
    """Power it off."""
    subject.cloud.stop_server(server_id, permit("stop", server_id))

    def off() -> bool:
        found = subject.cloud.server(server_id)
        return bool(found and found.status == "SHUTOFF")

    until(subject, off)


def gone(subject: Subject, server_id: str) -> None:
    """Delete it."""
    subject.cloud.delete(server_id, permit("delete", server_id))
    until(subject, lambda: subject.cloud.server(server_id) is None)


def image(subject: Subject, name: str) -> Image | None:
    """Find an image."""
    return next((one for one in subject.cloud.list_images() if one.name == name), None)


def snapshot(subject: Subject, server_id: str, name: str = "made") -> None:
    """Take a snapshot and wait for it."""
    subject.cloud.create_image_snapshot(server_id, name, {ROLE: BUILDING, BASE: "default"})

    def active() -> bool:
        found = image(subject, name)
        return bool(found and found.status == "active")

    until(subject, active)


def a_builder_is_a_server_of_ours(subject: Subject) -> None:
    found = builder(subject)
    assert found.tags == {"slurm-powersave", f"cluster={OUR_CLUSTER}", BUILDER_TAG}
    assert (found.name, found.image, found.address) == ("builder", "default", subject.address)
    assert ids(subject) == {found.id}


def an_image_is_made_of_a_server_and_servers_of_it(subject: Subject) -> None:
    first = builder(subject)
    stop(subject, first.id)
    snapshot(subject, first.id)
    made = image(subject, "made")
    assert made and made.created and made.size
    assert dict(made.properties or {}) == {CLUSTER: OUR_CLUSTER, ROLE: BUILDING, BASE: "default"}
    gone(subject, first.id)
    second = builder(subject, "made")
    assert second.image == "made" and second.id != first.id
    subject.cloud.update_image_properties("made", {ROLE: READY})
    made = image(subject, "made")
    assert made and (made.property(ROLE), made.property(BASE)) == (READY, "default")
    gone(subject, second.id)
    subject.cloud.delete_image("made")
    until(subject, lambda: image(subject, "made") is None)
    subject.cloud.delete_image("made")


def a_running_server_has_a_disk_too(subject: Subject) -> None:
    found = builder(subject)
    snapshot(subject, found.id)
    seen = subject.cloud.server(found.id)
    assert seen and seen.status == "ACTIVE"
    subject.cloud.delete_image("made")


def all_images_are_listed(subject: Subject) -> None:
    found = image(subject, "default")
    assert found and found.status == "active" and not found.property(CLUSTER)


def an_unknown_image_is_refused_and_no_server_made(subject: Subject) -> None:
    with pytest.raises(CloudError, match="nonesuch"):
        builder(subject, "nonesuch")
    assert ids(subject) == set()
    with pytest.raises(CloudError, match="nonesuch"):
        subject.cloud.update_image_properties("nonesuch", {ROLE: READY})


def what_is_somebody_elses_is_not_touched(subject: Subject) -> None:
    other = subject.create("c-1", frozenset({"slurm-powersave", "cluster=other"}))
    for call in (
        lambda: subject.cloud.stop_server(other, permit("stop", other)),
        lambda: subject.cloud.create_image_snapshot(other, "stolen", {}),
        lambda: subject.cloud.delete_image("default"),
        lambda: subject.cloud.update_image_properties("default", {ROLE: READY}),
    ):
        with pytest.raises(CloudError, match="not ours"):
            call()
    ours = subject.create("c-2", OURS)
    stop(subject, ours)
    subject.foreign_image(ours, "theirs")
    with pytest.raises(CloudError, match="not ours"):
        subject.cloud.delete_image("theirs")
    assert image(subject, "theirs") and not image(subject, "stolen")


CASES: Sequence[Callable[[Subject], None]] = (
    a_builder_is_a_server_of_ours,
    an_image_is_made_of_a_server_and_servers_of_it,
    a_running_server_has_a_disk_too,
    all_images_are_listed,
    an_unknown_image_is_refused_and_no_server_made,
    what_is_somebody_elses_is_not_touched,
)
