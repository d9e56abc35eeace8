"""What a frame may hold that its schema does not: nulls in required places, unknown enum symbols, NUL characters, days outside
the calendar (years 1 to 9999, beyond which neither Python nor RFC 3339 has words).

By columns, at any depth. Not here: types (a cast answers those) and rules (registry.rules).
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from registry.codec import frame as shape
from registry.errors import CodecError, Text


class Violation(NamedTuple):
    """`row` counts rows of the table. `what` is one of ALL."""

    row: int
    path: str
    what: str


ALL = ("null", "enum", "nul", "calendar")
UNWRITABLE = ("null", "enum", "calendar")  # NUL characters would survive as bytes
_WORDS = {
    "null": Text("null where the schema has none", "giá trị rỗng ở nơi lược đồ không cho phép"),
    "enum": Text("a symbol that the schema does not list", "giá trị ngoài danh sách của lược đồ"),
    "calendar": Text("a day outside the years 1 to 9999", "ngày ngoài khoảng năm 1 đến 9999"),
}
_FIRST, _LAST = -719_162, 2_932_896  # days from 1970-01-01 to 0001-01-01 and to 9999-12-31
_DAY = datetime.timedelta(days=1)


def violations(table: pa.Table, definition: Any, kinds: Collection[str] = ALL) -> Iterator[Violation]:
    """Every violation of those kinds, column by column; a row can come several times."""
    walk = _Walk(shape.names_of(definition), frozenset(kinds))
    for name, node in shape.fields_of(definition):
        column = table.column(name)
        array = (
            column.chunk(0)
            if column.num_chunks == 1
            else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
        )
        yield from walk.below(array, node, name, None)


def refuse_violations(table: pa.Table, definition: Any, kinds: Collection[str] = UNWRITABLE) -> None:
    """Raises CodecError on the first violation."""
    for row, path, what in violations(table, definition, kinds):
        text = _WORDS[what]
        raise CodecError(
            Text(f"record {row}: {path} holds {text.en}", f"bản ghi {row}: {path} chứa {text.vi}"), index=row
        )


@dataclass(frozen=True)
class _Walk:
    names: Mapping[str, Any]
    kinds: frozenset[str]

    def below(self, array: pa.Array, node: Any, path: str, rows: pa.Array | None) -> Iterator[Violation]:
        """`rows` maps positions of `array` to rows of the table; None where they are the same."""
        branches, nullable = shape.split_null(shape.resolve(node, self.names))
        if not nullable and array.null_count and "null" in self.kinds:
            yield from _at(array.is_null(), rows, path, "null")
        if len(branches) != 1 or len(array) == array.null_count:
            return
        inner = shape.resolve(branches[0], self.names)
        what = shape.kind(inner)
        if what == "record":
            # A null record has no fields to be wrong: look at the others only.
            present = array.drop_null() if array.null_count else array
            at = _rows_of(array.is_valid(), rows) if array.null_count else rows
            for name, field in shape.fields_of(inner):
                yield from self.below(pc.struct_field(present, name), field, f"{path}.{name}", at)
        elif what in ("array", "map"):
            parents = pc.list_parent_indices(array).cast(pa.int64())
            at = parents if rows is None else rows.take(parents)
            items = array.flatten()
            if what == "map":
                yield from self.below(pc.struct_field(items, "key"), "string", f"{path}[].key", at)
                yield from self.below(pc.struct_field(items, "value"), inner["values"], f"{path}[].value", at)
            else:
                yield from self.below(items, inner["items"], f"{path}[]", at)
        elif what == "enum" and "enum" in self.kinds:
            known = pc.is_in(array, value_set=pa.array(inner["symbols"], array.type))
            yield from _at(pc.and_(pc.invert(known), array.is_valid()), rows, path, "enum")
        elif what == "string" and "nul" in self.kinds:
            yield from _at(pc.match_substring(array, "\0"), rows, path, "nul")
        elif "calendar" in self.kinds and (bounds := _bounds(array.type)) is not None:
            number = array.view(pa.int32() if pa.types.is_date32(array.type) else pa.int64())
            beyond = pc.or_(pc.less(number, bounds[0]), pc.greater(number, bounds[1]))
            yield from _at(beyond, rows, path, "calendar")


def _bounds(dtype: pa.DataType) -> tuple[int, int] | None:
    if pa.types.is_date32(dtype):
        return _FIRST, _LAST
    if pa.types.is_timestamp(dtype):
        unit = _DAY // datetime.timedelta(microseconds=1_000 if dtype.unit == "ms" else 1)
        return _FIRST * unit, (_LAST + 1) * unit - 1
    return None


def _rows_of(mask: pa.Array, rows: pa.Array | None) -> pa.Array:
    return pc.indices_nonzero(mask).cast(pa.int64()) if rows is None else rows.filter(mask)


def _at(mask: pa.Array, rows: pa.Array | None, path: str, what: str) -> Iterator[Violation]:
    if pc.any(mask).as_py():
        for row in _rows_of(mask.fill_null(False), rows).to_pylist():
            yield Violation(row, path, what)
