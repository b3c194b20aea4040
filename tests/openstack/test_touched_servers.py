"""Servers that people of the cloud have touched, or that Nova does not delete, and what the engine does."""

from collections.abc import Iterator

import pytest

from tests.e2e.reboot_stories import asked, ended
from tests.e2e.silence_stories import silent, timeout
from tests.openstack.cluster import Stack
from tests.openstack.harness import Project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(project: Project) -> Iterator[Stack]:
    """A deployed cluster whose engine starts a server again after five seconds."""
    made = Stack(project, "touched")
    made.lay_out(restart_after=5)
    try:
        made.make()
        made.command("continue", "--confirm")  # the journal is new
        yield made
    finally:
        made.remove()


@pytest.fixture
def stack(deployed: Stack) -> Stack:
    """The cluster at rest."""
    deployed.rest()
    return deployed


def no_changes(stack: Stack) -> None:
    """A person's plan agrees with what is there."""
    stack.quiet()
    assert "No changes" in stack.command("terraform", "plan", timeout=120)


def given_back(stack: Stack, node: str) -> None:
    """A job may use the node again."""
    stack.wait("Slurm may use it", lambda: not stack.node(node).has("DRAIN", "DOWN"), 240)
    stack.job_done(stack.sbatch(f"-w {node}"), 120)
    no_changes(stack)


def test_a_server_that_was_switched_off_is_started_again(stack: Stack) -> None:
    node, compute = "touched-1", stack.project.cloud.compute
    slurmd = stack.login("grep ^SlurmdTimeout /etc/slurm/slurm.conf", check=False).strip()
    stack.idle(node)
    server, boots = stack.servers()[node], stack.boots(node)
    timeout(stack, "SlurmdTimeout=10")
    try:
        compute.stop_server(server)
        stack.wait("Slurm has set it DOWN", lambda: silent(stack, node), 120)
        stack.wait("status warns of it", lambda: "is off" in stack.command("status"), 60)
        stack.wait("Slurm has it back", lambda: stack.up(node) and not stack.node(node).has("DOWN"), 180)
    finally:
        timeout(stack, slurmd)
    assert stack.servers() == {node: server} and stack.boots(node) != boots
    assert stack.project.status(server) == "ACTIVE"
    assert "dead or silent" in stack.command("history", "--evidence", "--node", node)
    stack.except_from_suspend("")
    given_back(stack, node)


def test_a_server_that_is_off_is_started_before_it_is_reimaged(stack: Stack) -> None:
    node, compute = "touched-2", stack.project.cloud.compute
    stack.idle(node)
    server = stack.servers()[node]
    compute.stop_server(server)
    stack.wait("it is off", lambda: stack.project.status(server) == "SHUTOFF", 60)
    asked(stack, [node], "reimage image=lab-base-2")
    op = ended(stack, node, 180)
    assert op.outcome == "done", op.text
    assert stack.servers() == {node: server}
    assert str(compute.get_server(server).image.id) == stack.project.image("lab-base-2")
    stack.except_from_suspend("")
    given_back(stack, node)


def test_a_locked_server_is_told_and_goes_when_it_is_unlocked(stack: Stack) -> None:
    node, compute = "touched-3", stack.project.cloud.compute
    stack.idle(node)
    server = stack.servers()[node]
    compute.lock_server(server)
    unlock = f"openstack server unlock {server}"
    try:
        stack.except_from_suspend("")
        stack.wait("Slurm's reason says how", lambda: unlock in stack.node(node).reason, 300)
        op = stack.newest(node, "suspend")
        assert unlock in op.text and not op.outcome
        assert unlock in stack.command("status")
        assert stack.servers() == {node: server}
    finally:
        compute.unlock_server(server)
    stack.wait("it is deleted", lambda: node not in stack.servers(), 90)
    stack.wait("that is its end", lambda: stack.newest(node, "suspend").outcome == "done", 60)
    given_back(stack, node)


def test_a_deletion_that_takes_long_is_told_and_waited_for(stack: Stack) -> None:
    node = "touched-4"
    stack.idle(node)
    server = stack.servers()[node]
    said = f"server {server} is not gone 3 minutes after its deletion was begun"
    with stack.project.lab.faults({"op": "destroy", "name": f"^{node}$", "delay": 260, "times": 1}):
        stack.except_from_suspend("")
        stack.wait("Slurm's reason says it", lambda: said in stack.node(node).reason, 300)
        assert said in stack.newest(node, "suspend").text and said in stack.command("status")
        other = stack.sbatch("-w touched-5")
        stack.job_done(other, 120)
        stack.wait("it is gone", lambda: node not in stack.servers(), 200)
    stack.wait("that is its end", lambda: stack.newest(node, "suspend").outcome == "done", 90)
    given_back(stack, node)


def test_a_node_without_a_place_in_the_server_group_is_told(stack: Stack) -> None:
    project = stack.project
    project.quota(server_group_members=2)
    try:
        jobs = [stack.sbatch(f"-w touched-{number}", "sleep 5") for number in (6, 7, 8)]
        why = "(quota) needs 1 place in the server group, 0 of 2 left"
        stack.wait("Slurm tells why", lambda: any(why in node.reason for node in stack.nodes().values()), 90)
        assert "server group" in stack.command("check")
    finally:
        project.quota(server_group_members=10)
    for job in jobs:
        stack.job_done(job, 240)
    no_changes(stack)


def test_a_node_whose_flavor_was_deleted_is_refused_in_words_and_replaced_on_request(stack: Stack) -> None:
    node, admin = "touched-1", stack.project.admin.compute
    flavor = admin.create_flavor(name="touched.gone", ram=512, vcpus=1, disk=1)
    try:
        stack.idle(node)
        server = stack.servers()[node]
        asked(stack, [node], "resize flavor=touched.gone")
        assert ended(stack, node, 120).outcome == "done"
    finally:
        admin.delete_flavor(flavor)
    said = stack.command("check")
    assert "the flavor touched.gone was deleted in the cloud" in said and f"{node} can't be reimaged" in said
    asked(stack, [node], "reimage image=lab-base-2")
    op = ended(stack, node, 120)
    assert op.outcome == "refused" and "--replace" in op.text, op
    assert stack.servers() == {node: server}
    stack.wait("Slurm has it back", lambda: stack.up(node) and not stack.node(node).has("DRAIN"), 60)
    stack.command("reimage", node, "--replace", "--wait", timeout=240)
    assert stack.servers()[node] != server
    made = stack.project.cloud.compute.get_server(stack.servers()[node])
    assert made.flavor["original_name"] == "lab.tiny"
    stack.except_from_suspend("")
    given_back(stack, node)
