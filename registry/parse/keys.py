"""Keys of records to delete: a JSON array or NDJSON of strings, or of objects with the key field alone."""

from __future__ import annotations

import unicodedata

import msgspec
import polars as pl

from registry.contract import Contract
from registry.errors import ErrorClass, Text
from registry.parse.json import lines_of
from registry.parse.result import KEY_CHARACTERS_MAX, Limits, Parsed, RecordProblem

LINE_BYTES_MAX = 8_192  # a key of KEY_CHARACTERS_MAX escapes, its field's name, and room


def parse_keys(body: bytes, contract: Contract, *, array: bool, limits: Limits | None = None) -> Parsed:
    """`frame` has the key column alone. Raises BodyInvalid where `array` and the body is no JSON array."""
    limits = limits or Limits()
    lines = lines_of(body, limits, array=array)
    keys: list[str] = []
    index: list[int] = []
    rejected: list[RecordProblem] = []
    for number, line in enumerate(lines):
        key = _key(line, contract.key)
        if key is None:
            rejected.append(_not_a_key(number, contract.key))
        else:
            keys.append(key)
            index.append(number)
    frame = pl.DataFrame({contract.key: pl.Series(keys, dtype=pl.String)})
    return Parsed(frame, pl.Series("index", index, dtype=pl.UInt32), lines, tuple(rejected))


def _key(line: bytes, field: str) -> str | None:
    if len(line) > LINE_BYTES_MAX:
        return None
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, dict) and set(found) == {field}:
        found = found[field]
    if not isinstance(found, str) or not 0 < len(found) <= KEY_CHARACTERS_MAX or "\0" in found:
        return None
    return unicodedata.normalize("NFC", found)


def _not_a_key(index: int, field: str) -> RecordProblem:
    text = Text(
        f'{field}: expected a key, as "…" or {{"{field}": "…"}}', f'{field}: cần khóa, dạng "…" hoặc {{"{field}": "…"}}'
    )
    return RecordProblem(index, None, ErrorClass.FORMAT, field, "structure.key", text)
