"""Where our ssh goes, and what it hands over, is not bent by anybody's configuration of ssh.

Each command of ours is caught (a program called ssh that notes its words), and the real ssh is asked what it
makes of these words where the files /root/.ssh/config and /etc/ssh/ssh_config are an attacker's.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from slurm_powersave.adapters.ansible import image_plays
from slurm_powersave.adapters.ansible.image_plays import AnsibleImagePlays
from tests.security.ssh_lab import (
    ROOT,
    WAYS,
    a_cluster,
    recorded,
    site_with_a_play,
    understood,
    wrong,
)

__all__ = ["recorded", "understood"]

pytestmark = [pytest.mark.root]


@pytest.mark.parametrize("way", WAYS)
def test_no_configuration_bends_it(
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recorded: Callable[[], list[list[str]]],
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
) -> None:
    cluster = a_cluster(tmp_path)
    monkeypatch.setattr(image_plays, "LOOK_SECONDS", 10)
    WAYS[way](cluster, tmp_path, monkeypatch)
    calls = recorded()
    assert calls, "ssh was not called"
    for argv in calls:
        assert os.path.basename(argv[0]) == "ssh", argv
        found = understood(argv)
        assert wrong(found, cluster) == {}, argv
        assert found.get("proxycommand", ["none"]) == ["none"]


def test_the_hostile_configuration_would_bend_an_ssh_that_reads_it(
    tmp_path: Path, understood: Callable[[Sequence[str]], dict[str, list[str]]]
) -> None:
    cluster = a_cluster(tmp_path)
    layout = cluster.layout
    old = ["ssh", "-T", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oIdentitiesOnly=yes"]
    old += [f"-oUserKnownHostsFile={layout.known_hosts}", "-oGlobalKnownHostsFile=/dev/null"]
    differs = wrong(understood([*old, "-i", str(layout.private_key), "root@10.0.0.2"]), cluster)
    assert {"hostname", "port", "localforward", "remotecommand", "executed", "controlpath"} <= set(differs)


def test_a_shared_connection_is_ended_without_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: Callable[[], list[list[str]]]
) -> None:
    cluster = a_cluster(tmp_path)
    site = site_with_a_play(cluster, tmp_path, monkeypatch)
    with AnsibleImagePlays(
        site, cluster.layout.image, tmp_path, pool="compute", user="root", before=None
    ) as it:
        it._socket.touch()
    ((_, *words),) = recorded()
    assert words[:2] == ["-F", "none"] and "exit" in words


def test_the_demo_s_shell(
    tmp_path: Path,
    understood: Callable[[Sequence[str]], dict[str, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "demo"))
    from walk import tools

    for terminal in (False, True):
        found = understood(tools.ssh("id", terminal=terminal))
        assert (found["hostname"], found["port"], found["user"]) == ([tools.LOGIN], ["22"], ["root"])
        assert found.get("proxycommand", ["none"]) == ["none"] and found["executed"] == ["False"]
        assert found["userknownhostsfile"] == [f"{tools.STATE}/known_hosts"]
