"""Strategies: a random Avro schema, what may become of it, and a record of it. Unqualified names are unique."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
SYMBOLS = ("A", "B", "C", "D")
Draw = Callable[[st.SearchStrategy[Any]], Any]


class _Names:
    def __init__(self) -> None:
        self.count = 0
        self.defined: list[str] = []

    def new(self) -> str:
        self.count += 1
        return f"N{self.count}"


@st.composite
def schemas(draw: Draw, depth: int = 3) -> Any:
    """A record at the root, as contracts have it."""
    return _record(draw, _Names(), depth)


def _type(draw: Draw, names: _Names, depth: int) -> Any:
    kinds = ["primitive"] * 4 + ["logical"]
    if depth:
        kinds += ["array", "map", "union", "union", "enum", "fixed", "record"]
        kinds += ["reference"] * (1 if names.defined else 0)
    match draw(st.sampled_from(kinds)):
        case "primitive":
            return draw(st.sampled_from(PRIMITIVES))
        case "logical":
            return draw(
                st.sampled_from(
                    [
                        {
                            "type": "int",
                            "logicalType": "time-millis",
                        },  # not date: fastavro takes any text beside it for one
                        {"type": "long", "logicalType": "timestamp-micros"},
                        {"type": "string", "logicalType": "uuid"},
                    ]
                )
            )
        case "array":
            return {"type": "array", "items": _type(draw, names, depth - 1)}
        case "map":
            return {"type": "map", "values": _type(draw, names, depth - 1)}
        case "union":
            return _union([_type(draw, names, depth - 1) for _ in range(draw(st.integers(1, 4)))])
        case "enum":
            symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
            return _defined(names, {"type": "enum", "name": names.new(), "symbols": symbols})
        case "fixed":
            return _defined(names, {"type": "fixed", "name": names.new(), "size": draw(st.integers(1, 3))})
        case "record":
            return _record(draw, names, depth - 1)
        case _:
            return draw(st.sampled_from(names.defined))


def _record(draw: Draw, names: _Names, depth: int) -> dict[str, Any]:
    record: dict[str, Any] = {"type": "record", "name": names.new()}
    fields = [
        {"name": f"f{index}", "type": _type(draw, names, depth)}
        for index in range(draw(st.integers(0 if depth else 1, 3)))
    ]
    if draw(st.integers(0, 5)) == 0:
        fields.append({"name": "again", "type": ["null", record["name"]]})
    return _defined(names, {**record, "fields": fields})


def _defined(names: _Names, definition: dict[str, Any]) -> dict[str, Any]:
    names.defined.append(definition["name"])
    return definition


def _union(branches: list[Any]) -> list[Any]:
    """Without unions inside and without two of a kind."""
    flat = [inner for one in branches for inner in (one if isinstance(one, list) else [one])]
    return list({kind(one): one for one in flat}.values())


def kind(definition: Any) -> str:
    if isinstance(definition, dict):
        return str(definition.get("name") or definition["type"])
    return str(definition)


@st.composite
def evolved(draw: Draw, schema: Any) -> Any:
    """The schema some releases later: good changes and bad ones. It may not even be a schema any more."""
    return _change(draw, copy.deepcopy(schema))


def _rarely(draw: Draw, one_in: int = 8) -> bool:
    return bool(draw(st.integers(1, one_in)) == one_in)


def _change(draw: Draw, schema: Any) -> Any:
    if _rarely(draw, 10):
        return _union(["null", schema])
    if isinstance(schema, list):
        changed = [_change(draw, one) for one in schema if not _rarely(draw, 10)]
        return _union(changed + ([draw(st.sampled_from(PRIMITIVES))] if _rarely(draw) else []))
    if isinstance(schema, str):
        return draw(st.sampled_from(PRIMITIVES)) if schema in PRIMITIVES and _rarely(draw, 4) else schema
    match schema["type"]:
        case "array":
            schema["items"] = _change(draw, schema["items"])
        case "map":
            schema["values"] = _change(draw, schema["values"])
        case "fixed":
            schema["size"] = draw(st.integers(1, 3)) if _rarely(draw) else schema["size"]
        case "enum":
            kept = [one for one in schema["symbols"] if not _rarely(draw)] or ["A"]
            schema["symbols"] = kept + [one for one in SYMBOLS if one not in kept and _rarely(draw)]
            if _rarely(draw, 3):
                schema["default"] = schema["symbols"][0]
        case "record":
            _change_fields(draw, schema)
        case _:
            return schema["type"] if _rarely(draw, 4) else schema
    if "name" in schema and _rarely(draw, 12):
        schema["aliases"] = [schema["name"]] if _rarely(draw, 2) else []
        schema["name"] = f"{schema['name']}new"
    if "name" in schema and "." not in schema["name"] and _rarely(draw, 12):
        schema["name"] = f"moved.{schema['name']}"
    return schema


def _change_fields(draw: Draw, record: dict[str, Any]) -> None:
    fields = []
    for field in record["fields"]:
        if _rarely(draw, 10):
            continue
        field["type"] = _change(draw, field["type"])
        if _rarely(draw, 10):
            field["aliases"] = [field["name"]] if draw(st.booleans()) else []
            field["name"] = f"{field['name']}_new"
        fields.append(field)
    for index in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        added: dict[str, Any] = {"name": f"added{index}", "type": draw(st.sampled_from(["string", ["null", "int"]]))}
        if draw(st.integers(0, 3)):
            added["default"] = "" if added["type"] == "string" else None
        fields.append(added)
    record["fields"] = draw(st.permutations(fields)) if _rarely(draw) else fields


def values(schema: Any, named: dict[str, Any], depth: int = 6) -> st.SearchStrategy[Any]:
    """What fastavro writes under the (resolved) schema. Bytes hold UTF-8, since they may be read as a string."""
    if isinstance(schema, list):
        shallow = [one for one in schema if depth > 0 or kind(one) in PRIMITIVES] or schema
        return st.one_of([values(one, named, depth - 1) for one in shallow]) if depth > -4 else st.none()
    if isinstance(schema, str) and schema in named:
        return st.deferred(lambda: values(named[schema], named, depth - 1))
    match schema if isinstance(schema, str) else schema["type"]:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1) if isinstance(schema, str) else st.integers(-1000, 1000)
        case "long":
            return st.integers(-(2**63), 2**63 - 1) if isinstance(schema, str) else st.integers(-(10**15), 10**15)
        case "float":
            return st.floats(width=32)
        case "double":
            return st.floats()
        case "bytes":
            return st.text(max_size=5).map(str.encode)
        case "string":
            return st.text(max_size=5) if isinstance(schema, str) else st.uuids()
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(values(schema["items"], named, depth - 1), max_size=2 if depth > 0 else 0)
        case "map":
            return st.dictionaries(st.text(max_size=3), values(schema["values"], named, depth - 1), max_size=2)
        case _:
            return st.fixed_dictionaries(
                {one["name"]: values(one["type"], named, depth - 1) for one in schema["fields"]}
            )
