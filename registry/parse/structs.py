"""msgspec types of an Avro record, and columns from what they decode: the fast way from JSON text to a frame.

A type is made once per schema. Columns are made by taking one field of all records at a time.
"""

from __future__ import annotations

import datetime
import decimal
import operator
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import pyarrow as pa
from msgspec import Meta

from registry.codec import frame as shape
from registry.schema import Schema, parse

_FLOAT_MAX = 3.4028234663852886e38
_EPOCH_SECONDS = (-62_135_596_800, 253_402_300_799)  # years 1 to 9999, as Python's and Arrow's calendars
_LONG = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_PLAIN: dict[str, Any] = {
    "null": None,
    "boolean": bool,
    "int": Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)],
    "long": _LONG,
    "float": Annotated[float, Meta(ge=-_FLOAT_MAX, le=_FLOAT_MAX)],
    "double": float,
    "string": str,
    "bytes": bytes,
}


class Shape:
    """`type`: what msgspec decodes a record to. `columns`: the column of each field, from decoded records."""

    def __init__(self, schema: Schema) -> None:
        names = shape.names_of(schema.definition)
        self.arrow = shape.arrow_schema(schema.definition)
        self.type: Any = _type(schema.definition, names)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(self.type).decode
        self._fields = [
            (name, operator.attrgetter(name), _builder(node, names, self.arrow.field(name).type))
            for name, node in shape.fields_of(schema.definition)
        ]

    def columns(self, records: Sequence[Any]) -> tuple[list[pa.Array], list[tuple[int, str]]]:
        """(a column per field, (position, field) of the values that don't fit their column: those are null in it)"""
        columns, bad = [], []
        for name, get, build in self._fields:
            values = list(map(get, records))
            try:
                columns.append(build(values))
            except _UNFIT:
                wrong = {index for index, value in enumerate(values) if not _fits(build, value)}
                bad += [(index, name) for index in sorted(wrong)]
                kept = [None if index in wrong else value for index, value in enumerate(values)]
                columns.append(_spread(build([value for value in kept if value is not None]), kept))
        return columns, bad


Build = Callable[[list[Any]], pa.Array]
_UNFIT = (pa.ArrowInvalid, OverflowError, ValueError)


@lru_cache(maxsize=64)
def _shape_of(text: str) -> Shape:
    return Shape(parse(text))


def shape_of(schema: Schema) -> Shape:
    """Cached by the schema's text."""
    return _shape_of(schema.text)


def _fits(build: Build, value: Any) -> bool:
    try:
        build([value])
    except _UNFIT:
        return False
    return True


def _type(node: Any, names: Any) -> Any:
    node = shape.resolve(node, names)
    if isinstance(node, list):
        branches, nullable = shape.split_null(node)
        resolved = [shape.resolve(branch, names) for branch in branches]
        if len(resolved) == 1:
            inner = _type(resolved[0], names)
        else:
            fields = [(f"f{i}", _type(b, names) | None, None) for i, b in enumerate(resolved)]
            rename = {f"f{i}": shape.branch_name(b) for i, b in enumerate(resolved)}
            inner = msgspec.defstruct("Union", fields, forbid_unknown_fields=True, rename=rename, gc=False)
        return inner | None if nullable else inner
    what, meaning = shape.kind(node), shape.logical(node)
    if what == "record":
        # Fields without a default first is not the order of the schema: keyword-only fields may mix.
        fields = [_field(one, names) for one in node["fields"]]
        return msgspec.defstruct(
            node["name"].rpartition(".")[2], fields, forbid_unknown_fields=True, kw_only=True, gc=False
        )
    if what == "array":
        return list[_type(node["items"], names)]  # type: ignore[misc]
    if what == "map":
        return dict[str, _type(node["values"], names)]  # type: ignore[misc]
    if what == "enum":
        return Literal[tuple(node["symbols"])]
    if meaning == "decimal":
        return decimal.Decimal
    if meaning == "uuid":
        return uuid.UUID
    if meaning == "date":
        return datetime.date
    if meaning in ("time-millis", "time-micros"):
        return Annotated[datetime.time, Meta(tz=False)]
    if meaning and "timestamp" in meaning:
        unit = 1_000 if meaning.endswith("millis") else 1_000_000
        number = Annotated[int, Meta(ge=_EPOCH_SECONDS[0] * unit, le=(_EPOCH_SECONDS[1] + 1) * unit - 1)]
        return Annotated[datetime.datetime, Meta(tz=not meaning.startswith("local"))] | number
    if what == "fixed":
        return Annotated[bytes, Meta(min_length=node["size"], max_length=node["size"])]
    return _PLAIN[what]


def _field(one: dict[str, Any], names: Any) -> Any:
    dtype = _type(one["type"], names)
    _, nullable = shape.split_null(shape.resolve(one["type"], names))
    if "default" in one and not isinstance(one["default"], dict | list):
        default = one["default"]
        if shape.kind(shape.resolve(one["type"], names)) in (
            "string",
            "boolean",
            "int",
            "long",
            "float",
            "double",
            "enum",
        ):
            return (one["name"], dtype, default)
        if default is None:
            return (one["name"], dtype, None)
    if one.get("default") == []:
        return (one["name"], dtype, msgspec.field(default_factory=list))
    return (one["name"], dtype, None) if nullable else (one["name"], dtype)


def _builder(node: Any, names: Any, dtype: pa.DataType) -> Build:
    node = shape.resolve(node, names)
    if isinstance(node, list):
        branches, _ = shape.split_null(node)
        if len(branches) == 1:
            return _builder(branches[0], names, dtype)
        resolved = [shape.resolve(branch, names) for branch in branches]
        return _struct([(f"f{i}", b) for i, b in enumerate(resolved)], names, dtype)
    what, meaning = shape.kind(node), shape.logical(node)
    if what == "record":
        return _struct(list(shape.fields_of(node)), names, dtype)
    if what == "array":
        return _list(_builder(node["items"], names, dtype.value_type), dtype)
    if what == "map":
        value = _builder(node["values"], names, dtype.value_type.field("value").type)
        return _map(value, dtype)
    if meaning == "uuid":
        return lambda values: pa.array([None if value is None else str(value) for value in values], pa.string())
    if meaning and "timestamp" in meaning:
        return lambda values: _timestamps(values, dtype)
    return lambda values: pa.array(values, dtype)


def _struct(fields: list[tuple[str, Any]], names: Any, dtype: pa.DataType) -> Build:
    getters = [
        (operator.attrgetter(name), _builder(node, names, dtype.field(i).type)) for i, (name, node) in enumerate(fields)
    ]

    def build(values: list[Any]) -> pa.Array:
        present = [value for value in values if value is not None]
        if not present:
            return pa.nulls(len(values), dtype)
        inner = pa.StructArray.from_arrays(
            [make(list(map(get, present))) for get, make in getters],
            fields=[dtype.field(i) for i in range(dtype.num_fields)],
        )
        return inner if len(present) == len(values) else _spread(inner, values)

    return build


def _spread(inner: pa.Array, values: list[Any]) -> pa.Array:
    """`inner` holds the values that aren't null; put them back at their places."""
    at = iter(range(len(inner)))
    return inner.take(pa.array([None if value is None else next(at) for value in values], pa.int64()))


def _list(item: Build, dtype: pa.DataType) -> Build:
    def build(values: list[Any]) -> pa.Array:
        flat: list[Any] = []
        offsets: list[int | None] = []
        for value in values:
            offsets.append(None if value is None else len(flat))
            if value:
                flat.extend(value)
        offsets.append(len(flat))
        if all(offset is None for offset in offsets[:-1]):
            return pa.nulls(len(values), dtype)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), item(flat), type=dtype)

    return build


def _map(value: Build, dtype: pa.DataType) -> Build:
    entry = dtype.value_type

    def items(pairs: list[Any]) -> pa.Array:
        keys = pa.array([key for key, _ in pairs], pa.string())
        return pa.StructArray.from_arrays(
            [keys, value([one for _, one in pairs])], fields=[entry.field(0), entry.field(1)]
        )

    build = _list(items, dtype)
    return lambda values: build([None if one is None else list(one.items()) for one in values])


_ZERO = {True: datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC), False: datetime.datetime(1970, 1, 1)}  # noqa: DTZ001


def _timestamps(values: list[Any], dtype: pa.DataType) -> pa.Array:
    kinds = set(map(type, values))
    if int in kinds and datetime.datetime in kinds:
        zero, unit = _ZERO[dtype.tz is not None], datetime.timedelta(microseconds=1_000 if dtype.unit == "ms" else 1)
        values = [(one - zero) // unit if isinstance(one, datetime.datetime) else one for one in values]
        kinds = {int}
    if int in kinds:
        return pa.array(values, pa.int64()).cast(dtype)
    return pa.array(values, dtype)
