"""A pool's image is edited: who lags behind is shown, nothing is touched; then all are reimaged in waves."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e.harness import CONF, Live


@pytest.fixture
def four(live: Live) -> Iterator[list[str]]:
    """Four nodes that are up, and stay up while they are idle."""
    patience = "sed -i 's/SuspendTime={}\\b/SuspendTime={}/' {} && scontrol reconfigure"
    live.login(patience.format(5, 604, CONF))
    nodes = [f"{live.name}-{n}" for n in (1, 2, 3, 4)]
    live.command("resume", ",".join(nodes), "--wait", timeout=90)
    yield nodes
    live.login("scancel -u root", check=False)
    if live.cluster.node_pools[0].image != "default":
        want(live, "default")
    live.login(patience.format(604, 5, CONF))


def want(live: Live, image: str) -> None:
    """Edit the pool's image; the engine takes it by itself."""
    before = live.log().count("cluster file: ")
    live.write(image=image)
    live.wait("the engine has the new file", lambda: live.log().count("cluster file: ") > before, 10)


def images(live: Live) -> dict[str, str]:
    """The image of each compute node's server."""
    listed = live.cloud("list", "--tag", f"cluster={live.name}")
    return {server["name"]: server["image"] for server in listed if server["name"] != f"{live.name}-login"}


def boots(live: Live, nodes: list[str]) -> dict[str, str]:
    """The boot of each node, as it says itself."""
    ask = "cat /proc/sys/kernel/random/boot_id"
    return {node: live.ssh(f"{live.network}.1.{node[-1]}", ask) for node in nodes}


def begin(live: Live, *words: str) -> "subprocess.Popen[str]":
    """Start our command."""
    return subprocess.Popen(
        live.argv(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_new_image_reaches_a_pool_in_waves(live: Live, four: list[str]) -> None:
    ids, before = live.servers(), boots(live, four)
    other, last = f"{live.name}-5", four[-1]
    job = live.sbatch(f"-w {last}", "sleep 600")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING", 30)

    # Editing the pool shows who lags behind, and touches nobody.
    want(live, "newer")
    live.command("resume", other, "--wait", timeout=60)
    assert live.command("status", "--outdated").count("image default -> newer") == 4
    rows = {row["node"]: row for row in json.loads(live.command("status", "--json"))["nodes"]}
    assert rows[last]["image"] == {"actual": "default", "wanted": "newer", "differs": True, "by_hand": False}
    assert rows[other]["image"]["actual"] == "newer" and not rows[other]["image"]["differs"]
    live.command("suspend", other, "--wait", timeout=60)
    assert (live.servers(), boots(live, four)) == (ids, before)

    # Two at a time, those without jobs first; interrupted after the first.
    dry = live.command("reimage", "--outdated", "--max-unavailable", "2", "--dry-run")
    assert "at most 2 at a time" in dry and re.search(rf"in use: {last};", dry), dry
    assert images(live) == dict.fromkeys(four, "default")
    run = begin(live, "reimage", "--outdated", "--max-unavailable", "2", "--yes")
    live.wait("the first has the new image", lambda: "newer" in images(live).values(), 60)
    run.send_signal(signal.SIGINT)
    text, _ = run.communicate(timeout=20)
    assert run.returncode == 130 and "Run the same command again" in text, text
    assert images(live)[four[2]] == images(live)[last] == "default"

    run = begin(live, "reimage", "--outdated", "--max-unavailable", "2", "--yes")

    def only_the_busy_one_is_left() -> bool:
        assert run.poll() is None, run.communicate()[0]
        old = [node for node, image in images(live).items() if image == "default"]
        return old == [last] and {op.node for op in live.open_operations()} <= {last}

    live.wait("only the node with the job is left", only_the_busy_one_is_left, 60)
    live.wait("Slurm drains it", lambda: live.node(last).has("REBOOT_REQUESTED"), 20)
    assert live.job(job)["JobState"] == "RUNNING" and boots(live, [last])[last] == before[last]
    live.login(f"scancel {job}")
    text, _ = run.communicate(timeout=60)
    # What the interrupted one had begun is among them if it was still under way.
    shown = set(re.findall(r"(\S+) +reboot +done", text))
    assert run.returncode == 0 and f"{len(shown)} of {len(shown)} done, 0 under way" in text, text
    assert set(four[2:]) <= shown <= set(four), text
    assert "1 waits for its jobs" in text
    assert images(live) == dict.fromkeys(four, "newer")
    assert live.servers() == ids, "the servers were rebuilt in place"
    after = boots(live, four)
    assert not set(after.values()) & set(before.values()) and live.up(*four)
    assert "image" not in live.command("status", "--outdated")

    # Back again: the same with the old image.
    want(live, "default")
    value = json.loads(
        live.command("reimage", "--outdated", "--max-unavailable", "4", "--yes", "--json", timeout=90)
    )
    assert (value["total"], value["done"], value["failed"]) == (4, 4, {})
    assert images(live) == dict.fromkeys(four, "default") and live.servers() == ids
    assert "No changes" in live.command("terraform", "plan")


@pytest.mark.slow
def test_by_hand(live: Live, four: list[str]) -> None:
    """One node gets an image by hand, one a reboot, one is called off; one that is powered down is told."""
    first, second, busy, off = four[0], four[1], four[2], f"{live.name}-6"
    before = boots(live, four)
    job = live.sbatch(f"-w {busy}", "sleep 600")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING", 30)
    live.command("reimage", busy)
    live.wait("Slurm drains it", lambda: live.node(busy).has("REBOOT_REQUESTED"), 20)
    live.login(f"scontrol cancel_reboot {busy}")
    assert not live.node(busy).has("REBOOT_REQUESTED", "DRAIN")
    for more in ([], ["--wait"]):
        assert "resume takes the image default" in live.command("reimage", off, "--image", "newer", *more)
    assert "no image nwer (did you mean newer?)" in live.command("reimage", first, "--image", "nwer", rc=7)
    assert "can't be asked for" in live.command("reimage", first, "--image", "a;b", rc=2)
    live.command("reboot", second)
    live.command("reimage", first, "--image", "newer", "--wait", timeout=60)
    live.wait("both are back", lambda: not live.open_operations() and live.up(first, second), 45)
    assert live.newest(busy, "reboot").outcome == "cancelled" and live.job(job)["JobState"] == "RUNNING"
    assert "image newer (by hand) -> default" in live.command("status", "--outdated")
    after = boots(live, four)
    assert {node for node in four if after[node] != before[node]} == {first, second}
    assert images(live) == {**dict.fromkeys(four, "default"), first: "newer"}
