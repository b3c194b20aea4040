"""Whether the clouds are as the cluster file needs them, before anything is made: all problems at once. Pure.

What could not be read is told as such, and only what depends on it is left out.
"""

from collections.abc import Mapping

from slurm_powersave.config.cluster import Cluster
from slurm_powersave.config.fields import split_jump
from slurm_powersave.decide.preflight import deployed, network, quota, servers, slurm_conf_look, slurm_running
from slurm_powersave.decide.preflight.findings import Ask, Finding, Found, Here, Severity, error, warning
from slurm_powersave.decide.preflight.slurm_running import Running
from slurm_powersave.decide.slurm_files.slurm_parameters import overrides
from slurm_powersave.model.cloud_facts import Asked, CloudFacts, Tools

_PROVIDER = "terraform-provider-openstack/openstack"
_OLDEST_PROVIDER = (3, 4)
"""From 3.4.0 on a changed image_id is a rebuild in place."""
_ENOUGH = frozenset({"member", "_member_", "manager"})
_SKEW_WARNING = 10.0
_SKEW_ERROR = 300.0
"""Seconds. Munge refuses credentials from hosts whose clocks differ by five minutes."""
_TODO = {
    Asked.REACH: "Is the address right, and do name, route, firewall and certificate lead there from here?",
    Asked.CREDENTIALS: "Look at clouds.yaml, or source the RC file again; credentials expire.",
    Asked.ROLE: "The credential needs the role member in the project.",
    Asked.SERVICE: "Ask those who run the cloud, or try again.",
}


def findings(
    cluster: Cluster,
    facts: Mapping[str, CloudFacts],
    tools: Tools,
    here: Here,
    running: Running = Running(),  # noqa: B008  # frozen
) -> list[Finding]:
    """Find all that is in the way of a deploy, errors first.

    Args:
        cluster: the cluster file.
        facts: what each cloud told that could be asked.
        tools: what runs on this host.
        here: what this host holds of the cluster.
        running: what the slurmctld that runs said of its version.
    """
    found = [*slurm_running.findings(cluster, running), *_tools(tools), *_jump(cluster, here)]
    found += [*_overrides(cluster), *slurm_conf_look.findings(cluster)]
    for name, read in facts.items():
        ask = Ask(cluster, name, read, here)
        for check in (
            _access,
            servers.findings,
            network.findings,
            quota.findings,
            deployed.findings,
        ):
            found += check(ask)
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def _tools(tools: Tools) -> Found:
    if tools.trouble:
        yield error("terraform", tools.trouble, "Install Terraform or OpenTofu; terraform.binary names it.")
    for source, version in tools.providers.items():
        if source.endswith(_PROVIDER) and _numbers(version) < _OLDEST_PROVIDER:
            yield error(
                "terraform",
                f"the provider openstack is version {version}; 3.4 or later is needed",
                "Stop the engine and run slurm-powersave terraform init -upgrade; see who pins the version.",
            )


def _jump(cluster: Cluster, here: Here) -> Found:
    """The login node alone is reached through it: a jump for every node would be a jump for every command."""
    jump, layout = cluster.login.jump, cluster.layout
    if not jump:
        return
    _, host, port = split_jump(jump)
    if not here.jump_is_known:
        yield error(
            "login.jump",
            f"no SSH host key of {host} in {layout.jump_known_hosts}",
            f"install -d -m 0700 {layout.root}; ssh-keyscan -p {port} {host} >>{layout.jump_known_hosts}; "
            f"compare the fingerprint (ssh-keygen -lf {layout.jump_known_hosts}) with what its owner says.",
        )
    yield warning(
        "login.jump",
        "only the login node is reached through it",
        f"The nodes' addresses must be reachable from this host; {host} must let {layout.public_key} in.",
    )


def _overrides(cluster: Cluster) -> Found:
    """Warn of config_overrides on servers: only containers need it, where slurmd sees the host's hardware."""
    servers = any(cluster.clouds[cluster.cloud_of(pool)].adapter != "local" for pool in cluster.node_pools)
    if overrides(cluster) and servers:
        yield warning(
            "slurm_conf_extra.SlurmdParameters",
            "with config_overrides Slurm does not compare a node's memory and GPUs with slurm.conf",
            "Leave it out, and say with cpus and real_memory of a pool what its nodes have.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split(".")[:2] if part.isdigit())


def _access(ask: Ask) -> Found:
    for trouble in ask.facts.troubles:
        where = f"{ask.key}: {trouble.where}" if trouble.where else ask.key
        yield error(where, trouble.text, _TODO[trouble.asked])
    roles = ask.facts.roles
    if roles is not None and roles <= {"reader", "auditor"}:
        yield error(ask.key, f"the credential may only read (roles: {_listed(roles)})", _TODO[Asked.ROLE])
    elif roles is not None and "admin" in roles:
        yield warning(
            ask.key,
            "the credential has the role admin: it may do more than this cluster needs",
            "An application credential with the role member is enough.",
        )
    elif roles is not None and roles.isdisjoint(_ENOUGH):
        yield warning(
            ask.key,
            f"whether the roles {_listed(roles)} suffice is not known",
            "With the role member they do.",
        )
    skew = ask.facts.clock_skew
    if skew is not None and abs(skew) > _SKEW_WARNING:
        kind = error if abs(skew) > _SKEW_ERROR else warning
        ahead = "ahead of" if skew > 0 else "behind"
        yield kind(
            ask.key,
            f"the cloud's clock is {abs(skew):.0f} s {ahead} this host's",
            "Run chrony here; munge refuses credentials of hosts whose clocks differ by five minutes.",
        )


def _listed(roles: frozenset[str]) -> str:
    return ", ".join(sorted(roles)) or "none"
