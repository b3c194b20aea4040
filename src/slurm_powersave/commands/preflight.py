"""Asking the clouds and slurmctld before anything is made: `check`, and the first step of `deploy`."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from slurm_powersave.commands import identity, unrecorded
from slurm_powersave.commands.base_state import Wish
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.readings import running
from slurm_powersave.config.plain_file import read_text
from slurm_powersave.config.settings import Cluster
from slurm_powersave.decide.flavor import node_memory
from slurm_powersave.decide.preflight import clouds, pairs, slurm_conf_look, slurm_running
from slurm_powersave.decide.preflight.findings import Finding, Here, Severity
from slurm_powersave.decide.preflight.slurm_running import Running
from slurm_powersave.decide.slurm_files import live_files
from slurm_powersave.decide.slurm_files.inventory import Inventory
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.engine.runs import first_nodes
from slurm_powersave.model.cloud_facts import Asked, CloudFacts, Trouble
from slurm_powersave.model.errors import CloudError, FailureClass, PowersaveError, SlurmError
from slurm_powersave.model.nodes import Flavor
from slurm_powersave.ports.cloud import FactsCloud
from slurm_powersave.ports.site import Site

_TROUBLE = {FailureClass.AUTH: Asked.CREDENTIALS}


@dataclass(frozen=True)
class Report:
    """What was asked, and what was found."""

    asked: tuple[str, ...]
    """For a person: `cloud NAME: what of it`, and the like of Terraform and slurmctld."""
    findings: tuple[Finding, ...]
    flavors: dict[str, tuple[str, ...]]
    """Pool -> the flavors that its nodes may have, the preferred one first."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What `deploy` refuses on."""
        return tuple(one for one in self.findings if one.severity is Severity.ERROR)


def look(site: Site, *, files: bool = True) -> Report:
    """Ask all clouds, slurmctld and Terraform at the same time. Nothing is changed anywhere.

    `files`: whether Slurm's files on the login node are looked at, too; `deploy` does that for itself.
    """
    cluster = site.cluster
    with ThreadPoolExecutor(max_workers=3 + len(cluster.clouds)) as pool:
        slurm = pool.submit(slurmctld, site)
        there = pool.submit(_live_files, site) if files else None
        terraform = pool.submit(site.terraform_program().tools)
        reads = {name: pool.submit(_facts, site, name) for name in cluster.clouds}
    facts = {name: read.result() for name, read in reads.items()}
    found = terraform.result()
    asked = [f"terraform {found.terraform}"] if found.terraform else []
    asked += [f"cloud {name}: {line}" for name, one in facts.items() for line in _asked(one)]
    asked += slurm_running.asked(cluster, slurm.result())
    live = there.result() if there else LiveFiles()
    known = {name: one.flavors for name, one in facts.items() if one and one.flavors is not None}
    answers = {name: one for name, one in facts.items() if one}
    return Report(
        tuple(asked),
        (
            *identity.findings(site),
            *live_files.findings(cluster, live),
            *clouds.findings(cluster, answers, found, _here(site), slurm.result()),
            *pairs.findings(cluster),
            *_first_nodes(site, known),
        ),
        node_memory.by_pool(cluster, known),
    )


def offline(site: Site) -> Report:
    """Find what can be found without asking anybody."""
    cluster = site.cluster
    found = (
        *identity.findings(site),
        *slurm_running.findings(cluster, Running()),
        *slurm_conf_look.findings(cluster),
        *pairs.findings(cluster),
    )
    return Report((), found, {})


def refuse_foreign(site: Site, dialog: Dialog, wish: Wish, make: Callable[[], Inventory]) -> LiveFiles:
    """Say what was edited in Slurm's files on the login node; replace no file there that is not ours.

    Returns what is there.

    Raises:
        RefusedError: there are such files, and nobody said that they may be replaced.
    """
    cluster, found = site.cluster, _live_files(site)
    if found.edited():
        dialog.say(f"edited on {cluster.login.name} since it was written:\n{found.edits()}")
    if found.foreign(cluster) and not wish.replace_foreign:
        ours = make().variables["slurm_powersave"]
        wanted = {name: ours[name.replace(".", "_")] for name in live_files.NAMES}
        live_files.refuse_foreign(cluster, found, wanted)
    return found


def _live_files(site: Site) -> LiveFiles:
    """Read Slurm's files on the login node; where there is none yet, or it can't be asked, nothing is known.

    They are looked at again on that host before anything is written.
    """
    if site.cluster.login.connection != "local" and not _deployed(site):
        return LiveFiles()
    try:
        return site.login_host().live_files()
    except PowersaveError:
        return LiveFiles()


def slurmctld(site: Site) -> Running:
    """Ask slurmctld for its version and its limits. Where there is no login node yet nobody is asked."""
    cluster = site.cluster
    local = cluster.login.connection == "local"
    if not local and not _deployed(site):
        return Running()
    slurm = site.slurm()
    answers = running(slurm)
    # This host may have no slurmctld before the first deploy.
    if answers.trouble:
        return Running() if local and not cluster.layout.slurm_conf_in_use.exists() else answers
    with suppress(SlurmError):
        return replace(answers, timers=slurm.power_timers())
    return answers


def _first_nodes(site: Site, sizes: Mapping[str, Mapping[str, Flavor]]) -> list[Finding]:
    journal = site.existing_journal()
    return first_nodes.findings(site.cluster, journal, site.store(), sizes) if journal else []


def _asked(facts: CloudFacts | None) -> tuple[str, ...]:
    return facts.asked if facts else ("not asked, it has no adapter that could",)


def _facts(site: Site, name: str) -> CloudFacts | None:
    """Ask one cloud; None if there is nobody to ask it through."""
    try:
        cloud = site.cloud(name)
        return cloud.facts(_images(site.cluster)) if isinstance(cloud, FactsCloud) else None
    except CloudError as error:
        return _unread(_TROUBLE.get(error.failure, Asked.REACH), error)
    except PowersaveError as error:
        return _unread(Asked.SERVICE, error)


def _images(cluster: Cluster) -> frozenset[str]:
    shared = [cloud.settings.get("shared_storage") for cloud in cluster.clouds.values()]
    named = {str(one.get("image")) for one in shared if isinstance(one, Mapping)}
    return frozenset({cluster.login.image, *(pool.image for pool in cluster.node_pools), *named})


def _unread(asked: Asked, error: PowersaveError) -> CloudFacts:
    text = ": ".join(filter(None, (error.what, error.why)))
    return CloudFacts(troubles=(Trouble(asked, text, error.where),))


def _here(site: Site) -> Here:
    layout = site.cluster.layout
    key = read_text(layout.public_key).strip() if layout.public_key.exists() else ""
    nodes = unrecorded.records(site)
    return Here(
        key,
        _deployed(site),
        site.login_host().jump_is_known(),
        {name: record.node.address for name, record in nodes.items()},
        {name: record.node for name, record in nodes.items() if record.server_id},
        site.directory(layout.base).outputs().get("shared") or {},
    )


def _deployed(site: Site) -> bool:
    return site.directory(site.cluster.layout.base).exists
