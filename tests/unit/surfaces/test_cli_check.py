"""`slurm-powersave check`: one report, exit code 2, nothing changed."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_powersave.adapters.journal.sqlite import SqliteJournal
from slurm_powersave.commands import deploy
from slurm_powersave.decide.commands.play_plan import PlayPlan
from slurm_powersave.decide.slurm_files.live_files import LiveFiles
from slurm_powersave.decide.slurm_files.slurm_conf import HEADER
from slurm_powersave.model.cloud_facts import Asked, CloudFacts, ImageFacts, Trouble
from slurm_powersave.model.errors import CloudError, FailureClass, SlurmError
from slurm_powersave.model.hardware import FirstNode, Hardware
from slurm_powersave.model.nodes import Flavor
from slurm_powersave.model.slurm_version import Version
from slurm_powersave.testing.site import MemoryLoginHost, MemoryProgram, Outside, put_in

from .conftest import Command

AGREED = deploy.Deployed(True, PlayPlan(), (), ())

FACTS = CloudFacts(
    asked=("local cloud in /cloud",),
    images=(ImageFacts("default", "default"),),
    flavors={"small": Flavor("small", 1, 1024), "login": Flavor("login", 1, 1024)},
)


class OneCloud:
    """A cloud that tells what it is given, or fails."""

    def __init__(self, facts: CloudFacts | Exception) -> None:
        self.told = facts

    def facts(self, images: Collection[str] = ()) -> CloudFacts:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Outside:
    """What the command asks; Terraform is there."""
    return put_in(monkeypatch.setattr, terraform_program=MemoryProgram())


@pytest.fixture
def cloud(outside: Outside) -> OneCloud:
    """The cluster's only cloud."""
    found = OneCloud(FACTS)
    outside.clouds = {"local": found}
    return found


def test_a_good_file(command: Command, cluster_file: Path) -> None:
    result = command("check", "--offline")
    assert (result.exit_code, result.stdout) == (0, f"{cluster_file}: no mistakes\n")
    value = json.loads(command("check", "--offline", "--json").stdout)
    assert value == {
        "file": str(cluster_file), "mistakes": [], "asked": [], "findings": [], "flavors": {},
    }  # fmt: skip


def test_every_mistake_is_told_at_once(command: Command, cluster_file: Path) -> None:
    text = cluster_file.read_text()
    cluster_file.write_text(text.replace("min_nodes: 1", "min_nodes: 9").replace("flavors:", "flavours:"))
    before = sorted(cluster_file.parent.rglob("*"))
    result = command("check")
    assert result.exit_code == 2
    assert f"{cluster_file}:12: node_pools[0].min_nodes: " in result.stdout
    assert "node_pools[0].flavours: unknown key\n  did you mean flavors?" in result.stdout
    assert result.stdout.endswith("nothing was changed.\n")
    assert sorted(cluster_file.parent.rglob("*")) == before

    mistakes = json.loads(command("check", "--json").stdout)["mistakes"]
    assert {"node_pools[0].min_nodes", "node_pools[0].flavours"} <= {mistake["key"] for mistake in mistakes}
    assert mistakes[0].keys() >= {"file", "line", "key", "wrong", "right"}


def test_no_file_at_all(command: Command, tmp_path: Path) -> None:
    missing = tmp_path / "none.yml"
    result = command("check", cluster=missing)
    assert result.exit_code == 2
    assert str(missing) in result.stderr


def test_other_commands_refuse_a_wrong_file(command: Command, cluster_file: Path) -> None:
    cluster_file.write_text("cluster_name: [")
    for argv in (("history",), ("resume", "demo-1"), ("nodes", "expand", "demo-1")):
        result = command(*argv)
        assert (result.exit_code, result.stdout) == (2, "")
        assert str(cluster_file) in result.stderr


# The clouds


def test_the_clouds_are_asked_and_it_is_said_what(
    command: Command, cluster_file: Path, cloud: OneCloud
) -> None:
    before = sorted(cluster_file.parent.rglob("*"))
    result = command("check")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{cluster_file}: no mistakes",
        "asked: terraform 1.11.4",
        "asked: cloud local: local cloud in /cloud",
        "pool compute: flavor small",
        "0 errors, 0 warnings; nothing was changed.",
    ]
    assert sorted(cluster_file.parent.rglob("*")) == before


def test_what_a_first_node_has_is_a_warning(
    command: Command, cluster_file: Path, cloud: OneCloud, journal: SqliteJournal
) -> None:
    hardware = Hardware(1, 1, 1, 1, 1, 780)
    journal.save_first_node(FirstNode("compute", "small", "default", "demo-1", 1.0, hardware))
    cluster_file.write_text(cluster_file.read_text().replace("real_memory: 400", "real_memory: 800"))
    result = command("check")
    assert result.exit_code == 0
    assert (
        "warning: node_pools[0].real_memory: pool compute: the cluster file says RealMemory 800"
        in result.stdout
    )
    assert "0 errors, 1 warning;" in result.stdout


def test_an_error_is_exit_code_2(command: Command, cloud: OneCloud) -> None:
    cloud.told = replace(FACTS, images=(), clock_skew=20.0)
    result = command("check")
    assert result.exit_code == 2
    assert "error: login.image: the cloud has no image default\n  It has none.\n" in result.stdout
    assert "warning: clouds.local: the cloud's clock is 20 s ahead" in result.stdout
    assert result.stdout.endswith("2 errors, 1 warning; nothing was changed.\n")
    found = json.loads(command("check", "--json").stdout)["findings"]
    assert [one["severity"] for one in found] == ["error", "error", "warning"]
    assert found[0].keys() == {"severity", "where", "wrong", "right"}


def test_a_warning_is_not(command: Command, cloud: OneCloud) -> None:
    cloud.told = replace(FACTS, clock_skew=20.0)
    assert command("check").exit_code == 0


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (CloudError("no answer", where="identity", why="timed out"), "local: identity: no answer: timed out"),
        (CloudError("401", failure=FailureClass.AUTH), "error: clouds.local: 401\n  Look at clouds.yaml"),
        (CloudFacts(troubles=(Trouble(Asked.REACH, "refused", "compute"),)), "local: compute: refused"),
    ],
)
def test_a_cloud_that_can_not_be_asked_is_a_finding(
    command: Command, cloud: OneCloud, answer: CloudFacts | Exception, text: str
) -> None:
    cloud.told = answer
    result = command("check")
    assert result.exit_code == 2 and text in result.stdout


def test_settings_that_the_adapter_refuses_are_a_finding(command: Command) -> None:
    """The cluster file of these tests names no directory for the local cloud."""
    result = command("check")
    assert result.exit_code == 2
    assert "error: clouds.local: clouds: settings: root: the local cloud has no directory" in result.stdout


def test_a_cloud_without_an_adapter_is_not_asked(command: Command, outside: Outside, cloud: OneCloud) -> None:
    outside.clouds = {}
    result = command("check")
    assert result.exit_code == 0
    assert "asked: cloud local: not asked, it has no adapter that could" in result.stdout


def test_a_wrong_file_asks_nobody(command: Command, cluster_file: Path, cloud: OneCloud) -> None:
    cluster_file.write_text(cluster_file.read_text().replace("image: default", "picture: x"))
    cloud.told = RuntimeError("asked")
    result = command("check")
    assert result.exit_code == 2 and "no cloud was asked" in result.stdout


def test_deploy_looks_first_and_refuses(
    command: Command, cluster_file: Path, cloud: OneCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(deploy, "_deploy", lambda *_: done.append("deployed") or AGREED)
    cloud.told = replace(FACTS, images=())
    result = command("deploy", "--yes")
    assert result.exit_code == 2 and not done
    assert "error: login.image: the cloud has no image default" in result.stdout
    assert "2 things are in the way of a deploy" in result.stderr
    assert command("deploy", "--yes", "--no-check").exit_code == 0 and done == ["deployed"]
    cloud.told = replace(FACTS, clock_skew=20.0)
    result = command("deploy", "--yes")
    assert result.exit_code == 0 and done == ["deployed"] * 2
    assert "warning: clouds.local" in result.stdout


@pytest.mark.root  # as the local cloud's command does
def test_what_the_local_cloud_tells(tmp_path: Path, cluster_file: Path, command: Command) -> None:
    """The real adapter, with a cloud that has no servers yet."""
    (tmp_path / "image").mkdir()
    settings = (
        f"    adapter: local\n    settings: {{root: {tmp_path}/cloud, images: {{default: {tmp_path}/image}}}}"
    )
    cluster_file.write_text(cluster_file.read_text().replace("    adapter: local", settings))
    value = json.loads(command("check", "--json").stdout)
    assert value["asked"][-1] == f"cloud local: local cloud in {tmp_path}/cloud"
    assert value["flavors"] == {"compute": ["small"]}


# The slurmctld that runs


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
def slurmctld(cluster_file: Path, cloud: OneCloud, outside: Outside) -> OneSlurm:
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
    command: Command, cloud: OneCloud, outside: Outside
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
    command: Command, cloud: OneCloud, cluster_file: Path, outside: Outside
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


def test_slurms_files_on_the_login_node(command: Command, slurmctld: OneSlurm, outside: Outside) -> None:
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
