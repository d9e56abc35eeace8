"""Small bodies that stand for a great deal: each is refused before it costs memory, time or the stack."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from registry.codec.frame import arrow_schema
from registry.errors import BodyInvalid, BodyTooLarge, SchemaInvalid
from registry.parse import Limits, parse_arrow, parse_avro_container, parse_json_array, parse_keys, parse_ndjson
from registry.parse.elements import more_elements_than
from tests.unit.registry.contracts import contract

SYNC = b"s" * 16


def varint(number: int) -> bytes:
    value, out = number << 1, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def foreign(fields: list[Any], data: bytes) -> bytes:
    """A container of one record, written with `fields` under the contract's record's name."""
    own = contract().schema.definition
    written = {"type": "record", "name": own["name"], "fields": fields}
    meta = {b"avro.schema": json.dumps(written).encode(), b"avro.codec": b"null"}
    header = b"".join(varint(len(part)) + part for pair in meta.items() for part in pair)
    return b"Obj\1" + varint(len(meta)) + header + b"\0" + SYNC + varint(1) + varint(len(data)) + data + SYNC


def laughing(deep: int, leaf: str) -> Any:
    """Records that use the one before twice."""
    found: Any = {"type": "record", "name": "L0", "fields": [{"name": "leaf", "type": leaf}]}
    for level in range(1, deep):
        fields = [{"name": "left", "type": found}, {"name": "right", "type": f"L{level - 1}"}]
        found = {"type": "record", "name": f"L{level}", "fields": fields}
    return found


NODE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
EMPTY = {"type": "record", "name": "Empty", "fields": []}
MANY = varint(2**40) + b"\0"


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (NODE, b"\2" * 1_000_000 + b"\0"),
        ({"type": "array", "items": "null"}, MANY),
        ({"type": "array", "items": EMPTY}, MANY),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, MANY),
        (laughing(30, "null"), b""),
        (laughing(30, "int"), b""),
    ],
    ids=["recursive", "nulls", "empty records", "empty fixed", "laughing nulls", "laughing ints"],
)
def test_a_foreign_schema_that_has_no_end_is_refused(type_: Any, data: bytes) -> None:
    with pytest.raises(BodyInvalid):
        parse_avro_container(foreign([{"name": "x", "type": type_}], data), contract())


def test_a_contracts_schema_has_a_number_of_places_at_most() -> None:
    with pytest.raises(SchemaInvalid):
        arrow_schema(fastavro.parse_schema(laughing(30, "int")))
    assert len(arrow_schema(fastavro.parse_schema(laughing(8, "int")))) == 2


@pytest.mark.parametrize("record_bytes_max", [40, 41, 57, 900_000])
def test_a_foreign_container_is_read_page_by_page_with_nothing_lost_between(record_bytes_max: int) -> None:
    fields: list[Any] = [
        {"name": "id", "type": "string"},
        {"name": "name", "type": "string"},
        {"name": "f", "type": "float"},
    ]
    fields += [{"name": "d", "type": "double"}, {"name": "m", "type": {"type": "map", "values": "long"}}]
    written = {"type": "record", "name": contract().schema.definition["name"], "fields": fields}
    records = [{"id": str(i), "name": "x" * (i % 11), "f": 1.5, "d": 2.5, "m": {"a": i}} for i in range(200)]
    sink = io.BytesIO()
    fastavro.writer(sink, written, records, sync_interval=10**9)
    parsed = parse_avro_container(sink.getvalue(), contract(), Limits(record_bytes_max=record_bytes_max))
    assert parsed.frame["id"].to_list() == [str(i) for i in range(200)]
    with pytest.raises(BodyTooLarge):
        parse_avro_container(sink.getvalue(), contract(), Limits(record_bytes_max=20))


def stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_columns_are_taken_and_a_bomb_of_them_is_not(compression: str) -> None:
    good = pl.DataFrame({"id": ["1"], "name": ["An"]})
    assert parse_arrow(stream(good.to_arrow(), compression), contract()).frame["name"].to_list() == ["An"]
    bomb = stream(pa.table({"id": ["1"], "name": ["\0" * 70_000_000]}), compression)
    assert len(bomb) < 1_000_000
    before = pa.total_allocated_bytes()
    with pytest.raises(BodyInvalid, match="too much"):
        parse_arrow(bomb, contract())
    assert pa.total_allocated_bytes() - before < 1_000_000


def views(rows: int, size: int) -> pa.Array:
    one = pa.array(["x" * size], pa.string_view()).buffers()
    return pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(one[1].to_pybytes() * rows), *one[2:]])


ROWS = 10_000


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("name", views(ROWS, 100_000)),
        ("name", pa.RunEndEncodedArray.from_arrays(pa.array([ROWS], pa.int32()), pa.array(["x"]))),
        ("tags", pa.FixedSizeListArray.from_arrays(pa.nulls(1000 * ROWS), 1000)),
        ("tags", pa.ListArray.from_arrays(pa.array([0] + [2**30] * ROWS, pa.int32()), pa.nulls(2**30))),
        ("tags", pa.ListViewArray.from_arrays(np.zeros(ROWS, np.int32), np.full(ROWS, 9, np.int32), pa.array(["x"] * 9))),
    ],
    ids=["views", "runs", "lists of nothing", "a list of nothing", "lists of the same"],
)  # fmt: skip
def test_columns_whose_values_are_references_or_nothing_are_refused(name: str, column: pa.Array) -> None:
    table = {"id": [str(i) for i in range(ROWS)], "name": ["An"] * ROWS} | {name: column}
    with pytest.raises(BodyInvalid):
        parse_arrow(stream(pa.table(table)), contract())


def test_polars_own_streams_are_taken() -> None:
    sink = io.BytesIO()
    pl.DataFrame({"id": ["1"], "name": ["a name that is longer than a view"]}).write_ipc_stream(sink)
    assert parse_arrow(sink.getvalue(), contract()).frame.height == 1


def test_a_column_whose_name_is_not_text_is_no_stream() -> None:
    body = stream(pa.table({"id": ["1"], "name": ["An"], "xxxxxxxx": ["1"]}))
    with pytest.raises(BodyInvalid):
        parse_arrow(body.replace(b"xxxxxxxx", b"\xff\xfexxxxxx"), contract())


@pytest.mark.parametrize("element", [b"1", b"{}", b'"a,b"', b'{"x":[1,2,"]"]}', b'"\\\\\\",["'])
@pytest.mark.parametrize("step_bytes", [7, 2**20])
def test_the_elements_of_an_array_are_counted_before_one_is_made(
    element: bytes, step_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.parse.elements.STEP_BYTES", step_bytes)
    body = b"[" + b" , ".join([element] * 20) + b"]"
    json.loads(body)
    assert more_elements_than(body, 19)
    assert not more_elements_than(body, 20)


def test_a_batch_of_nothings_is_told_too_many_whatever_its_form() -> None:
    limits = Limits(records_max=1_000)
    for body in (b"[" + b"1," * 100_000 + b"1]", b"[" + b"{}," * 1_000 + b"{}]"):
        with pytest.raises(BodyTooLarge):
            parse_json_array(body, contract(), limits)
        with pytest.raises(BodyTooLarge):
            parse_keys(body, contract(), array=True, limits=limits)
    for body in (b"\n" * 100_000, b"1\n" * 1_001):
        with pytest.raises(BodyTooLarge):
            parse_ndjson(body, contract(), limits)
