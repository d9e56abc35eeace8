"""What the check calls compatible can be read; what is a schema and what isn't is told without a crash."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from registry.compatibility import read_problems
from registry.errors import SchemaInvalid
from registry.schema import Schema, parse
from tests.property.avro import evolved, schemas, values

BOUNDED = settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def parsed(document: Any) -> Schema:
    try:
        return parse(document)
    except SchemaInvalid:
        assume(False)
        raise


@given(data=st.data())
@BOUNDED
def test_what_the_check_calls_compatible_is_read_by_fastavro(data: st.DataObject) -> None:
    old = data.draw(schemas(), label="writer")
    writer = parsed(old)
    reader = parsed(data.draw(evolved(old), label="reader"))
    problems = read_problems(reader, writer)
    event("incompatible" if problems else "compatible" if reader.identity != writer.identity else "the same")
    if problems:
        return
    record = data.draw(values(writer.definition, dict(writer.named)), label="record")
    body = io.BytesIO()
    fastavro.schemaless_writer(body, writer.definition, record)
    body.seek(0)
    read = fastavro.schemaless_reader(body, writer.definition, reader.definition)
    assert body.read() == b""
    if isinstance(reader.definition, dict):
        assert set(read) == {one["name"] for one in reader.definition["fields"]}


@given(schema=schemas())
@BOUNDED
def test_every_schema_reads_itself_and_survives_being_written_out(schema: Any) -> None:
    one = parsed(schema)
    assert read_problems(one, one) == ()
    again = parse(json.dumps(schema, indent=2))
    assert (again.identity, again.canonical) == (one.identity, one.canonical)
    canonical = parse(one.canonical)
    assert canonical.canonical == one.canonical
    assert read_problems(one, canonical) == () == read_problems(canonical, one)


ATTRIBUTES = (
    "type name namespace fields items values symbols size default aliases doc logicalType precision scale order"
)
WORDS = "record enum fixed array map int string null bytes decimal R"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(ATTRIBUTES.split()), inner | st.sampled_from(WORDS.split()), max_size=6)
    ),
    max_leaves=12,
)


def refusal(source: str | bytes) -> SchemaInvalid | None:
    try:
        parse(source)
    except SchemaInvalid as error:
        return error
    return None


@given(document=JSON)
@BOUNDED
def test_any_json_is_a_schema_or_is_refused_with_its_problems(document: Any) -> None:
    error = refusal(json.dumps(document))
    if error is not None:
        assert error.problems
        assert all(one.message.en and one.message.vi and one.code for one in error.problems)


@given(text=st.text(max_size=30) | st.binary(max_size=30))
@BOUNDED
def test_any_text_is_a_schema_or_is_refused(text: str | bytes) -> None:
    error = refusal(text)
    assert error is None or error.problems
