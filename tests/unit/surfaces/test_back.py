"""`deploy --back` and `resize --back`: which cluster file comes back, what is shown and kept and refused."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from slurm_powersave import wiring
from slurm_powersave.commands import deploy as engine
from slurm_powersave.commands.messages import Dialog
from slurm_powersave.commands.previous_file import KEPT, Applying
from slurm_powersave.config.settings import Cluster, load
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.ports.site import Site
from slurm_powersave.surfaces.cli import terminal

from .conftest import CLUSTER, Command


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> list[Cluster]:
    """Stand in for the deploy that follows: it succeeds, and asks nothing."""
    found: list[Cluster] = []

    def deploys(site: Site, speak: Dialog, wish: Any, **options: bool) -> engine.Deployed:
        found.append(site.cluster)
        return engine.Deployed(True, PlayPlan(), (), ())

    monkeypatch.setattr(engine, "deploy", deploys)
    return found


def apply(file: Path, text: str) -> str:
    """Write a cluster file, and let it be applied."""
    file.write_text(text)
    Applying.of(wiring.site(load(file))).succeeded()
    return text


def sized(least: int) -> str:
    return CLUSTER.replace("min_nodes: 1", f"min_nodes: {least}")


def beside(file: Path) -> list[Path]:
    return sorted(file.parent.glob(f"{file.name}.replaced-*"))


def test_it_goes_back_to_what_was_applied_last_and_keeps_the_present_one(
    command: Command, cluster_file: Path, deployed: list[Cluster]
) -> None:
    cluster_file.chmod(0o640)
    good = apply(cluster_file, sized(2))
    cluster_file.write_text(sized(3))  # edited, and not applied
    result = command("deploy", "--back", "--yes")
    assert result.exit_code == 0, result.stderr
    assert "-    min_nodes: 3\n+    min_nodes: 2\n" in result.stdout
    assert cluster_file.read_text() == good and stat.S_IMODE(cluster_file.stat().st_mode) == 0o640
    assert [path.read_text() for path in beside(cluster_file)] == [sized(3)]
    assert str(beside(cluster_file)[0]) in result.stdout
    assert deployed[0].pool("compute").min_nodes == 2 and deployed[0].file == cluster_file
    assert not [name for name in os.listdir(cluster_file.parent) if name.startswith(".")]


def test_from_one_that_was_applied_it_goes_to_the_one_before(
    command: Command, cluster_file: Path, deployed: list[Cluster]
) -> None:
    before, _ = apply(cluster_file, sized(2)), apply(cluster_file, sized(3))
    assert command("deploy", "--back", "--yes").exit_code == 0
    assert cluster_file.read_text() == before


def test_from_one_with_mistakes_it_goes_back_too(
    command: Command, cluster_file: Path, deployed: list[Cluster]
) -> None:
    good = apply(cluster_file, sized(2))
    cluster_file.write_text(good.replace("min_nodes", "min_noodles"))
    assert command("deploy", "--yes").exit_code == 2
    assert command("deploy", "--back", "--yes").exit_code == 0
    assert cluster_file.read_text() == good


def test_a_dry_run_shows_what_the_old_one_would_do_and_leaves_the_file(
    command: Command, cluster_file: Path, deployed: list[Cluster]
) -> None:
    apply(cluster_file, sized(2))
    cluster_file.write_text(sized(3))
    result = command("deploy", "--back", "--dry-run")
    assert result.exit_code == 0 and "+    min_nodes: 2" in result.stdout
    assert cluster_file.read_text() == sized(3) and not beside(cluster_file)
    assert deployed[0].pool("compute").min_nodes == 2


@pytest.mark.parametrize("name", ["deploy", "resize"])
def test_no_is_no(
    command: Command,
    cluster_file: Path,
    deployed: list[Cluster],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    apply(cluster_file, sized(2))
    cluster_file.write_text(sized(3))
    monkeypatch.setattr(terminal, "confirm", lambda question, yes: False)
    result = command(name, "--back")
    assert (result.exit_code, deployed) == (1, []) and "Nothing was changed" in result.stderr
    assert cluster_file.read_text() == sized(3) and not beside(cluster_file)


@pytest.mark.parametrize("name", ["deploy", "resize"])
def test_where_there_is_nothing_to_go_back_to(
    command: Command, cluster_file: Path, deployed: list[Cluster], name: str
) -> None:
    result = command(name, "--back", "--yes")
    assert result.exit_code == 2 and "there is no cluster file to go back to" in result.stderr
    apply(cluster_file, sized(2))
    assert command(name, "--back", "--yes").exit_code == 2, "the only one is the present one"
    assert cluster_file.read_text() == sized(2) and not deployed


def test_one_that_is_not_right_any_more_is_not_put_back(
    command: Command, cluster_file: Path, deployed: list[Cluster]
) -> None:
    apply(cluster_file, sized(2))
    (kept,) = (cluster_file.parent / "state/cluster-files").iterdir()
    kept.write_text(sized(2).replace("min_nodes", "of_another_release"))
    assert command("deploy", "--back", "--yes").exit_code == 2
    assert cluster_file.read_text() == sized(2) and not deployed and not beside(cluster_file)


def test_the_last_ones_are_kept_and_only_their_owner_reads_them(cluster_file: Path) -> None:
    for least in [*range(KEPT), *range(4)]:
        apply(cluster_file, sized(least % 5))
    found = sorted((cluster_file.parent / "state/cluster-files").iterdir())
    assert len(found) == KEPT and found[-1].read_text() == sized(3)
    apply(cluster_file, sized(3))
    assert sorted((cluster_file.parent / "state/cluster-files").iterdir()) == found, "no news"
    assert {stat.S_IMODE(path.stat().st_mode) for path in found} == {0o600}


def test_an_abort_can_not_go_back(command: Command, cluster_file: Path) -> None:
    assert command("resize", "--abort", "--back").exit_code == 2
