"""Arrow IPC streams: the fastest way in, for programs that hold columns already."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from registry.codec.frame import arrow_schema, fields_of, names_of, resolve, split_null
from registry.contract import Contract
from registry.parse.result import Limits, Parsed, body_invalid, check_count
from registry.parse.table import check_table


def parse_arrow(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """An Arrow IPC stream whose columns are the contract's fields, in any order. Nullable ones may be left out; types are
    cast where nothing is lost. Raises BodyInvalid on a column that isn't the contract's, doesn't fit, or is missing."""
    limits = limits or Limits()
    try:
        with pa.ipc.open_stream(body) as reader:
            batches = []
            count = 0
            for batch in reader:
                count += batch.num_rows
                check_count(count, limits)
                batch.validate(full=True)
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise body_invalid(
            "arrow", "not an Arrow stream, or cut short", "không phải luồng Arrow, hoặc bị cắt cụt"
        ) from error
    return check_table(_fitted(table, contract, limits), contract)


def _fitted(table: pa.Table, contract: Contract, limits: Limits) -> pa.Table:
    definition = contract.schema.definition
    wanted, names = arrow_schema(definition), names_of(definition)
    for name in table.column_names:
        if name not in wanted.names or table.column_names.count(name) > 1:
            raise body_invalid(
                "column", f"column {name[:64]} is not one of the contract's", f"cột {name[:64]} không có trong hợp đồng"
            )
    columns = []
    for (name, node), field in zip(fields_of(definition), wanted, strict=True):
        if name not in table.column_names:
            if not split_null(resolve(node, names))[1]:
                raise body_invalid("column", f"column {name} is missing", f"thiếu cột {name}")
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        column = table.column(name)
        _check_unpacked(column, name, limits)
        try:
            columns.append(column if column.type == field.type else column.cast(field.type))
        except pa.ArrowException as error:
            raise body_invalid(
                "column",
                f"column {name} is {column.type}, which does not fit {field.type}",
                f"cột {name} có kiểu {column.type}, không khớp {field.type}",
            ) from error
    return pa.table(columns, schema=wanted)


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


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype) or pa.types.is_string_view(dtype))
