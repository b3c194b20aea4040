"""The whole job on OpenStack: from an empty project to a cluster that runs jobs, through its changes, and back."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.harness import OFF
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
    """The cluster at rest."""
    proxy.calm()
    deployed.rest()
    return deployed


def no_changes(stack: Stack) -> None:
    """A person's plan agrees with what is there."""
    assert "No changes" in stack.command("terraform", "plan", timeout=120)


def test_a_job_brings_its_nodes_up_and_idleness_takes_them_away(stack: Stack) -> None:
    ports = stack.ports()
    job = stack.sbatch("-N3", "srun hostname")
    stack.job_done(job, 120)
    assert sorted(stack.login(f"cat /mnt/ohpc/{job}.out").split()) == ["os-1", "os-2", "os-3"]
    assert sorted(stack.servers()) == ["os-1", "os-2", "os-3"]
    no_changes(stack)
    stack.wait("SuspendTime takes the nodes away", lambda: not stack.servers(), 90)
    stack.wait(
        "Slurm counts them as off", lambda: all(OFF in stack.node(f"os-{n}").flags for n in (1, 2, 3)), 30
    )
    assert stack.ports() == ports
    no_changes(stack)
