"""The pages on who can do what if it turns, and what to do then: they agree, their commands are right."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_powersave import wiring
from slurm_powersave.commands import deploy
from slurm_powersave.decide.node import reboot
from slurm_powersave.model.modes import Kind
from slurm_powersave.testing.world import cluster

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/how-to/after-a-break-in.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()
STATE = "/var/lib/slurm-powersave/demo"

KNOWN = {
    "openstack server lock",
    "openstack server unlock",
    "openstack server pause",
    "openstack server delete --wait",
    "openstack server image create --name",
    "openstack server list --long",
    "openstack server list --tags",
    "openstack console log show",
    "openstack application credential delete",
    "openstack application credential list",
    "openstack keypair list",
    "openstack image list --private --long",
    "openstack security group rule list",
    "scontrol update nodename= state= reason=",
    "scontrol update nodename= state=",
    "scontrol update partitionname= state=",
    "scancel --state=",
    "sudo systemctl stop slurm-powersave-engine",
    "sudo systemctl start slurm-powersave-engine",
    "head -c",
    "rm",
}
"""Commands of others that the page may name: their words without names. The docs' tests look ours up."""


def commands(page: str) -> Iterator[str]:
    """The lines of its blocks."""
    for block in re.findall(r"```sh\n(.*?)```", page, re.S):
        yield from (line.strip() for line in block.splitlines() if line.strip())


def shape(command: str) -> str:
    """A command without the names in it."""
    words = shlex.split(re.split(r" >", command)[0])
    kept = [re.sub(r"=.+", "=", word) for word in words]
    known = [known for known in KNOWN if kept[: len(known.split())] == known.split()]
    return max(known, key=len, default="")


@pytest.mark.parametrize("command", sorted(set(commands(PAGE))))
def test_a_command_is_one_that_exists(command: str) -> None:
    subprocess.run(["sh", "-n", "-c", command], check=True)
    assert command.startswith("slurm-powersave ") or shape(command), command


@pytest.mark.parametrize("command", [c for c in commands(PAGE) if STATE in c])
def test_what_it_does_to_the_keys_has_that_effect(tmp_path: Path, command: str) -> None:
    """Run it, and do what deploy begins with: a new munge key is there, for its owner only."""
    made = cluster(state_dir=tmp_path / "state")
    deploy.prepare(wiring.site(made))
    key, old = made.layout.munge_key, made.layout.munge_key.read_bytes()
    ssh = made.layout.private_key.read_bytes()
    subprocess.run(["sh", "-ec", command.replace(STATE, str(made.layout.root))], check=True)
    deploy.prepare(wiring.site(made))
    assert key.read_bytes() != old and 32 <= len(key.read_bytes()) <= 1024
    assert key.stat().st_mode & 0o777 == 0o600
    assert made.layout.private_key.read_bytes() == ssh


def section(title: str) -> list[str]:
    """The commands of a part of the page."""
    return list(commands(PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]))


def place(found: list[str], beginning: str) -> int:
    """Where the first command is that begins so."""
    return next(number for number, command in enumerate(found) if command.startswith(beginning))


def test_evidence_is_kept_before_anything_is_deleted() -> None:
    node, login, control = map(section, ("A compute node", "The login node", "The control host"))
    for found, end in (
        (node, "slurm-powersave suspend"),
        (login, "slurm-powersave teardown"),
        (control, "openstack server delete"),
    ):
        lock = place(found, "openstack server lock")
        image = place(found, "openstack server image create")
        assert lock < image < place(found, end)
    assert place(node, "scontrol update nodename=demo-[1-4] state=POWER_DOWN_FORCE") < place(node, "head -c")
    assert place(login, "sudo systemctl stop") == 0, "the engine believes Slurm"
    assert place(control, "openstack application credential delete") == 0, "nothing is stopped before this"
    assert not any("restore" in command for command in control), "a backup holds the old keys"


PARTIES = ("the cloud", "control host", "login node", "user slurm", "compute node", "user", "a backup file")


def rows() -> dict[str, list[str]]:
    """The table: who -> cells."""
    lines = [line for line in SECURITY.splitlines() if line.startswith("| **")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found = {}
    for who, *others in cells:
        name = re.match(r"\*\*(.+?)\*\*", who)
        assert name
        found[name[1]] = others
    return found


def test_everybody_is_in_the_table() -> None:
    assert tuple(rows()) == PARTIES
    assert all(len(cells) == 3 and cells[0] and cells[1] for cells in rows().values())


def test_a_compute_node_s_root_is_slurm_s_root_and_all_pages_say_so() -> None:
    _, can, can_not = rows()["compute node"]
    for what in ("Slurm's root", "jobs as any user", "power them up and down", "strigger"):
        assert what in can
    assert "cloud or the control host" in can_not
    for name in ("architecture", "safety"):
        page = " ".join((ROOT / f"docs/explanation/{name}.md").read_text().split())
        assert "can't create servers" not in page
        for what in (
            "munge key",
            "Slurm's root",
            "jobs as any user",
            "cloud or the control host",
            "SECURITY.md",
        ):
            assert what in page, (name, what)


def test_who_chooses_the_image_is_told() -> None:
    """The words of a reboot name any image that the cloud has, and Slurm's root gives them."""
    node = cluster().node_spec("n1")
    said = reboot.wish(
        "reimage image=another", node, node, images={"default", "another"}, flavors=None, configured=None
    )
    assert (said.kind, said.target) == (Kind.REIMAGE, "another")
    assert "any image that the project may use" in rows()["compute node"][1]
    assert not any("other images" in cells[2] for cells in rows().values())


def test_user_slurm_gets_at_the_munge_key_by_a_job_of_root() -> None:
    _, can, can_not = rows()["user slurm"]
    assert "Slurm's root" in can and "on a compute node a job of root reads it" in can_not


@pytest.mark.parametrize(
    "page", ["SECURITY.md", "docs/how-to/after-a-break-in.md", "docs/explanation/safety.md"]
)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        lines = [line.lstrip("# ").lower() for line in target.read_text().splitlines() if line[:1] == "#"]
        titles = [re.sub(r"[^a-z0-9 -]", "", line).replace(" ", "-") for line in lines]
        assert not anchor or anchor in titles, link
