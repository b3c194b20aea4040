"""The nodes' records in memory, found by name or by the shard that holds the node's server."""

from collections.abc import Iterator, Mapping

from slurm_powersave.model.nodes import NodeRecord


class NodeRecords(Mapping[str, NodeRecord]):
    """Name -> record, as the journal has them. An event in one shard costs nothing for the others' nodes."""

    def __init__(self, found: Mapping[str, NodeRecord]) -> None:
        self._records: dict[str, NodeRecord] = {}
        self._shards: dict[str, dict[str, NodeRecord]] = {}
        for record in found.values():
            self.put(record)

    def put(self, record: NodeRecord) -> None:
        """Take in a record in the place of what was known of the node."""
        name = record.node.name
        if (before := self._records.get(name)) and before.shard != record.shard:
            self._shards.get(before.shard, {}).pop(name, None)
        self._records[name] = record
        if record.shard:
            self._shards.setdefault(record.shard, {})[name] = record

    def in_shard(self, shard: str) -> Mapping[str, NodeRecord]:
        """Return a copy of what is known of the nodes whose servers a shard holds."""
        return dict(self._shards.get(shard, {}))

    def __getitem__(self, name: str) -> NodeRecord:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)
