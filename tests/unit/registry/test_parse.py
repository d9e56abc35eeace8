"""What agencies send: each wrong record is a value with its place, path and class; a body that is no batch is one error."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import fastavro
import polars as pl
import pyarrow as pa
import pytest

from registry.codec import codec_for
from registry.contract import Contract
from registry.errors import BodyInvalid, BodyTooLarge
from registry.parse import Limits, Parsed, parse_arrow, parse_avro_container, parse_json_array, parse_ndjson
from tests.unit.registry.contracts import contract, document, field, files

GOOD = {"id": "1", "name": "An"}


def ndjson(*records: Any, found: Contract | None = None) -> Parsed:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in records]
    return parse_ndjson(b"\n".join(lines), found or contract())


def only(parsed: Parsed) -> tuple[str, str, str]:
    """(class, path, code) of the one rejected record."""
    (one,) = parsed.rejected
    assert one.message.en
    assert one.message.vi
    assert one.message.vi != one.message.en
    return one.error_class.value, one.path, one.code.removeprefix("structure.")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": None}, ("missing", "name", "null")),
        ({"name": 5}, ("format", "name", "type")),
        ({"phone": "1"}, ("format", "phone", "unknown_field")),
        ({"rank": 2**31}, ("outlier", "rank", "range")),
        ({"rank": -(2**31) - 1}, ("outlier", "rank", "range")),
        ({"rank": 10**30}, ("outlier", "rank", "range")),
        ({"rank": 1.5}, ("format", "rank", "type")),
        ({"rank": True}, ("format", "rank", "type")),
        ({"alive": "yes"}, ("format", "alive", "type")),
        ({"sex": "other"}, ("format", "sex", "enum")),
        ({"born": "2025-13-01"}, ("format", "born", "date")),
        ({"born": "1957"}, ("format", "born", "date")),
        ({"seen": "2025-07-01T08:00:00"}, ("format", "seen", "timezone")),
        ({"seen": "yesterday"}, ("format", "seen", "time")),
        ({"seen": 10**18}, ("outlier", "seen", "range")),
        ({"mother": {"name": 1}}, ("format", "mother.name", "type")),
        ({"mother": {"nam": "x"}}, ("format", "mother.nam", "unknown_field")),
        ({"tags": ["a", None]}, ("missing", "tags[]", "null")),
        ({"jobs": [{"title": "x"}, {"since": "2020-01-01"}]}, ("missing", "jobs[].title", "missing")),
        ({"name": "a\0b"}, ("format", "name", "nul")),
        ({"mother": {"name": "a\0"}}, ("format", "mother.name", "nul")),
        ({"id": ""}, ("format", "id", "key")),
        ({"id": "x" * 257}, ("format", "id", "key")),
    ],
)
def test_a_wrong_record_is_named_by_class_path_and_code(
    changes: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    parsed = ndjson(GOOD, {**GOOD, **changes}, {"id": "3", "name": "Chi"})
    assert only(parsed) == expected
    assert parsed.rejected[0].index == 1
    assert parsed.index.to_list() == [0, 2]
    assert parsed.frame["id"].to_list() == ["1", "3"]
    assert len(parsed.originals) == 3


def test_a_missing_required_field_is_missing_and_a_missing_nullable_one_is_null() -> None:
    assert only(ndjson({"id": "1"})) == ("missing", "name", "missing")
    frame = ndjson(GOOD).frame
    assert frame["commune"].to_list() == [None]
    assert frame.schema == codec_for(contract().schema).frame_schema


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"id":"1","name":"An', "truncated"),
        (b'{"id":"1","name":"\xff\xfe"}', "encoding"),
        (b'{"id":"1","name":"\\ud800"}', "truncated|encoding"),
        (b'{"id":"1","name":"\\ud800x"}', "json|encoding|truncated"),
        (b'{"id":"1","name":"An"} x', "json"),
        (b'{"id":"1","name":"An",}', "json"),
        (b'{"id":"1","score":NaN}', "json"),
        (b'["1"]', "type"),
        (b"\x00", "json"),
        (b'{"id":"1","name":' + b"[" * 800_000, "type"),
        (b'{"id":"1","zzz":' + b"[" * 800_000, "unknown_field"),
        (b"[" * 800_000, "type"),
        (b"[" * 1_000_000, "too_large"),
    ],
)
def test_a_line_that_is_no_record_is_rejected_and_the_others_pass(line: bytes, code: str) -> None:
    parsed = ndjson(GOOD, line)
    assert only(parsed)[2] in code.split("|")
    assert parsed.frame.height == 1


def test_no_message_holds_a_value_of_the_record() -> None:
    secret = "042199001234"
    bad: list[dict[str, Any]] = [
        {"sex": secret}, {"born": secret}, {"seen": secret}, {"rank": secret}, {"alive": secret}, {secret: 1},
        {"mother": {secret: 1}}, {"score": secret}, {"tags": secret}, {f"họ {secret}": 1},
    ]  # fmt: skip
    for changes in bad:
        (one,) = ndjson({**GOOD, **changes}).rejected
        assert secret not in one.message.en + one.message.vi + one.path + one.code, changes


def test_the_key_of_a_wrong_record_is_known_where_it_can_be() -> None:
    parsed = ndjson({**GOOD, "rank": "x"}, {"id": 5, "name": "x"}, b"{", {"id": "a\0", "name": "x"})
    assert [one.key for one in parsed.rejected] == ["1", None, None, None]


def test_names_are_normalised_to_nfc_at_every_depth() -> None:
    apart = unicodedata.normalize("NFD", "Nguyễn Thị Hồng")
    record = {"id": "1", "name": apart, "mother": {"name": apart}, "tags": [apart], "jobs": [{"title": apart}]}
    whole = unicodedata.normalize("NFC", apart)
    expected = {"name": whole, "mother": {"name": whole}, "tags": [whole], "jobs": [{"title": whole, "since": None}]}
    frame = ndjson({"id": "0", "name": "x"}, record).frame
    assert {name: frame.row(1, named=True)[name] for name in expected} == expected
    found = contract()
    table = pa.Table.from_pylist([{**record, "jobs": [{"title": apart, "since": None}]}])
    again = parse_arrow(arrow(table), found).frame
    assert {name: again.row(0, named=True)[name] for name in expected} == expected


def test_times_come_as_text_or_numbers_and_mean_the_same() -> None:
    frame = ndjson(
        {**GOOD, "seen": "2025-07-01T08:00:00+07:00"}, {**GOOD, "seen": "2025-07-01T01:00:00Z"}, {**GOOD, "seen": 1751331600000},
        {**GOOD, "seen": None}, {**GOOD, "seen": "2025-07-01T01:00:00.0009Z"},
    ).frame  # fmt: skip
    assert frame["seen"].drop_nulls().n_unique() == 1
    assert frame["seen"].dtype == pl.Datetime("ms", "UTC")
    only_text = ndjson({**GOOD, "seen": "2025-07-01T08:00:00+07:00"}).frame
    assert only_text["seen"][0] == frame["seen"][0]


def test_a_byte_order_mark_empty_lines_and_windows_line_ends_are_nothing() -> None:
    parsed = parse_ndjson(b'\xef\xbb\xbf{"id":"1","name":"An"}\r\n\r\n  \n{"id":"2","name":"B"}\n', contract())
    assert parsed.rejected == ()
    assert parsed.frame["id"].to_list() == ["1", "2"]


def test_an_array_is_the_same_as_lines_and_keeps_each_records_bytes() -> None:
    body = b'[ {"id":"1","name":"An"} , {"id":"2"},{"id":"3","name":"Chi"}]'
    parsed = parse_json_array(body, contract())
    assert parsed.index.to_list() == [0, 2]
    assert only(parsed) == ("missing", "name", "missing")
    assert parsed.originals[1] == b'{"id":"2"}'


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'[{"id":"1","name":"An"}', "body.truncated"),
        (b"", "body.truncated"),
        (b'[{"id":"1"},]', "body.malformed"),
        (b"[] []", "body.malformed"),
        (b'{"id":"1"}', "body.not_an_array"),
        (b"[" * 1_000_000, "body.too_deep"),
        (b'[{"a":' * 500_000, "body.too_deep"),
        ('[{"id":"1"}]'.encode("utf-16"), "body.encoding"),
        ('[{"id":"1"}]'.encode("utf-16-le"), "body.encoding"),
    ],
)
def test_a_body_that_is_no_array_is_one_error(body: bytes, code: str) -> None:
    with pytest.raises(BodyInvalid) as raised:
        parse_json_array(body, contract())
    assert raised.value.problems[0].code == code


def test_a_batch_and_a_record_have_limits() -> None:
    lines = b"\n".join([b'{"id":"1","name":"An"}'] * 3)
    with pytest.raises(BodyTooLarge):
        parse_ndjson(lines, contract(), Limits(records_max=2))
    long = json.dumps({"id": "2", "name": "x" * 200}).encode()
    parsed = parse_ndjson(lines + b"\n" + long, contract(), Limits(record_bytes_max=100))
    assert only(parsed) == ("format", "", "too_large")
    assert parsed.rejected[0].key == "2"


def test_an_empty_body_is_an_empty_batch() -> None:
    for parsed in (parse_ndjson(b"", contract()), parse_json_array(b"[]", contract())):
        assert len(parsed) == 0
        assert parsed.frame.schema == codec_for(contract().schema).frame_schema


RECORDS: list[dict[str, Any]] = [
    {
        "id": "1",
        "name": "An",
        "born": "1957-03-21",
        "rank": -5,
        "score": 1.5,
        "alive": True,
        "sex": "male",
        "tags": ["a", "b"],
    },
    {
        "id": "2",
        "name": "Bình",
        "seen": "2025-07-01T08:00:00+07:00",
        "mother": {"name": "Dung"},
        "jobs": [{"title": "x"}],
    },
    {"id": "3", "name": "Chi", "tags": [], "jobs": []},
]


def container(frame: pl.DataFrame, schema: Any, **more: Any) -> bytes:
    sink = io.BytesIO()
    fastavro.writer(sink, schema, frame.to_dicts(), sync_interval=20, **more)
    return sink.getvalue()


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("compression", ["null", "deflate"])
def test_an_avro_container_gives_the_same_frame(compression: str) -> None:
    found, frame = contract(), ndjson(*RECORDS).frame
    parsed = parse_avro_container(container(frame, found.schema.definition, codec=compression), found)
    assert parsed.frame.equals(frame)
    assert json.loads(parsed.originals[0])["name"] == "An"
    assert len(parsed.originals) == 3


def test_an_avro_container_of_another_schema_is_read_by_its_rules() -> None:
    found = contract()
    older = {"type": "record", "name": "Person", "namespace": "vn.lgsp.test.person", "fields": [
        {"name": "name", "type": "string"}, {"name": "gone", "type": "int"}, {"name": "id", "type": "string"},
        {"name": "rank", "type": ["null", "int"]},
    ]}  # fmt: skip
    sink = io.BytesIO()
    fastavro.writer(sink, older, [{"id": "1", "name": "An", "gone": 1, "rank": 7}])
    assert parse_avro_container(sink.getvalue(), found).frame.row(0, named=True)["rank"] == 7
    foreign = {"type": "record", "name": "Other", "fields": [{"name": "id", "type": "int"}]}
    sink = io.BytesIO()
    fastavro.writer(sink, foreign, [{"id": 1}])
    with pytest.raises(BodyInvalid):
        parse_avro_container(sink.getvalue(), found)


def rich() -> Contract:
    """A contract that goes by rows: bytes, decimals, times."""
    from registry.contract import load

    found = document()
    found["schema"][0]["properties"] += [
        field("photo", physicalType="bytes"),
        field("fee", "number", physicalType="decimal(10,2)"),
        field("at", "time"),
        field("uid", physicalType="uuid"),
    ]
    return load(files(found))


def test_bytes_decimals_times_and_uuids_go_through_every_door() -> None:
    found = rich()
    record = {**GOOD, "photo": "AQI=", "fee": "12.50", "at": "08:30:00", "uid": "6f1f5a2e-0000-4000-8000-000000000000"}
    frame = ndjson(record, found=found).frame
    codec = codec_for(found.schema)
    assert not codec.by_columns
    assert codec.decode(codec.encode(frame)).equals(frame)
    by_avro = parse_avro_container(container(frame, found.schema.definition), found)
    assert by_avro.frame.equals(frame)
    by_arrow = parse_arrow(arrow(frame.to_arrow()), found)
    assert by_arrow.frame.equals(frame)
    assert json.loads(by_avro.originals[0])["fee"] == "12.50"
    assert only(ndjson({**record, "fee": "12.505"}, found=found)) == ("outlier", "fee", "range")
    assert only(ndjson({**record, "fee": "123456789.00"}, found=found)) == ("outlier", "fee", "range")
    assert only(ndjson({**record, "photo": "!"}, found=found))[2] == "bytes"
    assert only(ndjson({**record, "uid": "x"}, found=found))[2] == "uuid"


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1],
        lambda body: body[: len(body) // 2],
        lambda body: body[:10],
        lambda body: b"",
        lambda body: b"Obj\x02" + body[4:],
        lambda body: body + b"\x00\x01trailing",
        lambda body: body[:-40] + bytes([body[-40] ^ 0xFF]) + body[-39:],
        lambda body: json.dumps(RECORDS).encode(),
    ],
)
@pytest.mark.parametrize("make", [contract, rich])
def test_a_damaged_avro_container_is_one_error(make: Callable[[], Contract], damage: Callable[[bytes], bytes]) -> None:
    found = make()
    body = container(ndjson(*RECORDS, found=found).frame, found.schema.definition)
    with pytest.raises(BodyInvalid):
        parse_avro_container(damage(body), found)


def test_arrow_columns_come_in_any_order_and_width() -> None:
    found = contract()
    frame = ndjson(*RECORDS).frame
    table = frame.select(reversed(frame.columns)).to_arrow()
    assert parse_arrow(arrow(table), found).frame.equals(frame)
    narrow = pa.table({"id": ["1"], "name": ["An"], "rank": pa.array([5], pa.int64())})
    assert parse_arrow(arrow(narrow), found).frame["rank"].dtype == pl.Int32()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (pa.table({"id": ["1"], "name": ["An"], "phone": ["1"]}), "phone"),
        (pa.table({"id": ["1"]}), "name"),
        (pa.table({"id": ["1"], "name": ["An"], "rank": pa.array([2**40])}), "rank"),
        (pa.table({"id": ["1"], "name": ["An"], "born": ["1957-13-01"]}), "born"),
    ],
)
def test_an_arrow_column_that_does_not_fit_is_named(table: pa.Table, column: str) -> None:
    with pytest.raises(BodyInvalid) as raised:
        parse_arrow(arrow(table), contract())
    assert column in raised.value.problems[0].message.en


def test_rows_of_an_arrow_table_are_checked_like_records() -> None:
    table = pa.table({
        "id": ["1", "2", "3", None, "5", ""],
        "name": ["An", None, "Chi", "Dung", "E\0m", "Giang"],
        "sex": ["male", "male", "other", "male", "female", "male"],
    })  # fmt: skip
    parsed = parse_arrow(arrow(table), contract())
    assert [(one.index, one.path, one.code) for one in parsed.rejected] == [
        (1, "name", "structure.null"),
        (2, "sex", "structure.enum"),
        (3, "id", "structure.null"),
        (4, "name", "structure.nul"),
        (5, "id", "structure.key"),
    ]
    assert parsed.index.to_list() == [0]
    assert json.loads(parsed.originals[4])["id"] == "5"


def test_categories_are_text_unless_they_unpack_to_any_size() -> None:
    found = contract()
    names = pa.array(["An", "An"]).dictionary_encode()
    assert parse_arrow(arrow(pa.table({"id": ["1", "2"], "name": names})), found).frame["name"].to_list() == [
        "An",
        "An",
    ]
    bomb = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int8()), pa.array(["x" * 1_000_000]))
    tags = pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string())))
    many = {"id": [str(i) for i in range(1000)], "name": bomb}
    for table in (
        pa.table(many),
        pa.table({"id": ["1"] * 2, "name": ["x"] * 2, "tags": pa.concat_arrays([tags, tags])}),
    ):
        with pytest.raises(BodyInvalid, match="too much"):
            parse_arrow(arrow(table), found)


def test_a_container_that_unpacks_to_any_size_is_refused() -> None:
    found = contract()
    long = json.dumps({"id": "1", "name": "x" * 2_000_000}).encode()
    frame = parse_ndjson(long, found, Limits(record_bytes_max=3_000_000)).frame
    body = container(frame, found.schema.definition, codec="deflate")
    assert len(body) < 10_000
    with pytest.raises(BodyInvalid):
        parse_avro_container(body, found, Limits(unpacked_bytes_max=1_000_000))
    assert parse_avro_container(body, found).frame.height == 1


@pytest.mark.parametrize("body", [b"", b"ARROW1", b"\xff\xff\xff\xff\x10\x00\x00\x00", b"x" * 100])
def test_what_is_no_arrow_stream_is_one_error(body: bytes) -> None:
    with pytest.raises(BodyInvalid):
        parse_arrow(body, contract())


def test_a_truncated_arrow_stream_is_one_error() -> None:
    body = arrow(ndjson(*RECORDS).frame.to_arrow())
    for size in (len(body) - 200, len(body) // 2, 20):
        with pytest.raises(BodyInvalid):
            parse_arrow(body[:size], contract())
