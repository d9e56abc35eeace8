"""Records that come as columns (Arrow) or as Avro: checked by columns, and their originals as JSON when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import msgspec
import polars as pl
import pyarrow as pa

from registry.codec.check import violations
from registry.contract import Contract
from registry.parse.nfc import normalise
from registry.parse.result import Parsed, RecordProblem, violation


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


def frame_of(table: pa.Table) -> pl.DataFrame:
    """The frame of a table that has a contract's columns and types, its strings in NFC."""
    columns = [normalise(_one_array(column)) for column in table.columns]
    return pl.DataFrame(pa.table(columns, schema=table.schema))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def check_table(table: pa.Table, contract: Contract) -> Parsed:
    """`table` has the contract's columns and types (registry.codec.frame.arrow_schema). Nulls in required places, unknown
    enum symbols and NUL characters reject their rows."""
    rejected: dict[int, RecordProblem] = {}
    keys = table.column(contract.key)
    for found in violations(table, contract.schema.definition):
        if found.row not in rejected:
            rejected[found.row] = violation(found.row, keys[found.row].as_py(), found.path, found.what)
    frame = frame_of(table)
    index = pl.Series("index", range(frame.height), dtype=pl.UInt32)
    if rejected:
        good = ~index.is_in(list(rejected))
        frame, index = frame.filter(good), index.filter(good)
    return Parsed(frame, index, RowsAsJson(table), tuple(rejected[row] for row in sorted(rejected)))
