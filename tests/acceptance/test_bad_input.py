"""Bad records over HTTP: a clear error in the asked language, nothing lost, and the bus answers on with bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import time
import unicodedata
import zlib
from collections.abc import Iterator
from typing import Any

import fastavro
import httpx
import pyarrow as pa
import pytest

from tests.running import resident
from tests.user import ARROW, AVRO, JSON, MB, NDJSON, User, code_of, rows

pytestmark = pytest.mark.usefixtures("still_well")
TOO_LARGE_BYTES = 100 * MB


def rejected(answer: httpx.Response) -> dict[int, tuple[str, str, str]]:
    return {one["index"]: (one["class"], one["path"], one["code"]) for one in answer.json()["rejected"]}


# Bodies that can't be taken apart: one error, nothing stored

ONE = rows(resident(1))


@pytest.mark.parametrize(
    ("body", "media", "code"),
    [
        (ONE[:-1], JSON, "body.truncated"),
        (b"", JSON, "body.truncated"),
        (ONE + b" x", JSON, "body.malformed"),
        (ONE + b"[]", JSON, "body.malformed"),
        (ONE[1:-1], JSON, "body.not_an_array"),
        (b"[NaN]", JSON, "body.malformed"),
        (b"[Infinity]", JSON, "body.malformed"),
        (ONE.decode().encode("utf-16"), JSON, "body.encoding"),
        (ONE.decode().encode("utf-16-le"), JSON, "body.encoding"),
        (ONE.decode().encode("utf-32"), NDJSON, "body.encoding"),
        (b"[" * 1_000_000, JSON, "body.too_deep"),
        (b"[" * 1_000_000 + b"]" * 1_000_000, JSON, "body.too_deep"),
        (b'[{"identity_number":' * 1 + b'{"a":' * 1_000_000, JSON, "body.too_deep"),
        (b"[" + b"1," * 5_000_000 + b"1]", JSON, "body.too_many_records"),
        (b"1\n" * 200_000, NDJSON, "body.too_many_records"),
        (b"\n" * 20_000_000, NDJSON, "body.too_many_records"),
        (b"", AVRO, "body.avro"),
        (b"Obj\1", AVRO, "body.avro"),
        (b"", ARROW, "body.arrow"),
        (b"\xff" * 100, ARROW, "body.arrow"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one[:6]!r}",
)
def test_a_body_that_is_no_batch_is_one_error_and_nothing_is_stored(
    user: User, body: bytes, media: str, code: str
) -> None:
    before = user.stored()
    answer = user.publish(body, media)
    assert code_of(answer)[2] == code
    assert answer.status_code == (413 if code == "body.too_many_records" else 400)
    assert user.stored() == before


def container(user: User, codec: str = "null") -> bytes:
    sink = io.BytesIO()
    schema = user.bus.runtime.catalogue.active(user.bus.contract).contract.schema.definition
    # As the reader's own program would write what it pulled: every field.
    subscription = user.bus.subscribe("full")
    user.bus.pull_all(subscription, at_least=1, ack=False)
    headers = {"Accept": AVRO}
    pulled = user.ask("GET", f"/v1/subscriptions/{subscription}/records", "reader", headers=headers)
    lines: list[Any] = list(fastavro.reader(io.BytesIO(pulled.content)))
    records = [one["value"] for one in lines if one["value"]]
    assert records
    fastavro.writer(sink, schema, records, codec=codec, sync_marker=b"s" * 16)
    return sink.getvalue()


def test_a_damaged_avro_container_is_refused_whole(user: User) -> None:
    good = container(user)
    assert user.publish(good, AVRO).status_code == 200
    before = user.stored()
    for body in (
        good[:-1],
        good[:-17],
        good[: len(good) // 2],
        good + b"\0",
        good + good,
        good.replace(b"null", b"zstd", 1),
    ):
        assert code_of(user.publish(body, AVRO)) == (400, "", "body.avro")
    assert user.stored() == before


def foreign(user: User, type_: Any, data: bytes, codec: bytes = b"null") -> bytes:
    """A container whose writer's schema has one field."""
    name = user.bus.runtime.catalogue.active(user.bus.contract).contract.schema.definition["name"]
    written = {"type": "record", "name": name, "fields": [{"name": "x", "type": type_}]}
    meta = {b"avro.schema": json.dumps(written).encode(), b"avro.codec": codec}
    header = b"".join(_long(len(part)) + part for pair in meta.items() for part in pair)
    return b"Obj\1\4" + header + b"\0" + b"s" * 16 + b"\2" + _long(len(data)) + data + b"s" * 16


def _long(number: int) -> bytes:
    value, out = number << 1, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_avro_bombs_end_at_the_door(user: User) -> None:
    packer = zlib.compressobj(9, wbits=-15)
    zeros = packer.compress(bytes(500 * MB)) + packer.flush()
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    for body in (
        foreign(user, "bytes", zeros, b"deflate"),
        foreign(user, {"type": "array", "items": "null"}, _long(2**50) + b"\0"),
        foreign(user, node, b"\2" * 1_000_000 + b"\0"),
    ):
        began = time.monotonic()
        assert code_of(user.publish(body, AVRO)) == (400, "", "body.avro")
        assert time.monotonic() - began < 10


def arrow(table: pa.Table, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_arrow_with_wrong_types_names_the_column_and_a_bomb_is_not_unpacked(user: User) -> None:
    missing = user.publish(arrow(pa.table({"identity_number": ["042190000001"]})), ARROW)
    assert code_of(missing) == (400, "", "body.column")
    assert "full_name" in missing.json()["detail"]
    for name, column in {"identity_number": [[1]], "shoe_size": [43]}.items():
        wrong = user.publish(arrow(pa.table({name: column})), ARROW)
        assert (code_of(wrong)[2], name in wrong.json()["detail"]) == ("body.column", True)
    whole = arrow(pa.table({"identity_number": ["042190000001"]}), "zstd")
    assert code_of(user.publish(whole[: len(whole) // 2], ARROW)) == (400, "", "body.arrow")
    bomb = arrow(pa.table({"identity_number": ["0" * (300 * MB)]}), "zstd")
    assert len(bomb) < MB
    assert code_of(user.publish(bomb, ARROW)) == (400, "", "body.arrow")


def test_a_packed_body_is_refused_with_what_to_do(user: User) -> None:
    for media, body in ((JSON, ONE), (NDJSON, ONE[1:-1])):
        answer = user.publish(gzip.compress(body), media, headers={"Content-Encoding": "gzip"})
        assert code_of(answer) == (415, "Content-Encoding", "unsupported_encoding")
        assert "gzip" in answer.json()["detail"]
    packed = user.ask(
        "POST", "/v1/agencies", "admin", content=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"}
    )
    assert packed.status_code == 415


# Records that are wrong: each to quarantine with class, path and reason; the others pass


def test_wrong_records_are_quarantined_each_with_its_place_and_the_others_pass(user: User) -> None:
    good, half = resident(20), json.dumps(resident(21))[:80].encode()
    lines = {
        0: json.dumps(good).encode(),
        1: half,
        2: json.dumps(resident(22) | {"shoe_size": 43}).encode(),
        3: json.dumps({k: v for k, v in resident(23).items() if k != "full_name"}).encode(),
        4: json.dumps(resident(24, full_name="An"), ensure_ascii=False).encode().replace(b"An", b"\xe9\xe8", 1),
        5: json.dumps(resident(25, full_name="a\0b")).encode(),
        6: json.dumps(resident(26)).encode().replace(b'"2026-11-01T08:00:00+07:00"', b"1e400"),
        7: json.dumps(resident(27)).encode().replace(b'"2026-11-01T08:00:00+07:00"', b"9223372036854775808"),
        8: json.dumps(resident(28)).encode().replace(b'"0912345678"', b"NaN"),
        9: json.dumps(resident(29) | {"k" * 100_000: 1}).encode(),
        10: json.dumps(resident(30, identity_number="1" * 10_000)).encode(),
        11: b"[" * 800_000,
        12: b'{"father":' * 80_000,
        13: json.dumps(resident(33, full_name="x" * 1_000_000)).encode(),
        14: json.dumps(resident(34)).encode().replace(b'"Kinh"', b'"\\ud800"'),
        15: b"null",
        16: json.dumps(resident(36, birth_date=10**30)).encode(),
    }
    answer = user.publish(b"\xef\xbb\xbf" + b"\n".join(lines.values()), NDJSON)
    assert (answer.status_code, answer.json()["accepted"]) == (207, 1)
    found = rejected(answer)
    assert set(found) == set(lines) - {0}
    expected = {
        1: ("format", "", "structure.truncated"),
        2: ("format", "shoe_size", "structure.unknown_field"),
        3: ("missing", "full_name", "structure.missing"),
        4: ("format", "", "structure.encoding"),
        5: ("format", "full_name", "structure.nul"),
        7: ("outlier", "updated_at", "structure.range"),
        9: ("format", "?", "structure.unknown_field"),
        10: ("format", "identity_number", "structure.key"),
        13: ("format", "", "structure.too_large"),
        14: ("format", "", "structure.encoding"),
        16: ("format", "birth_date", "structure.type"),
    }
    assert {index: found[index] for index in expected} == expected
    for one in answer.json()["rejected"]:
        assert 0 < len(one["message"]) < 500
    messages = {one["index"]: one["message"] for one in answer.json()["rejected"]}
    assert messages[3] == "full_name: thiếu trường"
    assert messages[16] == "birth_date: cần str, nhưng gặp float"
    receipt = answer.json()["receipt"]
    kept = user.bus["owner"].quarantine(contract=user.bus.contract, limit="1000")["items"]
    assert len([one for one in kept if one["receipt"] == receipt]) == len(found), "nothing is lost"


def test_of_a_key_that_stands_twice_in_an_object_the_last_counts(user: User) -> None:
    """As in JavaScript, Python and PostgreSQL; RFC 8259 leaves it open."""
    body = b'[{"full_name":"A",' + rows(resident(40, full_name="Trần Thị B"))[2:]
    subscription = user.bus.subscribe("identity", start="latest")
    assert user.publish(body).json()["accepted"] == 1
    assert user.bus.pull_all(subscription, at_least=1)[0].value["full_name"] == "Trần Thị B"


def test_names_in_decomposed_unicode_are_stored_composed(user: User) -> None:
    spelled = unicodedata.normalize("NFD", "Nguyễn Thị Bình")
    subscription = user.bus.subscribe("identity", start="latest")
    assert user.publish(rows(resident(45, full_name=spelled))).json()["accepted"] == 1
    assert user.publish(rows(resident(45, full_name=unicodedata.normalize("NFC", spelled)))).json()["duplicates"] == 1
    (record,) = user.bus.pull_all(subscription, at_least=1)
    assert record.value["full_name"] == "Nguyễn Thị Bình"


@pytest.mark.parametrize(("body", "media"), [(b"[]", JSON), (b"", NDJSON), (b"\n \n", NDJSON)])
def test_an_empty_batch_is_accepted_and_is_nothing(user: User, body: bytes, media: str) -> None:
    before = user.stored()
    answer = user.publish(body, media)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (200, 0, [])
    assert user.stored() == before


def test_keys_to_delete_that_are_none_are_quarantined(user: User) -> None:
    keys = [1, None, {"x": 1}, "", "\0", "k" * 300, ["a"], {"identity_number": "x", "y": 1}]
    for body, media in ((json.dumps(keys).encode(), JSON), (b"\n".join(json.dumps(k).encode() for k in keys), NDJSON)):
        answer = user.publish(body, media, params={"op": "delete"})
        assert answer.status_code == 422
        assert {one[2] for one in rejected(answer).values()} == {"structure.key"}
    assert user.publish(b"[" * 1_000_000, NDJSON, params={"op": "delete"}).status_code == 422
    assert code_of(user.publish(b"[" * 1_000_000, JSON, params={"op": "delete"}))[2] == "body.too_deep"


# Sizes


def pieces(sent: list[int], size_bytes: int) -> Iterator[bytes]:
    for _ in range(size_bytes // 65_536):
        sent[0] += 65_536
        yield b" " * 65_536


@pytest.mark.parametrize(
    ("method", "path", "who"),
    [
        ("POST", "/v1/publish/{contract}", "publisher"),
        ("POST", "/v1/contracts", "integrator"),
        ("POST", "/v1/agencies", "admin"),
        ("POST", "/v1/subscriptions/none/ack", "reader"),
        ("POST", "/v1/quarantine/1/correct", "owner"),
        ("POST", "/oauth/token", None),
    ],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_hundred_megabytes_are_413_without_being_read(
    user: User, method: str, path: str, who: str | None, chunked: bool
) -> None:
    sent = [0]
    headers = {"Content-Type": JSON} | ({} if chunked else {"Content-Length": str(TOO_LARGE_BYTES)})
    if who:
        headers["Authorization"] = f"Bearer {user.bus[who]._bearer()}"
    try:
        answer = user.http.request(
            method, path.format(contract=user.bus.contract), content=pieces(sent, TOO_LARGE_BYTES), headers=headers
        )
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        answer = None  # the server closed while it was being written to
    limit = 64 * MB if "publish" in path and chunked else 2 * MB
    assert sent[0] < limit + 20 * MB, "what lies in the sockets' buffers, not the whole"
    if answer is not None:
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "byte" in answer.json()["errors"][0]["message"]
