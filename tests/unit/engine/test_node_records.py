"""The records by name and by shard."""

from dataclasses import replace

from slurm_powersave.engine.node_records import NodeRecords
from slurm_powersave.model.nodes import NodeRecord, NodeSpec


def record(name: str, shard: str) -> NodeRecord:
    return NodeRecord(NodeSpec(name, "p", "os", "i", "f", "", "10.0.0.1"), shard=shard)


def test_a_node_is_found_in_the_shard_that_holds_it_now_and_in_no_other() -> None:
    records = NodeRecords({"n1": record("n1", "os/nodes-001"), "n2": record("n2", "")})
    assert [*records] == ["n1", "n2"] and len(records) == 2
    assert [*records.in_shard("os/nodes-001")] == ["n1"] and not records.in_shard("")
    records.put(record("n2", "os/nodes-001"))
    assert [*records.in_shard("os/nodes-001")] == ["n1", "n2"]
    records.put(record("n1", "os/nodes-002"))
    assert [*records.in_shard("os/nodes-001")] == ["n2"]
    assert [*records.in_shard("os/nodes-002")] == ["n1"]
    records.put(record("n1", ""))
    assert not records.in_shard("os/nodes-002") and records["n1"].shard == ""


def test_what_is_said_of_a_shard_is_the_newest_record() -> None:
    records = NodeRecords({"n1": record("n1", "os/nodes-001")})
    newer = replace(records["n1"], server_id="2")
    seen = records.in_shard("os/nodes-001")
    records.put(newer)
    assert records.in_shard("os/nodes-001") == {"n1": newer} and seen["n1"].server_id == ""
