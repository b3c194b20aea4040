"""`scontrol reboot` on the real chain: reboot, reimage, resize of nodes, and what must not be touched."""

import time
from collections.abc import Iterator

import pytest

from slurm_powersave.model.slurm_versions import Difference
from tests.e2e.harness import OFF, Live
from tests.e2e.reboot_stories import asked, ended, newest_ids, reboot, served


@pytest.fixture
def kept(live: Live) -> Iterator[Live]:
    """A cluster whose nodes are not suspended while a test looks at them."""
    yield live
    live.except_from_suspend("")


def nodes(live: Live, *numbers: int) -> list[str]:
    """Names by number."""
    return [f"{live.name}-{number}" for number in numbers]


def test_a_reimage_waits_for_the_job_and_keeps_id_and_address(kept: Live) -> None:
    one, two, three, other = names = nodes(kept, 1, 2, 3, 4)
    kept.idle(*names)
    before, ids = kept.boots(*names), kept.servers()
    job = kept.sbatch(f"-w {two}", "while [ ! -e /mnt/ohpc/go ]; do sleep 0.2; done; rm /mnt/ohpc/go")
    kept.wait("the job runs", lambda: kept.job(job).get("JobState") == "RUNNING", 20)
    earlier = newest_ids(kept, names)
    reboot(kept, [one, two, three], "reimage image=newer")
    served(kept, earlier, one, three)
    assert {ended(kept, name).outcome for name in (one, three)} == {"done"}
    assert kept.job(job)["JobState"] == "RUNNING" and kept.boots(two) == {two: before[two]}
    assert kept.up(one, three) and not kept.node(one).has("DRAIN")
    kept.login("touch /mnt/ohpc/go")
    kept.job_done(job)
    served(kept, earlier, two, seconds=30)
    assert ended(kept, two).outcome == "done"
    after = kept.boots(*names)
    assert {name for name in names if after[name] != before[name]} == {one, two, three}
    assert kept.servers() == ids
    images = {
        server["name"]: server["image"] for server in kept.cloud("list", "--tag", f"cluster={kept.name}")
    }
    assert [images[name] for name in names] == ["newer", "newer", "newer", "default"]
    assert "No changes" in kept.command("terraform", "plan")
    kept.job_done(kept.sbatch(f"-w {one},{other}", "srun hostname"))


def test_a_true_reboot_and_a_failing_reimage_among_four(kept: Live) -> None:
    names = nodes(kept, 1, 2, 3, 4)
    kept.idle(*names)
    before, ids = kept.boots(*names), kept.servers()
    asked(kept, names[:1], "reboot")
    assert (ended(kept, names[0]).action, ended(kept, names[0]).outcome) == ("reboot", "done")
    assert kept.servers() == ids and kept.boots(*names)[names[0]] != before[names[0]]
    assert kept.boots(*names[1:]) == {name: before[name] for name in names[1:]}
    kept.fault("change-fails", names[2], text="No valid host was found.")
    asked(kept, names, "reimage image=newer")
    outcomes = [ended(kept, name, 90).outcome for name in names]
    assert outcomes == ["done", "done", "failed", "done"]
    failed = kept.node(names[2])
    assert "DRAIN" in failed.flags and failed.reason.startswith("slurm-powersave: (capacity) ")
    assert names[2] not in kept.servers()
    kept.wait("the rest ends", lambda: not kept.node(names[2]).has("DRAIN"), 40)


def test_a_resize_changes_the_limits_and_never_below_what_slurm_conf_promises(kept: Live) -> None:
    one, two = names = nodes(kept, 1, 2)
    kept.idle(*names)
    before = kept.boots(*names)
    asked(kept, [one], "resize flavor=tiny")
    refused = ended(kept, one)
    assert refused.outcome == "refused" and "slurm.conf promises" in refused.text
    kept.wait("it is back", lambda: kept.up(one) and not kept.node(one).has("DRAIN", "NOT_RESPONDING"), 20)
    assert (
        refused.id in kept.login(f"scontrol show node {one} | grep Comment=") and kept.boots(*names) == before
    )
    asked(kept, [one], "resize flavor=medium")
    assert ended(kept, one).outcome == "done"
    limits = kept.cloud("show", kept.servers()[one])
    assert limits["flavor"] == "medium" and limits["limits"]
    assert "Comment=slurm-powersave" not in kept.login(f"scontrol show node {one}")
    assert "CPUTot=1 " in kept.login(f"scontrol -o show node {one}")
    assert kept.boots(two) == {two: before[two]}
    # The override lasts as long as the server.
    kept.login(f"scontrol update nodename={one} state=POWER_DOWN")
    kept.wait("it is gone", lambda: one not in kept.servers() and OFF in kept.node(one).flags, 40)
    kept.job_done(kept.sbatch(f"-w {one}"))
    assert kept.cloud("show", kept.servers()[one])["flavor"] == "small"


def test_what_somebody_else_has_set_outlives_reboot_suspend_and_reconfigure(kept: Live) -> None:
    one, two, three = names = nodes(kept, 1, 2, 3)
    kept.idle(*names)
    before, ids = kept.boots(*names), kept.servers()
    kept.login(f"scontrol update nodename={one},{three} state=DRAIN reason=disk")
    kept.login(f"scontrol update nodename={two} state=DOWN reason=burnt")

    def seen() -> bool:
        journal = kept.journal()
        try:
            return set(journal.admin_states()) >= set(names)
        finally:
            journal.close()

    kept.wait("the engine has seen it", seen, 45)
    asked(kept, [one], "reimage image=newer")
    assert ended(kept, one).outcome == "refused"
    kept.wait(
        "the DRAIN is back", lambda: kept.node(one).has("DRAIN") and kept.node(one).reason == "disk", 20
    )
    earlier = newest_ids(kept, [three])
    kept.login(f"scontrol reboot {three}")
    served(kept, earlier, three)
    assert ended(kept, three).outcome == "done"
    kept.wait("its reason is back", lambda: kept.node(three).reason == "disk", 20)
    assert kept.node(three).has("DRAIN") and kept.boots(three) != {three: before[three]}
    # SuspendTime, with nobody excepted, and a reconfigure.
    kept.except_from_suspend("")
    stay_up = kept.slurm_has(Difference.SUSPEND_EXC_STATES)
    if stay_up:
        time.sleep(3 * (kept.cluster.power_save.suspend_time or 0))
        assert not any(kept.node(n).going_down for n in names)
    else:
        kept.wait("Slurm suspends them", lambda: all(OFF in kept.node(n).flags for n in names), 60)
    kept.login("scontrol reconfigure")
    assert {n: kept.node(n).reason for n in names} == {one: "disk", two: "burnt", three: "disk"}
    assert kept.node(one).has("DRAIN") and kept.node(two).has("DOWN") and kept.node(three).has("DRAIN")
    assert kept.servers() == ids and kept.boots(one, two) == {n: before[n] for n in (one, two)}
    # Released, the node serves again; one that was powered down is made anew.
    kept.login(f"scontrol update nodename={','.join(names)} state=RESUME")
    kept.job_done(kept.sbatch(f"-w {one}"), 60)
    assert (kept.servers()[one] == ids[one]) is stay_up


def test_a_job_may_ask_for_a_reboot(kept: Live) -> None:
    (one,) = names = nodes(kept, 1)
    kept.idle(*names)
    before, ids = kept.boots(one), kept.servers()
    job = kept.sbatch(f"-w {one} --reboot", "cat /proc/sys/kernel/random/boot_id")
    kept.job_done(job, 60)
    assert kept.login(f"cat /mnt/ohpc/{job}.out") == kept.boots(one)[one]
    assert (kept.boots(one) == before) is kept.slurm_has(Difference.JOB_REBOOT_IGNORED)
    assert kept.servers() == ids


def test_a_node_that_is_off_or_on_its_way_is_left_alone(kept: Live) -> None:
    one, two = nodes(kept, 1, 2)
    kept.idle(one)
    reboot(kept, [two], "reimage")  # powered down: rc 0, and Slurm calls nothing
    # Its suspend is due: POWER_DOWN wins.
    kept.login(f"scontrol update nodename={one} state=POWER_DOWN")
    reboot(kept, [one], "reimage")
    kept.wait("it is gone", lambda: not kept.servers() and OFF in kept.node(one).flags, 60)
    kept.wait("nothing is under way", lambda: not kept.open_operations(), 30)
    kept.job_done(kept.sbatch(f"-w {one},{two}", "srun hostname"), 60)


@pytest.mark.slow
def test_where_slurmd_runs_reboot_program_the_node_and_the_engine_share_the_work(kept: Live) -> None:
    one, two = names = nodes(kept, 1, 2)
    kept.stop_engine()
    kept.write(reboot_from_controller=False)
    try:
        kept.command("deploy", "--yes", timeout=120)
        kept.start_engine()
        kept.idle(*names)
        before, ids = kept.boots(*names), kept.servers()
        kept.ssh(f"{kept.network}.1.1", "test -x /usr/lib/slurm-powersave/reboot")
        earlier = newest_ids(kept, names)
        reboot(kept, [one], "reboot")
        reboot(kept, [two], "reimage image=newer")
        served(kept, earlier, *names, seconds=40)
        assert [(ended(kept, name).action, ended(kept, name).outcome) for name in names] == [
            ("reboot", "done"),
            ("reimage", "done"),
        ]
        after = kept.boots(*names)
        assert all(after[name] != before[name] for name in names) and kept.servers() == ids
        assert kept.cloud("show", ids[two])["image"] == "newer"
    finally:
        kept.stop_engine()
        kept.write()
        kept.command("deploy", "--yes", timeout=120)
        kept.start_engine()


@pytest.mark.slow
def test_an_edited_image_of_the_pool_touches_no_running_node(kept: Live) -> None:
    one, two, three = names = nodes(kept, 1, 2, 3)
    kept.idle(one, three)
    before, ids = kept.boots(one, three), kept.servers()
    try:
        kept.write(image="newer")
        asked(kept, [three], "resize flavor=medium")
        assert ended(kept, three).outcome == "done"
        assert "No changes" in kept.command("terraform", "plan")
        kept.idle(*names)
        kept.login(f"scontrol update nodename={two} state=POWER_DOWN")
        kept.wait("it is gone", lambda: two not in kept.servers() and OFF in kept.node(two).flags, 40)
        assert "No changes" in kept.command("terraform", "plan")
        assert kept.servers() == ids and kept.boots(one) == {one: before[one]}
        images = {server: kept.cloud("show", ids[server])["image"] for server in (one, three)}
        assert images == {one: "default", three: "default"}
        assert "image default -> newer" in kept.command("status", "--outdated")
        kept.login(f"scontrol update nodename={one} state=POWER_DOWN")
        kept.wait("it is gone", lambda: one not in kept.servers() and OFF in kept.node(one).flags, 40)
        kept.idle(one)
        assert kept.cloud("show", kept.servers()[one])["image"] == "newer"
    finally:
        kept.write()
