"""Avro bodies to and from frames. `codec_for` chooses; the two codecs give the same bytes and the same frames.

The check is exact: a body counts as read only if encoding it again gives the same bytes, since every decoder that we know
accepts trailing bytes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from registry.codec import columnar
from registry.codec.columnar import ColumnarCodec
from registry.codec.row import RowCodec
from registry.errors import CodecError
from registry.schema import Schema, parse

__all__ = ["Codec", "codec_for", "decode_exact"]


class _Bodies(Protocol):
    frame_schema: pl.Schema

    def encode(self, frame: pl.DataFrame) -> pa.BinaryArray: ...

    def decode(self, bodies: pa.BinaryArray) -> pl.DataFrame: ...


class Codec:
    """The codec of one schema."""

    def __init__(self, schema: Schema, inner: _Bodies) -> None:
        self.schema = schema
        self.frame_schema = inner.frame_schema
        self._inner = inner

    @property
    def by_columns(self) -> bool:
        return isinstance(self._inner, ColumnarCodec)

    def encode(self, frame: pl.DataFrame) -> pa.BinaryArray:
        """One Avro body per row, the columns taken by name. Raises CodecError with the first row that doesn't fit."""
        return self._inner.encode(frame)

    def decode(self, bodies: pa.BinaryArray) -> pl.DataFrame:
        """One row per body. Raises CodecError with the index of the first that can't be read. Trailing bytes pass."""
        return self._inner.decode(bodies)

    def decode_exact(self, bodies: pa.BinaryArray) -> tuple[pl.DataFrame, list[int]]:
        """(the rows of the good bodies in their order, the positions of the others, ascending)"""
        return decode_exact(self._inner, bodies)


def decode_exact(codec: _Bodies, bodies: pa.BinaryArray) -> tuple[pl.DataFrame, list[int]]:
    """See Codec.decode_exact. Unreadable bodies are found by halving, so one among thousands costs little."""
    try:
        frame = codec.decode(bodies)
    except CodecError:
        if len(bodies) <= 1:
            return pl.DataFrame(schema=codec.frame_schema), list(range(len(bodies)))
        middle = len(bodies) // 2
        left, left_bad = decode_exact(codec, bodies[:middle])
        right, right_bad = decode_exact(codec, bodies[middle:])
        return pl.concat([left, right]), left_bad + [middle + index for index in right_bad]
    same = pc.equal(codec.encode(frame), bodies)
    if pc.all(same).as_py() is not False:
        return frame, []
    return frame.filter(pl.Series(same)), pc.indices_nonzero(pc.invert(same)).to_pylist()


def codec_for(schema: Schema) -> Codec:
    """The faster codec that the schema allows. Raises SchemaInvalid where records of it can't be held in a frame."""
    return _codec_of(schema.text)


@lru_cache(maxsize=256)  # one per schema in use; a contract has a handful
def _codec_of(text: str) -> Codec:
    schema = parse(text)
    return Codec(schema, ColumnarCodec(schema) if columnar.supports(schema) else RowCodec(schema))
