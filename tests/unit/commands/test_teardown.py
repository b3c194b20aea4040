"""From a cluster to nothing: in what order, what is refused, and what is named when it did not work."""

import pytest

from slurm_powersave.model.errors import CloudError, LeftoverError, RefusedError, UnfinishedError
from slurm_powersave.model.nodes import NodeSpec, TerraformNode
from slurm_powersave.model.permit import Permit
from tests.permits import permits
from tests.unit.commands.teardown_lab import IMAGE, NETWORK, Lab, State


@pytest.fixture
def lab() -> Lab:
    return Lab()


def test_first_a_backup_then_nodes_strays_and_the_network_last(lab: Lab) -> None:
    lab.idle().create("n3", "node=n3")
    lab.create("sps-builder", "role=builder")
    outcome = lab.run()
    assert outcome.done and outcome.backup == "b.tar.gz"
    assert lab.left() == []
    order = [event for event in lab.events if event.startswith(("save", "destroy")) or "n3" in event]
    assert order == ["save", "destroy mem/nodes-001", "delete n3", "destroy base"]
    assert lab.events.index("delete sps-builder") < lab.events.index("destroy base")


def test_what_is_deleted_and_drained_is_in_the_history_with_who_and_from_where(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.7 40000 192.0.2.1 22")
    stray = lab.idle().create("n3", "node=n3")
    there = {server.id for server in lab.cloud.servers()} | {NETWORK.id}
    begun: list[list[str]] = []
    delete = lab.cloud.delete

    def noted(server_id: str, permit: Permit) -> None:
        begun.append([done.subject for done in lab.world.journal.newest_acts(None, 100)])
        delete(server_id, permit)

    lab.cloud.delete = noted  # type: ignore[method-assign]
    lab.run()
    found = [one for one in lab.world.journal.newest_acts(None, 100) if one.row == "teardown"]
    assert {one.act for one in found} == {"delete"} and {one.subject for one in found} == there
    assert any(stray in before for before in begun), "before it is begun"
    assert all("; teardown by ann (sudo, as" in one.evidence for one in found)
    assert all(one.evidence.endswith(" from 192.0.2.7") for one in found)
    drained = {one.node for one in lab.world.journal.newest_acts(None, 100) if one.act == "DRAIN"}
    assert drained == set(lab.world.cluster.nodes())


def test_what_is_there_is_shown(lab: Lab) -> None:
    outcome = lab.run(dry_run=True, force=True)
    assert not outcome.done and lab.events == []
    (row,) = [row for row in outcome.rows if row.server.name == "n1"]
    assert row.jobs == (lab.job,) and "ALLOCATED" in row.state
    assert str(row) in lab.said and f"jobs {lab.job}" in str(row)
    assert "network demo (net-1)" in lab.said
    assert outcome.plans == {"mem/nodes-001": "2 to delete", "base": "2 to delete"}
    assert lab.nodes[0].forgotten == 1


def test_no_is_no(lab: Lab) -> None:
    lab.idle().answer = False
    before = lab.left()
    assert not lab.run().done
    assert lab.left() == before and lab.events == []
    assert not lab.world.slurm.node("n1").has("DRAIN")


def test_jobs_are_a_reason_to_refuse(lab: Lab) -> None:
    with pytest.raises(RefusedError, match=rf"jobs are running: {lab.job}"):
        lab.run()
    assert lab.events == []
    assert lab.run(force=True).done
    assert lab.left() == []


def test_a_dry_run_shows_all_of_it_and_why_it_would_be_refused(lab: Lab) -> None:
    lab.queue(71)
    lab.unasked, before = True, lab.left()
    outcome = lab.run(dry_run=True)
    assert f"jobs are running: {lab.job}" in outcome.refused[0]
    assert any(f"teardown would be refused now: jobs are running: {lab.job}" in line for line in lab.said)
    assert any("login" in line and "holds the queue" in line for line in lab.said)
    assert outcome.plans and lab.left() == before and lab.events == []
    lab.idle()
    assert "--discard-queue" in lab.run(dry_run=True).refused[0]
    assert not lab.run(dry_run=True, discard_queue=True).refused


@pytest.mark.parametrize(("tag", "stops"), [("role=storage", True), ("node=n3", False)])
def test_a_server_that_was_not_shown_is_not_deleted(lab: Lab, tag: str, stops: bool) -> None:
    """One of a node is what Slurm asks for; an engine that has just begun may have made it."""
    lab.idle()
    lab.asked = lambda: lab.create("late", tag) and None
    if stops:
        with pytest.raises(RefusedError, match="not shown: late"):
            lab.run()
        assert lab.events == [] and lab.nodes[0].forgotten == 1
        lab.asked = lambda: None
    assert lab.run().done and lab.left() == []


def test_a_job_that_begins_while_the_person_thinks(lab: Lab) -> None:
    lab.idle()
    lab.asked = lambda: lab.world.slurm.submit("n1") and None
    with pytest.raises(UnfinishedError, match="still running"):
        lab.run()
    assert lab.events == ["save"]
    for _ in range(60):
        lab.world.clock.advance(1)
        lab.world.slurm.tick()
    assert not any(lab.world.slurm.node(name).has("DRAIN") for name in lab.world.cluster.nodes())
    assert not lab.world.journal.drains()


def test_queued_jobs_are_counted_in_the_question(lab: Lab) -> None:
    lab.idle().queue(71, 72)
    assert lab.run().done
    assert lab.questions == ["2 jobs are queued, and will be lost with the login node. Delete all of this?"]


def test_yes_does_not_cover_queued_jobs(lab: Lab) -> None:
    lab.idle().queue(71)
    lab.unasked, before = True, lab.left()
    for wish in ({}, {"force": True}, {"wait": 60}):
        with pytest.raises(RefusedError, match=r"1 job is queued(.|\n)*--discard-queue"):
            lab.run(**wish)
    assert lab.left() == before and lab.events == []
    assert lab.run(dry_run=True).waiting == 1
    assert lab.run(discard_queue=True).done


def test_yes_does_not_cover_a_queue_that_can_not_be_read(lab: Lab) -> None:
    """All nodes are off, and jobs may wait for them."""
    lab.idle().world.slurm.unreachable = "no route"
    for name in ("n1", "n2"):
        lab.cloud.drop(lab.id(name))
    lab.world.clock.advance(60)
    lab.nodes, lab.unasked, before = [], True, lab.left()
    with pytest.raises(RefusedError, match="can't be asked what is queued"):
        lab.run()
    assert lab.left() == before and lab.events == []
    lab.unasked = False
    lab.answer = False
    assert not lab.run().done
    assert "Slurm can't be asked what is queued" in lab.questions[-1]
    lab.unasked = lab.answer = True
    assert lab.run(force=True).done


def test_jobs_that_are_queued_while_the_person_thinks(lab: Lab) -> None:
    lab.idle().queue(71)
    lab.asked = lambda: lab.queue(72)
    with pytest.raises(UnfinishedError, match="2 jobs are queued now; you were asked about 1"):
        lab.run()
    assert lab.events == ["save"]
    assert not lab.world.slurm.node("n1").has("DRAIN") and not lab.world.journal.drains()
    assert lab.run().done


def test_a_slurmctld_that_stays_keeps_its_queue(lab: Lab) -> None:
    lab.idle().queue(71)
    lab.stays = lab.unasked = True
    assert lab.run().done and lab.questions == ["Delete all of this?"]


def test_jobs_can_be_waited_for_and_no_new_one_begins(lab: Lab) -> None:
    tick = lab.world.slurm.tick
    ends = lab.world.clock.now() + 20

    def ticking() -> None:
        if lab.world.clock.now() > ends and lab.job in lab.world.slurm.jobs:
            assert lab.world.slurm.node("n1").has("DRAIN")
            lab.world.slurm.end(lab.job)
        tick()

    lab.world.slurm.tick = ticking  # type: ignore[method-assign]
    assert lab.run(wait=60).done
    assert lab.left() == []


def test_a_wait_that_is_too_short_gives_the_nodes_back(lab: Lab) -> None:
    with pytest.raises(UnfinishedError):
        lab.run(wait=5)
    assert lab.events == ["save"]
    assert not lab.world.slurm.node("n1").has("DRAIN")


def test_a_drain_of_somebody_else_is_not_ended(lab: Lab) -> None:
    lab.world.slurm.update_nodes(["n3"], state="DRAIN", reason="disk", permits=permits("DRAIN", ["n3"]))
    with pytest.raises(UnfinishedError):
        lab.run(wait=5)
    assert lab.world.slurm.node("n3").reason == "disk"


def test_without_slurm_nobody_can_tell(lab: Lab) -> None:
    lab.idle().world.slurm.unreachable = "no route"
    with pytest.raises(RefusedError, match="can't be asked"):
        lab.run()
    assert lab.run(force=True).done


def test_without_a_cloud_nothing_is_done(lab: Lab) -> None:
    lab.idle().cloud.unreachable = "503"
    with pytest.raises(CloudError):
        lab.run(force=True)
    assert lab.events == []


def test_one_that_failed_in_the_middle_is_run_again(lab: Lab) -> None:
    """The second time Slurm is gone with its host, and that is no reason to refuse."""
    lab.idle()
    assert lab.base
    lab.base.fails = "apply"
    with pytest.raises(LeftoverError, match=r"network demo \(net-1\).*409 Conflict"):
        lab.run()
    assert lab.left() == ["network demo (net-1)"], "the login node went by its id"
    lab.world.slurm.unreachable = "no route"
    lab.base.fails = ""
    lab.base._ids.clear()
    lab.events.clear()
    assert lab.run().done
    assert lab.left() == []


def test_a_state_that_can_not_be_planned_in_does_not_keep_its_servers(lab: Lab) -> None:
    lab.idle().nodes[0].fails = "plan"
    assert lab.run().done
    assert {"delete n1", "delete n2"} <= set(lab.events)
    assert any("can't be planned in: state lock" in line for line in lab.said)


def test_lost_states_and_journal(lab: Lab) -> None:
    """Servers are found by their tag; the network is named, for nobody but Terraform knew how it was made."""
    lab.idle()
    lab.nodes, lab.base, lab.journal = [], None, None
    with pytest.raises(LeftoverError, match=r"still there: network demo \(net-1\)"):
        lab.run()
    assert lab.left() == ["network demo (net-1)"]


def test_a_server_that_does_not_go_is_named(lab: Lab) -> None:
    lab.idle().cloud.delete_seconds = 1e6
    with pytest.raises(LeftoverError, match=r"server n1 \(id-"):
        lab.run()


def test_images_are_kept_unless_they_are_asked_for(lab: Lab) -> None:
    lab.idle().cloud.others.append(IMAGE)
    outcome = lab.run()
    assert outcome.done and outcome.kept == [IMAGE]
    assert lab.run(images=True).kept == []
    assert lab.left() == []


def test_a_state_whose_cloud_can_not_be_asked_is_what_is_left(lab: Lab) -> None:
    blind = State("other/nodes-001", lab, "id-elsewhere")
    blind.fails = "plan"
    lab.idle().nodes.append(blind)
    lab.unseen = {blind.directory}
    with pytest.raises(LeftoverError, match="terraform state other/nodes-001"):
        lab.run()


def test_other_clusters_are_not_touched(lab: Lab) -> None:
    node = NodeSpec("n1", "c", "mem", "default", "small", "", "10.0.1.1")
    other = lab.cloud.create(TerraformNode(node, "x"), frozenset({"slurm-powersave", "cluster=other"}))
    assert lab.idle().run().done
    assert [server.id for server in lab.cloud.alive()] == [other]


def test_a_slurmctld_that_stays_hears_that_its_nodes_are_off(lab: Lab) -> None:
    lab.idle().stays = True
    assert lab.run().done
    lab.world.clock.advance(60)
    lab.world.slurm.tick()
    assert lab.world.slurm.node("n1").has("POWER_DOWN", "POWERING_DOWN", "POWERED_DOWN")


def test_servers_that_the_cloud_keeps_after_their_deletion_go_for_good_before_the_network() -> None:
    lab = Lab().idle()
    lab.cloud.soft_delete = True
    nodes = [lab.id(name) for name in ("n1", "n2")]
    assert lab.run().done
    purged = lab.events[lab.events.index("destroy mem/nodes-001") : lab.events.index("destroy base")]
    assert {"delete n1", "delete n2"} <= set(purged), "before the network"
    assert [lab.cloud.server(one) for one in (*nodes, lab.login)] == [None] * 3


def test_one_that_does_not_go_ends_it_in_time_and_is_named() -> None:
    lab = Lab().idle()
    lab.cloud.soft_delete, lab.cloud.delete_seconds = True, 10_000
    with pytest.raises(LeftoverError) as caught:
        lab.run()
    assert "the network can't go yet" in caught.value.why and "n1" in caught.value.why
    assert "destroy base" not in lab.events and lab.base and lab.base.forgotten
