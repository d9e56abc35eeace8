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
from registry.parse.result import KEY_CHARACTERS_MAX, Parsed, RecordProblem, violation


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
    index = pl.Series("index", range(table.num_rows), dtype=pl.UInt32)
    return settled(frame_of(table), index, RowsAsJson(table), rejected, contract.key)


def settled(
    frame: pl.DataFrame,
    index: pl.Series,
    originals: Sequence[bytes],
    rejected: dict[int, RecordProblem],
    key: str,
) -> Parsed:
    """What is left of `frame` without the rows that are in `rejected` already, and without those whose key can't be one."""
    usable = frame[key].str.len_chars().is_between(1, KEY_CHARACTERS_MAX).fill_null(False)
    for number in index.filter(~usable).to_list():
        rejected.setdefault(number, violation(number, None, key, "key"))
    if rejected:
        good = ~index.is_in(pl.Series(sorted(rejected), dtype=pl.UInt32).implode())
        frame, index = frame.filter(good), index.filter(good)
    return Parsed(frame, index, originals, tuple(rejected[number] for number in sorted(rejected)))
