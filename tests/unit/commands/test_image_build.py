"""An image build on a cloud in memory: what it does, and what it leaves, also when something fails."""

from collections.abc import Callable

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands.act_records import Acts
from slurm_powersave.commands.image_build import Build
from slurm_powersave.decide.commands.images import Order
from slurm_powersave.model.errors import (
    CloudError,
    ConfigError,
    PlaybookError,
    PowersaveError,
    RefusedError,
    UnreachableError,
)
from slurm_powersave.model.images import BASE, BUILDER_TAG, BUILDING, CLUSTER, NODE, READY, ROLE, Image
from slurm_powersave.model.nodes import NodeSpec, Server, TerraformNode
from slurm_powersave.testing.cloud import MemoryClock
from slurm_powersave.testing.images import MemoryImageCloud, MemoryImagePlays

FROM_BASE = Order("gold", "test", "compute", "mem", "default", "", "small", "", "10.0.0.20")
FROM_NODE = Order("gold", "test", "compute", "mem", "default", "n1", "small", "", "10.0.0.20")


class Killed(BaseException):
    """Stands for SIGKILL: nobody tidies up."""


class Lab:
    """A cloud with one node, and builds in it."""

    def __init__(self) -> None:
        self.clock = MemoryClock()
        self.journal = SqliteJournal(":memory:")
        self.cloud = MemoryImageCloud(self.clock, "test")
        self.plays = MemoryImagePlays(self.cloud)
        self.said: list[str] = []
        self.waits = 0
        self.at_wait: Callable[[int], None] = lambda number: None
        self.node_refused: list[str] = []
        """What is wrong with the node, at the first, second, ... look."""
        node = NodeSpec("n1", "compute", "mem", "default", "small", "", "10.0.1.1")
        marks = frozenset({"cluster=test", "node=n1"})
        self.node = self.cloud.create(TerraformNode(node, "1a2b"), marks)
        self.cloud.disks[self.node] = {"machine_id": "n1's"}

    def build(self, order: Order = FROM_BASE) -> Build:
        return Build(
            order,
            self.cloud,
            self.plays,
            self.clock,
            self.wait,
            self.said.append,
            self.check_node,
            "ssh-ed25519 AAAA",
            {"version": "1.0", "git": ""},
            boot_seconds=60,
            acts=Acts(self.journal, "image build gold", self.clock.now),
        )

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.at_wait(self.waits)
        self.clock.advance(seconds)

    def check_node(self) -> Server:
        wrong = self.node_refused.pop(0) if self.node_refused else ""
        if wrong:
            raise RefusedError(wrong)
        found = self.cloud.server(self.node)
        assert found
        return found

    def left(self) -> list[str]:
        """Everything but the node and the image it was made of."""
        self.clock.advance(10)
        servers = [server.name for server in self.cloud.alive() if server.id != self.node]
        return servers + [image.name for image in self.cloud.list_images() if image.name != "default"]


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize("order", [FROM_BASE, FROM_NODE], ids=["base", "node"])
def test_an_image_is_built_and_proven_and_nothing_else_is_left(lab: Lab, order: Order) -> None:
    before = lab.cloud.server(lab.node)
    work = lab.build(order)
    said = work.run()
    assert lab.left() == ["gold"]
    (image,) = [image for image in lab.cloud.list_images() if image.name == "gold"]
    assert dict(image.properties or {}) == {CLUSTER: "test", ROLE: READY, BASE: "default", NODE: order.node}
    assert said == {
        "name": "gold",
        "base": "default",
        "node": order.node,
        "created": said["created"],
        "roles": {"version": "1.0", "git": ""},
        "packages": {"slurm": "22.05.8", "munge": "0.5.15"},
    }
    assert lab.said == [text for _, text, _ in work.steps()]
    assert list(work.seconds) == [name for name, _, _ in work.steps()]
    assert all(seconds > 0 for seconds in work.seconds.values())
    assert lab.cloud.server(lab.node) == before
    assert lab.cloud.disks[lab.node] == {"machine_id": "n1's"}


def test_what_is_stopped_and_deleted_is_in_the_history(lab: Lab) -> None:
    lab.build().run()
    found = lab.journal.newest_acts(None, 10)[::-1]
    assert [(one.node, str(one.act)) for one in found] == [
        ("test-builder", "stop"), ("test-builder", "delete"), ("test-proof", "delete"),
    ]  # fmt: skip
    assert all(one.row == "image build" and "; image build gold by " in one.evidence for one in found)


Fault = Callable[[Lab], None]
FAULTS: dict[str, tuple[Fault, type[PowersaveError], str]] = {
    "no builder": (
        lambda lab: lab.cloud.create_faults.update({"test-builder": "Quota exceeded"}), CloudError, "Quota",
    ),
    "the builder ends in ERROR": (
        lambda lab: lab.cloud.error_faults.update({"test-builder": "no host"}), CloudError, "no host",
    ),
    "the builder does not boot": (
        lambda lab: lab.cloud.never_boots.add("test-builder"), UnreachableError, "test-builder answers",
    ),
    "the play fails": (
        lambda lab: lab.plays.faults.update(prepare="a task failed"), PlaybookError, "a task failed",
    ),
    "the snapshot fails": (
        lambda lab: lab.cloud.image_faults.update(gold="killed"), CloudError, "image gold is killed",
    ),
    "the image does not boot": (
        lambda lab: lab.cloud.never_boots.add("test-proof"), UnreachableError, "test-proof answers",
    ),
    "the image has the builder's machine id": (
        lambda lab: lab.plays.faults.update(clean="not done"), RefusedError, "machine id is the builder's",
    ),
    "something has come back": (
        lambda lab: lab.plays.faults.update(prove="munge key"), PlaybookError, "munge key",
    ),
    "the node has a job": (
        lambda lab: lab.node_refused.append("in use"), RefusedError, "in use",
    ),
    "the node gets a job while its disk is copied": (
        lambda lab: lab.node_refused.extend(["", "in use"]), RefusedError, "in use",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_build_that_fails_says_why_and_leaves_nothing(lab: Lab, name: str) -> None:
    fault, error, words = FAULTS[name]
    # A server that never has a host key is as good as one that never boots.
    fault(lab)
    with pytest.raises(error, match=words):
        lab.build(FROM_NODE).run()
    assert any(text.startswith("failed: ") and words in text for text in lab.said)
    assert lab.left() == []
    assert lab.cloud.server(lab.node)


def interrupted(error: type[BaseException], order: Order, *, tidy: bool) -> None:
    """Interrupt a build at each of its waits; the next one must find nothing in its way."""
    for number in range(1, 200):
        lab = Lab()

        def at(count: int, number: int = number) -> None:
            if count == number:
                raise error

        lab.at_wait = at
        work = lab.build(order)
        if not tidy:
            work._clean_up = lambda _: None  # type: ignore[method-assign]
        try:
            work.run()
        except error:
            if tidy:
                assert lab.left() == [], number
            lab.build(order).run()
            assert lab.left() == ["gold"], number
        else:
            assert number > 10
            return
    pytest.fail("the build never comes to its end")


@pytest.mark.parametrize("order", [FROM_BASE, FROM_NODE], ids=["base", "node"])
def test_ctrl_c_at_any_moment_leaves_nothing(order: Order) -> None:
    interrupted(KeyboardInterrupt, order, tidy=True)


@pytest.mark.parametrize("order", [FROM_BASE, FROM_NODE], ids=["base", "node"])
def test_what_a_killed_build_left_is_removed_by_the_next(order: Order) -> None:
    interrupted(Killed, order, tidy=False)


def test_a_dry_run_names_what_was_left(lab: Lab) -> None:
    lab.at_wait = lambda count: (_ for _ in ()).throw(Killed()) if count == 2 else None
    work = lab.build()
    work._clean_up = lambda _: None  # type: ignore[method-assign]
    with pytest.raises(Killed):
        work.run()
    assert [left.split(" (")[0] for left in lab.build().leftovers()] == ["server test-builder"]


def test_a_cloud_that_is_away_is_said_and_the_first_error_kept(lab: Lab) -> None:
    def away(count: int) -> None:
        lab.cloud.unreachable = "no route to the API"

    lab.at_wait = away
    with pytest.raises(CloudError, match="no route"):
        lab.build().run()
    assert "The next image build removes what is left." in lab.said[-1]
    lab.cloud.unreachable, lab.at_wait = "", lambda count: None
    lab.build().run()
    assert lab.left() == ["gold"]


def test_only_our_own_leftovers_are_removed(lab: Lab) -> None:
    node = NodeSpec("x", "", "", "default", "small", "", "10.0.9.9")
    lab.cloud.create(TerraformNode(node, ""), frozenset({"cluster=other", BUILDER_TAG}))
    lab.cloud.add_image(Image("theirs", properties={CLUSTER: "other", ROLE: BUILDING}))
    lab.build().run()
    assert lab.left() == ["x", "theirs", "gold"]


def test_an_image_of_that_name_is_not_replaced(lab: Lab) -> None:
    lab.build().run()
    with pytest.raises(ConfigError, match="gold already"):
        lab.build().run()
    assert lab.left() == ["gold"]
