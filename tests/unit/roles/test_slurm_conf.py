"""The module slurm_conf: whose files are there, what a try means, how old files come back."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.roles.role_files import load

ROLE = Path(__file__).resolve().parents[3] / "roles/slurmctld"
OURS = "# Written by slurm-powersave from the cluster file\n"


files, look, trying, live = (
    load("slurmctld", f"slurm_conf_{name}") for name in ("files", "look", "try", "live")
)


def texts(conf: str, gres: str = "", cgroup: str = "") -> dict[str, str]:
    """The three files."""
    return {"slurm.conf": conf, "gres.conf": gres, "cgroup.conf": cgroup}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A live directory with a slurm.conf of ours that slurmctld took."""
    made = files.Files(str(tmp_path))
    made.put(texts(OURS + "A=1\n"))
    made.note("written", texts(OURS + "A=1\n"))
    return tmp_path


# Whose files are there


def test_a_file_without_our_first_line_is_somebody_elses(place: Path) -> None:
    made = files.Files(str(place))
    assert made.foreign(texts(OURS + "A=2\n")) == []
    (place / "slurm.conf").write_text("# do not touch\nA=1\n")
    (place / "gres.conf").write_text("Name=gpu\n")
    assert made.foreign(texts(OURS + "A=2\n")) == ["slurm.conf"], "gres.conf is not to be replaced"
    assert made.foreign(texts("# do not touch\nA=1\n")) == [], "it is as it would be"
    assert "-# do not touch\n" in made.diff(["slurm.conf"], made.live(), texts(OURS))


def test_what_was_edited_by_hand_is_told_from_what_we_wrote(place: Path) -> None:
    made = files.Files(str(place))
    assert made.edited(texts(OURS + "A=2\n")) == []
    (place / "slurm.conf").write_text(OURS + "A=1\nB=1\n")
    assert made.edited(texts(OURS + "A=1\n")) == ["slurm.conf"]
    assert "+B=1" in made.edits(["slurm.conf"]).splitlines()
    assert not made.moved_on("slurm.conf", texts(OURS + "A=1\n"))
    assert made.moved_on("slurm.conf", texts(OURS + "A=2\n"))


def test_what_a_killed_run_has_written_is_no_edit(place: Path) -> None:
    made = files.Files(str(place))
    made.note("pending", texts(OURS + "A=2\n"))
    made.put(texts(OURS + "A=2\n"))
    assert made.edited(texts(OURS + "A=3\n")) == []
    made.forget_pending()
    assert made.edited(texts(OURS + "A=3\n")) == ["slurm.conf"]


def test_a_candidate_has_all_that_lies_beside_slurm_conf_and_keeps_its_mode(place: Path) -> None:
    (place / "site.d").mkdir()
    (place / "site.d/more.conf").write_text("B=1\n")
    (place / "secret").write_text("key")
    (place / "secret").chmod(0o600)
    (place / "gres.conf").write_text("Name=gpu\n")
    made = files.Files(str(place))
    candidate = Path(made.build(texts(OURS + "A=2\nInclude site.d/more.conf\n")))
    assert candidate.is_relative_to(place)
    assert (candidate / "secret").stat().st_mode & 0o777 == 0o600
    assert (candidate / "gres.conf").read_text() == "Name=gpu\n", "not ours: it stays"
    conf = files.Conf(str(candidate))
    assert (conf.get("A"), conf.get("b"), conf.missing) == ("2", "1", [])
    assert (place / "slurm.conf").read_text() == OURS + "A=1\n"
    made.accept()
    assert not candidate.exists() and (Path(made.good) / "slurm.conf").exists()


def test_the_last_ten_old_sets_stay(place: Path) -> None:
    made = files.Files(str(place))
    kept = [made.save_old() for _ in range(13)]
    assert [str(path) for path in sorted(Path(made.old).iterdir())] == sorted(kept)[-10:]


# Our own look


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("PartitionName=main Nodes=n1", ""),
        ("ClusterName=x", "there is no partition"),
        ("PartitionName=DEFAULT MaxTime=1", "there is no partition"),
        ("PartitionName=m\nInclude gone.conf", "Include gone.conf: there is no such file"),
        ("PartitionName=m\nResumeProgram=/no/such", "ResumeProgram=/no/such: there is no such file"),
        ("PartitionName=m\nResumeProgram=DIR/plain", "it may not be executed"),
        ("PartitionName=m\nPrologSlurmctld=DIR/odd", "its interpreter is missing: /no/such"),
        ("PartitionName=m\nResumeProgram=DIR/good --fast", ""),
        ("PartitionName=m\nRebootProgram=/no/such", ""),  # slurmd runs it, on the nodes
        ("PartitionName=m\nSlurmctldParameters=reboot_from_controller\nRebootProgram=/no", "RebootProgram"),
        ("PartitionName=m\nProlog=/on/the/nodes", ""),
        ("PartitionName=m\nPluginDir=DIR\nTaskPlugin=task/affinity,task/cgruop", "no plugin task_cgruop.so"),
        ("PartitionName=m\nPluginDir=DIR\nTaskPlugin=task/none", ""),
        ("PartitionName=m\nPluginDir=DIR\nProctrackType=proctrack/pgid", ""),  # none of its kind is here
        ("PartitionName=m\nPluginDir=DIR\nMpiDefault=pmxi", "no plugin mpi_pmxi.so"),
    ],
)  # fmt: skip
def test_what_slurmctld_does_not_say(tmp_path: Path, lines: str, says: str) -> None:
    for name in ("task_affinity.so", "mpi_pmix.so", "plain"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o644)
    for name, text in {"odd": "#!/no/such -x\n", "good": "#!/bin/sh\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "slurm.conf").write_text(lines.replace("DIR", str(tmp_path)))
    found = "; ".join(look.mistakes(files.Conf(str(tmp_path))))
    assert says in found and bool(says) == bool(found)


def test_the_state_and_the_name_of_the_cluster_do_not_move_by_a_file(tmp_path: Path) -> None:
    for name, state in (("old", "a"), ("new", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "slurm.conf").write_text(f"ClusterName=x\nStateSaveLocation={tmp_path}/{state}\n")
    old, new = (files.Conf(str(tmp_path / name)) for name in ("old", "new"))
    assert look.moved(old, old) == []
    assert "all jobs would be lost" in look.moved(new, old)[0]
    (tmp_path / "b").mkdir()
    (tmp_path / "b/clustername").write_text("x")
    assert look.moved(new, old) == [], "somebody has moved it there"
    (tmp_path / "new/slurm.conf").write_text(f"ClusterName=y\nStateSaveLocation={tmp_path}/a\n")
    assert "ClusterName would change" in look.moved(files.Conf(str(tmp_path / "new")), old)[0]


# What a try means


def tried(**found: Any) -> Any:
    """Stand in for Try: directory -> what is said there; everything else is well."""
    well = trying.Said()
    return SimpleNamespace(
        parse=lambda directory: found.get(f"parse_{directory}", well),
        slurmctld=lambda directory, listed: found.get(f"slurmctld_{directory}", well),
        slurmd=lambda directory: found.get(f"slurmd_{directory}", {}),
    )


Said = trying.Said


@pytest.mark.parametrize(
    ("found", "refused", "untried", "warnings"),
    [
        ({}, [], [], []),
        ({"parse_new": Said(1, ["unknown key"])}, ["unknown key"], [], []),
        ({"slurmctld_new": Said(1, ["duplicate"])}, ["duplicate"], [], []),
        ({"slurmctld_new": Said(1, ["new", "old"]), "slurmctld_old": Said(0, ["old"])}, ["new"], [], []),
        (  # Where the present files do not start either, the try tells nothing.
            {"slurmctld_new": Said(1, ["no port"]), "slurmctld_old": Said(1, ["no port"])},
            [], ["slurmctld: the present files do not start there either: no port"], [],
        ),
        ({"slurmctld_new": Said(2)}, [], ["slurmctld: it was not up after 15 s"], []),
        ({"slurmctld_new": Said(9, ["no ip"])}, [], ["slurmctld: no ip"], []),
        ({"slurmctld_new": Said(0, ["MailProg"]), "slurmctld_old": Said(0, ["MailProg"])}, [], [], []),
        ({"slurmctld_new": Said(0, ["MailProg"])}, [], [], ["MailProg"]),
        ({"slurmctld_new": Said(0, [], ["7", "8"]), "slurmctld_old": Said(0, [], ["8"])},
         ["these jobs would be lost: 7"], [], []),
        ({"slurmd_new": {"n1": Said(1, ["unknown key"])}}, ["slurmd on n1: unknown key"], [], []),
        ({"slurmd_new": {"n1": Said(1, ["bad"])}, "slurmd_old": {"n1": Said(1, ["bad"])}}, [], [], []),
        ({"slurmd_new": {"n1": Said(2)}}, [], ["slurmd on n1: it did not end in 10 s"], []),
    ],
)  # fmt: skip
def test_only_what_is_new_counts(
    found: dict[str, Any], refused: list[str], untried: list[str], warnings: list[str]
) -> None:
    judge = trying.Judge(tried(**found), "old", ["7", "8"])
    judge.judge("new")
    assert (judge.refused, judge.untried, judge.warnings) == (refused, untried, warnings)


@pytest.mark.parametrize(
    ("line", "job"),
    [
        ("error: Invalid partition (long) for JobId=3", "3"),
        ("Killing JobId=4 on defunct partition main", "4"),
        ("error: Node count mismatch for JobId=5 (2,1)", "5"),
        ("recovered JobId=6 on partition main", ""),
    ],
)
def test_jobs_that_slurmctld_says_it_loses(line: str, job: str) -> None:
    assert [one for found in trying.LOST.findall(line) for one in found if one] == ([job] if job else [])


def test_words_of_slurm_without_times_and_places() -> None:
    made = trying.Try(None, "", "/etc/slurm")
    log = (
        "[2026-11-28T10:00:00.123] error: /etc/slurm/slurm-powersave.d/candidate/slurm.conf line 3\n"
        "slurmctld: error: /etc/slurm/slurm-powersave.d/candidate/slurm.conf line 3\n"
        "slurmctld: debug:  error counters\n"
        "sinfo: fatal: Unable to process configuration file\n"
    )
    assert made._words(log, "/etc/slurm/slurm-powersave.d/candidate") == [
        "error: /etc/slurm/slurm.conf line 3",
        "fatal: Unable to process configuration file",
    ]


def test_no_shell_is_hidden_behind_a_hook(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("")
    conf = f"ResumeProgram={tmp_path}/hook -x\nEpilogSlurmctld=/bin/sh\nSuspendProgram=/no/such\n"
    (tmp_path / "slurm.conf").write_text(conf)
    found = trying.Try(None, "", "/etc/slurm")._hooks(files.Conf(str(tmp_path)))
    assert str(tmp_path / "hook") in found and not [path for path in found if path.endswith("sh")]


def test_nothing_is_started_where_live_files_would_be_written(tmp_path: Path) -> None:
    made = trying.Try(None, "", "/etc/slurm")
    (tmp_path / "slurm.conf").write_text("SlurmctldPidFile=/var/lib/slurm/x.pid\n")
    conf = files.Conf(str(tmp_path))
    assert "is not below /run" in made._cannot(conf, str(tmp_path), "root")
    assert "there is no" in made._cannot(conf, str(tmp_path / "none"), "root")


# Taking files, and putting old ones back


class Controller:
    """A host on which slurmctld runs: what it is told is noted, what goes wrong is chosen."""

    def __init__(self, place: Path, bad: str = "", version: str = "24.11") -> None:
        self.conf, self.bad, self.version = place / "slurm.conf", bad, version
        self.up, self.jobs = True, {"7": "RUNNING"}
        self.drained: dict[str, str] = {}
        self.told: list[str] = []
        self.lost: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.says: tuple[Path, str] | None = None

    def broken(self) -> bool:
        return bool(self.bad) and self.bad in self.conf.read_text()

    def run(self, argv: Sequence[str], env: dict[str, str]) -> tuple[int, str]:
        words = list(argv[3:] if argv[0] == "timeout" and argv[1].startswith("--") else argv)
        words = words[2:] if words[0] == "timeout" else words
        verb = " ".join(words[:2])
        reasons = self.drained.items
        answers: dict[str, Callable[[], tuple[int, str]]] = {
            "scontrol ping": lambda: (0, "Slurmctld(primary) at x is UP" if self.up else "is DOWN"),
            "systemctl is-active": lambda: (0, "active") if self.up else (3, "failed"),
            "squeue --noheader": lambda: (0, "".join(f"{j} {s}\n" for j, s in self.jobs.items())),
            "sinfo --noheader": lambda: (0, "".join(f"{n}|drained|slurm|{w}\n" for n, w in reasons())),
            "scontrol reconfigure": self.reconfigure,
            "scontrol --oneliner": lambda: (1, "Invalid job id specified"),
            "scontrol update": lambda: (self.told.append(" ".join(words[2:])) or 0, ""),
        }  # fmt: skip
        if verb in ("systemctl restart", "systemctl start"):
            self.told.append(words[1])
            self.up = not self.broken()
            self.take()
            return (0, "")
        return answers.get(verb, lambda: (0, ""))()

    def reconfigure(self) -> tuple[int, str]:
        self.told.append("reconfigure")
        if not self.broken():
            self.take()
            return 0, ""
        if self.version == "22.05":
            self.up = False
            return 1, "Zero Bytes were transmitted or received"
        return 1, "slurm_reconfigure error: Unspecified error"

    def take(self) -> None:
        """With the new file jobs may be lost, and nodes drained; with the old ones nothing comes back."""
        if self.says:
            self.says[0].write_text(self.says[1])
        if "A=2" in self.conf.read_text():
            self.jobs = {job: state for job, state in self.jobs.items() if job not in self.lost}
            self.drained |= self.reasons


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits here."""
    monkeypatch.setattr(live, "SECONDS", 0.05)
    monkeypatch.setattr(live, "LOOK", 0.05)
    monkeypatch.setattr(live.time, "sleep", lambda seconds: None)


def take(place: Path, host: Controller, *, restart: bool = False) -> Any:
    """Let it take A=2 in the place of A=1."""
    made = files.Files(str(place))
    change = live.Change(live.Slurm(host.run, str(place)), made, restart)
    before = made.live()
    change.stays = change.take(texts(OURS + "SlurmUser=slurm\nA=2\n"), before)
    return change


def test_files_that_slurmctld_takes_stay(place: Path) -> None:
    host = Controller(place)
    change = take(place, host)
    assert change.stays and change.wrong == [] and host.told == ["reconfigure"]
    assert "A=2" in host.conf.read_text()


@pytest.mark.parametrize("version", ["22.05", "24.11"])
@pytest.mark.parametrize("restart", [False, True])
def test_files_that_it_refuses_go_and_it_runs_with_the_old_ones(
    place: Path, version: str, restart: bool
) -> None:
    host = Controller(place, bad="A=2", version=version)
    change = take(place, host, restart=restart)
    assert not change.stays and host.up and host.jobs == {"7": "RUNNING"}
    assert host.conf.read_text() == OURS + "A=1\n"
    # Also one that has refused is told: nodes of 26.05 were given the new file.
    kept = "reconfigure" if version == "24.11" and not restart else "restart"
    assert host.told[-1] == kept and change.wrong


def test_a_job_that_is_gone_counts_and_one_that_has_ended_does_not(place: Path) -> None:
    host = Controller(place)
    host.lost = {"7": ""}
    change = take(place, host)
    assert not change.stays and "these jobs are gone: 7" in change.wrong
    log = place / "log"
    log.write_text("")
    other = Controller(place)
    other.lost = {"7": ""}
    (place / "slurm.conf").write_text(OURS + f"SlurmctldLogFile={log}\nA=1\n")
    other.says = (log, "_job_complete: JobId=7 WEXITSTATUS 0\n")
    assert take(place, other).stays


def test_nodes_that_slurm_has_drained_are_resumed_and_those_of_others_are_not(place: Path) -> None:
    host = Controller(place)
    host.drained = {"n9": "an administrator's"}
    host.reasons = {"n1": "gres/gpu count reported lower than configured", "n2": "slurm-powersave: (quota)"}
    change = take(place, host)
    assert not change.stays and host.told[-1] == "nodename=n1 state=RESUME"


def test_before_the_first_deploy_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    (tmp_path / "slurm.conf").write_text("")
    host = Controller(tmp_path, bad="A=2")
    host.up = False
    change = take(tmp_path, host)
    assert not change.stays and not host.conf.exists() and host.told == ["start"]


def test_the_script_asks_for_nothing_but_a_posix_shell() -> None:
    script = ROLE / "files/try-slurm"
    assert script.read_text().startswith("#!/bin/sh\n")
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
