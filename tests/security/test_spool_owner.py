"""SlurmUser against root: the owner of the spool must not make the reader, or a deploy, act as root."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.login_node import OTHER, SOURCES, LoginNode, Run, tree

pytestmark = pytest.mark.root
MODULE = SOURCES.parent / "roles" / "hooks" / "library" / "hook_files.py"


def move_into_etc(node: LoginNode) -> None:
    """Files in new/ that are no requests go to refused/."""
    node.link(node.spool / "refused", "../../etc/profile.d")
    node.file(node.spool / "new" / "evil.sh", "id")


def move_a_refused_request(node: LoginNode) -> None:
    node.link(node.spool / "refused", "../../etc/profile.d")


def delete_from_etc(node: LoginNode) -> None:
    """Old files in tmp/ are deleted."""
    node.link(node.spool / "tmp", "../../etc/profile.d")


def delete_a_directory_up(node: LoginNode) -> None:
    node.link(node.spool / "tmp", "../../etc")


def move_out_of_etc(node: LoginNode) -> None:
    """What is in new/ is moved away."""
    node.link(node.spool / "new", "../../etc")


def create_in_etc(node: LoginNode) -> None:
    """The reader makes tmp/reader.PID."""
    last = int(Path("/proc/loadavg").read_text().split()[-1])
    for pid in range(last, last + 500):
        node.link(node.spool / "tmp" / f"reader.{pid}", "../../../etc/profile.d/made.sh")


def read_roots_file(node: LoginNode) -> None:
    name = node.call()
    node.link(node.spool / "new" / name, "../../../etc/shadow")


def hard_link_to_roots_file(node: LoginNode) -> None:
    """Where the kernel lets users do that (fs.protected_hardlinks=0)."""
    name = node.call()
    (node.spool / "new" / name).unlink()
    os.link(node.etc / "shadow", node.spool / "new" / name)


def ready_is_etc(node: LoginNode) -> None:
    node.link(node.ready, "../../etc/profile.d")


ATTACKS: list[Callable[[LoginNode], None]] = [
    move_into_etc,
    move_a_refused_request,
    delete_from_etc,
    delete_a_directory_up,
    move_out_of_etc,
    create_in_etc,
    read_roots_file,
    hard_link_to_roots_file,
    ready_is_etc,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_the_reader_touches_nothing_of_root(
    login_node: LoginNode, attack: Callable[[LoginNode], None]
) -> None:
    attack(login_node)
    with Run(login_node.reader(sinfo="/bin/echo")) as reader:
        said = reader.lines(1.0)
        if reader.process.poll() is None and not (login_node.spool / "new").is_symlink():
            name = login_node.call()
            with contextlib.suppress(BrokenPipeError):  # it may give such a spool up at any moment
                said += reader.lines(1.0)  # the request lets it look for nodes that are up
                reader.say(f"refuse {name}")
            said += reader.lines(0.5)
        told = reader.end()
    assert login_node.unharmed(), told
    assert not any(b"root's own" in base64.b64decode(line.split()[-1] + "==") for line in said[1:])


def test_an_honest_request_beside_a_stranger_gets_through(login_node: LoginNode) -> None:
    move_into_etc(login_node)
    name = login_node.call()
    with Run(login_node.reader()) as reader:
        said = reader.lines(5, lambda lines: any(f"req {name}" in line for line in lines))
        assert any(f"req {name}" in line for line in said)
        reader.say(f"ack {name}")
        time.sleep(0.5)
    assert not (login_node.spool / "new" / name).exists()
    assert login_node.unharmed()


def test_it_takes_over_from_a_reader_that_was_root(login_node: LoginNode) -> None:
    """One of version 1 looks at the file `reader`, and ends when it is another one."""
    (login_node.spool / "reader").touch(0o600)
    old = (login_node.spool / "reader").lstat()
    with Run(login_node.reader()) as reader:
        assert reader.lines(5, bool)
        new = (login_node.spool / "reader").lstat()
        assert (old.st_uid, new.st_uid) == (0, OTHER.pw_uid) and not os.path.samestat(old, new)


def powers(status: Path) -> dict[str, list[str]]:
    """Read what a process may do, from its /proc/PID/status."""
    fields = (line.partition(":") for line in status.read_text().splitlines())
    return {key: value.split() for key, _, value in fields}


def test_the_reader_and_all_that_it_starts_are_the_spools_owner(login_node: LoginNode) -> None:
    noted = login_node.file(login_node.root / "noted", "")
    sinfo = login_node.root / "sinfo"
    sinfo.write_text(f"#!/bin/sh\n[ -s {noted} ] || cat /proc/$$/status >{noted}\necho n1 idle\n")
    sinfo.chmod(0o755)
    with Run(login_node.reader(sinfo=str(sinfo))) as reader:
        assert reader.lines(5, bool)
        login_node.call()
        deadline = time.monotonic() + 5
        while not (login_node.ready / "n1").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert (login_node.ready / "n1").lstat().st_uid == OTHER.pw_uid
        uid, gid = str(OTHER.pw_uid), str(OTHER.pw_gid)
        for status in (Path(f"/proc/{reader.process.pid}/status"), noted):
            may = powers(status)
            assert may["Uid"] == [uid] * 4 and may["Gid"] == [gid] * 4 and "0" not in may["Groups"]
            assert {int(may[key][0], 16) for key in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda node: os.chown(node.var, OTHER.pw_uid, OTHER.pw_gid), "var"),
        (lambda node: node.var.chmod(0o777), "var"),
        (lambda node: node.var.chmod(0o1777), "var"),
        (lambda node: node.var.chmod(0o775), "var"),
        (lambda node: node.spool.chmod(0o770), "spool"),
        (lambda node: os.chown(node.spool / "new", 0, 0), "new"),
        (lambda node: os.chown(node.spool / "tmp", 1, 1), "tmp"),
        (lambda node: (node.spool.rename(node.var / "x"), node.spool.symlink_to("x")), "spool"),
        (lambda node: os.chown(node.spool, 4_000_000, 4_000_000), "spool"),
    ],
)
def test_a_spool_that_others_could_exchange_is_refused(
    login_node: LoginNode, spoil: Callable[[LoginNode], object], why: str
) -> None:
    spoil(login_node)
    with Run(login_node.reader()) as reader:
        assert reader.lines(3) == []
        assert reader.process.wait(5) == 1
        assert why in reader.end()


def installed(node: LoginNode, **given: object) -> subprocess.CompletedProcess[str]:
    """Run the module that a deploy runs on the login node."""
    values = {"ANSIBLE_MODULE_ARGS": {"_ansible_check_mode": False, **given}}
    return subprocess.run(
        [sys.executable, str(MODULE)], input=json.dumps(values), capture_output=True, text=True, check=False
    )


def directories(node: LoginNode) -> list[dict[str, str]]:
    """As roles/hooks asks for them."""
    spool = [
        {"path": str(node.spool / name), "owner": "nobody", "mode": "0700"} for name in ("", "tmp", "new")
    ]
    return [*spool, {"path": str(node.spool / "refused"), "owner": "nobody", "mode": "0700"}]


def swap_for_etc(node: LoginNode) -> None:
    node.link(node.spool / "refused", "../../etc")


def swap_for_a_file(node: LoginNode) -> None:
    node.link(node.spool / "new", "../../etc/shadow")


def swap_for_nothing_yet(node: LoginNode) -> None:
    """A directory would be made where the link leads."""
    node.link(node.spool / "tmp", "../../etc/made")


def swap_the_spool(node: LoginNode) -> None:
    """Only where its parent is not root's."""
    os.chown(node.var, OTHER.pw_uid, OTHER.pw_gid)
    shutil.rmtree(node.spool)
    node.link(node.spool, "../etc")


@pytest.mark.parametrize(
    "attack", [swap_for_etc, swap_for_a_file, swap_for_nothing_yet, swap_the_spool], ids=lambda a: a.__name__
)
def test_a_deploy_changes_nothing_of_root(login_node: LoginNode, attack: Callable[[LoginNode], None]) -> None:
    attack(login_node)
    done = installed(login_node, directories=directories(login_node))
    assert login_node.unharmed()
    assert json.loads(done.stdout)["failed"], done.stdout
    assert str(login_node.var) in json.loads(done.stdout)["msg"]


def test_a_spool_that_is_exchanged_between_two_steps_leads_nowhere(login_node: LoginNode) -> None:
    """Where its parent is not root's: a link is there when its directories are made, and was not before."""
    (login_node.etc / "new").mkdir()
    login_node.before = tree(login_node.etc)
    os.chown(login_node.var, OTHER.pw_uid, OTHER.pw_gid)
    shutil.rmtree(login_node.spool)
    login_node.link(login_node.spool, "../etc")
    for wanted in directories(login_node)[1:]:
        assert json.loads(installed(login_node, directories=[wanted]).stdout)["failed"]
    assert login_node.unharmed()


def test_a_deploy_lays_out_and_mends_a_spool(login_node: LoginNode) -> None:
    shutil.rmtree(login_node.spool)
    done = json.loads(installed(login_node, directories=directories(login_node)).stdout)
    assert done["changed"] and not done.get("failed")
    for name in ("", "tmp", "new", "refused"):
        seen = (login_node.spool / name).lstat()
        assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (OTHER.pw_uid, OTHER.pw_gid, 0o700)
    (login_node.spool / "new").chmod(0o755)
    (login_node.spool / "tmp").rmdir()
    done = json.loads(installed(login_node, directories=directories(login_node)).stdout)
    assert done["changes"] == [str(login_node.spool / "tmp"), str(login_node.spool / "new")]
    assert not json.loads(installed(login_node, directories=directories(login_node)).stdout)["changed"]


def test_files_of_root_are_written_only_where_root_alone_may(login_node: LoginNode) -> None:
    target = login_node.spool / "reader"
    done = json.loads(installed(login_node, files=[{"path": str(target), "text": "#!/bin/sh\n"}]).stdout)
    assert done["failed"] and not target.exists()
    program = login_node.etc / "made" / "reader"
    (login_node.etc / "made").mkdir()
    done = json.loads(installed(login_node, files=[{"path": str(program), "text": "#!/bin/sh\n"}]).stdout)
    assert done["changes"] == [str(program)] and program.stat().st_mode & 0o7777 == 0o755
