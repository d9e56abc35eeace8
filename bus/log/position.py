"""Positions: how far one has come in which partition, and the two texts that carry one.

An offset is the next one to read. `lgsp-source` is "partition:offset" on a view's record: everything of that partition of the data
topic below the offset is in the view. A cursor is "<release>.<index>": the record at `index` of that hand-over, and all before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bus.errors import BadCursor, Problem, Text

SOURCE_HEADER = "lgsp-source"
Positions = dict[str, list[int]]  # topic -> offset per partition
Run = tuple[str, int, int, int]  # topic, partition, first offset, next offset

_CURSOR = re.compile(r"([0-9]{1,18})\.([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Cursor:
    release: int
    index: int

    def __str__(self) -> str:
        return f"{self.release}.{self.index}"


def parse_cursor(text: str) -> Cursor:
    """Raises BadCursor where `text` is no cursor of ours."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise bad_cursor(
            Text(
                "expected a cursor as it came with a record, e.g. 42.17",
                "cần con trỏ đúng như đã nhận cùng bản ghi, ví dụ 42.17",
            )
        )
    return Cursor(int(match[1]), int(match[2]))


def bad_cursor(message: Text) -> BadCursor:
    return BadCursor(message, [Problem("cursor", "bad_cursor", message)])


def source_header(partition: int, offset: int) -> tuple[str, bytes]:
    return SOURCE_HEADER, f"{partition}:{offset}".encode()


def parse_source(value: bytes) -> tuple[int, int]:
    partition, _, offset = value.decode("ascii").partition(":")
    return int(partition), int(offset)


def runs_of(topics: Sequence[str], partitions: Sequence[int], offsets: Sequence[int]) -> list[Run]:
    """The contiguous runs of records in the order given."""
    runs: list[Run] = []
    for topic, partition, offset in zip(topics, partitions, offsets, strict=True):
        if runs and runs[-1][0] == topic and runs[-1][1] == partition and runs[-1][3] == offset:
            runs[-1] = (topic, partition, runs[-1][2], offset + 1)
        else:
            runs.append((topic, partition, offset, offset + 1))
    return runs


def advance(base: Positions, runs: Iterable[Run], records: int) -> Positions:
    """`base` after the first `records` records of `runs`."""
    result = {topic: list(offsets) for topic, offsets in base.items()}
    for topic, partition, first, after in runs:
        if records <= 0:
            break
        taken = min(records, after - first)
        result[topic][partition] = first + taken
        records -= taken
    return result
