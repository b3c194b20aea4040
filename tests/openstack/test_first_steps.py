"""The first steps of docs/how-to/openstack.md: from each place of the credentials, and interrupted."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.guests import CHECKOUT
from tests.openstack import plain_image
from tests.openstack.cluster import Stack
from tests.openstack.harness import Lab, Project, Ssh, clean_environment

pytestmark = pytest.mark.slow
PLACES = ["working directory", "relative", "home", "RC file"]
PLAIN = "home"
"""With the credentials of this place the image is a plain one: the page tells how to make one for nodes."""
MADE = ["key pairs", "networks", "subnets", "routers", "security groups", "ports", "servers", "floating IPs"]


@pytest.fixture
def stack(lab: Lab) -> Iterator[Stack]:
    """A cluster file in a project of its own."""
    with lab.project() as project:
        assert project.left() == {}
        made = Stack(project, "first")
        made.lay_out()
        try:
            yield made
        finally:
            made.remove()


def place(stack: Stack, where: str) -> tuple[Path, dict[str, str]]:
    """Put the credentials somewhere; return the working directory and the environment."""
    config, work = stack.project.config, stack.root / "work"
    home = stack.root / "home"
    for directory in (work, home / ".config/openstack"):
        directory.mkdir(parents=True)
    env = clean_environment() | {"HOME": str(home)}
    files = {
        "working directory": work / "clouds.yaml",
        "relative": work / "own/credentials",
        "home": home / ".config/openstack/clouds.yaml",
    }
    if where in files:
        files[where].parent.mkdir(exist_ok=True)
        files[where].write_text(yaml.safe_dump({"clouds": {"only": config}}))
    else:
        names = {**config["auth"], "region_name": config.get("region_name", "RegionOne")}
        env |= {f"OS_{name.upper()}": str(value) for name, value in names.items()}
    if where == "relative":
        env["OS_CLIENT_CONFIG_FILE"] = "own/credentials"
    # Nobody says which entry: there is one.
    stack.file.write_text(stack.file.read_text().replace("      cloud: test\n", ""))
    return work, env


@pytest.mark.parametrize("where", PLACES)
def test_check_and_terraform_log_in_from_each_place(stack: Stack, where: str) -> None:
    work, env = place(stack, where)
    for words in (("check",), ("deploy", "--dry-run")):
        done = subprocess.run(
            stack.argv(*words), cwd=work, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "to create" in done.stdout + done.stderr
    assert stack.project.left() == {}


def page() -> tuple[list[str], str, list[str]]:
    """Return the commands of the page's "From nothing to a job".

    Those on the control host, the job, and from a plain image to one for the nodes.
    """
    text = (CHECKOUT / "docs/how-to/openstack.md").read_text()
    part = text.partition("## From nothing to a job")[2].partition("\n## ")[0]
    steps, build = [
        [line for text in block.splitlines() if (line := text.partition("#")[0].strip())]
        for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
    ]
    job, resize = re.search(r"`(sbatch [^`]+)`", part), re.search(r"run `(slurm-powersave [^`]+)`", part)
    assert job and resize
    return steps, job[1], [*build, resize[1]]


def follow(stack: Stack, work: Path, env: dict[str, str], line: str) -> None:
    """Run a command of the page as it stands there; --yes is what the person answers."""
    words = [*shlex.split(line)[1:], *["--yes"] * (not line.endswith("check"))]
    done = subprocess.run(
        stack.argv(*words), cwd=work, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("where", PLACES)
def test_the_page_from_nothing_to_a_job(stack: Stack, ssh: Ssh, where: str) -> None:
    if where == PLAIN:
        plain_image.make(stack.project, ssh, "debian-12")
        assert stack.project.left() == {}
        stack.write(image="debian-12", login_image="debian-12")
    work, env = place(stack, where)
    commands, job, prepare = page()
    assert [line.split()[-1] for line in commands] == ["check", "deploy", "slurm-powersave-engine"]
    for line in commands[:2]:
        follow(stack, work, env, line)
    # The service has another working directory: the page says to name the file to it.
    names = {"working directory": work / "clouds.yaml", "relative": work / "own/credentials"}
    stack.environment = env | ({"OS_CLIENT_CONFIG_FILE": str(names[where])} if where in names else {})
    stack.start_engine()
    if where == PLAIN:
        build, resize = prepare
        assert build.split()[1:4] == ["image", "build", "--base"] and resize.split()[1:] == ["resize"]
        follow(stack, work, env, build)
        text = stack.file.read_text()
        text = text.replace("image: debian-12\n", "image: compute-1\n")
        stack.file.write_text(text.replace("min_nodes: 0\n", "min_nodes: 2\n"))
        follow(stack, work, env, resize)
    number = int(stack.login(f"cd /mnt/ohpc && {job}").split()[-1])
    stack.job_done(number, 180)
    said = stack.login(f"cat /mnt/ohpc/slurm-{number}.out").split()
    assert sorted(said) == ["first-1", "first-2"]
    assert "No changes" in stack.command("terraform", "plan", timeout=120)
    stack.stop_engine()
    stack.command("teardown", "--yes", "--force", timeout=600)
    assert stack.project.left() == {}


def interrupt(stack: Stack, kind: str, *words: str) -> str:
    """Run a command and interrupt it as soon as the project has something of a kind; return its last line."""
    process = subprocess.Popen(
        stack.argv(*words),
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 240
    while kind not in stack.project.left() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=240)
    assert process.returncode in (0, 130), out
    return out.strip().splitlines()[-1]


def ids(project: Project) -> dict[str, int]:
    """How many there are of each kind."""
    return {kind: len(names) for kind, names in project.left().items()}


@pytest.mark.parametrize("kind", MADE)
def test_a_deploy_that_is_interrupted_goes_on_and_nothing_is_made_twice(stack: Stack, kind: str) -> None:
    last = interrupt(stack, kind, "deploy", "--yes", "--no-check")
    assert "Interrupted. Terraform's states hold" in last or "deployed" in last
    stack.command("deploy", "--yes", "--no-check", timeout=600)
    assert all(
        count == 1
        for name, count in ids(stack.project).items()
        if name in ("routers", "networks", "floating IPs")
    )
    assert "No changes" in stack.command("terraform", "plan", timeout=120)
    stack.command("teardown", "--yes", "--discard-queue", timeout=600)
    assert stack.project.left() == {}


def working_in(directory: Path) -> list[int]:
    """Return the processes whose working directory is below a directory: Terraform and its providers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cwd").readlink().is_relative_to(directory):
                found.append(int(entry.name))
    return found


def kill(stack: Stack, kind: str, *words: str) -> None:
    """Run a command; as soon as the project has something of a kind kill it and all that it has started."""
    process = subprocess.Popen(
        stack.argv(*words), env=stack.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    end = time.monotonic() + 240
    while kind not in stack.project.left():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    process.kill()
    while pids := working_in(stack.root / "state"):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.communicate(timeout=60)


@pytest.mark.parametrize("kind", ["key pairs", "server groups", "networks", "routers", "floating IPs"])
def test_what_a_killed_deploy_has_made_is_replaced_by_the_next(stack: Stack, kind: str) -> None:
    """Terraform has not written what it made: only the cloud knows."""
    kill(stack, kind, "deploy", "--yes", "--no-check")
    stack.command("deploy", "--yes", "--no-check", timeout=600)
    counts = ids(stack.project)
    singles = ("key pairs", "server groups", "routers", "networks", "subnets", "floating IPs", "servers")
    assert {name: counts[name] for name in singles} == dict.fromkeys(singles, 1)
    assert "No changes" in stack.command("terraform", "plan", timeout=120)
    stack.command("teardown", "--yes", "--discard-queue", timeout=600)
    assert stack.project.left() == {}


@pytest.mark.parametrize("kind", ["networks", "floating IPs"])
def test_teardown_after_an_interrupted_deploy_leaves_nothing(stack: Stack, kind: str) -> None:
    interrupt(stack, kind, "deploy", "--yes", "--no-check")
    stack.command("teardown", "--yes", "--discard-queue", "--force", timeout=600)
    assert stack.project.left() == {}
