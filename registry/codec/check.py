"""What a frame may hold that its schema does not: nulls in required places, unknown enum symbols, NUL characters.

By columns, at any depth. Not here: types (a cast answers those) and rules (registry.rules).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from registry.codec import frame as shape
from registry.errors import CodecError, Text


class Violation(NamedTuple):
    """`row` counts rows of the table. `what` is "null", "enum" or "nul"."""

    row: int
    path: str
    what: str


def violations(table: pa.Table, definition: Any) -> Iterator[Violation]:
    """Every violation, column by column; a row can come several times."""
    names = shape.names_of(definition)
    table = table.combine_chunks()
    for name, node in shape.fields_of(definition):
        column = table.column(name)
        array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        yield from _walk(array, node, names, name, None)


def refuse_violations(table: pa.Table, definition: Any) -> None:
    """Raises CodecError on the first violation that would not survive as bytes (NUL characters would)."""
    for violation in violations(table, definition):
        if violation.what != "nul":
            raise CodecError(
                Text(
                    f"record {violation.row}: {violation.path} holds {_WHAT[violation.what].en}",
                    f"bản ghi {violation.row}: {violation.path} chứa {_WHAT[violation.what].vi}",
                ),
                index=violation.row,
            )


_WHAT = {
    "null": Text("null where the schema has none", "giá trị rỗng ở nơi lược đồ không cho phép"),
    "enum": Text("a symbol that the schema does not list", "giá trị ngoài danh sách của lược đồ"),
}


def _walk(
    array: pa.Array, node: Any, names: Mapping[str, Any], path: str, rows: pa.Array | None
) -> Iterator[Violation]:
    """`rows` maps positions of `array` to rows of the table; None where they are the same."""
    branches, nullable = shape.split_null(shape.resolve(node, names))
    if not nullable and array.null_count:
        yield from _at(array.is_null(), rows, path, "null")
    if len(branches) != 1 or len(array) == array.null_count:
        return
    inner = shape.resolve(branches[0], names)
    what = shape.kind(inner)
    if what == "record":
        for name, field in shape.fields_of(inner):
            # A null record has no fields to be wrong: look at the others only.
            present = array if not array.null_count else array.drop_null()
            at = rows if not array.null_count else _rows_of(array.is_valid(), rows)
            yield from _walk(pc.struct_field(present, name), field, names, f"{path}.{name}", at)
    elif what in ("array", "map"):
        parents = pc.list_parent_indices(array).cast(pa.int64())
        at = parents if rows is None else rows.take(parents)
        flat = array.flatten()
        if what == "map":
            yield from _walk(pc.struct_field(flat, "key"), "string", names, f"{path}[].key", at)
            yield from _walk(pc.struct_field(flat, "value"), inner["values"], names, f"{path}[].value", at)
        else:
            yield from _walk(flat, inner["items"], names, f"{path}[]", at)
    elif what == "enum":
        known = pc.is_in(array, value_set=pa.array(inner["symbols"], array.type))
        yield from _at(pc.and_(pc.invert(known), array.is_valid()), rows, path, "enum")
    elif what == "string":
        yield from _at(pc.fill_null(pc.match_substring(array, "\0"), False), rows, path, "nul")


def _rows_of(mask: pa.Array, rows: pa.Array | None) -> pa.Array:
    return pc.indices_nonzero(mask).cast(pa.int64()) if rows is None else rows.filter(mask)


def _at(mask: pa.Array, rows: pa.Array | None, path: str, what: str) -> Iterator[Violation]:
    if pc.any(mask).as_py():
        for index in _rows_of(mask, rows).to_pylist():
            yield Violation(index, path, what)
