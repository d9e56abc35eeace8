"""Compatibility as Avro's Java implementation decides it: its own tables of pairs, by kind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from registry.compatibility import Level, check, compared, read_problems
from registry.errors import SchemaInvalid
from registry.schema import parse

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
PROMOTED = {
    ("long", "int"),
    ("float", "int"),
    ("float", "long"),
    ("double", "int"),
    ("double", "long"),
    ("double", "float"),
    ("bytes", "string"),
    ("string", "bytes"),
}


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, name: str = "E", **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": name, "symbols": list(symbols), **more}


def fixed(size: int, name: str = "F", **more: Any) -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size, **more}


def codes(reader: Any, writer: Any) -> list[tuple[str, str]]:
    read, written = parse(json.dumps(reader)), parse(json.dumps(writer))
    return [(one.path, one.code) for one in read_problems(read, written)]


@pytest.mark.parametrize("writer", PRIMITIVES)
@pytest.mark.parametrize("reader", PRIMITIVES)
def test_primitives_are_read_as_themselves_or_as_what_they_widen_to(reader: str, writer: str) -> None:
    good = reader == writer or (reader, writer) in PROMOTED
    assert codes(reader, writer) == ([] if good else [("/", "TYPE_MISMATCH")])


LIST = record(field("next", ["null", "R"]), field("value", "int"))
COMPATIBLE = {
    "a field left out": (record(), record(field("a", "int"))),
    "a field added with a default": (record(field("a", "int", default=0)), record()),
    "a default of null": (record(field("a", ["null", "int"], default=None)), record()),
    "an alias of a field": (record(field("b", "int", aliases=["a"])), record(field("a", "int"))),
    "an alias of a record": (record(name="New", aliases=["Old"]), record(name="Old")),
    "an alias with a namespace": (record(name="n.New", aliases=["o.Old"]), record(name="o.Old")),
    "an alias inside the namespace": (record(name="New", namespace="n", aliases=["Old"]), record(name="n.Old")),
    "another namespace": (record(name="a.R"), record(name="b.R")),
    "enum symbols more": (enum("A", "B"), enum("A")),
    "enum symbols less, with a default": (enum("A", default="A"), enum("A", "B")),
    "an alias of an enum": (enum("A", name="N", aliases=["E"]), enum("A")),
    "an alias of a fixed": (fixed(4, name="N", aliases=["F"]), fixed(4)),
    "array items widened": ({"type": "array", "items": "long"}, {"type": "array", "items": "int"}),
    "map values widened": ({"type": "map", "values": "double"}, {"type": "map", "values": "float"}),
    "a union around": (["null", "string"], "string"),
    "a union around, widened": (["null", "double"], "int"),
    "a union taken away where every branch fits": ("long", ["int", "long"]),
    "unions, a branch more": (["null", "int", "string"], ["null", "int"]),
    "an empty union written": ("int", []),
    "logical types differ": (
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "int", "logicalType": "date"},
    ),
    "decimals differ in scale": (
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 1},
    ),
    "recursion": (record(field("next", ["null", "R"]), field("value", "long")), LIST),
    "a union of records, one of them widened": (
        ["null", record(field("a", "long"), name="A"), record(field("b", "int"), name="B")],
        [record(field("b", "int"), name="B"), record(field("a", "int"), name="A")],
    ),
}


@pytest.mark.parametrize(("reader", "writer"), COMPATIBLE.values(), ids=COMPATIBLE.keys())
def test_what_java_calls_compatible_is(reader: Any, writer: Any) -> None:
    assert codes(reader, writer) == []


INCOMPATIBLE = {
    "a field added without a default": (
        record(field("a", "int")),
        record(),
        [("/fields/0", "READER_FIELD_MISSING_DEFAULT_VALUE")],
    ),
    "a field narrowed": (
        record(field("x", "int"), field("a", "int")),
        record(field("x", "int"), field("a", "long")),
        [("/fields/1/type", "TYPE_MISMATCH")],
    ),
    "two fields wrong": (
        record(field("a", "int"), field("b", "string")),
        record(field("a", "string"), field("b", "int")),
        [("/fields/0/type", "TYPE_MISMATCH"), ("/fields/1/type", "TYPE_MISMATCH")],
    ),
    "another name": (record(name="A"), record(name="B"), [("/name", "NAME_MISMATCH")]),
    "an alias in another namespace": (
        record(name="n.New", aliases=["Old"]),
        record(name="o.Old"),
        [("/name", "NAME_MISMATCH")],
    ),
    "an alias of the writer only": (record(name="A"), record(name="B", aliases=["A"]), [("/name", "NAME_MISMATCH")]),
    "enum symbols less": (enum("A"), enum("A", "B"), [("/symbols", "MISSING_ENUM_SYMBOLS")]),
    "a default of the field is none of the enum": (
        record(field("e", enum("A"), default="A")),
        record(field("e", enum("A", "B"))),
        [("/fields/0/type/symbols", "MISSING_ENUM_SYMBOLS")],
    ),
    "an enum's default is none of the field": (
        record(field("e", enum("A", default="A"))),
        record(),
        [("/fields/0", "READER_FIELD_MISSING_DEFAULT_VALUE")],
    ),
    "fixed of another size": (fixed(4), fixed(5), [("/size", "FIXED_SIZE_MISMATCH")]),
    "fixed as bytes": ("bytes", fixed(4), [("/", "TYPE_MISMATCH")]),
    "array items": (
        {"type": "array", "items": "int"},
        {"type": "array", "items": "string"},
        [("/items", "TYPE_MISMATCH")],
    ),
    "map values": (
        {"type": "map", "values": "int"},
        {"type": "map", "values": "string"},
        [("/values", "TYPE_MISMATCH")],
    ),
    "a union without the branch": (["null", "int"], "string", [("/", "MISSING_UNION_BRANCH")]),
    "unions, a branch less": (["null", "int"], ["null", "int", "string"], [("/2", "MISSING_UNION_BRANCH")]),
    "a union taken away": ("int", ["null", "int"], [("/0", "TYPE_MISMATCH")]),
    "one name for two fields": (
        record(field("c", "int", aliases=["a", "b"])),
        record(field("a", "int"), field("b", "int")),
        [("/fields/0", "AMBIGUOUS_FIELD")],
    ),
    "recursion": (
        record(field("next", ["null", "R"]), field("value", "string")),
        LIST,
        [("/fields/1/type", "TYPE_MISMATCH")],
    ),
    "an enum for a record": (enum("A", name="R"), record(), [("/", "TYPE_MISMATCH")]),
}


@pytest.mark.parametrize(("reader", "writer", "expected"), INCOMPATIBLE.values(), ids=INCOMPATIBLE.keys())
def test_what_java_refuses_is_refused_with_the_path(reader: Any, writer: Any, expected: list[tuple[str, str]]) -> None:
    assert codes(reader, writer) == expected


def test_a_refused_union_says_what_keeps_its_nearest_branch_from_fitting() -> None:
    reader = record(field("address", ["null", record(field("ward", "int"), name="Address")]))
    writer = record(field("address", ["null", record(field("ward", "string"), name="Address")]))
    (problem,) = read_problems(parse(reader), parse(writer))
    assert (problem.path, problem.code) == ("/fields/0/type/1", "MISSING_UNION_BRANCH")
    assert problem.message.en.startswith("address: ")
    assert "/fields/0/type: ward: int can't read what is written as string" in problem.message.en


def test_compatible_by_an_assumption_that_failed_is_not_kept() -> None:
    """B is compared while A is assumed to fit; A then doesn't, so neither does B where it stands alone."""
    b_of_a = record(field("a", "A"), name="B")
    reader = record(
        field("one", ["null", record(field("b", b_of_a), field("n", "int"), name="A")]),
        field("two", "B"),
    )
    writer = record(
        field("one", ["null", record(field("b", b_of_a), field("n", "string"), name="A")]),
        field("two", "B"),
    )
    found = codes(reader, writer)
    assert ("/fields/0/type/1", "MISSING_UNION_BRANCH") in found
    assert any(path.startswith("/fields/1/type") or path == "/fields/1/type" for path, _ in found), found


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (Level.NONE, []),
        (Level.BACKWARD, [2]),
        (Level.FORWARD, [2]),
        (Level.FULL, [2]),
        (Level.BACKWARD_TRANSITIVE, [2, 1, 0]),
        (Level.FORWARD_TRANSITIVE, [2, 1, 0]),
        (Level.FULL_TRANSITIVE, [2, 1, 0]),
    ],
)
def test_levels_say_which_versions_count(level: Level, expected: list[int]) -> None:
    assert list(compared(level, 3)) == expected
    assert list(compared(level, 0)) == []


EMPTY = parse(record())
REQUIRED = parse(record(field("a", "int")))
OPTIONAL = parse(record(field("a", "int", default=0)))
TEXT = parse(record(field("a", "string", default="")))


@pytest.mark.parametrize(
    ("level", "good"),
    [
        (Level.NONE, {"required", "optional", "empty"}),
        (Level.BACKWARD, {"optional", "empty"}),
        (Level.FORWARD, {"required", "optional", "empty"}),
        (Level.FULL, {"optional", "empty"}),
    ],
)
def test_each_level_asks_its_own_direction(level: Level, good: set[str]) -> None:
    news = {"required": REQUIRED, "optional": OPTIONAL, "empty": EMPTY}
    assert {name for name, new in news.items() if not check(level, new, [EMPTY])} == good


@pytest.mark.parametrize("level", ["BACKWARD", "FORWARD", "FULL"])
def test_only_transitive_levels_look_past_the_last_version(level: str) -> None:
    history = [TEXT, EMPTY]
    assert check(Level(level), OPTIONAL, history) == ()
    assert check(Level(f"{level}_TRANSITIVE"), OPTIONAL, history)


def test_a_message_says_which_side_fails_to_read() -> None:
    (backward,) = check(Level.BACKWARD, REQUIRED, [EMPTY])
    (forward,) = check(Level.FORWARD, EMPTY, [REQUIRED])
    assert backward.message.en.startswith("the new schema reading earlier records: a: ")
    assert forward.message.en.startswith("the earlier schema reading new records: a: ")
    assert forward.message.vi != forward.message.en


def test_types_that_refer_to_each_other_endlessly_deep_are_refused_and_nothing_worse() -> None:
    chain = [record(name="R0"), *(record(field("r", f"R{i - 1}"), name=f"R{i}") for i in range(1, 3000))]
    # Defined in a field that the other side lacks, so that the chain is entered at its far end.
    reader = parse(record(field("reader_types", ["null", *chain], default=None), field("top", "R2999")))
    writer = parse(record(field("writer_types", ["null", *chain], default=None), field("top", "R2999")))
    with pytest.raises(SchemaInvalid) as raised:
        read_problems(reader, writer)
    assert raised.value.problems[0].code == "TOO_DEEP"


def test_unions_of_thousands_of_records_are_compared_in_seconds() -> None:
    union = [record(*(field(f"f{j}", "int") for j in range(8)), name=f"R{i}") for i in range(1000)]
    reader, writer = parse(union), parse(union[::-1])
    started = time.monotonic()
    assert read_problems(reader, writer) == ()
    assert time.monotonic() - started < 10
