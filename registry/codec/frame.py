"""The shape a batch has in memory: the Arrow and Polars types of an Avro schema, and what of a schema asks for which codec.

Not here: bytes (row.py, columnar.py). A frame's types are the same whichever codec made it:

    enum, string, uuid            String
    int, long, float, double      Int32, Int64, Float32, Float64
    date                          Date
    timestamp-millis, -micros     Datetime("ms" | "us", "UTC"); the local- ones carry no zone
    time-millis, -micros          Time
    bytes, fixed; decimal         Binary; Decimal(precision, scale)
    array; record                 List; Struct
    map                           List(Struct(key, value))
    ["null", T]                   T, null allowed
    several other branches        Struct with one nullable field per branch, named as the branch
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from registry.errors import Problem, SchemaInvalid, Text

Definition = Any
"""An Avro schema as JSON values, names resolved by fastavro: a str, a list (union) or a dict."""

PLACES_MAX = 50_000  # of a record: named types that use each other twice, thirty deep, would be a thousand million

_PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
_LOGICAL: dict[tuple[str, str], pa.DataType] = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
}


def names_of(definition: Definition) -> dict[str, dict[str, Any]]:
    """Every named type (record, enum, fixed) by its full name."""
    names: dict[str, dict[str, Any]] = {}

    def walk(node: Definition) -> None:
        if isinstance(node, list):
            for branch in node:
                walk(branch)
        elif isinstance(node, dict):
            if node["type"] in ("record", "error", "enum", "fixed"):
                names[node["name"]] = node
            for field in node.get("fields", ()):
                walk(field["type"])
            walk(node.get("items"))
            walk(node.get("values"))
            if isinstance(node["type"], dict | list):
                walk(node["type"])

    walk(definition)
    return names


def resolve(node: Definition, names: Mapping[str, dict[str, Any]]) -> Definition:
    """The definition itself where `node` is a name or a dict that only wraps another type."""
    while True:
        if isinstance(node, str) and node in names:
            return names[node]
        if isinstance(node, dict) and isinstance(node["type"], dict | list):
            node = node["type"]
        elif isinstance(node, dict) and node["type"] in names:
            node = names[node["type"]]
        else:
            return node


def kind(node: Definition) -> str:
    """ "record", "string", "union", ... of a resolved definition."""
    if isinstance(node, list):
        return "union"
    return node if isinstance(node, str) else str(node["type"])


def split_null(node: Definition) -> tuple[list[Definition], bool]:
    """(the branches that aren't null, whether null is allowed)"""
    if not isinstance(node, list):
        return [node], False
    others = [branch for branch in node if kind(branch) != "null"]
    return others, len(others) < len(node)


def branch_name(node: Definition) -> str:
    """What a branch of a union is called: its full name, or its primitive type."""
    return str(node["name"]) if isinstance(node, dict) and "name" in node else kind(node)


def logical(node: Definition) -> str | None:
    return node.get("logicalType") if isinstance(node, dict) else None


def fields_of(definition: Definition) -> Iterator[tuple[str, Definition]]:
    for field in definition["fields"]:
        yield field["name"], field["type"]


def arrow_schema(definition: Definition) -> pa.Schema:
    """The Arrow types of a record schema. Raises SchemaInvalid on a recursive record and on one of over PLACES_MAX places.

    Every field is nullable to Arrow, since its casts differ on that; what may be null is asked of the Avro schema
    (`registry.codec.check`).
    """
    names = names_of(definition)
    if places(definition, names) > PLACES_MAX:
        text = Text(f"the schema has more than {PLACES_MAX} places", f"lược đồ có hơn {PLACES_MAX} vị trí")
        raise SchemaInvalid(text, [Problem(definition["name"], "schema.too_wide", text)])
    return pa.schema([(n, arrow_type(t, names, (definition["name"],))) for n, t in fields_of(definition)])


def places(definition: Definition, names: Mapping[str, Any]) -> int:
    """How many values a record can have, those of named types wherever they stand; a record within itself counts once."""
    known: dict[str, int] = {}

    def count(node: Definition) -> int:
        node = resolve(node, names)
        if isinstance(node, list):
            return 1 + sum(count(branch) for branch in node)
        if not isinstance(node, dict):
            return 1
        name = node.get("name")
        if name in known:
            return known[name]
        if name is not None:
            known[name] = 1  # while it is being counted
        inner = [field["type"] for field in node.get("fields", ())] + [
            node[k] for k in ("items", "values") if k in node
        ]
        found = 1 + sum(count(one) for one in inner)
        if name is not None:
            known[name] = found
        return found

    return count(definition)


def frame_schema(definition: Definition) -> pl.Schema:
    """The Polars types of a record schema. Raises SchemaInvalid on a recursive record."""
    return pl.Schema(pl.DataFrame(arrow_schema(definition).empty_table()).schema)


def arrow_type(node: Definition, names: Mapping[str, Any], above: tuple[str, ...] = ()) -> pa.DataType:
    node = resolve(node, names)
    if isinstance(node, list):
        others, _ = split_null(node)
        if len(others) == 1:
            return arrow_type(others[0], names, above)
        if not others:
            return pa.null()
        resolved = [resolve(branch, names) for branch in others]
        return pa.struct([pa.field(branch_name(branch), arrow_type(branch, names, above)) for branch in resolved])
    what = kind(node)
    if what in ("record", "error"):
        if node["name"] in above:
            raise SchemaInvalid(
                Text("The schema refers to itself", "Lược đồ tham chiếu đến chính nó"),
                [
                    Problem(
                        "/".join(above),
                        "schema.recursive",
                        Text(
                            f"record {node['name']} contains itself; a contract's records have a fixed depth",
                            f"bản ghi {node['name']} chứa chính nó; bản ghi của hợp đồng phải có độ sâu cố định",
                        ),
                    )
                ],
            )
        inner = (*above, node["name"])
        return pa.struct([pa.field(n, arrow_type(t, names, inner)) for n, t in fields_of(node)])
    if what == "array":
        return pa.list_(arrow_type(node["items"], names, above))
    if what == "map":
        return pa.list_(pa.struct([("key", pa.string()), ("value", arrow_type(node["values"], names, above))]))
    if what == "enum":
        return pa.string()
    if logical(node) == "decimal" and what in ("bytes", "fixed"):
        return pa.decimal128(node["precision"], node.get("scale", 0))
    if what == "fixed":
        return pa.binary()
    return _LOGICAL.get((what, logical(node) or ""), _PRIMITIVES[what])
