"""What `deploy` may do to what exists: login node, storage, network, and all else in the base state. Pure.

The base state's root module may be a site's own, with resources of any kind. So the check does not depend on
the kind: a plan that deletes, replaces, rebuilds, resizes, stops, forgets or moves anything is refused. There
are two exceptions. The login node alone is replaced if a person has typed its name. Before the cluster was
ever in service, a resource whose creation has failed is created again.
Format of the JSON: https://developer.hashicorp.com/terraform/internals/json-format
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slurm_powersave.decide.commands.base_change import ADDRESS, REBUILD, STOPS, Change
from slurm_powersave.decide.node.plan_guard import whole
from slurm_powersave.model.errors import RefusedError

_PUT_BACK = "Put the old value back in the cluster file."
_TEARDOWN = (
    f"{_PUT_BACK} If the new value is needed, the whole cluster has to be made again: "
    "`slurm-powersave teardown`, then `deploy`."
)
_BY_HAND = (
    "Put the setting that asks for it back in the cluster file. If it is no longer wanted, delete it by hand "
    "in the cloud when nobody uses it any more; then run deploy again."
)
_TAINTED = (
    "Tainted: its creation has failed, or somebody ran `terraform taint`. If it works, run "
    "`terraform untaint ADDRESS` in the state's directory. If it does not, delete it by hand in the cloud; "
    "the next deploy creates it again."
)
_RESIZE = (
    "Put the old flavor back in the cluster file. Or resize the server in the cloud when nobody uses it; the "
    "next deploy then has nothing to change there."
)
_DEPOSED = "If nobody uses it any more, run `terraform apply` in the state's directory, which deletes it."
_MOVED = "If this is intended, run `terraform state mv` by hand in the state's directory, then deploy again."
_FORGOTTEN = "If this is intended, run `terraform state rm` by hand in the state's directory."
_NODE = (
    "Compute nodes are changed by `slurm-powersave resize`, `reimage`, `reboot` and `suspend`, "
    "never by deploy."
)
_UNREADABLE = "Look at it with `slurm-powersave terraform plan`."


@dataclass(frozen=True)
class Known:
    """What is known about a cluster before its base state is planned."""

    login_id: str = ""
    """The id of the login node's server; empty: there is none yet."""
    login_at: str = ""
    """Its resource address; empty: it is not in the state, for example after an interrupted replacement."""
    login_name: str = ""
    login_ip: str = ""
    """The IP address that it has now; the cluster file may already say another one."""
    nodes: frozenset[str] = frozenset()
    """Names of the compute nodes."""
    servers: frozenset[str] = frozenset()
    """Ids of their servers."""
    wanted: Mapping[str, object] = field(default_factory=dict)
    """Key of the cluster file -> its value, to name the key that causes a change."""
    serving: bool = True
    """The cluster is, or may be, in service."""


@dataclass(frozen=True)
class Loss:
    """One change that is refused: something would be lost, or the change is not understood."""

    address: str
    text: str
    right: str
    """What the person can do instead."""

    def __str__(self) -> str:
        return f"{self.address} {self.text}"


def losses(plan: Mapping[str, Any], known: Known, *, replace_login: bool = False) -> list[Loss]:
    """Return each change of a plan that is refused; with an empty list the plan may be applied."""
    known = replace(known, login_at=known.login_at or _login_at(plan))
    found = [Loss(one.address, f"is not understood: {one.text}", _UNREADABLE) for one in whole(plan)]
    replaced = False
    for content in plan.get("resource_changes") or []:
        change = Change.of(content)
        if change is None:
            found.append(Loss("plan", "holds a change that can't be read", _UNREADABLE))
        elif node := _node(change, known):
            found += _of_a_node(change, node)
        elif replace_login and _makes_login_anew(change, known):
            replaced = True
        elif loss := _loss(change, known, replace_login=replace_login):
            found.append(loss)
    if replace_login and not replaced:
        text = "is not replaced by this plan, though --replace-login asks for it"
        found.append(Loss(known.login_at or "the login node", text, _UNREADABLE))
    return found


def refuse_losses(found: Sequence[Loss], where: str) -> None:
    """Refuse a plan with such changes.

    Raises:
        RefusedError: it names each change, what causes it, and what to do instead.
    """
    if found:
        rights = dict.fromkeys(loss.right for loss in found)
        raise RefusedError(
            "the plan is refused, and nothing was changed: deploy deletes and replaces nothing that exists",
            where=where,
            why="".join(f"\n  {loss}" for loss in found).strip(),
            todo="\n  ".join(rights),
        )


def _node(change: Change, known: Known) -> str:
    """Name the compute node whose server this is; "?" where only its id is known."""
    tags = change.before.get("tags") or ()
    tagged = [str(tag)[5:] for tag in tags if str(tag).startswith("node=")] if isinstance(tags, list) else []
    if tagged:
        return tagged[0]
    if change.before.get("name") in known.nodes:
        return str(change.before["name"])
    return "?" if change.id in known.servers else ""


def _of_a_node(change: Change, node: str) -> list[Loss]:
    if change.nothing:
        return []
    which = "a compute node" if node == "?" else f"compute node {node}"
    return [Loss(change.address, f"is the server of {which}, and would be changed: {change.word}", _NODE)]


def _makes_login_anew(change: Change, known: Known) -> bool:
    if change.deposed or change.previous or not known.login_id:
        return False
    if change.creates:
        return change.address == known.login_at
    return change.replaces and _is_login(change, known)


def _is_login(change: Change, known: Known) -> bool:
    """Tell whether it is the login node, or what an interrupted replacement has left in its place."""
    return (bool(known.login_id) and known.login_id == change.id) or (
        change.tainted and change.address == known.login_at
    )


def _login_at(plan: Mapping[str, Any]) -> str:
    """Return the resource whose id becomes the output `login.id`, as the configuration in the plan says."""
    place: Any = plan
    for key in ("configuration", "root_module", "outputs", "login", "expression", "references"):
        place = place.get(key) if isinstance(place, Mapping) else None
    found = [str(name) for name in place or () if str(name).endswith(".id")]
    return found[0].removesuffix(".id") if found else ""


def _loss(change: Change, known: Known, *, replace_login: bool) -> Loss | None:
    if change.deposed:
        text = f"{change.thing}: its deposed object {change.deposed} would be deleted"
        return Loss(change.address, text, _DEPOSED)
    if change.replaces or change.deletes:
        failed = change.replaces and change.tainted and not known.serving
        return None if failed else _gone(change, known)
    if change.previous:
        text = f"{change.thing} would be moved here from {change.previous} in the state"
        return Loss(change.address, text, _MOVED)
    if change.nothing:
        return None
    if change.creates:
        return _made_again(change, known)
    if change.updates:
        return _changed(change, known, replace_login=replace_login)
    if change.forgets:
        return Loss(change.address, f"{change.thing} would be removed from the state", _FORGOTTEN)
    return Loss(change.address, f"{change.thing}: unknown action {change.word!r}", _UNREADABLE)


def _gone(change: Change, known: Known) -> Loss:
    verb = "replaced" if change.replaces else "deleted"
    text = f"{change.thing} would be {verb}: {change.because(known.wanted)}"
    if _is_login(change, known):
        right = f"{_TAINTED} {_anew(known)}" if change.tainted else _login(known)
    elif change.tainted:
        right = _TAINTED
    else:
        right = _TEARDOWN if change.replaces else _BY_HAND
    return Loss(change.address, text, right)


def _login(known: Known) -> str:
    return f"{_PUT_BACK} {_anew(known)}"


def _anew(known: Known) -> str:
    return (
        "To replace the login node by a new one, while no job is queued or running: "
        f"`slurm-powersave deploy --replace-login {known.login_name}`."
    )


def _made_again(change: Change, known: Known) -> Loss | None:
    """Refuse a new login node for one that the cloud does not show: it may still run in another project."""
    if not (known.serving and known.login_id and change.address == known.login_at):
        return None
    text = f"({known.login_name}, {known.login_id}) is gone from the cloud, and would be created anew"
    right = f"Look for it in the cloud: the credential may be another project's. {_anew(known)}"
    return Loss(change.address, text, right)


def _changed(change: Change, known: Known, *, replace_login: bool) -> Loss | None:
    """Refuse a change in place that whoever uses the thing would notice: it is rebuilt, stopped or moved."""
    if not known.serving:
        return None
    login_ip = change.holds(known.login_ip)
    if keys := change.touched(REBUILD):
        right = _login(known) if change.id == known.login_id else _TEARDOWN
        return _in_place(change, known, "be rebuilt, and its disk made anew", keys, right)
    if keys := change.touched(STOPS):
        return _in_place(change, known, "be stopped and resized", keys, _RESIZE)
    if change.switches_off:
        return _in_place(change, known, "be stopped", ("power_state",), _PUT_BACK)
    if replace_login and login_ip:
        return None  # The address moves with the login node.
    if keys := change.touched(ADDRESS):
        return _in_place(change, known, "lose its address", keys, _login(known) if login_ip else _TEARDOWN)
    return None


def _in_place(change: Change, known: Known, what: str, keys: Sequence[str], right: str) -> Loss:
    text = f"{change.thing} would {what}: {change.differences(keys, known.wanted)}"
    return Loss(change.address, text, right)
