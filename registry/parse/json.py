"""JSON arrays and NDJSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from registry.contract import Contract
from registry.errors import ErrorClass, Text
from registry.parse.elements import more_elements_than
from registry.parse.result import (
    KEY_CHARACTERS_MAX,
    Limits,
    Parsed,
    RecordProblem,
    body_invalid,
    check_count,
    too_large,
    too_many,
    violation,
)
from registry.parse.structs import shape_of
from registry.parse.table import frame_of, settled

# What one turn decodes has to stay in the processor's cache until its columns are made: twice as fast as all at once.
CHUNK_RECORDS = 512
BLANKS_PER_LINE_MAX = 10  # empty lines count for nothing, but not without end
COMMAS_CHEAP = 8  # a record's least; below it, cutting an array costs less memory than its records do
_BOM = b"\xef\xbb\xbf"
_raw_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


def parse_json_array(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """A JSON array of records. Raises BodyInvalid where it isn't one (truncated, trailing text, nested too deeply)."""
    limits = limits or Limits()
    return _parse(lines_of(body, limits, array=True), contract, limits)


def parse_ndjson(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """One record a line; empty lines count for nothing. A line that isn't JSON, such as a truncated last one, is a rejected
    record. Raises BodyInvalid on UTF-16."""
    limits = limits or Limits()
    return _parse(lines_of(body, limits, array=False), contract, limits)


def lines_of(body: bytes, limits: Limits, *, array: bool) -> list[bytes]:
    """The body cut into the bytes of its records. Raises BodyInvalid (see the two above), BodyTooLarge on too many."""
    _refuse_utf16(body)
    body = body.removeprefix(_BOM)
    if not array:
        if body.count(b"\n") > limits.records_max * BLANKS_PER_LINE_MAX:
            raise too_many(limits)
        lines = [line for line in body.split(b"\n") if line and not line.isspace()]
        check_count(len(lines), limits)
        return lines
    if body.count(b",") > limits.records_max * COMMAS_CHEAP and more_elements_than(body, limits.records_max):
        raise too_many(limits)
    try:
        lines = [bytes(raw) for raw in _raw_array(body)]
    except RecursionError:
        raise body_invalid("too_deep", "the JSON is nested too deeply", "JSON lồng nhau quá sâu") from None
    except msgspec.ValidationError:
        raise body_invalid("not_an_array", "the body is not a JSON array", "nội dung không phải mảng JSON") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if "truncated" in str(error):
            raise body_invalid("truncated", "the JSON array has no end", "mảng JSON bị cắt cụt") from None
        where = re.search(r"\(byte (\d+)\)", str(error))
        at = (f" at byte {where[1]}", f" ở byte {where[1]}") if where else ("", "")
        raise body_invalid("malformed", f"the JSON is malformed{at[0]}", f"JSON sai cú pháp{at[1]}") from None
    check_count(len(lines), limits)
    return lines


def _refuse_utf16(body: bytes) -> None:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff") or body[:4].count(0) > 1:
        raise body_invalid(
            "encoding", "the body is not UTF-8 (it looks like UTF-16)", "nội dung không phải UTF-8 (giống UTF-16)"
        )


def _parse(lines: Sequence[bytes], contract: Contract, limits: Limits) -> Parsed:
    shape = shape_of(contract.schema)
    key_of = _key_reader(contract.key)
    index: list[int] = []
    rejected: dict[int, RecordProblem] = {}
    parts: list[list[pa.Array]] = []
    for start in range(0, len(lines), CHUNK_RECORDS):
        records: list[Any] = []
        for number, line in enumerate(lines[start : start + CHUNK_RECORDS], start):
            if len(line) > limits.record_bytes_max:
                rejected[number] = too_large(number, key_of(line), len(line), limits)
                continue
            try:
                record = shape.decode(line)
            except Exception as error:  # noqa: BLE001  msgspec's own, of Unicode, of recursion: _problem has words for each
                rejected[number] = _problem(number, key_of(line), error)
                continue
            if b"\\u0000" in line and (path := _nul_path(record, "")) is not None:
                rejected[number] = violation(number, key_of(line), path, "nul")
            else:
                records.append(record)
                index.append(number)
        columns, bad = shape.columns(records)
        parts.append(columns)
        for position, name in bad:
            number = index[len(index) - len(records) + position]
            rejected.setdefault(number, violation(number, key_of(lines[number]), name, "range"))
    frame = frame_of(_joined(parts, shape.arrow))
    places = pl.Series("index", index, dtype=pl.UInt32)
    return settled(frame, places, lines, rejected, contract.key)


def _joined(parts: list[list[pa.Array]], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *(pa.table(columns, schema=schema) for columns in parts)])


def _key_reader(key: str) -> Callable[[bytes], str | None]:
    """The key of a record that may be wrong in everything else."""
    decode = msgspec.json.Decoder(msgspec.defstruct("Key", [("key", str | None, None)], rename={"key": key})).decode

    def read(line: bytes) -> str | None:
        try:
            found: str | None = decode(line).key  # type: ignore[attr-defined]  # made by defstruct
        except Exception:  # noqa: BLE001  whatever is wrong with it has been said; here only: no key
            return None
        # Not what a key can't be: it goes into headers and columns.
        return found if found and len(found) <= KEY_CHARACTERS_MAX and "\0" not in found else None

    return read


def _nul_path(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return path if "\0" in value else None
    inner: list[tuple[str, Any]] = []
    if isinstance(value, msgspec.Struct):
        inner = [(f"{path}.{name}" if path else name, getattr(value, name)) for name in value.__struct_fields__]
    elif isinstance(value, list):
        inner = [(f"{path}[]", item) for item in value]
    elif isinstance(value, dict):
        inner = [(f"{path}[]", item) for pair in value.items() for item in pair]
    return next((found for name, item in inner if (found := _nul_path(item, name)) is not None), None)


_AT = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_PATTERNS: list[tuple[re.Pattern[str], ErrorClass, str, str, str]] = [
    (re.compile(r"^Object missing required field `(?P<field>[^`]*)`"), ErrorClass.MISSING, "missing",
     "the field is missing", "thiếu trường"),
    (re.compile(r"^Object contains unknown field `(?P<field>[^`]*)`"), ErrorClass.FORMAT, "unknown_field",
     "the contract has no such field", "hợp đồng không có trường này"),
    (re.compile(r"^Expected .*, got `null`"), ErrorClass.MISSING, "null", "the value is missing", "thiếu giá trị"),
    (re.compile(r"^Expected `(?P<want>[^`]*)`, got `(?P<got>[^`]*)`"), ErrorClass.FORMAT, "type",
     "expected {want}, found {got}", "cần {want}, nhưng gặp {got}"),
    (re.compile(r"^Expected `(?P<want>[a-z]+)` (?P<limit>[<>]=? -?[0-9.e+]+)"), ErrorClass.OUTLIER, "range",
     "expected {want} {limit}", "cần {want} {limit}"),
    (re.compile(r"out of range"), ErrorClass.OUTLIER, "range", "the number is out of range", "số vượt khoảng cho phép"),
    (re.compile(r"^Invalid enum value"), ErrorClass.FORMAT, "enum",
     "not one of the listed values", "không thuộc các giá trị cho phép"),
    (re.compile(r"timezone component"), ErrorClass.FORMAT, "timezone",
     "expected a time with its offset, e.g. 2025-07-01T08:00:00+07:00",
     "cần thời điểm kèm múi giờ, ví dụ 2025-07-01T08:00:00+07:00"),
    (re.compile(r"encoded date\b"), ErrorClass.FORMAT, "date", "expected a date as 2025-07-01", "cần ngày dạng 2025-07-01"),
    (re.compile(r"encoded (datetime|time)"), ErrorClass.FORMAT, "time",
     "expected a time in RFC 3339", "cần thời điểm theo RFC 3339"),
    (re.compile(r"base64|length"), ErrorClass.FORMAT, "bytes",
     "expected bytes in base64 of the declared length", "cần byte dạng base64 đúng độ dài"),
    (re.compile(r"decimal"), ErrorClass.FORMAT, "decimal", "expected a decimal number", "cần số thập phân"),
    (re.compile(r"UUID"), ErrorClass.FORMAT, "uuid", "expected a UUID", "cần UUID"),
]  # fmt: skip


def _problem(index: int, key: str | None, error: Exception) -> RecordProblem:
    """msgspec's message without what of the payload it quotes, in both languages."""
    message = str(error)
    if isinstance(error, RecursionError):
        return _record_problem(index, key, "", "too_deep", "nested too deeply", "lồng nhau quá sâu")
    if isinstance(error, UnicodeDecodeError):
        return _record_problem(index, key, "", "encoding", "not UTF-8", "không phải UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        if "surrogate" in message:
            return _record_problem(index, key, "", "encoding", "half of a surrogate pair", "ký tự thay thế lẻ")
        if "truncated" in message:
            return _record_problem(index, key, "", "truncated", "the JSON has no end", "JSON bị cắt cụt")
        return _record_problem(index, key, "", "json", "not JSON", "không phải JSON")
    at = _AT.search(message)
    path = re.sub(r"\[(\.\.\.|\d+)\]", "[]", at[1]) if at else ""
    path = path if re.fullmatch(r"[A-Za-z0-9_.\[\]]*", path) else ""
    for pattern, error_class, code, en, vi in _PATTERNS:
        found = pattern.search(message)
        if found is None:
            continue
        words = found.groupdict()
        if "field" in words:
            name = words["field"] if _NAME.fullmatch(words["field"]) else "?"
            path = f"{path}.{name}" if path else name
        text = Text(en.format(**words), vi.format(**words))
        prefix = f"{path}: " if path else ""
        return RecordProblem(
            index, key, error_class, path, f"structure.{code}", Text(prefix + text.en, prefix + text.vi)
        )
    return _record_problem(
        index, key, path, "invalid", "not of the contract's structure", "không đúng cấu trúc hợp đồng"
    )


def _record_problem(index: int, key: str | None, path: str, code: str, en: str, vi: str) -> RecordProblem:
    prefix = f"{path}: " if path else ""
    return RecordProblem(index, key, ErrorClass.FORMAT, path, f"structure.{code}", Text(prefix + en, prefix + vi))
