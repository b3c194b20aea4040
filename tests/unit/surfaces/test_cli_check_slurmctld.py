"""`slurm-powersave check` asks the slurmctld that runs, and `deploy` refuses what it does not go with."""

import json
from pathlib import Path

import pytest

from slurm_powersave.commands import deploy
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.decide.slurm_files.slurm_conf import HEADER
from slurm_powersave.model.errors import SlurmError
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.testing.site import MemoryLoginHost, Parts
from tests.unit.surfaces.one_cloud import AGREED, OneCloud

from .conftest import Command


class OneSlurm:
    """A slurmctld that tells its version, or fails."""

    def __init__(self, said: str | SlurmError) -> None:
        self.said = said
        self.timers = {"ResumeTimeout": 1800, "SuspendTimeout": 600}

    def power_timers(self) -> dict[str, int]:
        return self.timers

    def running_version(self) -> Version:
        if isinstance(self.said, SlurmError):
            raise self.said
        return Version.of(self.said)


class NotAsked:
    """A Slurm that nobody may ask."""

    def __getattr__(self, name: str) -> object:
        pytest.fail("asked")


@pytest.fixture
def slurmctld(cluster_file: Path, cloud: OneCloud, outside: Parts) -> OneSlurm:
    """The login node of a cluster that was deployed; the cluster file names Slurm 22.05."""
    base = cluster_file.parent / "state/terraform/base"
    base.mkdir(parents=True)
    (base / "terraform.tfstate").write_text("{}")
    found = OneSlurm("22.05.8")
    outside.slurm, outside.login_host = found, MemoryLoginHost()
    return found


def test_a_slurmctld_of_the_same_version(command: Command, slurmctld: OneSlurm) -> None:
    result = command("check")
    assert result.exit_code == 0
    assert "asked: slurmctld on demo-login: Slurm 22.05.8 (tested)\n" in result.stdout
    assert "0 errors, 0 warnings" in result.stdout


def test_a_slurmctld_of_another_version_is_an_error(
    command: Command, slurmctld: OneSlurm, cluster_file: Path
) -> None:
    slurmctld.said = "23.11.4"
    result = command("check")
    assert result.exit_code == 2
    assert "asked: slurmctld on demo-login: Slurm 23.11.4 (by the table, not tested)\n" in result.stdout
    assert (
        "error: slurm_version: slurmctld on demo-login runs Slurm 23.11.4, the cluster file says 22.05\n"
        f'  Set slurm_version: "23.11" in {cluster_file} and run slurm-powersave deploy; '
        "until then slurm.conf stays as it is.\n"
    ) in result.stdout
    found = json.loads(command("check", "--json").stdout)["findings"]
    assert [(one["severity"], one["where"]) for one in found] == [("error", "slurm_version")]
    cluster_file.write_text(cluster_file.read_text() + 'slurm_version: "23.11"\n')
    assert command("check").exit_code == 0


def test_a_slurmctld_that_can_not_be_asked_is_no_error(command: Command, slurmctld: OneSlurm) -> None:
    slurmctld.said = SlurmError("no answer", where="slurmctld", why="line one\nline two")
    result = command("check")
    assert result.exit_code == 0
    text = "its version could not be read: slurmctld: no answer: line one line two"
    assert f"asked: slurmctld on demo-login: {text}\n" in result.stdout
    assert "0 errors, 0 warnings" in result.stdout


def test_limits_with_which_slurmctld_does_not_run_are_a_warning(
    command: Command, slurmctld: OneSlurm
) -> None:
    slurmctld.timers["ResumeTimeout"] = 600
    result = command("check")
    assert result.exit_code == 0
    assert (
        "warning: power_save.resume_timeout: 1800 s, and slurmctld runs with ResumeTimeout=600\n"
        in result.stdout
    )
    assert "warning: failure.boot_timeout: a server may take 600 s until its SSH answers" in result.stdout


def test_limits_that_come_too_late_are_found_offline(command: Command, cluster_file: Path) -> None:
    cluster_file.write_text(cluster_file.read_text() + "power_save: {resume_timeout: 180}\n")
    result = command("check", "--offline")
    assert result.exit_code == 0
    assert (
        "warning: failure.boot_timeout: a server may take 600 s until its SSH answers, and Slurm gives a"
        " node up after 180 s (power_save.resume_timeout)\n"
        "  failure.boot_timeout of less than 180, or power_save.resume_timeout of more than 600.\n"
    ) in result.stdout


def test_offline_asks_no_slurmctld(command: Command, slurmctld: OneSlurm, cluster_file: Path) -> None:
    slurmctld.said = "26.05.5"
    result = command("check", "--offline")
    assert (result.exit_code, result.stdout) == (0, f"{cluster_file}: no mistakes\n")


def test_before_the_first_deploy_no_slurmctld_is_asked(
    command: Command, cloud: OneCloud, outside: Parts
) -> None:
    outside.slurm = NotAsked()
    result = command("check")
    assert result.exit_code == 0 and "slurmctld on" not in result.stdout


@pytest.mark.parametrize("offline", [True, False])
def test_a_version_that_nobody_has_tested_is_a_warning(
    command: Command, cloud: OneCloud, cluster_file: Path, offline: bool
) -> None:
    cluster_file.write_text(cluster_file.read_text() + 'slurm_version: "26.11"\n')
    result = command("check", *["--offline"] * offline)
    assert result.exit_code == 0
    assert (
        "warning: slurm_version: Slurm 26.11 is newer than 26.05, the newest version that was tested\n"
        "  It is treated like 26.05."
    ) in result.stdout
    assert result.stdout.endswith("0 errors, 1 warning; nothing was changed.\n")


def _on_this_host(cluster_file: Path) -> None:
    text = cluster_file.read_text()
    login = "login: {name: demo-login, address: 10.0.0.10, image: default, flavor: login"
    assert login in text
    cluster_file.write_text(text.replace(login, f"{login}, connection: local"))


def test_a_slurmctld_of_this_host_is_asked_before_the_first_deploy_too(
    command: Command, cloud: OneCloud, cluster_file: Path, outside: Parts
) -> None:
    _on_this_host(cluster_file)
    found = OneSlurm("24.11.5")
    outside.slurm, outside.login_host = found, MemoryLoginHost()
    assert "runs Slurm 24.11.5, the cluster file says 22.05" in command("check").stdout
    found.said = SlurmError("no slurm.conf")
    result = command("check")
    assert result.exit_code == 0 and "slurmctld on" not in result.stdout
    (cluster_file.parent / "state/applied.json").write_text("{}")
    assert "its version could not be read: no slurm.conf" in command("check").stdout


@pytest.mark.parametrize("argv", [("--yes",), ("--yes", "--no-check"), ("--dry-run",)])
def test_deploy_refuses_to_write_for_another_version(
    command: Command,
    slurmctld: OneSlurm,
    cluster_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: tuple[str, ...],
) -> None:
    done: list[str] = []
    monkeypatch.setattr(deploy, "_deploy", lambda *_: done.append("deployed") or AGREED)
    slurmctld.said = "26.05.5"
    before = sorted(cluster_file.parent.rglob("*"))
    result = command("deploy", *argv)
    assert result.exit_code == 2 and not done
    assert "runs Slurm 26.05.5, the cluster file says 22.05" in result.stdout + result.stderr
    assert 'Set slurm_version: "26.05"' in result.stdout + result.stderr
    lock = cluster_file.parent / "state/command.lock"
    assert sorted({*cluster_file.parent.rglob("*")} - {lock}) == before
    for said in (SlurmError("no answer"), "22.05.1"):
        slurmctld.said = said
        assert command("deploy", *argv).exit_code == 0
    assert len(done) == 2


def test_slurms_files_on_the_login_node(command: Command, slurmctld: OneSlurm, outside: Parts) -> None:
    """What the host says stands in lines of its own, and none of them can look like a finding of ours."""
    edited = f"{HEADER}MessageTimeout=19\nerror: forged\n"
    files = LiveFiles({"slurm.conf": edited, "gres.conf": ""}, {"slurm.conf": HEADER})
    outside.login_host = MemoryLoginHost(files)
    result = command("check")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert "    +MessageTimeout=19" in lines and "    +error: forged" in lines
    assert [line for line in lines if line.startswith("error")] == []
    files = LiveFiles({"slurm.conf": "# do not touch\n"}, unreadable="fatal: x")
    outside.login_host = MemoryLoginHost(files)
    result = command("check")
    assert result.exit_code == 2 and "it is there and did not come from here" in result.stdout
    assert "no user's command works: fatal: x" in result.stdout


def test_a_key_that_slurm_does_not_know_is_a_warning(command: Command, cluster_file: Path) -> None:
    cluster_file.write_text(cluster_file.read_text() + "slurm_conf_extra: {MaxArraySise: 1000}\n")
    result = command("check", "--offline")
    assert result.exit_code == 0 and "Did you mean MaxArraySize?" in result.stdout
    cluster_file.write_text(
        cluster_file.read_text().replace("{MaxArraySise: 1000}", '{NodeName: "DEFAULT CPUs=2"}')
    )
    assert command("check", "--offline").exit_code == 2
    refused = command("resize")
    assert refused.exit_code == 2
