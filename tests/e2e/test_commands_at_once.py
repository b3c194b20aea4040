"""One command at a time changes the cluster, and all of them stand in the history. On the real chain."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import yaml

from slurm_powersave.adapters.state_dir import lock
from tests.e2e.harness import Live

HOST = os.uname().nodename
BUSY = "another command that changes this cluster is running"


@pytest.fixture
def live(live: Live) -> Iterator[Live]:
    """The cluster; its file, and Slurm, are as they were at the end."""
    before = live.file.read_text()
    yield live
    for one in Begun.all:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(60)
    Begun.all.clear()
    if live.file.read_text() != before:
        live.file.write_text(before)
        live.command("deploy", "--yes", timeout=180)


def edit(live: Live, **changes: Any) -> None:
    """Change keys of the cluster file."""
    content = yaml.safe_load(live.file.read_text())
    live.file.write_text(yaml.safe_dump(content | changes, sort_keys=False))


class Begun:
    """A command that was started and left to its work. Its output goes to a file: a pipe would fill up."""

    all: ClassVar[list["Begun"]] = []
    """What a test has begun: none outlives it."""

    def __init__(self, live: Live, *words: str) -> None:
        self._log = live.root / f"{'-'.join(words).replace('--', '')}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(live.argv(*words), stdout=log, stderr=subprocess.STDOUT)
        self.pid = self.process.pid
        self.all.append(self)

    def node_backoffs(self, live: Live) -> bool:
        """Tell whether it holds the lock of commands."""
        assert self.process.poll() is None, self._log.read_text()[-3000:]
        return holder(live).get("pid") == self.pid

    def end(self, rc: int = 0) -> str:
        """Wait for its end and return its output."""
        found = self.process.wait(300)
        text = self._log.read_text()
        assert found == rc, (found, text[-3000:])
        return text


def holder(live: Live) -> dict[str, object]:
    """Who holds the lock of commands."""
    return lock.holder(live.root / "state/command.lock") or {}


def commands(live: Live) -> list[dict[str, Any]]:
    """The newest commands of the history, newest first."""
    found: list[dict[str, Any]] = json.loads(live.command("history", "--commands", "--json"))
    return found


def test_two_deploys_at_once(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is refused with the other's name; one that waits comes after it; both stand in the history."""
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 40000 192.0.2.1 22")
    edit(
        live,
        slurm_conf_extra=yaml.safe_load(live.file.read_text())["slurm_conf_extra"] | {"MessageTimeout": 21},
    )
    first = Begun(live, "deploy", "--yes")
    live.wait("it holds the lock", lambda: first.node_backoffs(live), 15)
    refused = live.command("deploy", "--yes", rc=3)
    assert f"{BUSY}: deploy --yes by ann (sudo, as root), process {first.pid} on {HOST} since " in refused
    second = Begun(live, "deploy", "--yes", "--wait-lock")
    live.command("pause", "test")  # a request for the engine: it waits for nobody
    live.command("continue", "--pauses")
    assert first.node_backoffs(live), "all that was while the first one ran"
    live.command("deploy", "--dry-run", timeout=120)
    first.end()
    rest = second.end()
    assert f"waiting for deploy --yes by ann (sudo, as root), process {first.pid} on {HOST}" in rest
    assert "21" in live.login("scontrol show config | grep MessageTimeout")
    found = commands(live)
    texts = [one["text"] for one in found]
    assert texts[0] == "deploy --yes --wait-lock" and texts.count("deploy --yes") >= 1
    assert (
        texts.index("deploy --yes --wait-lock") < texts.index("continue --pauses") < texts.index("pause test")
    )
    assert {one["outcome"] for one in found[:4]} == {"done"}
    assert found[0]["by"] == f"ann (sudo, as root) on {HOST} from 192.0.2.7"
    changed = [one for one in found if "MessageTimeout: 21" in one["diff"]]
    assert len(changed) == 1, "once: by the deploy, or by the engine that had read it before"
    shown = live.command("history", "--commands")
    assert "+  MessageTimeout: 21" in shown and "from 192.0.2.7" in shown


def test_a_deploy_during_a_resize(live: Live) -> None:
    """The resize waits for a job; a deploy is refused, and one that gives up after a while, too."""
    content = yaml.safe_load(live.file.read_text())
    pools = content["node_pools"]
    job = live.sbatch(f"-w {live.name}-6", "sleep 600")
    live.wait(f"job {job} runs", lambda: live.job(job).get("JobState") == "RUNNING", 60)
    pools[0] |= {"nodes": f"{live.name}-[1-5]", "addresses": f"{live.network}.1.1-{live.network}.1.5"}
    edit(live, node_pools=pools, gres_conf="Name=disk Count=2\n")
    resize = Begun(live, "resize", "--yes")
    try:
        live.wait("the node is drained", lambda: live.node(f"{live.name}-6").has("DRAIN"), 60)
        for words in ((), ("--wait-lock", "--lock-timeout", "2")):
            text = live.command("deploy", "--yes", *words, rc=3)
            assert f"{BUSY}: resize --yes by " in text and f"process {resize.pid} on {HOST}" in text
        assert ("waiting for resize --yes by" in text) and live.job(job)["JobState"] == "RUNNING"
        assert BUSY in live.command("image", "build", rc=3)
    finally:
        live.command("resize", "--abort", timeout=120)
    resize.end(130)
    assert not live.node(f"{live.name}-6").has("DRAIN") and live.job(job)["JobState"] == "RUNNING"
    outcomes = {one["text"]: one["outcome"] for one in reversed(commands(live))}
    assert outcomes["resize --abort"] == "done" and outcomes["resize --yes"] == "interrupted"
    live.login(f"scancel {job}")


def test_a_holder_that_was_killed_holds_up_nobody(live: Live) -> None:
    deploy = Begun(live, "deploy", "--yes")
    live.wait("it holds the lock", lambda: deploy.node_backoffs(live), 15)
    live.wait("it is in the history", lambda: not commands(live)[0]["outcome"], 15)
    deploy.process.kill()
    deploy.end(-signal.SIGKILL)
    assert not holder(live)
    live.command("deploy", "--yes", timeout=180)
    newest, killed = commands(live)[:2]
    assert (newest["text"], newest["outcome"]) == ("deploy --yes", "done")
    assert (killed["text"], killed["outcome"]) == ("deploy --yes", "")
    assert "has not ended, or was killed" in live.command("history", "--commands")


def test_another_cluster_name_and_an_empty_state_directory_are_refused(live: Live) -> None:
    servers, before = live.cloud("list"), live.login("md5sum /etc/slurm/*.conf")
    text = live.file.read_text()
    live.file.write_text(text.replace(f"cluster_name: {live.name}\n", "cluster_name: other\n", 1))
    assert live.file.read_text() != text
    for words, code in (
        (("check",), 2),
        (("check", "--offline"), 2),
        (("deploy", "--dry-run"), 7),
        (("deploy", "--yes", "--no-check"), 7),
        (("resize", "--dry-run"), 7),
        (("teardown", "--yes"), 7),
    ):
        said = live.command(*words, rc=code)
        assert f"is the state directory of cluster {live.name}, and this file says other" in said, words
    live.file.write_text(text)
    assert "is the state directory" not in live.command("check", "--offline")

    aside = live.root / "elsewhere.yml"
    aside.write_text(text.replace("state_dir: ./state\n", "state_dir: ./empty\n", 1))
    other = Live(live.root, live.name, live.bridge, live.network, live.slurm)
    other.file = aside
    try:
        for words, code in ((("check",), 2), (("deploy", "--dry-run"), 2), (("deploy", "--yes"), 2)):
            said = other.command(*words, rc=code)
            assert "deployed from elsewhere" in said and f"{live.name}-login" in said, words
        assert "deployed from elsewhere" in other.command("deploy", "--yes", "--no-check", rc=7)
        assert not (live.root / "empty/keys").exists()
        live.file.write_text(aside.read_text())
        said = live.command("deploy", "--dry-run", rc=7)
        assert f"was deployed as cluster {live.name} with its state in {live.root}/state" in said
    finally:
        aside.unlink()
        shutil.rmtree(live.root / "empty", ignore_errors=True)
        live.file.write_text(text)
    assert live.cloud("list") == servers and live.login("md5sum /etc/slurm/*.conf") == before
