"""What a play would change: how it is told, and when it is not what was shown any more."""

import json
from dataclasses import asdict, replace

import pytest

from slurm_powersave.decide.commands.play_plan import (
    LONGEST_FILE,
    HostPlan,
    PlayPlan,
    differences,
    file_change,
)

CONF = "/etc/slurm/slurm.conf"


def host(after: str = "b", **daemons: str) -> HostPlan:
    return HostPlan({CONF: file_change(CONF, "a\n", f"{after}\n")}, daemons)


def test_hosts_with_the_same_change_are_told_together() -> None:
    plan = PlayPlan(
        {"demo-1": host(slurmd="restarts"), "demo-2": host(slurmd="restarts"), "demo-3": host("c")}
    )
    lines = plan.lines()
    assert f"{CONF} changes on demo-[1-2]:" in lines and f"{CONF} changes on demo-3:" in lines
    assert lines[-1] == "slurmd restarts on demo-[1-2]"
    assert lines[1:6] == [f"  --- {CONF} (now)", f"  +++ {CONF} (then)", "  @@ -1 +1 @@", "  -a", "  +b"]


def test_it_comes_back_from_json_as_it_was() -> None:
    plan = PlayPlan({"demo-1": replace(host(munge="starts"), others=("x",), unread="y")}, "no", ("note",))
    assert PlayPlan.of(json.loads(json.dumps(asdict(plan)))) == plan


def test_a_long_difference_is_cut_and_a_huge_file_is_not_compared() -> None:
    long = file_change(CONF, "", "line\n" * 1000)
    assert len(long.lines) == 201 and long.lines[-1] == "... 803 more lines"
    assert max(map(len, file_change(CONF, "", "x" * 5000).lines)) == 400
    huge = "x" * (LONGEST_FILE + 1)
    one, other = file_change(CONF, "", huge), file_change(CONF, "", huge + "y")
    assert one.lines == ("it is too long to be shown",) and one != other, "the digest tells them apart"


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (host(slurmctld="restarts"), []),
        (host(slurmctld="reconfigures"), ["slurmctld on demo-login"]),
        (host("c", slurmctld="restarts"), [f"{CONF} on demo-login"]),
        (HostPlan(), [f"{CONF} on demo-login", "slurmctld on demo-login"]),
        (HostPlan(unread="down"), ["demo-login can't be read any more"]),
        (replace(host(slurmctld="restarts"), others=("hostname x",)), ["hostname x on demo-login"]),
    ],
)
def test_what_differs_from_what_was_shown(now: HostPlan, found: list[str]) -> None:
    shown = PlayPlan({"demo-login": host(slurmctld="restarts")})
    assert differences(shown, PlayPlan({"demo-login": now}), {"demo-1"}) == found


def test_nodes_that_come_and_go_do_not_count_but_another_text_there_does() -> None:
    shown = PlayPlan({"demo-1": host(), "demo-2": host()})
    assert not differences(shown, PlayPlan({"demo-2": host(), "demo-3": host()}), {"demo-1", "demo-3"})
    assert differences(shown, PlayPlan({"demo-2": host("c")}), {"demo-1", "demo-2"}) == [f"{CONF} on demo-2"]
