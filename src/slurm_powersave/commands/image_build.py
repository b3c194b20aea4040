"""One image build: a builder, a snapshot, a server that proves it. Every step waits for the cloud to say so.

The servers and the unfinished images carry a mark. A build begins by removing what carries it, so that one
which was killed, at whatever moment, leaves nothing that the next one does not take away.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from slurm_powersave.commands.act_records import Acts
from slurm_powersave.decide.commands import images
from slurm_powersave.decide.node import guard
from slurm_powersave.model.errors import (
    CloudError,
    FailureClass,
    PowersaveError,
    RefusedError,
    UnreachableError,
)
from slurm_powersave.model.images import BUILDER_TAG, READY, ROLE, Image, Look, NewServer
from slurm_powersave.model.nodes import Server
from slurm_powersave.model.permit import Act, Permit
from slurm_powersave.ports.clock import Clock
from slurm_powersave.ports.images import ImageCloud, ImagePlays

T = TypeVar("T")

POLL = 0.3
"""Seconds between two questions to the cloud."""
CHANGE_SECONDS = 300.0
"""For a create, a power-off or a delete; Nova itself powers off by force after 60 s."""
SNAPSHOT_SECONDS = 3600.0
"""A disk of many GiB goes to Glance over the network."""


@dataclass
class Build:
    """What a build works with, and what it has come to."""

    order: images.Order
    cloud: ImageCloud
    plays: ImagePlays
    clock: Clock
    wait: Callable[[float], None]
    say: Callable[[str], None]
    check_node: Callable[[], Server]
    """For an order with a node: return its server, or raise RefusedError if it may not be copied."""
    key_pair: str
    roles: Mapping[str, str]
    boot_seconds: float
    acts: Acts
    seconds: dict[str, float] = field(default_factory=dict)
    """What each step took."""

    def steps(self) -> list[tuple[str, str, Callable[[], None]]]:
        """Name the steps, each with what it does in words, and the method that does it."""
        order = self.order
        return [
            *(
                [("copy", f"copy the disk of {order.node} to image {order.disk}", self._copy)]
                if order.node
                else []
            ),
            (
                "start",
                f"start {order.builder} ({order.flavor}, {order.address}) from {order.origin}",
                self._start,
            ),
            (
                "prepare",
                "configure it, remove what identifies it, check that nothing of that is left",
                self._prepare,
            ),
            ("stop", f"stop {order.builder}", self._stop),
            ("snapshot", f"take the snapshot {order.name}", self._snapshot),
            ("remove", f"delete {order.builder}", self._remove),
            ("boot", f"boot {order.proof} from {order.name}", self._boot),
            ("prove", "check what it says of itself, and that nothing has come back", self._prove),
            ("finish", f"delete {order.proof}, and mark {order.name} as ready", self._finish),
        ]

    def leftovers(self) -> list[str]:
        """Name what an interrupted build has left."""
        servers = [f"server {one.name} ({one.id})" for one in self.cloud.servers() if images.is_builder(one)]
        cluster = self.order.cluster
        unfinished = [image for image in self.cloud.list_images() if images.unfinished(image, cluster)]
        return servers + [f"image {image.name}" for image in unfinished]

    def run(self) -> Mapping[str, Any]:
        """Build; return what the image says of itself. Whatever goes wrong, nothing is left of it.

        Raises:
            PowersaveError: what failed.
        """
        self._sweep()
        images.refuse_images(self.order, self.cloud.list_images())
        self._before: list[Look] = []
        self._server: Server | None = None
        self._provenance: Mapping[str, Any] = {}
        try:
            for name, text, step in self.steps():
                began = self.clock.monotonic()
                self.say(text)
                step()
                self.seconds[name] = round(self.clock.monotonic() - began, 1)
        except BaseException as error:  # Ctrl-C, too
            self._clean_up(error)
            raise
        return self._provenance

    # The steps

    def _copy(self) -> None:
        server = self.check_node()
        self._snapshot_of(server, self.order.disk)
        again = self.check_node()  # Slurm may have given it a job in the meantime
        if again.id != server.id:
            raise RefusedError("it has another server now", where=f"node {self.order.node}")

    def _start(self) -> None:
        self._server = self._boot_from(
            self.order.disk if self.order.node else self.order.base, self.order.builder
        )
        self._before.append(self.plays.look(self._server))

    def _prepare(self) -> None:
        self.plays.prepare(self._known(), self.order.provenance(self.clock.wall(), self.roles))

    def _stop(self) -> None:
        server = self._known()
        self.cloud.stop_server(server.id, self._permit(server, Act.STOP))
        self._until(f"{server.name} is off", CHANGE_SECONDS, lambda: self._in(server, "SHUTOFF"))

    def _snapshot(self) -> None:
        self._snapshot_of(self._known(), self.order.name)

    def _remove(self) -> None:
        self._delete(self._known())
        if self.order.node:
            self.cloud.delete_image(self.order.disk)

    def _boot(self) -> None:
        self._server = self._boot_from(self.order.name, self.order.proof)

    def _prove(self) -> None:
        server = self._known()
        look = self.plays.look(server)
        if wrong := images.alike(self._before, look, self.order.name):
            raise RefusedError(f"the image is not fit for nodes: {'; '.join(wrong)}", where=self.order.name)
        self.plays.prove(server)
        self._provenance = look.provenance

    def _finish(self) -> None:
        self._delete(self._known())
        self.cloud.update_image_properties(self.order.name, {ROLE: READY})

    # What they are made of

    def _boot_from(self, image: str, name: str) -> Server:
        order = self.order
        tags = frozenset({BUILDER_TAG, f"pool={order.pool}"})
        server_id = self.cloud.create_server(
            NewServer(name, image, order.flavor, order.address, order.zone, self.key_pair, tags)
        )
        made = Server(server_id, name, "BUILD", order.address)
        self._until(f"{name} is there", CHANGE_SECONDS, lambda: self._in(made, "ACTIVE"))

        def answers() -> Server | None:
            found = self._in(made, "ACTIVE")
            return found if found and found.host_key and self.plays.reachable(found) else None

        return self._until(f"{name} answers on {order.address}", self.boot_seconds, answers)

    def _snapshot_of(self, server: Server, name: str) -> None:
        self.cloud.create_image_snapshot(server.id, name, self.order.properties())

        def active() -> Image | None:
            found = next((image for image in self.cloud.list_images() if image.name == name), None)
            if found is None or found.status in ("killed", "error", "deleted"):
                status = found.status if found else "gone"
                raise CloudError(f"the snapshot failed: image {name} is {status}")
            return found if found.status == "active" else None

        self._until(f"image {name} is active", SNAPSHOT_SECONDS, active)

    def _delete(self, server: Server) -> None:
        self.cloud.delete(server.id, self._permit(server, Act.DELETE))
        self._until(
            f"{server.name} is gone", CHANGE_SECONDS, lambda: self.cloud.server(server.id) is None or None
        )
        self._server = None

    def _permit(self, server: Server, act: Act) -> Permit:
        """Ask the guard, by what the cloud says of the server now."""
        found = self.cloud.server(server.id)
        permit = guard.granted(guard.builder(found or server, act, self.order.cluster))
        self.acts.record([permit])
        return permit

    def _in(self, server: Server, status: str) -> Server | None:
        """Return the server if it is in a status; None if not yet."""
        found = self.cloud.server(server.id)
        if found is None or found.status == "ERROR":
            raise CloudError(
                f"{server.name} ({server.id}) is {'in ERROR' if found else 'gone'}",
                failure=FailureClass.NODE_LOCAL,
                why=found.fault if found else "",
            )
        return found if found.status == status else None

    def _known(self) -> Server:
        assert self._server
        return self._server

    def _until(self, what: str, seconds: float, done: Callable[[], T | None]) -> T:
        end = self.clock.monotonic() + seconds
        while (found := done()) is None:
            if self.clock.monotonic() > end:
                raise UnreachableError(f"timed out after {seconds:.0f} s of waiting until {what}")
            self.wait(POLL)
        return found

    def _sweep(self) -> None:
        """Remove what an interrupted build has left; servers first, they use the images."""
        for server in [one for one in self.cloud.servers() if images.is_builder(one)]:
            self.say(f"removing server {server.name} ({server.id})")
            self._delete(server)
        for image in self.cloud.list_images():
            if images.unfinished(image, self.order.cluster):
                self.say(f"removing image {image.name}")
                self.cloud.delete_image(image.name)

    def _clean_up(self, error: BaseException) -> None:
        self.say("interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error}")
        try:
            self._sweep()
        except PowersaveError as second:
            self.say(f"{second}\n  The next image build removes what is left.")
