"""A nested block of mode LIST, which tf 1.2 does not have."""

from typing import Any

from tf.gen import tfplugin_pb2 as pb
from tf.provider import _decode_state, _encode_state_d
from tf.schema import NestedBlock, NestMode
from tf.utils import Diagnostics


class ListNestedBlock(NestedBlock):
    """A list of blocks; in Python a list of dicts."""

    def __init__(self, type_name: str, block: Any, min_items: int = 0, max_items: int = 0) -> None:
        super().__init__(type_name, NestMode.Set, block, min_items, max_items)

    def to_pb(self) -> Any:
        """Describe the block in the plugin protocol."""
        described = super().to_pb()
        described.nesting = pb.Schema.NestedBlock.NestingMode.LIST
        return described

    def encode(self, value: Any) -> Any:
        """From Python to the wire."""
        return [_encode_state_d(self._amap(), self._bmap(), entry, None) for entry in value or []]

    def decode(self, value: Any) -> Any:
        """From the wire to Python."""
        return [_decode_state(Diagnostics(), self._amap(), self._bmap(), entry)[1] for entry in value or []]

    def semantically_equal(self, a_decoded: Any, b_decoded: Any) -> bool:
        """Compare; order counts."""
        return bool(a_decoded == b_decoded)
