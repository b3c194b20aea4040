"""What `reimage --outdated` says: before, when it is interrupted, and at its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from slurm_powersave.decide.node.rollout import Member, Standing
from slurm_powersave.model.hostlist import fold

if TYPE_CHECKING:
    from slurm_powersave.commands.rollout import Rollout


def plan_lines(rollout: Rollout) -> Iterator[str]:
    """Say what will be done, pool by pool; what is skipped, and why."""
    for pool, limit in rollout.unavailable_limits().items():
        of = _by_standing(rollout, pool)
        coming = [node for one in _COMING for node in of[one] if rollout.drift(node).image.differs]
        if not coming:
            yield f"pool {pool}: no node that is up has another image than {_image(rollout, pool)}"
        else:
            olds = dict.fromkeys(rollout.drift(node).image.text("image") for node in coming)
            yield f"pool {pool}: {', '.join(olds)}: {_nodes(coming)}, at most {limit} at a time"
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
        for one in rollout.of(Standing.SKIPPED):
            if one.pool == pool:
                yield f"  skipped: {one.node}: {one.why}"
        for node, text in _flavors(rollout, pool).items():
            yield f"  not changed by this: {node}: {text} (slurm-powersave reboot {node} --flavor NAME)"


def plan_value(rollout: Rollout) -> dict[str, Any]:
    """Return the same for JSON."""
    return {
        "pools": [
            {
                "pool": pool,
                "image": _image(rollout, pool),
                "at_most": limit,
                **{one.value.replace(" ", "_"): nodes for one, nodes in _by_standing(rollout, pool).items()},
                "skipped": {one.node: one.why for one in rollout.of(Standing.SKIPPED) if one.pool == pool},
                "flavors": _flavors(rollout, pool),
            }
            for pool, limit in rollout.unavailable_limits().items()
        ]
    }


def left_lines(rollout: Rollout) -> Iterator[str]:
    """Say what goes on without this command."""
    waiting = set(rollout.waiting)
    working = {op.node for op in rollout.followed.values() if not op.outcome} - waiting
    if working:
        yield f"goes on: {fold(sorted(working))} (slurm-powersave follow)"
    if waiting:
        nodes = fold(sorted(waiting))
        yield f"goes on when its jobs have ended: {nodes} (scontrol cancel_reboot {nodes} calls it off)"
    if rollout.unplanned:
        yield "a request waits for the engine"


def end_lines(rollout: Rollout) -> Iterator[str]:
    """Say how it has ended, beyond the last line of progress."""
    for part, why in rollout.refusals.items():
        yield f"refused: {part}: {why}"
    for op in rollout.called_off:
        yield f"called off: {op.node}: {op.text}"
    for one in rollout.of(Standing.SKIPPED):
        yield f"skipped: {one.node}: {one.why}"
    if off := rollout.of(Standing.OFF):
        yield f"powered down: {_nodes(_names(off))}; the next resume takes the image"
    if rollout.unchanged:
        yield (
            f"still with another image: {fold(rollout.unchanged)}; does the engine know the cluster file as"
            " it is now?"
        )
    if rollout.stopping:
        failed = fold(sorted({op.node for op in rollout.failures} | set(rollout.refusals)))
        left = f"; not asked for: {fold(rollout.left)}" if rollout.left else ""
        yield f"stopped, because it failed on {failed}{left}"


def end_value(rollout: Rollout) -> dict[str, Any]:
    """Return what became of it for JSON."""
    progress = rollout.progress()
    return {
        "total": progress.total,
        "done": progress.done,
        "failed": {op.node: op.text for op in rollout.failures} | rollout.refusals,
        "called_off": {op.node: op.text for op in rollout.called_off},
        "waiting": sorted(rollout.waiting),
        "left": rollout.left,
        "unchanged": rollout.unchanged,
        "skipped": {one.node: one.why for one in rollout.of(Standing.SKIPPED)},
        "off": _names(rollout.of(Standing.OFF)),
    }


_COMING = (Standing.IDLE, Standing.BUSY, Standing.UNDER_WAY, Standing.CHANGING)


def _by_standing(rollout: Rollout, pool: str) -> dict[Standing, list[str]]:
    return {one: _names(m for m in rollout.of(one) if m.pool == pool) for one in (*_COMING, Standing.OFF)}


def _names(members: Iterable[Member]) -> list[str]:
    return [one.node for one in members]


def _nodes(names: list[str]) -> str:
    return f"{len(names)} node{'s' * (len(names) != 1)} ({fold(names)})"


def _image(rollout: Rollout, pool: str) -> str:
    return rollout.cluster.pool(pool).image


def _flavors(rollout: Rollout, pool: str) -> dict[str, str]:
    texts = {node: rollout.drift(node).flavor.text("flavor") for node in rollout.cluster.nodes_of(pool)}
    return {node: text for node, text in texts.items() if text}
