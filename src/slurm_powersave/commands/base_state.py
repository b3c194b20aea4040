"""Makes network, login node and storage (the base state) as the cluster file wants them, without any loss.

The plan is checked before the person is asked: what decide/commands/base_plan.py refuses is never applied.
Only this module and teardown apply a plan of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from slurm_powersave.commands import host_trust, unrecorded
from slurm_powersave.commands.act_records import Acts, acts_of
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.unrecorded import Orphans
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.commands import base_servers
from slurm_powersave.decide.commands.base_plan import Known, losses, refuse_losses
from slurm_powersave.decide.commands.lost_jobs import refuse_jobs
from slurm_powersave.decide.node import guard, plan_permits
from slurm_powersave.decide.slurm_files import storage
from slurm_powersave.model.errors import ConfigError, SlurmError
from slurm_powersave.model.outside_text import NODE_NAME, address, matching
from slurm_powersave.model.permit import Row
from slurm_powersave.ports.site import Site
from slurm_powersave.ports.terraform_directory import Planned, TerraformDirectory

_VARIABLES = "base.auto.tfvars.json"


@dataclass(frozen=True)
class Wish:
    """What the person has allowed beyond --yes."""

    replace_login: str = ""
    """The login node's name, typed by the person: this server may be replaced."""
    force: bool = False
    """Replace it also if Slurm can't be asked whether jobs would be lost."""
    replace_foreign: bool = False
    """Slurm's files on the login node that are not ours may be replaced."""
    replace_edits: bool = False
    """What somebody has edited in our files there may be replaced, too."""


NO_WISH = Wish()


class Beside(Protocol):
    """What the same question is about: what is done to the login node when the base state is applied."""

    def show(self, *, fresh: bool, servers: Sequence[str] = ()) -> bool:
        """Show it, and tell whether there is anything; `fresh`: the login node is a new one.

        `servers`: what becomes of the base state's servers, in words.
        """

    def refuse_other(self) -> None:
        """Raise RefusedError if something else would be done now than was shown."""


def deploy(site: Site, dialog: Dialog, wish: Wish, beside: Beside, *, dry_run: bool) -> bool:
    """Apply the base state and wait for the login node's SSH; return False if nothing was applied.

    Raises:
        RefusedError: the plan would delete or replace what exists, or jobs are in the way.
    """
    cluster, state = site.cluster, site.directory(site.cluster.layout.base)
    if not dry_run:
        _mend(site, state, dialog)
    known = _known(site, state)
    _refuse_wish(cluster, known, wish)
    files, agreed = state.files(), None
    try:
        _lay_out(site, state)
        agreed = _agree(site, state, known, dialog, wish, beside, dry_run=dry_run)
    finally:
        if agreed is None:
            state.put_back(files)
    if agreed is None:
        return dry_run
    planned, orphans = agreed
    acts = acts_of(site, "deploy")
    unrecorded.delete(site, orphans.servers, acts)
    unrecorded.remove(orphans.things, acts)
    _apply(state, planned, dialog, wish, acts, also=orphans.any)
    unrecorded.tell(site, state, dialog)
    _trust_servers(site, state.outputs(), dialog, kept=not planned.actions)
    return True


def _apply(
    state: TerraformDirectory, planned: Planned, dialog: Dialog, wish: Wish, acts: Acts, *, also: bool
) -> None:
    """Carry out the plan. Also without changes: an apply saves what a refresh saw (a new host key)."""
    if planned.actions or also:
        dialog.say("terraform apply")
    # What `_refuse` has let through: by name, or a creation that failed before the cluster was in service.
    row = Row.LOGIN if wish.replace_login else Row.ORPHAN
    evidence = f"--replace-login {wish.replace_login}" if wish.replace_login else "never in service"
    permits = guard.agreed(plan_permits.destroyed(planned.content), row, evidence)
    acts.record(permits)
    state.apply(planned, permits)


def _mend(site: Site, state: TerraformDirectory, dialog: Dialog) -> None:
    """Put a copy in the place of a broken state, once the cloud could be read: the plan refreshes it."""
    if state.broken:
        unrecorded.servers(site)
        dialog.say(f"{state.directory}: {state.mend()}")


def _agree(
    site: Site,
    state: TerraformDirectory,
    known: Known,
    dialog: Dialog,
    wish: Wish,
    beside: Beside,
    *,
    dry_run: bool,
) -> tuple[Planned, Orphans] | None:
    """Plan, refuse what would be lost, and ask the person; None if nothing is to be applied."""
    orphans = Orphans(unrecorded.find(site, state), unrecorded.beside(site, state))
    dialog.say("terraform plan of the network and the login node")
    planned = state.plan(replace=[known.login_at] if wish.replace_login and known.login_at else ())
    agreed = False
    try:
        if planned.text:
            dialog.show(planned.text)
        _refuse(site, state, planned, known, wish)
        lost = _ask_slurm(site, known, wish)
        if lost:
            dialog.say(lost)
        words = base_servers.words(planned.content, known)
        also = beside.show(fresh=base_servers.makes_login(planned.content, known), servers=words)
        if dry_run:
            dialog.say(f"Terraform would do: {planned.words}.")
            return None
        for name in orphans.names:
            dialog.say(f"{name} was left by an interrupted deploy: it is deleted first")
        agreed = not (planned.actions or orphans.any or also)
        if not agreed and dialog.ask(_question(known, wish)):
            _ask_slurm(site, known, wish)  # once more: the person may have thought for an hour
            if not dialog.unasked:
                beside.refuse_other()
            agreed = True
    finally:
        if not agreed:
            state.forget(planned)
    return (planned, orphans) if agreed else None


def _question(known: Known, wish: Wish) -> str:
    if not wish.replace_login:
        return "Apply this plan?"
    return f"Apply this plan, which replaces the login node {known.login_name} with all that is on its disk?"


def _refuse(site: Site, state: TerraformDirectory, planned: Planned, known: Known, wish: Wish) -> None:
    replace = bool(wish.replace_login)
    found = losses(planned.content, known, replace_login=replace)
    # Slurm is asked only where something is in the way: before the first deploy nobody answers.
    if found and not unrecorded.in_service(site, known.login_ip):
        found = losses(planned.content, dataclasses.replace(known, serving=False), replace_login=replace)
    refuse_losses(found, str(state.directory))


def _refuse_wish(cluster: Cluster, known: Known, wish: Wish) -> None:
    """Compare the name that was typed with the login node that exists.

    Raises:
        ConfigError: the name is another one, or there is no login node.
    """
    if wish.replace_login and not known.login_id:
        raise ConfigError(
            "--replace-login: there is no login node yet that could be replaced",
            where=str(cluster.layout.base),
            todo="Run deploy without it.",
        )
    if wish.replace_login and wish.replace_login != known.login_name:
        raise ConfigError(
            f"--replace-login {wish.replace_login}: the login node is called {known.login_name}",
            todo="Type the name of the login node that is to be replaced.",
        )


def _ask_slurm(site: Site, known: Known, wish: Wish) -> str:
    """Ask the present slurmctld whether jobs would be lost; return a text that says what else is lost.

    Raises:
        RefusedError: jobs are queued or running, or Slurm can't be asked.
    """
    if not wish.replace_login:
        return ""
    snapshot, why = None, ""
    try:
        snapshot = unrecorded.at(site, known.login_ip).slurm().snapshot()
    except SlurmError as error:
        why = error.line
    return refuse_jobs(snapshot, name=known.login_name, why=why, force=wish.force)


def _known(site: Site, state: TerraformDirectory) -> Known:
    cluster = site.cluster
    made = state.outputs().get("login") or {}
    login_id = str(made.get("id") or "")
    held = next((one for one in state.held() if login_id and one.attributes.get("id") == login_id), None)
    records = unrecorded.records(site)
    return Known(
        login_id=login_id,
        login_at=held.address if held else "",
        login_name=matching(NODE_NAME, held.attributes.get("name") if held else "") or cluster.login.name,
        login_ip=address(made.get("address")),
        nodes=frozenset(cluster.nodes()) | records.keys(),
        servers=frozenset(record.server_id for record in records.values() if record.server_id),
        wanted=_wanted(cluster),
    )


def _wanted(cluster: Cluster) -> Mapping[str, object]:
    """Return the values that the root module gets, by the keys of the cluster file."""
    login, name = cluster.login, cluster.cloud_of(cluster.login)
    found: dict[str, object] = {
        f"login.{key}": getattr(login, key) for key in ("name", "address", "image", "flavor")
    }
    return found | _flat(f"clouds.{name}.settings", cluster.clouds[name].settings)


def _flat(key: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {key: value}
    return {name: one for part, below in value.items() for name, one in _flat(f"{key}.{part}", below).items()}


def _lay_out(site: Site, state: TerraformDirectory) -> None:
    cluster = site.cluster
    name = cluster.cloud_of(cluster.login)
    cloud, adapter = cluster.clouds[name], site.cloud(name)
    if cloud.base_module is None:
        raise ConfigError(
            "no base_module", where=f"{cluster.file}: clouds", todo="Name the root module of the login node."
        )
    login = cluster.login
    variables: dict[str, Any] = {
        "cluster": cluster.cluster_name,
        "cloud": cloud.settings,
        "key_pair": site.own_files().public_key(),
        "login": {
            "name": login.name,
            "address": login.address,
            "image": login.image,
            "image_id": adapter.image_id(login.image) if adapter else login.image,
            "flavor": login.flavor,
            "flavor_id": adapter.flavor_id(login.flavor) if adapter else login.flavor,
        },
    }
    state.lay_out(cloud.base_module, variables, _VARIABLES)


def _trust_servers(site: Site, made: Mapping[str, Any], dialog: Dialog, *, kept: bool) -> None:
    """Trust the servers that the base module made: the login node, and the shared directory's server."""
    cluster = site.cluster
    login, shared = cluster.login, cluster.shared_storage
    host_trust.wait(site, (login.name, login.address), made["login"], dialog.say, kept=kept)
    if shared is None or shared.user is None:
        return
    if not (made.get("storage") or {}).get("id"):
        raise ConfigError(
            f"shared_storage.user is for a server of the base module, and it made none at {shared.server}",
            where=str(cluster.file),
            todo="Ask for it in the cloud's settings, or leave `user` out: the server is there already then.",
        )
    host = (storage.server_name(cluster), shared.server)
    host_trust.wait(site, host, made["storage"], dialog.say, kept=kept)
