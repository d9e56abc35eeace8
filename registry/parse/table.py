"""Records that come as columns (Arrow) or as Avro: checked by columns, and their originals as JSON when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import msgspec
import polars as pl
import pyarrow as pa

from registry.codec import codec_for
from registry.codec.check import violations
from registry.contract import Contract
from registry.parse.result import Limits, Parsed, RecordProblem, violation
from registry.parse.structs import normalised


class RowsAsJson(Sequence[bytes]):
    """Rows of a table, each as JSON text, written when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        (row,) = self._table.slice(index % len(self), 1).to_pylist()
        return msgspec.json.encode(row)


def check_table(table: pa.Table, contract: Contract, limits: Limits) -> Parsed:
    """`table` has the contract's columns and types (registry.codec.frame.arrow_schema). Nulls in required places, unknown
    enum symbols and NUL characters reject their rows."""
    del limits  # a row of columns has no bytes of its own; the codec's output is checked where it is written
    rejected: dict[int, RecordProblem] = {}
    keys = table.column(contract.key)
    for found in violations(table, contract.schema.definition):
        if found.row not in rejected:
            rejected[found.row] = violation(found.row, keys[found.row].as_py(), found.path, found.what)
    frame = pl.DataFrame(pa.table([_normalised(column) for column in table.columns], schema=table.schema))
    wanted = codec_for(contract.schema).frame_schema
    if frame.schema != wanted:
        frame = frame.cast(wanted)  # type: ignore[arg-type]
    index = pl.Series("index", range(frame.height), dtype=pl.UInt32)
    if rejected:
        good = ~index.is_in(list(rejected))
        frame, index = frame.filter(good), index.filter(good)
    return Parsed(frame, index, RowsAsJson(table), tuple(rejected[row] for row in sorted(rejected)))


def _normalised(column: Any) -> Any:
    """Every string below in NFC."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([_normalised(chunk) for chunk in column.chunks], column.type)
    dtype = column.type
    if pa.types.is_string(dtype):
        return normalised(column)
    if pa.types.is_struct(dtype) and _has_text(dtype):
        children = [_normalised(child) for child in column.flatten()]
        return pa.StructArray.from_arrays(children, fields=list(dtype), mask=column.is_null())
    if pa.types.is_list(dtype) and _has_text(dtype):
        # `values` may have more than the slice shows: the offsets still point into it.
        inner = _normalised(column.values)
        mask = column.is_null() if column.null_count else None
        return pa.ListArray.from_arrays(column.offsets, inner, type=dtype, mask=mask)
    return column


def _has_text(dtype: Any) -> bool:
    if pa.types.is_struct(dtype):
        return any(_has_text(field.type) for field in dtype)
    return _has_text(dtype.value_type) if pa.types.is_list(dtype) else bool(pa.types.is_string(dtype))
