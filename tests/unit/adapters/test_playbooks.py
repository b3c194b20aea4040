"""Configuring nodes: what is started, what is read of a run, and what a run is spared to know."""

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible import playbooks
from slurm_powersave.adapters.ansible.configure_run import RUN, ConfigureRun, parse
from slurm_powersave.adapters.ansible.playbooks import AnsiblePlaybooks, Hooks, Site, environment
from slurm_powersave.adapters.processes.process import start_detached
from slurm_powersave.model.errors import ConfigError, FailureClass, OwnFileError
from slurm_powersave.model.nodes import Failure, NodeProgress, NodeSpec, RunRecord, RunResult
from tests.unit.adapters.playbook_starts import started

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY7yBaJ9VaDsV7rc1bMXuKXRWgapNkXDcU73uzJ50es"
OK = {"node": "n1", "ok": True, "text": ""}
BAD = {"node": "n2", "ok": False, "failure": "node-local", "text": "not mounted"}


def until(what: Callable[[], object], seconds: float = 10) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_of(directory: Path, script: str, nodes: Sequence[str] = ("n1", "n2")) -> ConfigureRun:
    """Start a run whose playbook_run is a script."""
    directory.mkdir(exist_ok=True)
    (directory / RUN).write_text(json.dumps({"nodes": list(nodes)}))
    return ConfigureRun(
        start_detached([sys.executable, "-c", script], directory, run_id="r1", kind="configure")
    )


def says(*lines: Mapping[str, object], then: str = "") -> str:
    """Make a script that says these lines."""
    texts = [json.dumps(line) for line in lines]
    return f"import sys, time\nfor line in {texts!r}: print(line, flush=True)\n{then}"


def all_of(run: ConfigureRun) -> tuple[list[NodeProgress], RunResult]:
    """Follow a run to its end."""
    news: list[NodeProgress] = []
    until(lambda: news.extend(run.progress()) or run.poll())
    news += run.progress()
    result = run.poll()
    assert result
    return news, result


def test_each_node_is_told_once_and_the_end_is_read(tmp_path: Path) -> None:
    end = {"ok": False, "failure": "node-local", "text": "1 of 2 nodes failed"}
    run = run_of(tmp_path / "run", says(OK, OK, BAD, end, then="sys.exit(1)"))
    news, result = all_of(run)
    failure = Failure(FailureClass.NODE_LOCAL, "not mounted")
    assert news == [NodeProgress("n1", True), NodeProgress("n2", False, failure=failure)]
    assert result == RunResult(False, "1 of 2 nodes failed", FailureClass.NODE_LOCAL)


def test_an_adopted_run_tells_everything_again(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", says(OK, BAD, {"ok": False, "failure": "node-local", "text": "1 of 2"}))
    first = all_of(run)
    assert all_of(ConfigureRun(run.record)) == first


def test_the_end_is_known_without_reading_the_news(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", says(OK, {"ok": True, "failure": "unknown", "text": ""}))
    until(run.poll)
    assert run.poll() == RunResult(True)


def test_a_killed_run_leaves_no_node_without_an_outcome(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", says(OK, then="time.sleep(60)"))
    news: list[NodeProgress] = []
    until(lambda: news.extend(run.progress()) or news)
    assert run.poll() is None
    run.kill()
    more, result = all_of(run)
    assert [(one.node, one.ok) for one in news + more] == [("n1", True), ("n2", False)]
    assert not result.ok


def test_a_run_that_the_host_could_not_go_on_with_says_nothing_of_its_nodes(tmp_path: Path) -> None:
    script = says({"node": "n1", "ok": True}, then="raise OSError(28, 'No space left on device')")
    run = run_of(tmp_path / "run", script)
    news, result = all_of(run)
    assert [(one.node, one.ok) for one in news] == [("n1", True)]
    assert result.machine and "No space left" in result.text


def test_kill_reaches_a_play_in_a_session_of_its_own(tmp_path: Path) -> None:
    # As ansible-playbook is: ansible-runner gives it a terminal.
    child = "subprocess.Popen(['sleep', '60'], start_new_session=True).pid"
    run = run_of(tmp_path / "run", f"import subprocess, time\nprint({child}, flush=True)\ntime.sleep(60)")
    out = tmp_path / "run/stdout.jsonl"
    until(lambda: out.read_text().endswith("\n"))
    run.kill()
    stat = Path(f"/proc/{out.read_text().strip()}/stat")
    until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


def test_interrupt_asks_and_waits(tmp_path: Path) -> None:
    end = json.dumps({"ok": False, "failure": "unknown", "text": "the play was interrupted"}) + "\n"
    # os.write: the signal may come while print is at work, which can't be entered twice.
    script = (
        "import os, signal, sys, time\n"
        f"signal.signal(signal.SIGINT, lambda *_: (os.write(1, {end.encode()!r}), sys.exit(1)))\n"
        "print('{}', flush=True)\ntime.sleep(60)\n"
    )
    run = run_of(tmp_path / "run", script)
    until(lambda: (tmp_path / "run/stdout.jsonl").read_text())
    run.interrupt()
    news, result = all_of(run)
    assert result.text == "the play was interrupted"
    assert [one.failure.text for one in news if one.failure] == [result.text, result.text]


@pytest.mark.parametrize("code", [1, 120])
def test_a_run_that_could_not_say_how_it_ended_is_no_fault_of_the_nodes(tmp_path: Path, code: int) -> None:
    """On a full disk neither its last line nor its error could be written: 120 is Python's own code."""
    news, result = all_of(run_of(tmp_path / "run", says(OK, then=f"sys.exit({code})")))
    assert result.machine and [one.node for one in news] == [OK["node"]]


def test_a_run_that_was_killed_is_not_taken_for_one_that_had_no_room(tmp_path: Path) -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    _, result = all_of(run_of(tmp_path / "run", says(OK, then=killed)))
    assert not result.machine and result.text == "the play was killed before its end"


def test_a_run_whose_directory_is_gone_has_ended(tmp_path: Path) -> None:
    run = ConfigureRun(RunRecord("r1", "configure", str(tmp_path / "gone"), 2**22 + 1, 1))
    assert run.progress() == []
    result = run.poll()
    assert result and not result.ok


@pytest.mark.parametrize("line", ["", "x", "[]", "3", "{}", '{"node": "n1"}', '{"node": "n1", "ok": false}'])
def test_a_line_that_is_none_of_ours_is_passed_over(line: str) -> None:
    assert parse(line) is None


def node(number: int, pool: str = "cpu") -> NodeSpec:
    """Make a node."""
    return NodeSpec(f"n{number}", pool, "local", "image", "small", "", f"127.0.0.{number}")


def test_nodes_are_grouped_by_the_playbooks_of_their_site(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = started(monkeypatch)
    made = AnsiblePlaybooks(tmp_path, site, {"gpu": Hooks(before=Path("/s/b.yml"))}, timeout=60)
    nodes = [node(1), node(2, "gpu"), node(3)]
    made.configure(nodes, {one.name: KEY for one in nodes})
    ((argv, directory, _),) = calls
    plan = json.loads((directory / RUN).read_text())
    assert argv[1:] == ["-m", "slurm_powersave.adapters.ansible.playbook_run", str(directory)]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert plan["groups"] == [
        {"nodes": ["n1", "n3"], "before": None, "after": None},
        {"nodes": ["n2"], "before": "/s/b.yml", "after": None},
    ]
    assert (plan["nodes"], plan["refused"], plan["timeout"]) == (["n1", "n2", "n3"], {}, 60)


def test_a_run_has_an_inventory_of_its_own_nodes_and_of_what_the_site_laid_beside(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = started(monkeypatch)
    (site.inventory / "host_vars").mkdir()
    (site.inventory / "group_vars/all/site.yml").write_text("site_licence: x\n")
    (site.inventory / "group_vars/pool_cpu.yml").write_text("site_gpu: false\n")
    AnsiblePlaybooks(tmp_path, site).configure([node(2), node(4)], {"n2": KEY, "n4": KEY})
    directory = calls[0][1] / "inventory"
    children = json.loads((directory / "hosts.json").read_text())["all"]["children"]
    assert set(children["nodes"]["children"]["pool_cpu"]["hosts"]) == {"n2", "n4"}
    assert children["nodes"]["children"]["pool_cpu"]["vars"] == {"ansible_user": "root"}
    assert set(children["login"]["hosts"]) == {"login"}
    assert json.loads((directory / "group_vars/all/slurm_powersave.json").read_text()) == {
        "mounts": ["/mnt/ohpc"]
    }
    assert (directory / "group_vars/all/site.yml").read_text() == "site_licence: x\n"
    assert (directory / "group_vars/pool_cpu.yml").exists()
    assert (directory / "host_vars").is_dir()


def test_a_changed_inventory_is_read_again_and_a_broken_one_is_named(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = started(monkeypatch)
    made = AnsiblePlaybooks(tmp_path, site)
    made.configure([node(2)], {"n2": KEY})
    variables = site.inventory / "group_vars/all/slurm_powersave.yml"
    variables.write_text("mounts: []\n")
    os.utime(variables, (1, 1))
    made.configure([node(2)], {})
    assert json.loads((calls[1][1] / "inventory/group_vars/all/slurm_powersave.json").read_text()) == {
        "mounts": []
    }
    variables.write_text("mounts: [\n")
    with pytest.raises(ConfigError, match=r"(?s)slurm_powersave\.yml: .*deploy") as raised:
        made.configure([node(2)], {})
    variables.unlink()
    with pytest.raises(ConfigError, match="No such file"):
        made.configure([node(2)], {})
    assert raised.value.exit_code == 2


def test_a_node_that_can_not_be_trusted_fails_alone(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = started(monkeypatch)
    made = AnsiblePlaybooks(tmp_path, site)
    made.configure([node(4)], {"n4": KEY})
    made.configure([node(1), node(2), node(3), node(4)], {"n1": KEY, "n2": "", "n3": "no key"})
    plan = json.loads((calls[1][1] / RUN).read_text())
    assert [group["nodes"] for group in plan["groups"]] == [["n1", "n4"]], "n4's key is known from before"
    assert "no SSH host key" in plan["refused"]["n2"]
    assert "'no key'" in plan["refused"]["n3"]
    assert site.known_hosts.read_text().splitlines() == [f"n4,127.0.0.4 {KEY}", f"n1,127.0.0.1 {KEY}"]


def test_no_secret_of_ours_gets_into_ansible_and_no_host_key_goes_unchecked(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PASSWORD", "hunter2")
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    env = environment(site)
    assert "hunter2" not in json.dumps(env)
    assert env["ANSIBLE_HOST_KEY_CHECKING"] == "True", "ansible-runner says False where nothing is said"
    assert "StrictHostKeyChecking=yes" in env["ANSIBLE_SSH_COMMON_ARGS"]
    assert env["PATH"].split(":")[0] == os.path.dirname(sys.executable)


@pytest.mark.parametrize(
    ("banner", "up"),
    [
        (b"SSH-2.0-x\r\n" + b"\0\0\0\x0c\x0a\x14", True),
        (b"SSH-2.0-x\r\n", False),
        (b"HTTP/1.1 200\r\n", False),
        (b"", False),
    ],
)
def test_a_node_is_reachable_when_sshd_says_so(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, banner: bytes, up: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(playbooks, "SSH_PORT", server.getsockname()[1])

        def answer() -> None:
            with server.accept()[0] as connection:
                connection.sendall(banner)
                if not banner:
                    time.sleep(0.5)  # accepts and says nothing, as a host does that is still booting

        thread = threading.Thread(target=answer)
        thread.start()
        began = time.monotonic()
        assert AnsiblePlaybooks(tmp_path, site).reachable(node(1)) is up
        assert time.monotonic() - began < 2
        thread.join()
    assert AnsiblePlaybooks(tmp_path, site).reachable(node(1)) is False


NOT_ASKED = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL),
    *(errno.ENETUNREACH, errno.ENETDOWN, errno.EPERM, errno.EACCES),
)
"""connect(2): this host has no file, memory, port or network left, or a rule of its own forbids it."""


@pytest.mark.parametrize(
    ("error", "answers"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, ""), False),
        (TimeoutError(), False),
        (OSError(errno.EHOSTUNREACH, ""), False),
        *((OSError(number, ""), None) for number in NOT_ASKED),
    ],
)
def test_a_host_that_can_not_ask_knows_nothing_of_a_node(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, error: OSError, answers: bool | None
) -> None:
    waited: list[float] = []

    def connect(address: tuple[str, int], timeout: float) -> socket.socket:
        waited.append(timeout)
        raise error

    monkeypatch.setattr(socket, "create_connection", connect)
    asked = AnsiblePlaybooks(tmp_path, site)
    assert asked.answers_ssh(node(1)) is answers
    assert asked.reachable(node(1)) is False
    assert waited == [playbooks.PATIENCE, playbooks.PROBE_SECONDS]


@pytest.mark.parametrize("how", ["missing", "empty", "directory"])
def test_a_private_key_that_is_gone_is_no_node_s_fault(tmp_path: Path, site: Site, how: str) -> None:
    site.private_key.unlink()
    if how == "empty":
        site.private_key.touch()
    if how == "directory":
        site.private_key.mkdir()
    with pytest.raises(OwnFileError, match=how) as error:
        AnsiblePlaybooks(tmp_path, site).configure([], {})
    assert error.value.where == str(site.private_key) and "backup" in error.value.todo
