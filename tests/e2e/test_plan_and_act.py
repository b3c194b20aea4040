"""What `resize --dry-run` and `deploy --dry-run` say against what is seen from outside when it is done.

Hashes of files, processes and ids of servers are read past us: neither the plan nor the outcome is our word.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from slurm_powersave.model.slurm_versions import Difference
from tests.e2e.harness import Live

Content = dict[str, Any]
_DAEMONS = ("slurmctld", "slurmd", "munged")
_LOOK = r"""
find /etc/slurm /etc/munge /usr/lib/slurm-powersave /etc/hosts -type f ! -path '*/slurm-powersave.d/*' \
  ! -name slurm-powersave.loaded -exec md5sum {} +
for name in slurmctld slurmd munged; do
  for pid in $(pgrep -x $name); do
    if [ $(ps -o ppid= -p $pid) = 1 ]; then echo "daemon $name $pid $(awk '{print $22}' /proc/$pid/stat)"; fi
  done
done
"""


@dataclass(frozen=True)
class Parts:
    """The cluster as nobody of us tells it."""

    files: dict[tuple[str, str], str]
    """Host and path -> hash. Our own copies and records beside slurm.conf are left out."""
    daemons: dict[tuple[str, str], tuple[str, ...]]
    """Host and daemon -> its processes with their start times."""
    servers: dict[str, str]
    """Name -> id."""


class Site:
    """The cluster file that is edited, and the look from outside."""

    def __init__(self, live: Live) -> None:
        self.live, self.login = live, f"{live.name}-login"

    def node(self, number: int) -> str:
        return f"{self.live.name}-{number}"

    def edit(self, change: Callable[[Content], None]) -> None:
        content = yaml.safe_load(self.live.file.read_text())
        change(content)
        self.live.file.write_text(yaml.safe_dump(content, sort_keys=False))

    def outside(self) -> Parts:
        places = {self.login: f"{self.live.network}.0.10"}
        places |= {
            name: f"{self.live.network}.1.{name.rpartition('-')[2]}"
            for name in self.live.servers()
            if self.live.up(name)
        }
        files, daemons = {}, dict[tuple[str, str], tuple[str, ...]]()
        for host, address in places.items():
            for line in self.live.ssh(address, _LOOK).splitlines():
                words = line.split()
                if words[0] == "daemon":
                    found = daemons.get((host, words[1]), ())
                    daemons[host, words[1]] = (*found, f"{words[2]} {words[3]}")
                else:
                    files[host, words[1]] = words[0]
        listed = self.live.cloud("list", "--tag", f"cluster={self.live.name}")
        return Parts(files, daemons, {one["name"]: one["id"] for one in listed})

    def plan(self) -> Content:
        said = self.live.command("resize", "--dry-run", "--json", timeout=120)
        found: Content = json.loads(said[said.index("{\n") : said.rindex("}") + 1])
        return found


@pytest.fixture(scope="module")
def site(deployed: Live) -> Iterator[Site]:
    """Node 1 is up all the time; afterwards the file is as it was."""
    deployed.rest()
    made = Site(deployed)
    prolog = deployed.root / "prolog.sh"
    prolog.write_text("#!/bin/sh\nexit 0\n")

    def first(content: Content) -> None:
        content["prolog"] = str(prolog)
        resized(4, 1)(content)

    made.edit(first)
    deployed.command("resize", "--yes", timeout=180)
    yield made
    deployed.write()
    deployed.command("resize", "--yes", timeout=180)
    deployed.rest()


def resized(count: int, least: int) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        pool = content["node_pools"][0]
        name, network = content["cluster_name"], content["login"]["address"].rpartition(".0.")[0]
        pool["nodes"] = f"{name}-[1-{count}]"
        pool["addresses"] = f"{network}.1.1-{network}.1.{count}"
        pool["min_nodes"] = least
        content["gres_conf"] = "Name=disk Count=2\n"  # also of nodes that come or go

    return change


def extra(**keys: Any) -> Callable[[Content], None]:
    return lambda content: content["slurm_conf_extra"].update(keys)


def gres(content: Content) -> None:
    content["gres_conf"] += "# another line\n"


def cgroup(content: Content) -> None:
    content["cgroup_conf"] = "ConstrainCores=no\nConstrainDevices=no\n"


def partition(content: Content) -> None:
    content["partitions"].append({"name": "second", "pools": ["compute"]})


def image(content: Content) -> None:
    content["node_pools"][0]["image"] = "newer"


def prolog(content: Content) -> None:
    with open(content["prolog"], "a") as file:
        file.write("# another line\n")


def addresses(content: Content) -> None:
    pool = content["node_pools"][0]
    network = content["login"]["address"].rpartition(".0.")[0]
    pool["addresses"] = f"{network}.3.1-{network}.3.{pool['addresses'].rpartition('.')[2]}"


def nothing(content: Content) -> None:
    content["failure"]["boot_timeout"] += 1  # the engine's alone


CONF, GRES, CGROUP, HOSTS = (f"/etc/{name}" for name in (
    "slurm/slurm.conf", "slurm/gres.conf", "slurm/cgroup.conf", "hosts",
))  # fmt: skip
PROLOG = "/usr/lib/slurm-powersave/site-prolog"

# In the order in which they are done: kind, edit, the files that must be among those that change.
KINDS: dict[str, tuple[Callable[[Content], None], set[str]]] = {
    "reconfigures": (extra(KillWait=31), {CONF}),
    "restarts": (extra(PriorityType="priority/basic"), {CONF}),
    "gres.conf": (gres, {GRES}),
    "cgroup.conf": (cgroup, {CGROUP}),
    "prolog": (prolog, {PROLOG}),
    "partition": (partition, {CONF}),
    "image": (image, set()),
    "grows": (resized(6, 1), {CONF, HOSTS}),
    "min_nodes": (resized(6, 2), {CONF}),
    "addresses": (addresses, set()),
    "shrinks": (resized(3, 1), {CONF, HOSTS}),
    "nothing": (nothing, set()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_shown_is_what_is_done_and_nothing_else(site: Site, kind: str) -> None:
    change, files = KINDS[kind]
    before = site.outside()
    site.edit(change)
    plan = site.plan()
    assert site.outside() == before, "a dry run changes nothing"
    said = site.live.command("resize", "--yes", timeout=180)
    after = site.outside()

    hosts = plan["plan"]["hosts"]
    shown = {(host, path) for host, one in hosts.items() for path in one["files"]}
    there = {host for host, _ in before.files} & {host for host, _ in after.files}
    assert {site.login, site.node(1)} <= there
    changed = {one for one in before.files.keys() | after.files.keys() if one[0] in there}
    changed = {one for one in changed if before.files.get(one) != after.files.get(one)}
    assert changed == {one for one in shown if one[0] in there}, (plan, said)
    assert files <= {path for _, path in shown} and bool(files) == bool(shown)

    _daemons(site, hosts, before, after, there)
    names = before.servers.keys() | after.servers.keys()
    created = {name for name in names if after.servers.get(name) not in (None, before.servers.get(name))}
    deleted = {name for name in before.servers if name not in after.servers}
    assert created == set(plan["servers"]["created"]), said
    assert {name: before.servers[name] for name in deleted} == plan["servers"]["deleted"], said
    if not files:  # the last kind, so nothing is left of what was done before
        assert not plan["steps"] and "Nothing to do" in said


def _daemons(site: Site, hosts: Content, before: Parts, after: Parts, there: set[str]) -> None:
    anew = site.live.slurm_has(Difference.RECONFIGURE_TAKES_NODES)  # there every reconfigure is a new process
    reconfigured = hosts[site.login]["daemons"].get("slurmctld") == "reconfigures"
    for host, name in before.daemons:
        does = hosts.get(host, {}).get("daemons", {}).get(name, "")
        same = before.daemons[host, name] == after.daemons.get((host, name))
        if host in there and does == "restarts":
            assert not same, (host, name)
        elif host in there and not (anew and reconfigured and name in ("slurmctld", "slurmd")):
            assert same, (host, name, does)


@pytest.mark.slow
def test_a_deploy_changes_the_login_node_and_says_so(site: Site) -> None:
    before = site.outside()
    site.edit(extra(KillWait=32))
    said = site.live.command("deploy", "--dry-run", timeout=120)
    assert site.outside() == before
    shown = set(re.findall(r"^(/\S+) changes on (\S+?):?$", said, re.MULTILINE))
    assert re.search(r"^  \+KillWait=32$", said, re.MULTILINE), said
    site.live.command("deploy", "--yes", timeout=180)
    after = site.outside()
    changed = {
        (path, host) for host, path in before.files if before.files[host, path] != after.files[host, path]
    }
    assert changed == shown == {(CONF, site.login)}
    assert after.servers == before.servers
    assert "No file and no daemon would change" in site.live.command("deploy", "--dry-run", timeout=120)


@pytest.mark.slow
def test_it_goes_back_to_the_cluster_file_before(site: Site) -> None:
    before, file = site.outside(), site.live.file.read_text()
    site.edit(extra(KillWait=33))
    edited = site.live.file.read_text()
    site.live.command("deploy", "--yes", timeout=180)
    assert site.outside() != before
    said = site.live.command("deploy", "--back", "--yes", timeout=180)
    assert re.search(r"^-  KillWait: 33$", said, re.MULTILINE), said
    assert site.live.file.read_text() == file and site.outside().files == before.files
    (kept,) = site.live.file.parent.glob(f"{site.live.file.name}.replaced-*")
    assert kept.read_text() == edited
    kept.unlink()
