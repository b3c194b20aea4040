"""What `reimage --outdated` says: before, when it is interrupted, and at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from slurm_powersave.decide.node.rollout import Member, Standing
from slurm_powersave.model.hostlist import fold

if TYPE_CHECKING:
    from slurm_powersave.commands.rollout import Waves


def plan_lines(waves: Waves) -> Iterator[str]:
    """Say what will be done, pool by pool; what is skipped, and why."""
    for pool, window in waves.windows().items():
        of = _by_standing(waves, pool)
        coming = [node for one in _COMING for node in of[one] if waves.lag(node).image.differs]
        if not coming:
            yield f"pool {pool}: no node that is up has another image than {_image(waves, pool)}"
        else:
            olds = dict.fromkeys(waves.lag(node).image.text("image") for node in coming)
            yield f"pool {pool}: {', '.join(olds)}: {_nodes(coming)}, at most {window} at a time"
        if of[Standing.IDLE]:
            yield f"  idle, first: {fold(of[Standing.IDLE])}"
        if of[Standing.BUSY]:
            yield (
                f"  in use: {fold(of[Standing.BUSY])}; Slurm gives them no more jobs and waits for those"
                " that they have, and meanwhile they count"
            )
        if of[Standing.UNDER_WAY]:
            yield f"  under way already: {fold(of[Standing.UNDER_WAY])}"
        if of[Standing.OFF]:
            yield f"  powered down: {_nodes(of[Standing.OFF])}; the next resume takes the image"
        for one in waves.of(Standing.SKIPPED):
            if one.pool == pool:
                yield f"  skipped: {one.node}: {one.why}"
        for node, text in _flavors(waves, pool).items():
            yield f"  not changed by this: {node}: {text} (slurm-powersave reboot {node} --flavor NAME)"


def plan_value(waves: Waves) -> dict[str, Any]:
    """Return the same for JSON."""
    return {
        "pools": [
            {
                "pool": pool,
                "image": _image(waves, pool),
                "at_most": window,
                **{one.value.replace(" ", "_"): nodes for one, nodes in _by_standing(waves, pool).items()},
                "skipped": {one.node: one.why for one in waves.of(Standing.SKIPPED) if one.pool == pool},
                "flavors": _flavors(waves, pool),
            }
            for pool, window in waves.windows().items()
        ]
    }


def left_lines(waves: Waves) -> Iterator[str]:
    """Say what goes on without this command."""
    waiting = set(waves.waiting)
    working = {op.node for op in waves.followed.values() if not op.outcome} - waiting
    if working:
        yield f"goes on: {fold(sorted(working))} (slurm-powersave follow)"
    if waiting:
        nodes = fold(sorted(waiting))
        yield f"goes on when its jobs have ended: {nodes} (scontrol cancel_reboot {nodes} calls it off)"
    if waves.unplanned:
        yield "a request waits for the engine"


def end_lines(waves: Waves) -> Iterator[str]:
    """Say how it has ended, beyond the last line of progress."""
    for part, why in waves.refusals.items():
        yield f"refused: {part}: {why}"
    for op in waves.called_off:
        yield f"called off: {op.node}: {op.text}"
    for one in waves.of(Standing.SKIPPED):
        yield f"skipped: {one.node}: {one.why}"
    if off := waves.of(Standing.OFF):
        yield f"powered down: {_nodes(_names(off))}; the next resume takes the image"
    if waves.unchanged:
        yield (
            f"still with another image: {fold(waves.unchanged)}; does the engine know the cluster file as it"
            " is now?"
        )
    if waves.stopping:
        failed = fold(sorted({op.node for op in waves.failures} | set(waves.refusals)))
        left = f"; not asked for: {fold(waves.left)}" if waves.left else ""
        yield f"stopped, because it failed on {failed}{left}"


def end_value(waves: Waves) -> dict[str, Any]:
    """Return what became of it for JSON."""
    progress = waves.progress()
    return {
        "total": progress.total,
        "done": progress.done,
        "failed": {op.node: op.text for op in waves.failures} | waves.refusals,
        "called_off": {op.node: op.text for op in waves.called_off},
        "waiting": sorted(waves.waiting),
        "left": waves.left,
        "unchanged": waves.unchanged,
        "skipped": {one.node: one.why for one in waves.of(Standing.SKIPPED)},
        "off": _names(waves.of(Standing.OFF)),
    }


_COMING = (Standing.IDLE, Standing.BUSY, Standing.UNDER_WAY, Standing.CHANGING)


def _by_standing(waves: Waves, pool: str) -> dict[Standing, list[str]]:
    return {one: _names(m for m in waves.of(one) if m.pool == pool) for one in (*_COMING, Standing.OFF)}


def _names(members: Iterable[Member]) -> list[str]:
    return [one.node for one in members]


def _nodes(names: list[str]) -> str:
    return f"{len(names)} node{'s' * (len(names) != 1)} ({fold(names)})"


def _image(waves: Waves, pool: str) -> str:
    return waves.cluster.pool(pool).image


def _flavors(waves: Waves, pool: str) -> dict[str, str]:
    texts = {node: waves.lag(node).flavor.text("flavor") for node in waves.cluster.nodes_of(pool)}
    return {node: text for node, text in texts.items() if text}
