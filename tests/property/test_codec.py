"""The two codecs give the same bytes and the same frames; only a record's own bytes are read as that record."""

from __future__ import annotations

import datetime
import io
import json
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.codec import columnar, decode_exact
from registry.codec.columnar import ColumnarCodec
from registry.codec.framing import add, strip
from registry.codec.row import RowCodec
from registry.schema import Schema, parse
from tests.property.records import columnar_schemas, records_of, row_schemas

BOUNDED = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def bodies_of(schema: Schema, records: list[Any]) -> pa.BinaryArray:
    """As fastavro writes them: the reference for both codecs."""
    out = []
    for record in records:
        sink = io.BytesIO()
        fastavro.schemaless_writer(sink, schema.definition, record)
        out.append(sink.getvalue())
    return pa.array(out, pa.binary())


@given(data=st.data())
@BOUNDED
def test_both_codecs_read_the_same_frame_and_write_the_same_bytes(data: st.DataObject) -> None:
    schema = parse(json.dumps(data.draw(columnar_schemas())))
    assert columnar.supports(schema)
    bodies = bodies_of(schema, data.draw(st.lists(records_of(schema), max_size=8)))
    row, columns = RowCodec(schema), ColumnarCodec(schema)
    by_row, by_columns = row.decode(bodies), columns.decode(bodies)
    assert by_row.schema == by_columns.schema == row.frame_schema
    assert by_row.equals(by_columns)
    assert row.encode(by_columns).equals(bodies)
    assert columns.encode(by_row).equals(bodies)


@given(data=st.data())
@BOUNDED
def test_the_row_codec_carries_every_schema(data: st.DataObject) -> None:
    schema = parse(json.dumps(data.draw(row_schemas())))
    bodies = bodies_of(schema, data.draw(st.lists(records_of(schema), max_size=5)))
    codec = RowCodec(schema)
    frame = codec.decode(bodies)
    assert frame.schema == codec.frame_schema
    assert codec.encode(frame).equals(bodies)


@given(data=st.data())
@BOUNDED
def test_damaged_bodies_are_found_by_both_codecs_and_the_others_are_kept(data: st.DataObject) -> None:
    schema = parse(json.dumps(data.draw(columnar_schemas())))
    bodies = bodies_of(schema, data.draw(st.lists(records_of(schema), min_size=1, max_size=8))).to_pylist()
    damaged = []
    for body in bodies:
        match data.draw(st.sampled_from(["whole", "whole", "longer", "shorter", "other", "none"])):
            case "longer":
                damaged.append(body + data.draw(st.binary(min_size=1, max_size=4)))
            case "shorter":
                damaged.append(body[: data.draw(st.integers(0, max(len(body) - 1, 0)))] if body else None)
            case "other":
                damaged.append(data.draw(st.binary(max_size=30)))
            case "none":
                damaged.append(None)
            case _:
                damaged.append(body)
    values = pa.array(damaged, pa.binary())
    row, columns = RowCodec(schema), ColumnarCodec(schema)
    (by_row, bad_rows), (by_columns, bad_columns) = decode_exact(row, values), decode_exact(columns, values)
    assert bad_rows == bad_columns
    assert by_row.equals(by_columns)
    kept = [value for index, value in enumerate(damaged) if index not in bad_columns]
    assert columns.encode(by_columns).to_pylist() == kept


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.binary(max_size=8),
            st.tuples(st.sampled_from([0, 1, 7, 2**31 - 1]), st.binary(max_size=8)),
        ),
        max_size=30,
    )
)
def test_the_header_says_which_schema_and_nothing_is_lost_between(items: list[Any]) -> None:
    values = pa.array(
        [add(pa.array([i[1]], pa.binary()), i[0])[0].as_py() if isinstance(i, tuple) else i for i in items], pa.binary()
    )
    groups, bad = strip(values)
    found: dict[int, Any] = {}
    for group in groups:
        for row, body in zip(group.rows.to_pylist(), group.bodies.to_pylist(), strict=True):
            found[row] = (group.schema_id, body)
    for row, value in enumerate(values.to_pylist()):
        if value is None:
            assert row not in found
            assert row not in bad
        elif len(value) >= 5 and value[0] == 0:
            assert found[row] == (int.from_bytes(value[1:5], "big"), value[5:])
        else:
            assert row in bad


def test_an_empty_batch_has_the_columns_of_the_schema() -> None:
    schema = parse(
        {"type": "record", "name": "R", "fields": [{"name": "day", "type": {"type": "int", "logicalType": "date"}}]}
    )
    for codec in (RowCodec(schema), ColumnarCodec(schema)):
        frame = codec.decode(pa.array([], pa.binary()))
        assert frame.schema == pl.Schema({"day": pl.Date()})
        assert len(codec.encode(frame)) == 0


def test_a_day_outside_the_calendar_is_refused_by_both() -> None:
    schema = parse(
        {"type": "record", "name": "R", "fields": [{"name": "day", "type": {"type": "int", "logicalType": "date"}}]}
    )
    beyond = (datetime.date.max - datetime.date(1970, 1, 1)).days + 1
    plain = fastavro.parse_schema({"type": "record", "name": "R", "fields": [{"name": "day", "type": "int"}]})
    sink = io.BytesIO()
    fastavro.schemaless_writer(sink, plain, {"day": beyond})
    bodies = pa.array([sink.getvalue()], pa.binary())
    assert decode_exact(RowCodec(schema), bodies)[1] == [0]
    assert decode_exact(ColumnarCodec(schema), bodies)[1] == [0]
