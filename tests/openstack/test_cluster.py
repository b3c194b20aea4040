"""The whole job on OpenStack: from an empty project to a cluster that runs jobs, its changes, and back."""

import os
import re
import signal
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import OFF
from tests.e2e.reboot_stories import asked, ended
from tests.openstack.cluster import Stack
from tests.openstack.harness import Project
from tests.openstack.proxy import Proxy


@pytest.fixture(scope="module")
def proxy(project: Project) -> Iterator[Proxy]:
    """Before the cloud's services, so that each can fail on order."""
    session = project.cloud.session
    kinds = {"identity": "identity", "compute": "compute", "network": "network", "image": "image"}
    upstreams = {}
    for name, kind in kinds.items():
        parts = urlsplit(session.get_endpoint(service_type=kind))
        upstreams[name] = f"{parts.scheme}://{parts.netloc}"
    with Proxy(upstreams) as made:
        yield made


@pytest.fixture(scope="module")
def deployed(project: Project, proxy: Proxy) -> Iterator[Stack]:
    """A deployed cluster whose engine runs."""
    assert project.left() == {}
    stack = Stack(project)
    stack.lay_out(proxy)
    try:
        stack.make()
        yield stack
    finally:
        stack.remove()


@pytest.fixture
def stack(deployed: Stack, proxy: Proxy) -> Stack:
    """The cluster at rest, and what the test before has left agrees with Terraform."""
    proxy.calm()
    deployed.rest()
    no_changes(deployed)
    return deployed


def no_changes(stack: Stack) -> None:
    """A person's plan agrees with what is there."""
    assert "No changes" in stack.command("terraform", "plan", timeout=120)


def test_a_job_brings_its_nodes_up_and_idleness_takes_them_away(stack: Stack) -> None:
    job = stack.sbatch("-N3", "srun hostname")
    stack.job_done(job, 120)
    assert sorted(stack.login(f"cat /mnt/ohpc/{job}.out").split()) == ["os-1", "os-2", "os-3"]
    assert sorted(stack.servers()) == ["os-1", "os-2", "os-3"]
    no_changes(stack)
    stack.wait("SuspendTime takes the nodes away", lambda: not stack.servers(), 90)
    stack.wait(
        "Slurm counts them as off", lambda: all(OFF in stack.node(f"os-{n}").flags for n in (1, 2, 3)), 30
    )
    stack.quiet()
    no_changes(stack)


def test_check_asks_the_cloud_and_tells_all_mistakes_at_once(stack: Stack) -> None:
    assert "0 errors" in stack.command("check")
    text = stack.file.read_text()
    stack.project.quota(cores=4)
    try:
        stack.file.write_text(
            text.replace("flavors: [lab.tiny]", "flavors: [lab.tyni]")
            .replace("image: lab-base\n", "image: nosuch\n")
            .replace("external_network: public", "external_network: nowhere")
        )
        said = stack.command("check", rc=2)
    finally:
        stack.file.write_text(text)
        stack.project.quota(cores=1000)
    for words in ("lab.tyni", "lab.tiny", "nosuch", "nowhere"):
        assert words in said, said
    stack.project.quota(cores=4)
    try:
        assert re.search(r"the largest size needs \d+ cores, \d of 4 are left", stack.command("check"))
    finally:
        stack.project.quota(cores=1000)


def test_a_second_deploy_changes_nothing(stack: Stack) -> None:
    said = stack.command("deploy", "--yes", timeout=300)
    assert re.search(r"login +: ok=\d+ +changed=0 ", said), said[-800:]
    no_changes(stack)


def test_a_node_is_reimaged_and_resized_in_place(stack: Stack) -> None:
    node, other = "os-1", "os-2"
    try:
        stack.idle(node, other)
        ids, boots = stack.servers(), stack.boots(node, other)
        asked(stack, [node], "reimage image=lab-base-2")
        assert ended(stack, node, 120).outcome == "done"
        newer = stack.project.image("lab-base-2")
        assert stack.ssh(f"{stack.network}.1.1", "cat /etc/openstack-image") == newer
        no_changes(stack)
        asked(stack, [node], "resize flavor=lab.small")
        assert ended(stack, node, 120).outcome == "done"
        server = stack.project.cloud.compute.get_server(ids[node])
        assert (server.status, server.flavor["original_name"]) == ("ACTIVE", "lab.small")
        asked(stack, [node], "reboot")
        assert (ended(stack, node, 120).action, ended(stack, node).outcome) == ("reboot", "done")
        assert stack.servers() == ids and stack.boots(other) == {other: boots[other]}
        assert stack.boots(node) != {node: boots[node]}
        no_changes(stack)
        stack.wait("Slurm has it back", lambda: stack.up(node), 30)
        stack.job_done(stack.sbatch(f"-w {node}"))
    finally:
        stack.except_from_suspend("")


@pytest.mark.slow
def test_the_pool_grows_and_shrinks_by_hand(stack: Stack) -> None:
    for count in (2, 0):
        stack.write(min_nodes=count)
        stack.command("resize", "--yes", timeout=180)
        names = [f"os-{number}" for number in range(1, count + 1)]
        assert stack.up(*names)
        stack.wait("the cloud has them alone", lambda: sorted(stack.servers()) == names, 60)  # noqa: B023
    no_changes(stack)


@pytest.mark.slow
def test_what_the_quota_has_no_room_for_is_told_and_the_rest_runs(stack: Stack) -> None:
    stack.project.quota(instances=6)  # the login node and five
    try:
        array = stack.sbatch("--array=1-8 --exclusive", "sleep 5")
        stack.wait("three are refused", lambda: len(failed(stack, "quota")) == 3, 60)
        why = "(quota) needs 1 instance, 0 of 6 left"
        stack.wait("Slurm tells why", lambda: len(reasons(stack, why)) == 3, 5)
        stack.wait("five are there", lambda: len(stack.servers()) == 5, 60)
    finally:
        stack.project.quota(instances=100)
    stack.wait("every job has run", lambda: not stack.login(f"squeue -h -j {array}", check=False), 150)
    stack.quiet()


@pytest.mark.slow
def test_nodes_that_nova_can_not_make_are_told_and_the_others_run(stack: Stack) -> None:
    faults = (
        {"op": "spawn", "name": "^os-2$", "error": "reschedule", "times": 3},
        {"op": "spawn", "name": "^os-3$", "error": "abort", "times": 1},
    )
    told: dict[str, str] = {}

    def all_told() -> bool:
        for failure in ("capacity", "node-local"):
            told.update(dict.fromkeys(reasons(stack, f"({failure}) "), failure))
        return told == {"os-2": "capacity", "os-3": "node-local"}

    with stack.project.lab.faults(*faults):
        jobs = [stack.sbatch(f"-w os-{number}", "sleep 1") for number in (1, 2, 3)]
        stack.wait("Slurm tells why", all_told, 120)
        stack.job_done(jobs[0], 90)
    for job in jobs[1:]:
        stack.job_done(job, 240)
    stack.quiet()


@pytest.mark.slow
def test_a_port_that_can_not_be_bound_is_told(stack: Stack) -> None:
    nobind = stack.project.lab.state / "nobind"
    nobind.write_text("fake-.*")
    try:
        job = stack.sbatch("-w os-4", "sleep 1")
        stack.wait("Slurm tells why", lambda: reasons(stack, "(node-local) ") == {"os-4"}, 90)
    finally:
        nobind.unlink()
    stack.job_done(job, 240)
    stack.quiet()


@pytest.mark.parametrize("status", [401, pytest.param(503, marks=pytest.mark.slow)])
def test_an_api_that_fails_for_a_while_is_waited_for(stack: Stack, proxy: Proxy, status: int) -> None:
    proxy.order(status=status, service="compute", times=6)
    stack.job_done(stack.sbatch("-w os-5"), 150)
    proxy.calm()
    stack.quiet()


@pytest.mark.slow
def test_a_server_that_was_deleted_behind_our_back_is_made_anew(stack: Stack) -> None:
    stack.idle("os-1")
    gone = stack.servers()["os-1"]
    stack.project.cloud.compute.delete_server(gone)
    stack.wait("it is noticed within two cycles", lambda: not stack.up("os-1"), 75)
    stack.except_from_suspend("")
    stack.job_done(stack.sbatch("-w os-1"), 150)
    assert stack.servers()["os-1"] != gone
    stack.quiet()


@pytest.mark.slow
def test_a_boot_that_takes_longer_than_resume_timeout_is_cleaned_up(stack: Stack) -> None:
    with stack.project.lab.faults({"op": "spawn", "name": "^os-7$", "delay": 150, "times": 1}):
        job = stack.sbatch("-w os-7")
        stack.wait("Slurm gives up", lambda: "ResumeTimeout" in stack.node("os-7").reason, 180)
        stack.wait("its remains are gone", lambda: "os-7" not in stack.servers(), 180)
    stack.job_done(job, 300)
    stack.quiet()


@pytest.mark.slow
def test_a_dead_hypervisor_costs_its_nodes_and_no_others(stack: Stack) -> None:
    lab = stack.project.lab
    pid = int((lab.state / "pid/nova-compute.fake-01").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    try:
        jobs = [stack.sbatch(f"-w os-{number}", "sleep 1") for number in (6, 7, 8)]
        for job in jobs:
            stack.job_done(job, 240)
    finally:
        lab.run("up")
    stack.quiet()


@pytest.mark.slow
def test_a_rebuild_that_fails_costs_the_server_and_leaves_no_lie_in_the_state(stack: Stack) -> None:
    """The provider leaves the new image in the state, whatever became of the server."""
    try:
        stack.idle("os-1", "os-2")
        ids = stack.servers()
        with stack.project.lab.faults({"op": "spawn", "name": "^os-1$", "error": "abort", "times": 1}):
            asked(stack, ["os-1"], "reimage image=lab-base-2")
            assert ended(stack, "os-1", 120).outcome == "failed"
        stack.wait("Slurm tells why", lambda: "os-1" in reasons(stack, "("), 10)
        stack.wait("only the other is left", lambda: stack.servers() == {"os-2": ids["os-2"]}, 60)
        no_changes(stack)
    finally:
        stack.except_from_suspend("")
    stack.job_done(stack.sbatch("-w os-1"), 300)
    server = stack.project.cloud.compute.get_server(stack.servers()["os-1"])
    assert server.image.id == stack.project.image("lab-base")
    stack.quiet()


@pytest.mark.slow
def test_engine_and_terraform_are_killed_while_nova_builds(stack: Stack) -> None:
    with stack.project.lab.faults({"op": "spawn", "name": "^os-3$", "delay": 15, "times": 1}):
        job = stack.sbatch("-w os-3")
        stack.wait("Nova builds it", lambda: "os-3" in stack.servers(), 60)
        stack.kill_engine(with_terraform=True)
        stack.start_engine()
        stack.job_done(job, 240)
    assert list(stack.servers()) == ["os-3"]
    stack.quiet()


def test_teardown_leaves_nothing(stack: Stack) -> None:
    stack.idle("os-1")
    stack.stop_engine()
    stack.command("teardown", "--yes", timeout=240)
    assert stack.project.left() == {}


def failed(stack: Stack, failure: str) -> set[str]:
    """Nodes whose newest resume failed for a class of reasons."""
    journal = stack.journal()
    try:
        newest = {node: journal.history(node, 5) for node in stack.nodes()}
    finally:
        journal.close()
    return {
        node
        for node, ops in newest.items()
        if (op := next((op for op in ops if op.mode == "resume"), None)) and op.failure == failure
    }


def reasons(stack: Stack, begin: str) -> set[str]:
    """Nodes whose reason in Slurm is ours and begins so."""
    return {
        name for name, node in stack.nodes().items() if node.reason.startswith(f"slurm-powersave: {begin}")
    }
