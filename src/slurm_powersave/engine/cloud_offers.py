"""What the clouds offer: images and flavors, asked for once where many nodes need the same answer."""

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar, cast

from slurm_powersave.model.errors import CloudError, FailureClass
from slurm_powersave.model.nodes import Flavor
from slurm_powersave.model.timing import USUAL, Timing
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.cloud import Cloud

Answer = TypeVar("Answer")


class CloudOffers:
    """Answers of a moment ago; what went wrong is never kept."""

    def __init__(self, clouds: Mapping[str, Cloud], clock: Clock, timing: Timing = USUAL) -> None:
        self._clouds, self._clock, self._timing = clouds, clock, timing
        self._held: dict[tuple[str, ...], tuple[float, object]] = {}

    def ref(self, cloud: str, attribute: str, name: str) -> str:
        """Return what a cloud calls an image or a flavor now; its name if there is no adapter to ask.

        Raises:
            CloudError: the cloud does not have it, or can't be asked.
        """
        adapter = self._clouds.get(cloud)
        if adapter is None:
            return name
        ask = adapter.image_id if attribute == "image" else adapter.flavor_id
        return self._once((cloud, attribute, name), lambda: ask(name))

    def images(self, cloud: str, wanted: Collection[str] = ()) -> frozenset[str] | None:
        """Return the names of the images that a server can be made from; None without an adapter.

        One that is wanted need not be in the cloud's list: an id leads to a community or hidden image, too.

        Raises:
            CloudError: it can't be asked.
        """
        adapter = self._clouds.get(cloud)
        if adapter is None:
            return None
        listed = self._once((cloud, "images"), adapter.images)
        return listed | {name for name in wanted if name not in listed and self._is_there(cloud, name)}

    def _is_there(self, cloud: str, image: str) -> bool:
        try:
            return bool(self.ref(cloud, "image", image))
        except CloudError as error:
            if error.failure is FailureClass.CONFIG:
                return False
            raise

    def flavors(self, cloud: str) -> Mapping[str, Flavor] | None:
        """Return the flavors by name; None without an adapter.

        Raises:
            CloudError: it can't be asked.
        """
        adapter = self._clouds.get(cloud)
        return None if adapter is None else self._once((cloud, "flavors"), adapter.flavors)

    def _once(self, key: tuple[str, ...], ask: Callable[[], Answer]) -> Answer:
        taken, answer = self._held.get(key, (None, None))
        if taken is None or self._clock.monotonic() - taken >= self._timing.offers_age:
            answer, now = ask(), self._clock.monotonic()
            self._held = {
                one: held for one, held in self._held.items() if now - held[0] < self._timing.offers_age
            }
            self._held[key] = now, answer
        return cast(Answer, answer)
