"""What the engine relies on in a cloud adapter, as cases that the fake and the real one both have to pass."""

from collections.abc import Callable, Sequence
from typing import Protocol

import pytest

from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.leftovers import Leftover
from slurm_powersave.model.nodes import Limit, Server
from slurm_powersave.ports.cloud import Cloud, TellsLeftovers
from tests.permits import permit

CLUSTER = "contract"
OURS = frozenset({"slurm-powersave", f"cluster={CLUSTER}", "pool=c", "node=c-1", "operation=1a2b"})


class Subject(Protocol):
    """A cloud to be tried, by the adapter of the cluster `contract`."""

    cloud: Cloud

    def create(self, name: str, tags: frozenset[str]) -> str:
        """Make a server of flavor `small` past the adapter; return its id."""

    def let_pass(self, seconds: float) -> None:
        """Let some time go by."""


def until(subject: Subject, true: Callable[[], bool]) -> None:
    """Let up to 20 s pass until something is so."""
    for _ in range(100):
        if true():
            return
        subject.let_pass(0.2)
    pytest.fail("not so after 20 s")


def ids(subject: Subject) -> set[str]:
    """The ids of our servers."""
    return {server.id for server in subject.cloud.servers()}


def a_server_is_told_as_it_is(subject: Subject) -> None:
    server_id = subject.create("c-1", OURS)
    (listed,) = subject.cloud.servers()
    assert isinstance(listed, Server)
    assert (listed.id, listed.name, listed.status) == (server_id, "c-1", "ACTIVE")
    assert listed.flavor == "small" and listed.address.count(".") == 3 and listed.image and not listed.fault
    assert listed.tags == OURS

    def has_key() -> bool:
        found = subject.cloud.server(server_id)
        return bool(found and found.host_key.startswith("ssh-ed25519 "))

    until(subject, has_key)


def a_deleted_server_is_gone_and_may_be_deleted_again(subject: Subject) -> None:
    server_id = subject.create("c-1", OURS)
    assert ids(subject) == {server_id}
    subject.cloud.delete(server_id, permit("delete", server_id))
    subject.cloud.delete(server_id, permit("delete", server_id))
    until(subject, lambda: subject.cloud.server(server_id) is None)
    assert ids(subject) == set()
    subject.cloud.delete(server_id, permit("delete", server_id))


def an_unknown_id_is_no_server_and_no_error(subject: Subject) -> None:
    assert subject.cloud.server("no-such-id") is None
    subject.cloud.delete("no-such-id", permit("delete", "no-such-id"))


def a_server_of_somebody_else_is_not_seen_nor_deleted(subject: Subject) -> None:
    other = subject.create("c-1", frozenset({"slurm-powersave", "cluster=other", "node=c-1"}))
    ours = subject.create("c-2", OURS)
    assert ids(subject) == {ours}
    assert subject.cloud.server(other) is None
    with pytest.raises(CloudError, match="not ours"):
        subject.cloud.delete(other, permit("delete", other))


def what_is_left_names_our_servers_and_nobody_elses(subject: Subject) -> None:
    cloud = subject.cloud
    assert isinstance(cloud, TellsLeftovers)

    def servers() -> list[Leftover]:
        return [left for left in cloud.leftovers() if left.kind == "server"]

    subject.create("c-1", frozenset({"slurm-powersave", "cluster=other", "node=c-1"}))
    ours = subject.create("c-2", OURS)
    assert servers() == [Leftover("server", ours, "c-2")]
    subject.cloud.delete(ours, permit("delete", ours))
    until(subject, lambda: not servers())


def flavors_have_sizes(subject: Subject) -> None:
    small = subject.cloud.flavors()["small"]
    assert small.name == "small" and small.vcpus >= 1 and small.ram >= 256


def names_have_ids_and_an_id_is_its_own(subject: Subject) -> None:
    flavor = subject.cloud.flavor_id("small")
    assert flavor and subject.cloud.flavor_id(flavor) == flavor
    subject.create("c-1", OURS)
    (listed,) = subject.cloud.servers()
    image = subject.cloud.image_id(listed.image)
    assert image and subject.cloud.image_id(image) == image


def an_unknown_name_is_a_mistake_of_the_cluster_file(subject: Subject) -> None:
    for call in (subject.cloud.image_id, subject.cloud.flavor_id):
        with pytest.raises(CloudError, match="nonesuch") as caught:
            call("nonesuch")
        assert caught.value.failure is FailureClass.CONFIG


def the_quota_counts_what_is_in_use(subject: Subject) -> None:
    def used(key: str) -> int:
        return before.get(key, Limit(None, 0)).used

    before = subject.cloud.quota()
    subject.create("c-1", OURS)
    small = subject.cloud.flavors()["small"]
    after = subject.cloud.quota()
    assert set(before) == set(after)
    more = {"instances": 1, "cores": small.vcpus, "ram": small.ram}
    for key in more.keys() & before.keys():
        assert after[key].used - used(key) == more[key], key
        assert after[key].limit is None or after[key].limit >= 0


CASES: Sequence[Callable[[Subject], None]] = (
    a_server_is_told_as_it_is,
    a_deleted_server_is_gone_and_may_be_deleted_again,
    an_unknown_id_is_no_server_and_no_error,
    a_server_of_somebody_else_is_not_seen_nor_deleted,
    what_is_left_names_our_servers_and_nobody_elses,
    flavors_have_sizes,
    names_have_ids_and_an_id_is_its_own,
    an_unknown_name_is_a_mistake_of_the_cluster_file,
    the_quota_counts_what_is_in_use,
)
