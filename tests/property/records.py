"""Strategies: schemas as contracts have them, by what the codecs support, and records of them as fastavro takes them."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from registry.codec import frame as shape
from registry.schema import Schema

Draw = Callable[[st.SearchStrategy[Any]], Any]
_COLUMNAR: list[Any] = [
    "boolean", "int", "long", "float", "double", "string",
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
]  # fmt: skip
_ROW: list[Any] = [
    *_COLUMNAR, "bytes",
    {"type": "string", "logicalType": "uuid"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "local-timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 3},
]  # fmt: skip


@st.composite
def columnar_schemas(draw: Draw) -> Any:
    """Records that the columnar codec supports."""
    return _record(draw, [0], 3, _COLUMNAR, rich=False)


@st.composite
def row_schemas(draw: Draw) -> Any:
    """Records of everything: maps, bytes, decimals, unions of several types."""
    return _record(draw, [0], 3, _ROW, rich=True)


def _record(draw: Draw, count: list[int], depth: int, leaves: list[Any], rich: bool) -> Any:
    count[0] += 1
    name = f"R{count[0]}"
    fields = [
        {"name": f"f{i}", "type": _nullable(draw, count, depth, leaves, rich)} for i in range(draw(st.integers(1, 4)))
    ]
    return {"type": "record", "name": name, "fields": fields}


def _nullable(draw: Draw, count: list[int], depth: int, leaves: list[Any], rich: bool) -> Any:
    one = _type(draw, count, depth, leaves, rich)
    if isinstance(one, list):
        return one
    return draw(st.sampled_from([one, ["null", one], [one, "null"]]))


def _type(draw: Draw, count: list[int], depth: int, leaves: list[Any], rich: bool) -> Any:
    kinds = ["leaf"] * 3 + ["enum"] + (["array", "record"] if depth else [])
    if rich:
        kinds += ["fixed"] + (["map", "union"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    count[0] += 1
    match kind:
        case "leaf":
            return draw(st.sampled_from(leaves))
        case "enum":
            return {"type": "enum", "name": f"E{count[0]}", "symbols": ["A", "B", "C"]}
        case "fixed":
            return {"type": "fixed", "name": f"F{count[0]}", "size": 3}
        case "array":
            return {"type": "array", "items": _nullable(draw, count, depth - 1, leaves, rich)}
        case "map":
            return {"type": "map", "values": _nullable(draw, count, depth - 1, leaves, rich)}
        case "union":
            # Branches that a value names by itself: of int and long, or of string and uuid, Python can't tell.
            named = _record(draw, count, depth - 1, leaves, rich)
            branches = ["null", "string", "long", "boolean", "bytes", named]
            return draw(st.lists(st.sampled_from(branches), min_size=2, max_size=4, unique_by=str))
        case _:
            return _record(draw, count, depth - 1, leaves, rich)


def records_of(schema: Schema) -> st.SearchStrategy[Any]:
    return _values(schema.definition, shape.names_of(schema.definition))


_TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
_MOMENTS = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))


def _millis(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.replace(tzinfo=datetime.UTC)


def _values(node: Any, names: Any) -> st.SearchStrategy[Any]:
    node = shape.resolve(node, names)
    if isinstance(node, list):
        several = len([b for b in node if shape.kind(b) != "null"]) > 1
        return st.one_of([_branch(shape.resolve(b, names), names, several) for b in node])
    what, meaning = shape.kind(node), shape.logical(node)
    match meaning:
        case "date":
            return st.dates()
        case "timestamp-millis":
            return _MOMENTS.map(_millis).map(_utc)
        case "timestamp-micros":
            return _MOMENTS.map(_utc)
        case "local-timestamp-millis":
            return _MOMENTS.map(_millis)
        case "local-timestamp-micros":
            return _MOMENTS
        case "time-millis":
            return st.integers(0, 86_399_999).map(
                lambda ms: (datetime.datetime(2000, 1, 1) + datetime.timedelta(milliseconds=ms)).time()
            )
        case "time-micros":
            return st.times()
        case "uuid":
            return st.uuids().map(uuid.UUID.__str__)
        case "decimal":
            return st.integers(-(10**12) + 1, 10**12 - 1).map(lambda n: Decimal(n).scaleb(-3))
    match what:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "float":
            return st.floats(width=32, allow_nan=False)
        case "double":
            return st.floats(allow_nan=False)
        case "bytes":
            return st.binary(max_size=5)
        case "string":
            return _TEXT
        case "enum":
            return st.sampled_from(node["symbols"])
        case "fixed":
            return st.binary(min_size=node["size"], max_size=node["size"])
        case "array":
            return st.lists(_values(node["items"], names), max_size=3)
        case "map":
            return st.dictionaries(_TEXT, _values(node["values"], names), max_size=3)
    return st.fixed_dictionaries({name: _values(field, names) for name, field in shape.fields_of(node)})


def _branch(node: Any, names: Any, several: bool) -> st.SearchStrategy[Any]:
    values = _values(node, names)
    if not several or shape.kind(node) == "null":
        return values
    name = shape.branch_name(node)
    return values.map(lambda value: (name, value))
