"""The real provider's schema: facts in ../schema.json, in the words of `terraform providers schema -json`."""

import functools
import json
from pathlib import Path
from typing import Any

from tf.gen import tfplugin_pb2 as pb

FILE = Path(__file__).resolve().parent.parent / "schema.json"
Block = dict[str, Any]


@functools.cache
def facts() -> dict[str, Any]:
    """Read the file."""
    return dict(json.loads(FILE.read_text()))


def resource(type_name: str) -> Block:
    """Return a resource's block: `attributes` and `block_types`."""
    return dict(facts()["resource_schemas"][type_name]["block"])


def data_source(type_name: str) -> Block:
    """Return a data source's block."""
    return dict(facts()["data_source_schemas"][type_name]["block"])


def empty(block: Block) -> dict[str, Any]:
    """Return a value of a block in which nothing is set."""
    value: dict[str, Any] = dict.fromkeys(block["attributes"])
    for name, nested in block.get("block_types", {}).items():
        value[name] = None if nested["nesting_mode"] == "single" else []
    return value


def described(entry: dict[str, Any]) -> Any:
    """Return a schema as the plugin protocol wants it."""
    return pb.Schema(version=entry.get("version", 0), block=_block(entry["block"]))


def _block(block: Block) -> Any:
    flags = ("required", "optional", "computed", "sensitive")
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                **{flag: True for flag in flags if attribute.get(flag)},
            )
            for name, attribute in block["attributes"].items()
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=_block(nested["block"]),
                nesting=pb.Schema.NestedBlock.NestingMode.Value(nested["nesting_mode"].upper()),
                min_items=nested.get("min_items", 0),
                max_items=nested.get("max_items", 0),
            )
            for name, nested in block.get("block_types", {}).items()
        ],
    )
