"""What a host says in a play acts on no terminal: neither by hand nor through us."""

import json
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible import playbooks
from slurm_powersave.adapters.ansible.playbooks import Site
from slurm_powersave.adapters.processes.child_output import run_shown
from tests.security.attacks import TERMINAL, acting

ROOT = Path(__file__).resolve().parents[2]
LIAR = """\
#!/bin/sh
cat >/dev/null
cat {answer}
"""
PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.ping:
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a play prints about a host whose Python lies, by hand and through us."""
    place = tmp_path_factory.mktemp("ansible")
    # Ansible itself refuses lone surrogates.
    everything = " ".join(text for text in TERMINAL.values() if "\udc9b" not in text)
    words = ("msg", "stdout", "stderr", "module_stderr", "exception")
    answer = {"failed": True, "warnings": [everything], "deprecations": [{"msg": everything}]}
    (place / "answer").write_text(json.dumps(answer | dict.fromkeys(words, everything)))
    (place / "liar").write_text(LIAR.format(answer=place / "answer"))
    (place / "liar").chmod(0o755)
    (place / "playbooks").mkdir()
    (place / "playbooks/lies.yml").write_text(PLAY)
    (place / "ansible.cfg").write_text((ROOT / "ansible.cfg").read_text())
    (place / "callback_plugins").symlink_to(ROOT / "callback_plugins")
    host = {"ansible_connection": "local", "ansible_python_interpreter": str(place / "liar")}
    (place / "hosts.json").write_text(json.dumps({"all": {"hosts": {"h": host}}}))
    site = Site(place / "playbooks", place / "hosts.json", place / "known", place / "key")
    return {"through us": _output_of(site), "by hand": _by_hand(place)}


def _output_of(site: Site) -> str:
    """Run it as `deploy` does, on a terminal of its own."""
    master, slave = pty.openpty()
    kept = [os.dup(number) for number in (1, 2)]
    read: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(master, read))
    reader.start()
    try:
        for number in (1, 2):
            os.dup2(slave, number)
        with pytest.MonkeyPatch.context() as patched:
            # As it is where the package is installed for Ansible's Python.
            own = playbooks.environment
            patched.setattr(playbooks, "environment", lambda of: own(of) | {"PYTHONPATH": str(ROOT / "src")})
            playbooks.run_playbook(site, "lies.yml")
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(slave)
    reader.join(10)
    return b"".join(read).decode(errors="surrogateescape")


def _by_hand(place: Path) -> str:
    argv = ["ansible-playbook", "-i", str(place / "hosts.json"), str(place / "playbooks/lies.yml")]
    env = os.environ | {"ANSIBLE_CONFIG": str(place / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    env |= {"PYTHONPATH": str(ROOT / "src"), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode(errors="surrogateescape")


def _read_all(descriptor: int, into: list[bytes]) -> None:
    try:
        while block := os.read(descriptor, 4096):
            into.append(block)
    except OSError:
        pass
    os.close(descriptor)


OURS = ("\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[35m", "\x1b[36m", "\x1b[0m", "\r\n")


@pytest.mark.parametrize("way", ["through us", "by hand"])
def test_what_a_host_says_in_a_play(shown: dict[str, str], way: str) -> None:
    text = shown[way]
    assert "Module failed" in text and "PLAY RECAP" in text
    for colour in OURS:
        text = text.replace(colour, "\n" if colour == "\r\n" else "")
    assert acting(text, own="\n") == []
    assert not any(line.startswith("2026-01-01") for line in text.splitlines()), "a line was forged"


def test_a_program_that_prints_without_end_and_leaves_its_pipe_open(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x; printf '\\033[2J'; sleep 30 & exit 3"
    assert run_shown(["sh", "-c", script], {"PATH": os.environ["PATH"]}) == 3
    out = capfd.readouterr().out
    assert out.count("x") == 300000 + 1 and acting(out, own="\n") == []
