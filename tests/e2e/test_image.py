"""`slurm-powersave image` on a real cluster: killed, built, used by a node, deleted; and of a node's disk."""

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.harness import Live


@pytest.fixture
def clean(live: Live) -> Iterator[Live]:
    """A cluster at rest without images, with its cluster file, and again so afterwards."""
    text = live.file.read_text()
    yield live
    live.file.write_text(text)
    restart(live)
    live.except_from_suspend("")
    live.rest()
    for found in live.cloud("snapshots"):
        live.cloud("image-delete", found["name"])


def restart(live: Live) -> None:
    """Let the engine read the cluster file anew."""
    live.stop_engine()
    live.start_engine()


def built(live: Live, *words: str) -> dict[str, Any]:
    """Build an image and return what the command says of it."""
    argv = live.argv("image", "build", *words, "--yes", "--json")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    print(done.stderr)
    assert done.returncode == 0, done.stderr[-6000:]
    return dict(json.loads(done.stdout))


def images(live: Live) -> dict[str, dict[str, Any]]:
    """List the images by name."""
    done = subprocess.run(live.argv("image", "list", "--json"), capture_output=True, text=True, check=True)
    return {row["name"]: row for row in json.loads(done.stdout)}


def builders(live: Live) -> list[str]:
    """Name what an image build has running."""
    return [server["name"] for server in live.cloud("list", "--tag", "role=builder")]


def test_a_killed_build_is_tidied_up_and_nodes_are_made_of_the_next(clean: Live) -> None:
    live = clean
    site = live.root / "site.yml"
    task = "{ansible.builtin.command: touch /opt/site, when: image_build | default(false)}"
    site.write_text(f"[{{hosts: nodes, gather_facts: false, tasks: [{task}]}}]")
    hook = f"    image: default\n    before_configure: {site}"
    live.file.write_text(live.file.read_text().replace("    image: default", hook))
    order = ("image", "build", "--base", "default", "--name", "gold")
    process = subprocess.Popen(
        live.argv(*order, "--yes"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    live.wait("the proof server is there", lambda: builders(live) == [f"{live.name}-proof"], 60)
    assert "not configured" not in live.command("status")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert images(live)["gold"]["status"] == "unfinished"
    text = live.command(*order, "--dry-run")
    assert "remove what an earlier build left: image gold" in text and f"start {live.name}-builder" in text
    assert builders(live) == [f"{live.name}-proof"]

    made = built(live, *order[2:])
    packages = made["provenance"]["packages"]
    assert made["built"] and packages["slurm"].startswith(f"{live.slurm}.")
    assert packages["munge"] == live.ssh(live.cluster.login.address, "munge --version").split()[
        0
    ].removeprefix("munge-")
    assert builders(live) == []
    assert "unknown-server" not in live.log()
    row = images(live)["gold"]
    assert (row["base"], row["status"], row["used_by"]) == ("default", "active", [])
    assert "already" in live.command(*order, "--yes", rc=2)

    live.file.write_text(live.file.read_text().replace("    image: default", "    image: gold"))
    restart(live)
    node = f"{live.name}-1"
    live.except_from_suspend(node)
    job = live.sbatch(f"-w {node}", "ls /opt/site && cat /usr/lib/slurm-powersave/image.json")
    live.job_done(job)
    site_file, said = live.login(f"cat /mnt/ohpc/{job}.out").split("\n", 1)
    assert (site_file, json.loads(said)) == ("/opt/site", made["provenance"])
    assert images(live)["gold"]["used_by"] == ["pool compute", f"node {node}"]
    assert "pool compute" in live.command("image", "delete", "gold", "--yes", rc=7)

    live.file.write_text(live.file.read_text().replace("    image: gold", "    image: default"))
    assert f"node {node}" in live.command("image", "delete", "gold", "--yes", rc=7)
    live.command("suspend", node, "--wait", timeout=90)
    live.command("image", "delete", "gold", "--yes")
    assert list(images(live)) == ["default"]


@pytest.mark.slow
def test_a_nodes_disk_is_copied_and_the_node_left_as_it_is(clean: Live) -> None:
    live = clean
    node, address = f"{live.name}-2", f"{live.network}.1.2"
    # Slurm 22.05 gives a drained node back as it does an idle one, here after 5 s.
    live.except_from_suspend(node)
    job = live.sbatch(f"-w {node}", "touch /opt/by-hand; sleep 100")
    live.wait("the job runs", lambda: live.job(job).get("JobState") == "RUNNING" and live.up(node), 60)
    text = live.command("image", "build", "--from", node, "--yes", rc=7)
    assert "in use" in text and "state=DRAIN" in text
    live.login(f"scontrol update nodename={node} state=DRAIN reason=image; scancel {job}")
    live.wait("it is drained", lambda: not live.node(node).in_use, 20)

    facts = "cat /etc/machine-id /proc/sys/kernel/random/boot_id /etc/munge/munge.key /etc/slurm/slurm.conf"
    facts = f"({facts}) | sha256sum; systemctl is-active slurmd munge"
    before = live.ssh(address, facts)
    made = built(live, "--from", node, "--name", "copy")
    assert (made["provenance"]["node"], made["provenance"]["base"]) == (node, "default")
    assert live.ssh(address, facts) == before
    assert live.node(node).has("DRAIN")
    assert [found["name"] for found in live.cloud("snapshots")] == ["copy"]
    # Its layers: what the build changed, over what was on the node's disk. No layer has the key.
    image = live.root / "cloud/images/copy"
    assert (image / "1/opt/by-hand").exists()
    assert [path.name for path in image.rglob("munge.key") if not path.is_char_device()] == []
    live.login(f"scontrol update nodename={node} state=RESUME")
