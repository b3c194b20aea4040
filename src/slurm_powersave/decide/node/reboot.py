"""What a reboot request comes to: the first word of the reason chooses. Pure.

`scontrol reboot ASAP nextstate=RESUME reason="WORDS" NODES`, with WORDS one of

    reboot                            a true reboot
    reimage [image=NAME] [replace]    a fresh disk: the pool's image, or the one named
    resize flavor=NAME                another flavor, the same disk

or anything else: reimage if the node's image is not its pool's, otherwise a true reboot. Slurm adds
" : reboot issued" to the reason (22.05.8), so the words can be read when it calls RebootProgram.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slurm_powersave.decide.flavor.lost_flavor import advice, lost
from slurm_powersave.decide.flavor.node_memory import fits
from slurm_powersave.decide.node import failure_policy
from slurm_powersave.model.errors import ConfigError
from slurm_powersave.model.modes import Kind
from slurm_powersave.model.nearest_name import did_you_mean
from slurm_powersave.model.nodes import Flavor, NodeFacts, NodeSpec, SlurmNode

ISSUED = " : reboot issued"
"""What Slurm 22.05 and 24.11 append to the reason."""
FORCE = "force"
"""The last word in an operator's request that lifts what protects a node from people."""
_KEYS = {"reimage": "image", "resize": "flavor"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]*", re.ASCII)


@dataclass(frozen=True)
class Wish:
    """What is to be done to a node, or why it can't be."""

    kind: Kind = Kind.REBOOT
    target: str = ""
    """The image or flavor; empty for a reboot."""
    refused: str = ""


def words(reason: str) -> str:
    """Return the operator's words of a reason; none are left of one that was blanked (": reboot issued")."""
    return f" {reason}".removesuffix(ISSUED).strip()


def asked(kind: Kind, target: str = "", *, force: bool = False) -> str:
    """Word an operator's request; `wish` reads it. `force`: also what somebody has set DOWN or DRAIN.

    Raises:
        ConfigError: the image or flavor has a name that can't stand in a reason.
    """
    if kind is Kind.REBOOT:
        return "reboot"
    command = "resize" if kind is Kind.RESIZE else "reimage"
    key = _KEYS[command]
    if target and not can_be_named(target):
        raise ConfigError(
            f"{target!r} can't be asked for",
            where=f"--{key}",
            why="it travels as one word in Slurm's Reason",
            todo="Letters, digits and . _ + : - , beginning with a letter or digit.",
        )
    named = [f"{key}={target}"] if target else []
    asked = (("replace", kind is Kind.REPLACE), (FORCE, force))
    return " ".join([command, *named, *(word for word, wanted in asked if wanted)])


def can_be_named(target: str) -> bool:
    """Tell whether an image or flavor has a name that can stand in a reason."""
    return bool(_NAME.fullmatch(target))


def wish(
    reason: str,
    node: NodeSpec,
    pool: NodeSpec,
    *,
    images: Collection[str] | None,
    flavors: Mapping[str, Flavor] | None,
    configured: NodeFacts | None,
) -> Wish:
    """Read a reason.

    Args:
        reason: as Slurm shows it, or an operator's words.
        node: what the node's server is.
        pool: what the cluster file wants of the node now.
        images: the cloud's images by name; None if it can't tell.
        flavors: the cloud's flavors; None if it can't tell.
        promised: what slurm.conf says of the node; None if that is not known.
    """
    if words(reason).endswith(ISSUED):
        reason = ""  # an earlier request's words: 24.11 keeps them, and adds to them once more
    first, *more = words(reason).split() or [""]
    command = first.rstrip(":,;").lower()
    named, wrong = _named(command, more)
    if wrong:
        return Wish(refused=wrong)
    if is_reboot(reason):
        return Wish()
    if command == "resize":
        return _resize(named, node, flavors, configured)
    if command == "reimage" or node.image != pool.image:
        kind = Kind.REPLACE if command == "reimage" and "replace" in more else Kind.REIMAGE
        target = named or pool.image
        if images is not None and target not in images:
            return Wish(refused=_unknown("image", target, images))
        return Wish(kind, target)
    return Wish()


def in_place(wish: Wish, node: NodeSpec, flavors: Mapping[str, Flavor] | None) -> Wish:
    """Refuse a change of a server whose flavor the cloud does not have any more."""
    if wish.kind in (Kind.REIMAGE, Kind.RESIZE) and (why := lost(node, flavors)):
        return Wish(refused=f"{why}, so the server can't be changed in place; {advice(node.name)}")
    return wish


def images(reason: str, pool: NodeSpec) -> frozenset[str]:
    """Name the images that a reason may come to."""
    first, *more = words(reason).split() or [""]
    named, _ = _named(first.rstrip(":,;").lower(), more)
    return frozenset({pool.image, named} - {""})


def _named(command: str, more: Collection[str]) -> tuple[str, str]:
    """Return the value of the command's own key, and what is wrong with the words."""
    key = _KEYS.get(command)
    if key is None:
        return "", ""
    found = [word.partition("=") for word in more if "=" in word]
    for name, _, value in found:
        if name != key:
            return "", f"{command} knows {key}=NAME, not {name}={value}"
        if not value:
            return "", f"{key}= wants a name"
    if len(found) > 1:
        return "", f"{command} takes one {key}"
    return (found[0][2] if found else ""), ""


def _resize(
    flavor: str, node: NodeSpec, flavors: Mapping[str, Flavor] | None, configured: NodeFacts | None
) -> Wish:
    if not flavor:
        return Wish(refused="resize wants flavor=NAME")
    if flavors is not None and flavor not in flavors:
        return Wish(refused=_unknown("flavor", flavor, flavors))
    if flavors is not None and configured is not None and not fits(size := flavors[flavor], configured):
        return Wish(
            refused=f"flavor {flavor} has {size.vcpus} CPUs and {size.ram} MiB; slurm.conf promises"
            f" {configured.cpus} and {configured.real_memory}"
        )
    if flavor == node.flavor:
        return Wish()
    return Wish(Kind.RESIZE, flavor)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    right = did_you_mean(name, known, f"the cloud has {', '.join(sorted(known)[:8]) or 'none'}")
    return f"the cloud has no {what} {name} ({right})"


def is_reboot(reason: str) -> bool:
    """Tell whether a reason asks for a true reboot, as slurmscripts/reboot-node.sh.j2 reads it.

    Where nobody gave a reason Slurm writes "Reboot ASAP" or "reboot requested" (22.05.8).
    """
    first, *more = words(reason).split() or [""]
    return first.rstrip(":,;").lower() == "reboot" and more not in (["ASAP"], ["requested"])


def is_command(reason: str) -> bool:
    """Tell whether a reason begins with one of our words: then it is a reboot's, and nobody's DRAIN."""
    return words(reason).partition(" ")[0].rstrip(":,;").lower() in {"reboot", *_KEYS}


def is_stale(node: SlurmNode) -> bool:
    """Tell whether a node in service shows a reason that has been served: ours, or a reboot's words."""
    if node.has("DRAIN", "DOWN", "FAIL", "REBOOT_REQUESTED", "REBOOT_ISSUED"):
        return False
    served = f" {node.reason}".endswith(ISSUED) and (is_command(node.reason) or not words(node.reason))
    return failure_policy.is_ours(node.reason) or served
