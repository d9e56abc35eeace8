"""Parsing, canonical form and fingerprints; the vectors are Apache Avro's (share/test/data/schema-tests.txt)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import fastavro
import pytest

from registry.errors import SchemaInvalid
from registry.schema import SIZE_BYTES_MAX, parse

VECTORS = [
    ('"null"', '"null"', 7195948357588979594),
    ('{"type":"null"}', '"null"', 7195948357588979594),
    ('"boolean"', '"boolean"', -6970731678124411036),
    ('"int"', '"int"', 8247732601305521295),
    ('"long"', '"long"', -3434872931120570953),
    ('"float"', '"float"', 5583340709985441680),
    ('"double"', '"double"', -8181574048448539266),
    ('"bytes"', '"bytes"', 5746618253357095269),
    ('"string"', '"string"', -8142146995180207161),
    ("[  ]", "[]", -1241056759729112623),
    ('[ "int"  ]', '["int"]', -5232228896498058493),
    ('{"type":"fixed", "name":"foo", "size":15}', '{"name":"foo","type":"fixed","size":15}', 1756455273707447556),
    (
        '{"type":"fixed", "name":"foo", "namespace":"x.y.z", "doc":"d", "size":32}',
        '{"name":"x.y.z.foo","type":"fixed","size":32}',
        -3064184465700546786,
    ),
    (
        '{"type":"enum", "name":"foo", "symbols":["A1"], "doc":"d"}',
        '{"name":"foo","type":"enum","symbols":["A1"]}',
        -6342190197741309591,
    ),
    ('{ "items":{"type":"null"}, "type":"array"}', '{"type":"array","items":"null"}', -589620603366471059),
    ('{ "values":"string", "type":"map"}', '{"type":"map","values":"string"}', -8732877298790414990),
    (
        '{"fields":[{"type":{"type":"boolean"}, "name":"f1", "doc":"d", "default":true}], "name":"foo", "type":"record"}',
        '{"name":"foo","type":"record","fields":[{"name":"f1","type":"boolean"}]}',
        7843277075252814651,
    ),
]


@pytest.mark.parametrize(("text", "canonical", "rabin"), VECTORS, ids=[vector[0][:40] for vector in VECTORS])
def test_canonical_form_and_fingerprints_are_avros(text: str, canonical: str, rabin: int) -> None:
    schema = parse(text)
    assert schema.canonical == canonical
    assert int.from_bytes(schema.rabin, "little", signed=True) == rabin
    assert schema.sha256 == hashlib.sha256(canonical.encode()).hexdigest()


def test_the_text_stays_as_it_was_given_and_the_definition_can_be_written_with() -> None:
    text = '{"type": "record",  "namespace": "vn.hatinh", "name": "R", "fields": [{"name": "a", "type": "int"}]}'
    schema = parse(text)
    assert (schema.text, schema.name) == (text, "vn.hatinh.R")
    assert list(schema.named) == ["vn.hatinh.R"]
    assert fastavro.parse_schema(schema.definition) is schema.definition
    assert parse(json.loads(text)) == parse(text) == parse(text.encode())


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": "birth_date", "type": kind, **more}


SAME = {
    "spelling out the namespace": (record(namespace="n"), {**record(), "name": "n.R"}),
    "a primitive in braces": (record(field("int")), record(field({"type": "int"}))),
    "the order that is the default": (record(field("int")), record(field("int", order="ascending"))),
    "no aliases": (record(field("int")), record(field("int", aliases=[]), aliases=[])),
    "a whole number as default of a double": (record(field("double", default=0)), record(field("double", default=0.0))),
    "a reference in full": (
        record(field(["null", "R"]), namespace="n"),
        record(field(["null", "n.R"]), namespace="n"),
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_two_ways_to_write_one_schema_are_one_schema(one: Any, other: Any) -> None:
    assert parse(one) == parse(other)


ENUM = {"type": "enum", "name": "E", "symbols": ["A"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
DECIMAL = {"type": "bytes", "logicalType": "decimal"}
INVALID = {
    "a number": (5, "", "TYPE_EXPECTED"),
    "nothing": ({}, "type", "TYPE_EXPECTED"),
    "a type of types": ({"type": {"type": "int"}}, "type", "TYPE_EXPECTED"),
    "an unknown type": (record(field("date")), "fields.birth_date.type", "TYPE_UNKNOWN"),
    "a type before its definition": (
        record(field("F"), {"name": "s", "type": FIXED}),
        "fields.birth_date.type",
        "TYPE_UNKNOWN",
    ),
    "a name of another namespace": (
        record(field({**FIXED, "namespace": "x"}), {"name": "b", "type": "F"}),
        "fields.b.type",
        "TYPE_UNKNOWN",
    ),
    "a name with a dash": ({**record(), "name": "a-b"}, "name", "NAME_INVALID"),
    "a name that starts with a digit": ({**record(), "name": "1a"}, "name", "NAME_INVALID"),
    "a name in Vietnamese": (record({"name": "họ", "type": "int"}), "fields.0.name", "NAME_INVALID"),
    "a primitive's name": ({**record(), "name": "int"}, "name", "NAME_INVALID"),
    "a bad namespace": (record(namespace="a..b"), "namespace", "NAME_INVALID"),
    "no name": ({"type": "record", "fields": []}, "name", "NAME_MISSING"),
    "a field without a name": (record({"type": "int"}), "fields.0", "NAME_MISSING"),
    "a field without a type": (record({"name": "a"}), "fields.a.type", "ATTRIBUTE_MISSING"),
    "a record without fields": ({"type": "record", "name": "R"}, "fields", "ATTRIBUTE_MISSING"),
    "an array without items": ({"type": "array"}, "items", "ATTRIBUTE_MISSING"),
    "a name defined twice": (record(field(ENUM), {"name": "b", "type": ENUM}), "fields.b.type.name", "NAME_REDEFINED"),
    "a field twice": (record(field("int"), field("int")), "fields.birth_date", "FIELD_DUPLICATE"),
    "a symbol twice": ({**ENUM, "symbols": ["A", "A"]}, "symbols.1", "SYMBOL_DUPLICATE"),
    "a symbol with a space": ({**ENUM, "symbols": ["A B"]}, "symbols.0", "NAME_INVALID"),
    "no symbols": ({"type": "enum", "name": "E"}, "symbols", "SYMBOLS_EXPECTED"),
    "a default that is no symbol": ({**ENUM, "default": "B"}, "default", "DEFAULT_TYPE"),
    "a negative size": ({**FIXED, "size": -1}, "size", "SIZE_EXPECTED"),
    "a size of true": ({**FIXED, "size": True}, "size", "SIZE_EXPECTED"),
    "a union in a union": (["int", ["null"]], "1", "UNION_IN_UNION"),
    "a union with two of a kind": (["int", {"type": "int", "logicalType": "date"}], "1", "UNION_DUPLICATE"),
    "two arrays": ([{"type": "array", "items": "int"}, {"type": "array", "items": "long"}], "1", "UNION_DUPLICATE"),
    "a wrong order": (record(field("int", order="up")), "fields.birth_date.order", "ORDER_INVALID"),
    "aliases as text": (record(field("int", aliases="a")), "fields.birth_date.aliases", "NAME_INVALID"),
    "a doc that is a number": (record(field("int", doc=1)), "fields.birth_date.doc", "TEXT_EXPECTED"),
    "a decimal without precision": (record(field(DECIMAL)), "fields.birth_date.type.precision", "DECIMAL_INVALID"),
    "a decimal's scale over its precision": (
        record(field({**DECIMAL, "precision": 2, "scale": 3})),
        "fields.birth_date.type.scale",
        "DECIMAL_INVALID",
    ),
    "a decimal too wide for its bytes": (
        record(field({**FIXED, "logicalType": "decimal", "precision": 5})),
        "fields.birth_date.type.precision",
        "DECIMAL_INVALID",
    ),
}


@pytest.mark.parametrize(("document", "path", "code"), INVALID.values(), ids=INVALID.keys())
def test_what_is_no_schema_is_refused_with_the_path(document: Any, path: str, code: str) -> None:
    with pytest.raises(SchemaInvalid) as raised:
        parse(json.dumps(document))
    assert [(one.path, one.code) for one in raised.value.problems] == [(path, code)]
    assert path in raised.value.message.en
    assert raised.value.message.vi != raised.value.message.en


INNER = {**record({"name": "a", "type": "int"}), "name": "Inner"}
DEFAULTS_WRONG = [
    ("null", 0),
    ("boolean", 1),
    ("int", 1.5),
    ("int", True),
    ("int", 2**31),
    ("long", -(2**63) - 1),
    ("float", "1"),
    ("double", True),
    ("string", None),
    ("bytes", "€"),
    (FIXED, "abc"),
    (ENUM, "B"),
    ({"type": "array", "items": "int"}, [1, "2"]),
    ({"type": "map", "values": "int"}, {"a": "b"}),
    (INNER, {}),
    (INNER, {"a": "text"}),
    (["null", "int"], "text"),
    ([], None),
]


@pytest.mark.parametrize(("kind", "default"), DEFAULTS_WRONG, ids=str)
def test_a_default_of_the_wrong_type_is_refused_and_not_repeated(kind: Any, default: Any) -> None:
    with pytest.raises(SchemaInvalid) as raised:
        parse(record(field(kind, default=default)))
    (problem,) = raised.value.problems
    assert (problem.path, problem.code) == ("fields.birth_date.default", "DEFAULT_TYPE")
    assert "text" not in problem.message.en.replace("found text", "")


DEFAULTS_RIGHT = [
    ("null", None),
    ("int", -(2**31)),
    ("long", 2**63 - 1),
    ("float", 1),
    ("double", 1e300),
    ("bytes", "\u00ff\u0000"),
    (FIXED, "ab"),
    (ENUM, "A"),
    ({"type": "array", "items": ["null", "int"]}, [1, None]),
    ({"type": "map", "values": "string"}, {"a": "b"}),
    (INNER, {"a": 1, "unknown": 2}),
    ({**INNER, "fields": [{"name": "a", "type": "int", "default": 1}]}, {}),
    (["null", "int"], 1),  # any branch since Avro 1.12, the first one before
    ({"type": "double", "unit": "m"}, 0),
    ({"type": "long", "logicalType": "timestamp-millis"}, 0),
]


@pytest.mark.parametrize(("kind", "default"), DEFAULTS_RIGHT, ids=str)
def test_a_default_of_the_right_type_is_taken(kind: Any, default: Any) -> None:
    assert parse(record(field(kind, default=default))).definition["fields"][0]["default"] == default


def test_a_record_that_defaults_to_itself_is_no_endless_loop() -> None:
    assert parse(record({"name": "next", "type": "R", "default": {}})).name == "R"


def test_defaults_of_nested_unions_are_checked_in_no_time() -> None:
    records = []
    for i in range(12):
        branches = ["null", *(f"N{j}" for j in range(i + 1))]
        records.append({"name": f"f{i}", "type": {**record({"name": "f", "type": branches}), "name": f"N{i}"}})
    value: Any = 5
    for _ in range(40):
        value = {"f": value}
    with pytest.raises(SchemaInvalid):
        parse(record(*records, {"name": "d", "type": "N11", "default": value}))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "NOT_JSON"),
        ("{", "NOT_JSON"),
        ("record", "NOT_JSON"),
        ('{"type": "int", "x": NaN}', "NOT_JSON"),
        ('{"type": "int", "type": "long"}', "NOT_JSON"),
        ('{"type": "int", "x": ' + "9" * 5000 + "}", "NOT_JSON"),
        ("[" * 100_000, "TOO_DEEP"),
        ('{"type":"array","items":' * 100 + '"int"' + "}" * 100, "TOO_DEEP"),
        ('{"type":"int","x":' + "[" * 300 + "]" * 300 + "}", "TOO_DEEP"),
        ('"' + " " * SIZE_BYTES_MAX + '"', "TOO_LARGE"),
        (b'"\xff"', "NOT_UTF8"),
        ('"\ud800"', "NOT_UTF8"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_json_or_not_reasonable_is_refused(text: str | bytes, code: str) -> None:
    with pytest.raises(SchemaInvalid) as raised:
        parse(text)
    assert [one.code for one in raised.value.problems] == [code]


def test_records_nest_as_deep_as_the_limit_says() -> None:
    nested: Any = "int"
    for level in range(64):
        nested = {**record(field(nested)), "name": f"R{level}"}
    assert parse(nested).name == "R63"
    with pytest.raises(SchemaInvalid):
        parse({**record(field(nested)), "name": "R64"})


def test_a_place_is_told_where_json_breaks() -> None:
    with pytest.raises(SchemaInvalid, match="line 2, column 3"):
        parse("{\n  x")


def test_every_problem_is_told_at_once_up_to_a_limit() -> None:
    with pytest.raises(SchemaInvalid) as raised:
        parse(record(*({"name": f"f{i}", "type": "what"} for i in range(500))))
    assert len(raised.value.problems) == 100


def test_a_schema_of_ten_thousand_fields_is_fine() -> None:
    fields = [{"name": f"f{i}", "type": ["null", "string"], "default": None} for i in range(10_000)]
    assert len(parse(record(*fields)).definition["fields"]) == 10_000


def test_names_of_types_outside_the_namespace_they_stand_in_stay_what_they_are() -> None:
    inner = {"type": "fixed", "name": "F", "namespace": "", "size": 1}
    schema = parse(record(field(inner), namespace="n"))
    assert set(schema.named) == {"n.R", "F"}
    assert '"name":"F"' in schema.canonical
