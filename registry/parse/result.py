"""What parsing gives, and the words for what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from registry.errors import BodyInvalid, BodyTooLarge, ErrorClass, Problem, Text

KEY_CHARACTERS_MAX = 256  # of a record's key: it goes into Kafka's keys, the database's indexes and headers


@dataclass(frozen=True)
class Limits:
    """Of one batch; the bus passes its settings."""

    records_max: int = 100_000  # keeps one batch's columns under about 500 MB
    record_bytes_max: int = 900_000  # Kafka's own limit for a batch is 1 MiB
    unpacked_bytes_max: int = 64 * 2**20  # of a compressed or dictionary-encoded body: what a plain one may have


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """What is wrong with the structure of one record. `index` counts from 0 in the batch; no message holds a value."""

    index: int
    key: str | None
    error_class: ErrorClass
    path: str
    code: str
    message: Text


@dataclass(frozen=True)
class Parsed:
    """`frame` holds the structurally valid records, `index` (UInt32) their places in the batch; `originals` has one entry per
    record of the batch: its bytes as received, for Avro and Arrow as JSON. `rejected` is ordered by index, one entry each."""

    frame: pl.DataFrame
    index: pl.Series
    originals: Sequence[bytes]
    rejected: tuple[RecordProblem, ...]

    def __len__(self) -> int:
        return len(self.originals)


def body_invalid(code: str, en: str, vi: str) -> BodyInvalid:
    text = Text(en, vi)
    return BodyInvalid(text, [Problem("", f"body.{code}", text)])


def check_count(count: int, limits: Limits) -> None:
    """Raises BodyTooLarge on more records than a batch may have."""
    if count > limits.records_max:
        raise too_many(limits)


def too_many(limits: Limits) -> BodyTooLarge:
    text = Text(
        f"the batch has more than {limits.records_max} records; send smaller batches",
        f"lô có hơn {limits.records_max} bản ghi; hãy chia thành các lô nhỏ hơn",
    )
    return BodyTooLarge(text, [Problem("", "body.too_many_records", text)])


def record_too_large(limits: Limits) -> BodyTooLarge:
    """For a record whose end can't be told, so that none after it can be read either."""
    text = Text(
        f"a record has more than {limits.record_bytes_max} bytes", f"có bản ghi vượt quá {limits.record_bytes_max} byte"
    )
    return BodyTooLarge(text, [Problem("", "body.record_too_large", text)])


def too_large(index: int, key: str | None, size: int, limits: Limits) -> RecordProblem:
    return RecordProblem(
        index,
        key,
        ErrorClass.FORMAT,
        "",
        "structure.too_large",
        Text(
            f"the record has {size} bytes, at most {limits.record_bytes_max} are allowed",
            f"bản ghi có {size} byte, tối đa {limits.record_bytes_max}",
        ),
    )


_VIOLATIONS = {
    "null": (ErrorClass.MISSING, "structure.null", Text("the value is missing", "thiếu giá trị")),
    "enum": (
        ErrorClass.FORMAT,
        "structure.enum",
        Text("not one of the listed values", "không thuộc các giá trị cho phép"),
    ),
    "nul": (ErrorClass.FORMAT, "structure.nul", Text("holds a NUL character", "chứa ký tự NUL")),
    "calendar": (
        ErrorClass.OUTLIER,
        "structure.calendar",
        Text("outside the years 1 to 9999", "ngoài khoảng năm 1 đến 9999"),
    ),
    "range": (ErrorClass.OUTLIER, "structure.range", Text("out of the type's range", "vượt khoảng của kiểu dữ liệu")),
    "key": (
        ErrorClass.FORMAT,
        "structure.key",
        Text(f"a key has 1 to {KEY_CHARACTERS_MAX} characters", f"khóa có từ 1 đến {KEY_CHARACTERS_MAX} ký tự"),
    ),
    "branch": (ErrorClass.FORMAT, "structure.branch", Text("expected exactly one branch", "cần đúng một nhánh")),
}


def violation(index: int, key: str | None, path: str, what: str) -> RecordProblem:
    """A problem that was found by columns; `what` is one of registry.codec.check's words, "range" or "branch"."""
    error_class, code, text = _VIOLATIONS[what]
    return RecordProblem(index, key, error_class, path, code, Text(f"{path}: {text.en}", f"{path}: {text.vi}"))
