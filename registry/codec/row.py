"""Avro bodies to and from frames one record at a time (fastavro): every schema, the reference for the columnar codec.

Not here: which codec a schema gets (`registry.codec`), framing.
"""

from __future__ import annotations

import datetime
import io
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa

from registry.codec import frame as shape
from registry.codec.check import refuse_violations
from registry.errors import CodecError, Text
from registry.schema import Schema

Convert = Callable[[Any], Any]
# What fastavro raises on bytes that aren't of the schema: it has no exception of its own for them.
UNREADABLE = (ValueError, LookupError, TypeError, EOFError, ArithmeticError, MemoryError, AssertionError)


class RowCodec:
    """encode and decode record by record."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.frame_schema = shape.frame_schema(schema.definition)
        self._definition = fastavro.parse_schema(schema.definition)
        self._arrow = shape.arrow_schema(schema.definition)
        names = shape.names_of(schema.definition)
        self._to_avro = _converter(schema.definition, names, _to_avro)
        self._from_avro = _converter(schema.definition, names, _from_avro)

    def encode(self, frame: pl.DataFrame) -> pa.BinaryArray:
        """One Avro body per row. Raises CodecError on a value that the schema doesn't allow."""
        if frame.height == 0:
            return pa.array([], pa.binary())
        table = frame.select(self.frame_schema.names()).to_arrow()
        refuse_violations(table, self.schema.definition)
        bodies = []
        for index, record in enumerate(table.to_pylist()):
            sink = io.BytesIO()
            try:
                fastavro.schemaless_writer(sink, self._definition, self._to_avro(record) if self._to_avro else record)
            except (ValueError, TypeError, KeyError, OverflowError, ArithmeticError) as error:
                raise _unwritable(index) from error
            bodies.append(sink.getvalue())
        return pa.array(bodies, pa.binary())

    def decode(self, bodies: pa.BinaryArray) -> pl.DataFrame:
        """The frame of the bodies, in their order. Raises CodecError with the index of the first that can't be read."""
        records = []
        for index, body in enumerate(bodies.to_pylist()):
            try:
                if body is None:
                    raise ValueError("no body")
                # In unions fastavro then says a record's, enum's or fixed's name beside it: (name, value).
                record = fastavro.schemaless_reader(io.BytesIO(body), self._definition, None, return_named_type=True)
                records.append(self._from_avro(record) if self._from_avro else record)
            except UNREADABLE as error:
                raise _unreadable(index) from error
        if not records:
            return pl.DataFrame(schema=self.frame_schema)
        return pl.DataFrame(pa.Table.from_pylist(records, schema=self._arrow))

    def placed(self, record: Any) -> Any:
        """A record as fastavro reads it (`return_named_type=True`), as a row of the frame's types."""
        return self._from_avro(record) if self._from_avro else record


def _unreadable(index: int) -> CodecError:
    return CodecError(Text(f"record {index} is not of the schema", f"bản ghi {index} không đúng lược đồ"), index=index)


def _unwritable(index: int) -> CodecError:
    return CodecError(
        Text(f"record {index} can't be written in the schema", f"không ghi được bản ghi {index} theo lược đồ"),
        index=index,
    )


def _converter(
    node: Any, names: Mapping[str, Any], leaf: Callable[[Any, Mapping[str, Any]], Convert | None]
) -> Convert | None:
    """A function over values of `node` that applies `leaf`'s conversions at their places; None where nothing changes."""
    node = shape.resolve(node, names)
    own = leaf(node, names)
    if own is not None:
        return own
    if isinstance(node, list):
        others, _ = shape.split_null(node)
        inner = _converter(others[0], names, leaf) if others else None
        return inner and _unless_null(inner)
    if shape.kind(node) == "array":
        inner = _converter(node["items"], names, leaf)
        return inner and _each(inner)
    if shape.kind(node) in ("record", "error"):
        inners = {name: _converter(field, names, leaf) for name, field in shape.fields_of(node)}
        changed = {name: inner for name, inner in inners.items() if inner is not None}
        if not changed:
            return None
        return lambda record: {k: changed[k](v) if k in changed else v for k, v in record.items()}
    return None


def _unless_null(convert: Convert) -> Convert:
    return lambda value: None if value is None else convert(value)


def _each(convert: Convert) -> Convert:
    return lambda values: [convert(value) for value in values]


def _to_avro(node: Any, names: Mapping[str, Any]) -> Convert | None:
    if isinstance(node, list):
        others, _ = shape.split_null(node)
        if len(others) < 2:
            return None
        branches = {
            shape.branch_name(b): _converter(b, names, _to_avro) for b in (shape.resolve(o, names) for o in others)
        }

        def pick(value: Any) -> Any:
            if value is None:
                return None
            name, inner = next((n, v) for n, v in value.items() if v is not None)
            convert = branches[name]
            return (name, convert(inner) if convert else inner)

        return pick
    if shape.kind(node) == "map":
        inner = _converter(node["values"], names, _to_avro)
        return lambda pairs: {p["key"]: inner(p["value"]) if inner else p["value"] for p in pairs}
    return None


def _from_avro(node: Any, names: Mapping[str, Any]) -> Convert | None:
    if isinstance(node, list):
        resolved = [shape.resolve(branch, names) for branch in shape.split_null(node)[0]]
        if len(resolved) == 1 and isinstance(resolved[0], dict) and "name" in resolved[0]:
            inner = _converter(resolved[0], names, _from_avro)
            return lambda value: None if value is None else inner(value[1]) if inner else value[1]
        if len(resolved) < 2:
            return None
        branches = [(shape.branch_name(b), b, _converter(b, names, _from_avro)) for b in resolved]

        def place(value: Any) -> Any:
            if value is None:
                return None
            named, value = value if isinstance(value, tuple) else (None, value)
            for name, branch, convert in branches:
                if name == named or (named is None and _fits(value, branch)):
                    return {name: convert(value) if convert else value}
            raise ValueError("no branch of the union")

        return place
    if shape.kind(node) == "map":
        inner = _converter(node["values"], names, _from_avro)
        return lambda values: [{"key": k, "value": inner(v) if inner else v} for k, v in values.items()]
    if shape.logical(node) == "uuid":
        return str
    return None


_PYTHON: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "int": (int,),
    "long": (int,),
    "float": (float,),
    "double": (float,),
    "string": (str,),
    "bytes": (bytes,),
    "array": (list,),
    "map": (dict,),
}


def _fits(value: Any, branch: Any) -> bool:
    what, meaning = shape.kind(branch), shape.logical(branch)
    if isinstance(value, bool):
        return what == "boolean"
    if meaning == "date":
        return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)
    if meaning == "decimal":
        return isinstance(value, Decimal)
    if meaning and "timestamp" in meaning:
        return isinstance(value, datetime.datetime)
    if meaning and meaning.startswith("time-"):
        return isinstance(value, datetime.time)
    if what == "int" and isinstance(value, int):
        return -(2**31) <= value < 2**31
    return isinstance(value, _PYTHON.get(what, ()))
