"""What clouds offer is asked once for many nodes, and again soon."""

import pytest

from slurm_powersave.engine.cloud_offers import CloudOffers
from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.timing import USUAL
from slurm_powersave.testing.world import MemoryWorld


def test_a_batch_of_many_nodes_asks_the_cloud_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(50)
    image_id, asked = world.cloud.image_id, []

    def counted(name: str) -> str:
        asked.append(name)
        return image_id(name)

    monkeypatch.setattr(world.cloud, "image_id", counted)
    world.slurm.submit(*world.cluster.nodes())
    world.run(5)
    assert len(world.cloud.alive()) == 50
    assert asked == ["default"]


def test_an_answer_grows_old_and_an_error_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    world = MemoryWorld.of(1)
    known = CloudOffers({"mem": world.cloud}, world.clock)
    answers: list[str | CloudError] = [
        CloudError("hangs", failure=FailureClass.UNKNOWN),
        "first",
        "second",
    ]

    def image_id(name: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, CloudError):
            raise answer
        return answer

    monkeypatch.setattr(world.cloud, "image_id", image_id)
    with pytest.raises(CloudError, match="hangs"):
        known.ref("mem", "image", "default")
    assert known.ref("mem", "image", "default") == "first"
    world.clock.advance(USUAL.offers_age - 0.1)
    assert known.ref("mem", "image", "default") == "first"
    world.clock.advance(0.1)
    assert known.ref("mem", "image", "default") == "second"


def test_a_cloud_without_an_adapter_is_taken_at_its_word() -> None:
    known = CloudOffers({}, MemoryWorld.of(1).clock)
    assert known.ref("elsewhere", "image", "default") == "default"
    assert known.images("elsewhere") is None and known.flavors("elsewhere") is None
