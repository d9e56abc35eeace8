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
            # Not date, time or uuid: fastavro takes what is written in the branch beside them for one, and fails.
            annotated = [
                {"type": "long", "logicalType": "timestamp-micros"},
                {"type": "string", "avro.java.string": "String"},
            ]
            return draw(st.sampled_from(annotated))
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
    """The schema a release or two later: one to three changes, good and bad. It may not even be a schema any more."""
    places = _places(schema)
    chosen = draw(st.sets(st.integers(0, places - 1), min_size=1, max_size=min(3, places)))
    return _Change(draw, chosen).of(copy.deepcopy(schema))


def _places(schema: Any) -> int:
    if isinstance(schema, list):
        return 1 + sum(map(_places, schema))
    if isinstance(schema, str):
        return 1
    inner = [one["type"] for one in schema.get("fields", ())] + [schema[part] for part in _PARTS if part in schema]
    return 1 + sum(map(_places, inner))


_PARTS = ("items", "values")


class _Change:
    """Walks a schema and changes the chosen places, counted in the order of the walk."""

    def __init__(self, draw: Draw, chosen: set[int]) -> None:
        self.draw, self.chosen, self.place = draw, chosen, -1

    def of(self, schema: Any) -> Any:
        self.place += 1
        here = self.place in self.chosen
        if isinstance(schema, list):
            branches = [self.of(one) for one in schema]
            return _union(self._union(branches) if here else branches)
        if isinstance(schema, str):
            return self._primitive(schema) if here and schema in PRIMITIVES else schema
        for one in schema.get("fields", ()):
            one["type"] = self.of(one["type"])
        for part in _PARTS:
            if part in schema:
                schema[part] = self.of(schema[part])
        return self._complex(schema) if here else schema

    def _pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def _union(self, branches: list[Any]) -> list[Any]:
        if self.draw(st.booleans()):
            return [*branches, self._pick(*PRIMITIVES)]
        gone = self.draw(st.integers(0, len(branches) - 1)) if branches else 0
        return branches[:gone] + branches[gone + 1 :]

    def _primitive(self, schema: str) -> Any:
        near = {"int": ["long", "float"], "long": ["int", "float", "double"], "float": ["long", "double"]}
        near |= {"double": ["float", "int"], "string": ["bytes"], "bytes": ["string"]}
        return self._pick(*near.get(schema, ()), ["null", schema], self._pick(*PRIMITIVES))

    def _complex(self, schema: dict[str, Any]) -> Any:
        change = self._pick("inside", "inside", "inside", "null", "name") if "name" in schema else "inside"
        if change == "null":
            return _union(["null", schema])
        if change == "name":
            old = schema["name"]
            schema["name"], aliases = self._pick((f"{old}new", [old]), (f"{old}new", []), (f"moved.{old}", []))
            schema["aliases"] = aliases
            return schema
        match schema["type"]:
            case "fixed":
                schema["size"] += 1
            case "enum":
                kept = schema["symbols"][1:] or ["D"]
                schema["symbols"] = self._pick(kept, list(dict.fromkeys([*schema["symbols"], *SYMBOLS])))
                schema |= self._pick({}, {"default": schema["symbols"][0]})
            case "record":
                schema["fields"] = self._fields(schema["fields"])
            case "array" | "map":
                return _union(["null", schema])
            case _:
                return schema["type"]
        return schema

    def _fields(self, fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
        added = self._pick(
            {"name": "added", "type": "string"},
            {"name": "added", "type": "string", "default": ""},
            {"name": "added", "type": ["null", "int"], "default": None},
        )
        if not fields:
            return [added]
        first, *rest = fields
        renamed = {**first, "name": "renamed"}
        return self._pick(
            [added, *fields], rest, [*rest, first], [renamed, *rest], [{**renamed, "aliases": [first["name"]]}]
        )


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
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1) if isinstance(schema, str) else st.integers(-(10**15), 10**15)
        case "float":
            return st.floats(width=32)
        case "double":
            return st.floats()
        case "bytes":
            return st.text(max_size=5).map(str.encode)
        case "string":
            return st.text(max_size=5)
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
