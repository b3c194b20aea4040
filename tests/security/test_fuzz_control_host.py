"""Every parser of what a cloud, Terraform, a node's module or a backup says: a value or its own error.

Each gets an honest answer in which something is bent: another type in the place of what belongs there, a text
that acts, a number without an end; and JSON that is anything, is none, or is too deep.
"""

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurm_powersave.adapters.ansible import configure_run, image_plays
from slurm_powersave.adapters.ansible.play_events import Group, Source
from slurm_powersave.adapters.local_cloud import cloud
from slurm_powersave.adapters.openstack import console, errors
from slurm_powersave.adapters.openstack.cloud import OpenStackCloud
from slurm_powersave.adapters.openstack.images import OpenStackImageCloud
from slurm_powersave.adapters.processes import process
from slurm_powersave.adapters.processes.process import Completed
from slurm_powersave.adapters.state_dir import archive
from slurm_powersave.adapters.terraform import command
from slurm_powersave.commands import restore
from slurm_powersave.decide.commands import backup
from slurm_powersave.model.errors import CloudError, ConfigError, FailureClass, PowersaveError
from tests.permits import permit
from tests.security.attacks import TERMINAL
from tests.security.fuzz import FEW
from tests.security.nova_words import LOCAL, nova

Said = dict[str, Any]
TEXTS = [*TERMINAL.values(), "{{ x }}", "-oProxyCommand=id", "../x", "\u00b2", "9" * 5000, ""]
NUMBERS = [-1, 10**30, 1e999, float("nan"), True]
JSON = st.recursive(
    st.one_of(st.none(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.text(max_size=9)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
DEEP = "[" * 200_000 + "]" * 200_000


def places(value: object, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Name all places in an answer."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*at, key))


def put(value: Any, at: tuple[Any, ...], new: object) -> Any:
    if not at:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[at[0]] = put(value[at[0]], at[1:], new)
    return changed


def bent(honest: Said) -> st.SearchStrategy[Said]:
    """An honest answer with one or two other things in it."""
    change = st.tuples(st.sampled_from(list(places(honest))[1:]), JSON)

    def changed(changes: list[tuple[tuple[Any, ...], object]]) -> Said:
        found = honest
        for at, new in changes:
            with suppress(KeyError, IndexError, TypeError):  # the first change took the second one's place
                found = put(found, at, new)
        return found

    return st.lists(change, min_size=1, max_size=2).map(changed)


def texts(honest: Said) -> st.SearchStrategy[str]:
    """The same as JSON, and texts that are other JSON or none."""
    return st.one_of(bent(honest).map(json.dumps), JSON.map(json.dumps), st.text(), st.just(DEEP))


# A cloud

IMAGE = {"id": "i1", "name": "rocky", "status": "active", "size": 1, "created_at": "2026-11-21T08:00:00Z"}
FLAVOR = {"id": "f1", "name": "small", "vcpus": 1, "ram": 1024, "disk": 10}
USED = {"maxTotalInstances": 9, "totalInstancesUsed": 1}
NOVA = {
    "servers": [nova(fault={"message": "x"}), nova(status="ERROR")],
    "server": nova(),
    "images": [IMAGE],
    "flavors": [FLAVOR],
    "limits": {"absolute": USED},
    "output": f"{console.BEGIN}\nssh-ed25519 AAAA\n{console.END}\n",
}
"""All that Nova and Glance may answer, in one."""
READINGS: Mapping[str, Callable[[OpenStackImageCloud], object]] = {
    "servers": OpenStackCloud.servers,
    "server": lambda cloud: cloud.server("s1"),
    "delete": lambda cloud: cloud.delete("s1", permit("delete", "s1")),
    "flavors": OpenStackCloud.flavors,
    "flavor id": lambda cloud: cloud.flavor_id("small"),
    "images": OpenStackCloud.images,
    "image id": lambda cloud: cloud.image_id("rocky"),
    "list of images": OpenStackImageCloud.list_images,
    "quota": OpenStackCloud.quota,
    "reboot": lambda cloud: cloud.reboot("s1", permit("reboot", "s1")),
}


@pytest.mark.parametrize("read", READINGS.values(), ids=READINGS.keys())
@given(answer=st.one_of(bent(NOVA), JSON))
@settings(FEW, suppress_health_check=list(HealthCheck))
def test_an_openstack(read: Callable[[OpenStackImageCloud], object], answer: Any) -> None:
    cloud = OpenStackImageCloud("demo", {})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cloud._api, "ask", lambda *_, **__: answer)
        with suppress(CloudError):
            read(cloud)


ASKED: Mapping[str, Callable[[cloud.LocalCloud], object]] = {
    "servers": cloud.LocalCloud.servers,
    "server": lambda cloud: cloud.server("s1"),
    "delete": lambda cloud: cloud.delete("s1", permit("delete", "s1")),
    "flavors": cloud.LocalCloud.flavors,
    "images": cloud.LocalCloud.images,
    "leftovers": cloud.LocalCloud.leftovers,
    "facts": cloud.LocalCloud.facts,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED.keys())
@given(text=st.one_of(texts({"a": [LOCAL]}), bent({"a": LOCAL}).map(lambda said: json.dumps([said["a"]]))))
@settings(FEW, suppress_health_check=list(HealthCheck))
def test_a_local_cloud(ask: Callable[[cloud.LocalCloud], object], text: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(process, "run", lambda *_, **__: Completed(0, text, ""))
        with suppress(CloudError):
            ask(cloud.LocalCloud("demo", {"root": "/x"}))


@given(texts({"forbidden": {"message": "Quota exceeded", "code": 403}}))
@FEW
def test_a_refusal_of_a_cloud(text: str) -> None:
    error = errors.of_answer(403, {}, text, "OpenStack compute")
    assert isinstance(error.failure, FailureClass) and len(error.why) <= 400


@given(st.one_of(st.text(), st.sampled_from(["nan", "-nan", "inf", "-inf", "1e999", "9" * 5000])))
@FEW
def test_how_long_a_cloud_wants_to_be_left_alone(text: str) -> None:
    assert 0 <= errors.retry_after({"retry-after": text}) <= errors.LONGEST_WAIT


@given(st.lists(st.one_of(st.sampled_from([console.BEGIN, console.END, "ssh-ed25519 AAAA"]), st.text())))
@FEW
def test_a_console(lines: list[str]) -> None:
    blocks = console.shown("\n".join(lines)).blocks
    assert all(block.split("\n") and "\r" not in block for block in blocks)


# Terraform

DIAGNOSTIC = {
    "type": "diagnostic",
    "diagnostic": {"severity": "error", "summary": "s", "detail": "d", "address": "x.node[0]"},
}


@given(texts(DIAGNOSTIC))
@FEW
def test_a_line_of_terraform(line: str) -> None:
    for address, text in command.diagnostics([line]):
        assert isinstance(address, str) and "\n" not in text


# A node

RESULT = {
    "msg": "m",
    "boot_id": "b",
    "hardware": "CPUs=1",
    "stderr": "s",
    "module_stderr": "x",
    "rc": 1,
    "invocation": {},
}
PROVENANCE = {"role": "compute", "packages": {"munge": "0.5.15"}, "roles": {"slurm_host": "1"}}


def event(kind: str, result: object) -> Said:
    data = {"playbook_uuid": "u", "host": "n1", "task": "a : b", "task_action": "slurm_host", "res": result}
    return {"event": kind, "event_data": data}


@given(
    st.one_of(bent(RESULT), JSON),
    st.sampled_from(["runner_on_ok", "runner_on_failed", "runner_on_unreachable"]),
)
@FEW
def test_the_result_of_a_module(result: object, kind: str) -> None:
    said: list[Said] = []
    source, group = Source(), Group(["n1"], False, said.append)
    assert source.is_genuine({"event": "playbook_on_start", "event_data": {"playbook_uuid": "u"}})
    assert source.is_genuine(event(kind, result))
    group.event(event(kind, result))
    group.finish(FailureClass.UNKNOWN, "x")
    (line,) = said
    assert line["node"] == "n1" and len(line["text"]) <= 400 and "\n" not in line["text"]
    assert configure_run.parse(json.dumps(line)) is not None


@given(texts({"node": "n1", "ok": False, "failure": "quota", "text": "x", "boot_id": "y", "hardware": "z"}))
@FEW
def test_a_line_of_a_play(text: str) -> None:
    configure_run.parse(text)


@given(texts(PROVENANCE))
@FEW
def test_what_an_image_says_of_itself(text: str) -> None:
    json.dumps(image_plays._provenance(text))


# A backup

MANIFEST = {
    "date": "x",
    "cluster": "demo",
    "created": 1764000000.5,
    "version": "0.3.1",
    "journal": 1,
    "host": "ctl",
    "cluster_file": "/etc/a.yml",
    "state_dir": "/var/lib/demo",
    "members": {"state/a": {"size": 1, "sha256": "ab"}},
    "format": 1,
}


def test_an_honest_manifest_is_one() -> None:
    assert backup.parse(json.dumps(MANIFEST), "b").cluster == "demo"


@given(texts(MANIFEST))
@FEW
def test_a_manifest_of_a_backup(text: str) -> None:
    try:
        manifest = backup.parse(text, "b")
    except ConfigError:
        return
    restore._date(manifest.created)
    Path(manifest.cluster_file).exists()
    with suppress(PowersaveError):
        backup.refuse(manifest, "demo", "1.0", 1)


@pytest.mark.parametrize(
    "name", ["state/a\0b", "state/" + "a/" * 600 + "b", "state/../x", "/state/x", "state/"]
)
def test_a_member_that_leads_elsewhere(name: str) -> None:
    assert not backup.is_safe(name)


def test_a_file_with_other_bytes_in_it(tmp_path: Path) -> None:
    (tmp_path / "cluster.yml").write_text("a: 1\n")
    (tmp_path / "state").mkdir()
    (tmp_path / "state/known_hosts").write_text("x" * 3000)
    out = io.BytesIO()
    archive.write(out, tmp_path, backup.Manifest("demo", 1.0, "1.0", 1, "h", "/c", "/s"))
    whole, chance = {True: out.getvalue(), False: gzip.decompress(out.getvalue())}, random.Random(1)
    for number in range(400):
        changed = bytearray(whole[number % 2 == 0])
        for _ in range(chance.randint(1, 5)):
            changed[chance.randrange(min(len(changed), 2000))] = chance.choice((0, 255, 0x30, 0x80, 0x4C))
        with (
            suppress(ConfigError, OSError),
            archive.reading(io.BytesIO(bytes(changed)), "b") as reader,
        ):
            reader.extract()
