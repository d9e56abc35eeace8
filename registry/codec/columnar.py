"""Avro bodies to and from frames by columns (pyruhvro). Only for schemas that `supports` accepts: it panics on the others.

Not here: which codec a schema gets (`registry.codec`), framing, schemas' rules.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from registry.codec import frame as shape
from registry.codec.check import refuse_violations
from registry.errors import CodecError, Text
from registry.schema import Schema

_PLAIN = {"boolean", "int", "long", "float", "double", "string", "enum"}
_LOGICAL = {"date", "timestamp-millis", "timestamp-micros"}


def supports(schema: Schema) -> bool:
    """Whether every type below is one that pyruhvro 0.4 reads and writes: no bytes, fixed, decimal, uuid, time,
    local-timestamp, map, null alone, nor a union of several types besides null."""
    names = shape.names_of(schema.definition)
    return shape.kind(schema.definition) == "record" and _supported(schema.definition, names, ())


def _supported(node: Any, names: Mapping[str, Any], above: tuple[str, ...]) -> bool:
    node = shape.resolve(node, names)
    if isinstance(node, list):
        others, _ = shape.split_null(node)
        return len(others) == 1 and _supported(others[0], names, above)
    what = shape.kind(node)
    if what == "record":
        inner = (*above, node["name"])
        return (
            node["name"] not in above
            and bool(node["fields"])
            and all(_supported(t, names, inner) for _, t in shape.fields_of(node))
        )
    if what == "array":
        return _supported(node["items"], names, above)
    return what in _PLAIN and (shape.logical(node) is None or shape.logical(node) in _LOGICAL)


def expand(definition: Any) -> Any:
    """The same schema with every named type written out where it is used, under a name of its own.

    The bytes of a record don't depend on the names of its types; pyruhvro wants each definition in place.
    """
    names = shape.names_of(definition)
    count = 0

    def walk(node: Any) -> Any:
        nonlocal count
        if isinstance(node, list):
            return [walk(branch) for branch in node]
        node = shape.resolve(node, names)
        if not isinstance(node, dict):
            return node
        node = {k: copy.copy(v) for k, v in node.items() if k in _KEPT}
        if "name" in node:
            count += 1
            node["name"] = f"T{count}"
        if "fields" in node:
            node["fields"] = [{"name": field["name"], "type": walk(field["type"])} for field in node["fields"]]
        if "items" in node:
            node["items"] = walk(node["items"])
        return node

    return walk(definition)


_KEPT = ("type", "name", "fields", "items", "symbols", "logicalType")


class ColumnarCodec:
    """encode and decode by columns; `decode` finds the first bad record by halving."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.frame_schema = shape.frame_schema(schema.definition)
        self._text = json.dumps(expand(schema.definition))
        self._arrow = shape.arrow_schema(schema.definition)
        self._wire = pyruhvro.avro_to_arrow_schema(self._text)

    def encode(self, frame: pl.DataFrame) -> pa.BinaryArray:
        """One Avro body per row. Raises CodecError on a null where the schema has none, or an unknown enum symbol."""
        if frame.height == 0:
            return pa.array([], pa.binary())
        table = frame.select(self.frame_schema.names()).to_arrow().combine_chunks()
        refuse_violations(table, self.schema.definition)
        batch = table.cast(self._wire_nullable).to_batches()[0]
        batch = pa.RecordBatch.from_arrays(batch.columns, schema=self._wire)
        (bodies,) = pyruhvro.serialize_record_batch(batch, self._text, 1)
        return bodies

    @property
    def _wire_nullable(self) -> pa.Schema:
        return pa.schema([field.with_nullable(True) for field in self._wire])

    def decode(self, bodies: pa.BinaryArray) -> pl.DataFrame:
        """The frame of the bodies, in their order. Raises CodecError with the index of the first that can't be read."""
        if len(bodies) == 0:
            return pl.DataFrame(schema=self.frame_schema)
        values = bodies.to_pylist()
        batch = _deserialize(values, self._text)
        if batch is None:
            index = _first_bad(values, self._text)
            raise CodecError(
                Text(f"record {index} is not of the schema", f"bản ghi {index} không đúng lược đồ"), index=index
            )
        columns = [
            pc.cast(column, field.type) if column.type != field.type else column
            for column, field in zip(batch.columns, self._arrow, strict=True)
        ]
        table = pa.table(columns, names=self._arrow.names)
        refuse_violations(table, self.schema.definition, ("calendar",))
        return pl.DataFrame(table)


def _deserialize(values: list[bytes | None], text: str) -> pa.RecordBatch | None:
    """None when a body can't be read. pyruhvro answers bad bytes by ValueError, some by a panic (a BaseException)."""
    if any(value is None for value in values):
        return None
    try:
        return pyruhvro.deserialize_array(values, text)
    except (ValueError, MemoryError, OverflowError):
        return None
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            return None
        raise


def _first_bad(values: list[bytes | None], text: str) -> int:
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        if _deserialize(values[low:middle], text) is None:
            high = middle
        else:
            low = middle
    return low
