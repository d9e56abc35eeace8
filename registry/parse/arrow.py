"""Arrow IPC streams: the fastest way in, for programs that hold columns already."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from registry.codec.frame import arrow_schema, fields_of, names_of, resolve, split_null
from registry.contract import Contract
from registry.errors import BodyInvalid
from registry.parse.ipc import unpacked_bytes
from registry.parse.result import Limits, Parsed, body_invalid, check_count
from registry.parse.table import check_table


def parse_arrow(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """An Arrow IPC stream whose columns are the contract's fields, in any order. Nullable ones may be left out; types are
    cast where nothing is lost. Raises BodyInvalid on a column that isn't the contract's, doesn't fit, or is missing."""
    limits = limits or Limits()
    try:
        size = unpacked_bytes(body)
        if size > limits.unpacked_bytes_max:
            raise _unpacks_to_too_much()
        with pa.ipc.open_stream(body) as reader:
            batches = []
            count = 0
            for batch in reader:
                count += batch.num_rows
                check_count(count, limits)
                size += sum(_viewed_bytes(column) for column in batch.columns)
                if size > limits.unpacked_bytes_max:
                    raise _unpacks_to_too_much()
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
            names = table.column_names  # raises where one is not UTF-8
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise body_invalid(
            "arrow", "not an Arrow stream, or cut short", "không phải luồng Arrow, hoặc bị cắt cụt"
        ) from error
    return check_table(_fitted(table, names, contract, limits), contract)


def _fitted(table: pa.Table, given: list[str], contract: Contract, limits: Limits) -> pa.Table:
    definition = contract.schema.definition
    wanted, names = arrow_schema(definition), names_of(definition)
    for name in given:
        if name not in wanted.names or given.count(name) > 1:
            raise body_invalid(
                "column", f"column {name[:64]} is not one of the contract's", f"cột {name[:64]} không có trong hợp đồng"
            )
    columns = []
    for (name, node), field in zip(fields_of(definition), wanted, strict=True):
        if name not in given:
            if not split_null(resolve(node, names))[1]:
                raise body_invalid("column", f"column {name} is missing", f"thiếu cột {name}")
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(name)
        if _is_virtual(column.type):
            raise _misfit(name, column.type, field.type)
        _check_unpacked(column, name, limits)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise _misfit(name, column.type, field.type) from error
    return pa.table(columns, schema=wanted)


def _unpacks_to_too_much() -> BodyInvalid:
    return body_invalid("arrow", "the Arrow stream unpacks to too much", "luồng Arrow giải nén ra quá lớn")


def _misfit(name: str, found: pa.DataType, expected: pa.DataType) -> BodyInvalid:
    shown = str(found)[:100]
    return body_invalid(
        "column",
        f"column {name} is {shown}, which does not fit {expected}",
        f"cột {name} có kiểu {shown}, không khớp {expected}",
    )


def _is_virtual(dtype: pa.DataType) -> bool:
    """Whether few bytes can stand for any number of values: views of lists, runs, and lists of what takes no bytes."""
    kinds = pa.types
    if kinds.is_run_end_encoded(dtype) or kinds.is_list_view(dtype) or kinds.is_large_list_view(dtype):
        return True
    if kinds.is_struct(dtype) or kinds.is_union(dtype):
        return any(_is_virtual(field.type) for field in dtype)
    if kinds.is_map(dtype):
        return _is_virtual(dtype.item_type)
    if kinds.is_list(dtype) or kinds.is_large_list(dtype) or kinds.is_fixed_size_list(dtype):
        return _is_weightless(dtype.value_type) or _is_virtual(dtype.value_type)
    return False


def _is_weightless(dtype: pa.DataType) -> bool:
    if pa.types.is_struct(dtype):
        return all(_is_weightless(field.type) for field in dtype)
    if pa.types.is_fixed_size_list(dtype):
        return dtype.list_size == 0 or _is_weightless(dtype.value_type)
    return bool(pa.types.is_null(dtype) or (pa.types.is_fixed_size_binary(dtype) and dtype.byte_width == 0))


def _check_unpacked(column: pa.ChunkedArray, name: str, limits: Limits) -> None:
    """A dictionary of one long text and a hundred thousand references to it would unpack to any size."""
    longest = 0
    if pa.types.is_dictionary(column.type):
        texts = [
            pc.cast(chunk.dictionary, pa.large_binary()) for chunk in column.chunks if _is_text(column.type.value_type)
        ]
        longest = max((pc.max(pc.binary_length(one)).as_py() or 0 for one in texts), default=0)
    elif "dictionary<" in str(column.type):
        longest = limits.unpacked_bytes_max  # inside lists not even the number of references is bounded
    if longest * len(column) > limits.unpacked_bytes_max:
        raise body_invalid("column", f"column {name} unpacks to too much", f"cột {name} giải nén ra quá lớn")


def _viewed_bytes(array: pa.Array) -> int:
    """The bytes that an array's views stand for; each view begins with its length (Arrow format, "View Layout")."""
    if pa.types.is_string_view(array.type) or pa.types.is_binary_view(array.type):
        views = array.buffers()[1]
        return int(np.frombuffer(views, np.int32)[::4].sum(dtype=np.int64)) if views else 0
    if pa.types.is_struct(array.type):
        return sum(_viewed_bytes(array.field(number)) for number in range(array.type.num_fields))
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_map(array.type):
        return _viewed_bytes(array.values)
    return 0


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))
