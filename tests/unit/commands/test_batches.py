"""Files are cut so that not a byte of a record changes and none is lost."""

from __future__ import annotations

import io
from pathlib import Path

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.commands import batches
from bus.commands.batches import Kind, cut, kind_of
from bus.errors import InvalidRequest

RECORDS = [{"id": f"{number:06}", "name": "Nguyễn Thị Hoa"} for number in range(25_000)]
SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [{"name": "id", "type": "string"}, {"name": "name", "type": "string"}],
}


@given(
    lines=st.lists(st.binary(min_size=1, max_size=20).filter(lambda b: b"\n" not in b and b.strip())), end=st.booleans()
)
def test_lines_come_whole_and_in_order(lines: list[bytes], end: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if end and lines else b"")
    found = list(cut(io.BytesIO(content), Kind.NDJSON))
    assert b"".join(one.body for one in found) == content
    assert sum(one.records for one in found) == len(lines)


def test_empty_lines_are_no_records() -> None:
    (batch,) = cut(io.BytesIO(b'\n{"a":1}\n\n  \n{"a":2}\n'), Kind.NDJSON)
    assert batch.records == 2


def test_an_array_is_cut_with_its_numbers_as_they_were_written() -> None:
    wide = b"[" + b",".join([b'{"n": 1.50, "big": 123456789012345678901234567890}'] * 10_001) + b"]"
    first, second = cut(io.BytesIO(wide), Kind.JSON)
    assert (first.records, second.records) == (10_000, 1)
    assert second.body == b'[{"n": 1.50, "big": 123456789012345678901234567890}]'


def test_a_batch_stays_below_the_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "BYTES_MAX", 100)
    content = b"".join(b'"%040d"\n' % number for number in range(10))
    found = list(cut(io.BytesIO(content), Kind.NDJSON))
    assert all(len(one.body) <= 100 for one in found)
    assert sum(one.records for one in found) == 10


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_an_avro_container_is_cut_between_its_blocks(codec: str) -> None:
    source = io.BytesIO()
    fastavro.writer(source, SCHEMA, RECORDS, codec=codec, sync_interval=4_000)
    source.seek(0)
    found = list(cut(source, Kind.AVRO))
    assert len(found) > 2
    assert all(one.records <= batches.RECORDS_MAX for one in found)
    read = [record for one in found for record in fastavro.reader(io.BytesIO(one.body))]
    assert read == RECORDS


@pytest.mark.parametrize("as_file", [True, False])
def test_arrow_streams_and_files_are_cut_alike(as_file: bool) -> None:
    table = pa.Table.from_pylist(RECORDS)
    source = io.BytesIO()
    with (pa.ipc.new_file if as_file else pa.ipc.new_stream)(source, table.schema) as writer:
        writer.write_table(table)
    source.seek(0)
    found = list(cut(source, Kind.ARROW))
    assert [one.records for one in found] == [10_000, 10_000, 5_000]
    assert pa.concat_tables(pa.ipc.open_stream(one.body).read_all() for one in found).equals(table)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Kind.JSON, b'[{"a": 1}, {"a"'),
        (Kind.JSON, b'{"a": 1}'),
        (Kind.JSON, b"[" * 1_000_000),
        (Kind.AVRO, b"Obj"),
        (Kind.AVRO, b"not avro at all"),
        (Kind.AVRO, b""),
        (Kind.ARROW, b"ARROW1 but nothing else"),
        (Kind.ARROW, b"{}"),
    ],
)
def test_what_cannot_be_taken_apart_is_said_plainly(kind: Kind, content: bytes) -> None:
    with pytest.raises(InvalidRequest) as refused:
        list(cut(io.BytesIO(content), kind))
    assert refused.value.problems[0].code == "file_unreadable"


def test_a_truncated_avro_container_is_an_error_after_its_whole_blocks() -> None:
    source = io.BytesIO()
    fastavro.writer(source, SCHEMA, RECORDS, sync_interval=4_000)
    with pytest.raises(InvalidRequest):
        list(cut(io.BytesIO(source.getvalue()[:-10]), Kind.AVRO))


def test_the_extension_says_what_a_file_is() -> None:
    assert kind_of(Path("a.NDJSON")) is Kind.NDJSON
    assert kind_of(Path("a.arrow")) is Kind.ARROW
    with pytest.raises(InvalidRequest, match=r"a\.csv"):
        kind_of(Path("a.csv"))
