"""What must hold when the engine has come to rest, and a fuse that kills it in mid-step."""

import errno
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from slurm_powersave.model.errors import JournalError
from slurm_powersave.model.nodes import Operation
from slurm_powersave.testing.world import MemoryWorld

OUTCOMES = {"done", "failed", "refused", "cancelled", "joined"}


def servers(world: MemoryWorld) -> dict[str, list[str]]:
    """Node -> ids of its servers, past the cloud's faults."""
    found: dict[str, list[str]] = defaultdict(list)
    for held in world.cloud._servers.values():
        if world.cloud._alive(held) and "slurm-powersave" in held.server.tags:
            found[held.server.name].append(held.server.id)
    return dict(found)


def operations(world: MemoryWorld, node: str) -> list[Operation]:
    """A node's operations, oldest first."""
    return world.journal.history(node, 1000)[::-1]


def outcomes(world: MemoryWorld, node: str) -> list[tuple[str, str]]:
    """(mode, outcome) of a node's operations, oldest first."""
    return [(op.mode.value, op.outcome) for op in operations(world, node)]


def assert_one_outcome_each(world: MemoryWorld) -> None:
    """Every request is planned, and every operation of it has ended once."""
    assert not world.journal.unplanned_requests()
    assert not world.journal.open_operations()
    for op in world.journal.history(limit=100_000):
        ends = [phase.phase for phase in op.phases if phase.phase in OUTCOMES]
        assert op.outcome in OUTCOMES and ends == [op.outcome], op


def assert_agreed(world: MemoryWorld) -> None:
    """Slurm, cloud, states, maps and journal are of one mind: a `terraform plan` says "No changes"."""
    real = servers(world)
    up = {name for name in world.cluster.nodes() if world.slurm.node(name).up}
    assert set(real) == up, "servers are there for exactly the nodes that Slurm counts as up"
    assert all(len(ids) == 1 for ids in real.values()), real
    in_states: dict[str, str] = {}
    for shard, state in world.terraform.states.items():
        assert set(state) == set(world.terraform.maps[shard]), (
            f"{shard}: state {set(state)} and map {set(world.terraform.maps[shard])} differ"
        )
        assert not any(server.tainted for server in state.values())
        for name, server in state.items():
            assert name not in in_states, f"{name} is in two states"
            in_states[name] = server.id
    assert in_states == {name: ids[0] for name, ids in real.items()}
    recorded = {
        name: record.server_id for name, record in world.journal.node_records().items() if record.server_id
    }
    assert recorded == in_states
    for name, record in world.journal.node_records().items():
        assert bool(record.shard) == (name in in_states), f"{name} is recorded in {record.shard or 'none'}"
    assert not world.journal.dirty_shards()
    assert not world.journal.runs()


def assert_at_rest(world: MemoryWorld) -> None:
    """All of the above."""
    assert_one_outcome_each(world)
    assert_agreed(world)


class Killed(BaseException):
    """SIGKILL, as far as a test can have one."""


_EFFECTS = {
    "journal": [
        "plan_request",
        "save_operation",
        "save_nodes",
        "save_node_backoff",
        "drop_node_backoff",
        "save_run",
        "drop_run",
        "set_dirty",
        "save_flavor_backoff",
        "drop_flavor_backoff",
        "save_seen",
        "add_act",
        "save_anchor",
        "move_backoffs",
    ],
    "slurm": ["update_nodes", "update_job"],
    "terraform": ["init", "write_nodes", "plan", "apply", "forget_servers"],
    "playbooks": ["configure"],
    "cloud": ["drop"],
}


TROUBLES: dict[str, tuple[int, type[sqlite3.Error], str]] = {
    "ENOSPC": (errno.ENOSPC, sqlite3.OperationalError, "database or disk is full"),
    "EIO": (errno.EIO, sqlite3.OperationalError, "disk I/O error"),
    "EROFS": (errno.EROFS, sqlite3.OperationalError, "attempt to write a readonly database"),
    "EMFILE": (errno.EMFILE, sqlite3.OperationalError, "unable to open database file"),
    "ENOMEM": (errno.ENOMEM, sqlite3.OperationalError, "out of memory"),
    "malformed": (errno.EIO, sqlite3.DatabaseError, "database disk image is malformed"),
}
"""What a host in trouble says: of its files, and SQLite of the same."""


def trouble(world: MemoryWorld, kind: str, part: str = "journal") -> Exception:
    """Make the error that a part of the engine meets."""
    number, said, text = TROUBLES[kind]
    if part != "journal":
        return OSError(number, os.strerror(number))
    try:
        with world.journal._with_our_errors():
            raise said(text)
    except JournalError as error:
        return error


class Fuse:
    """Ends the engine at its N-th effect on the journal or on the outside; 0: only counts.

    It is killed right after the effect, or meets an error (`kind`) right after it or in its place, or goes on
    after something has happened there (`halt`).
    """

    def __init__(self, world: MemoryWorld, at: int = 0, kind: str = "", *, instead: bool = False) -> None:
        self.world, self.at, self.count, self.armed = world, at, 0, True
        self.kind, self.instead = kind, instead
        self._halt: Callable[[], None] | None = None
        self.last = ""
        for part in _EFFECTS:
            self.watch(part)

    def watch(self, part: str) -> None:
        """Count the effects on a part of the world; once, and once more if it is another one."""
        target = getattr(self.world, part)
        for name in _EFFECTS[part]:
            setattr(target, name, self._wrap(f"{part}.{name}", getattr(target, name)))

    def light(self, after: int, kind: str, *, instead: bool) -> None:
        """Let an error come at the N-th effect from now on."""
        self.at, self.kind, self.instead, self.armed = self.count + after, kind, instead, True
        self._halt = None

    def halt(self, after: int, happens: Callable[[], None]) -> None:
        """Let something happen in mid-step, right after the N-th effect from now on."""
        self.light(after, "", instead=False)
        self._halt = happens

    def _wrap(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            blows = False
            if self.armed:
                self.count += 1
                self.last = name
                blows = self.count == self.at
                self.armed = not blows
            if blows and self.instead:
                self._end(name)
            result = original(*args, **named)
            if blows:
                self._end(name)
            return result

        return call

    def _end(self, name: str) -> None:
        if self._halt:
            self._halt()
            return
        if not self.kind:
            raise Killed
        raise trouble(self.world, self.kind, name.partition(".")[0])


def coarsely(world: MemoryWorld, seconds: float, step: float = 0.5) -> None:
    """`world.run` in longer steps: a story of minutes need not be told in tenths of a second."""
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        world.slurm.tick()
        world.step()
        world.clock.advance(step)


def run(world: MemoryWorld, seconds: float, step: float = 0.3) -> None:
    """Run, with a new engine whenever the fuse has blown, or an error was ordered."""
    end = world.clock.now() + seconds
    while world.clock.now() < end:
        try:
            world.run_on(end - world.clock.now(), step)
        except Killed:
            world.clock.advance(0.5)
            world.crash()
    assert not [error for error in world.errors if isinstance(error, AssertionError)], world.errors
