"""Avro object containers. Blocks of the contract's own schema are decoded by columns in one go, others record by record."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from typing import Any

import fastavro
import pyarrow as pa
from fastavro.schema import to_parsing_canonical_form

from registry.codec import codec_for, columnar
from registry.codec.columnar import ColumnarCodec
from registry.codec.frame import arrow_schema
from registry.codec.row import RowCodec
from registry.contract import Contract
from registry.errors import BodyInvalid, CodecError
from registry.parse.result import Limits, Parsed, body_invalid, check_count
from registry.parse.table import check_table
from registry.schema import Schema, parse

_ERRORS = (ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, MemoryError, ArithmeticError, OSError,
           AssertionError, RecursionError, StopIteration, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType)  # fmt: skip


def parse_avro_container(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """An Avro object container (null, deflate, or another codec that is installed), written with the contract's schema or
    one that it can read. Raises BodyInvalid on a truncated or damaged container, and on trailing bytes."""
    limits = limits or Limits()
    try:
        blocks = fastavro.block_reader(io.BytesIO(body))
        same = to_parsing_canonical_form(blocks.writer_schema) == contract.schema.canonical
        tables, count = [], 0
        for block in blocks:
            count += block.num_records
            check_count(count, limits)
            if block.num_records:
                tables.append(_table(block, contract.schema, same))
    except BodyInvalid:
        raise
    except CodecError as error:
        raise _damaged() from error
    except _ERRORS as error:
        raise _damaged() from error
    wanted = arrow_schema(contract.schema.definition)
    table = pa.concat_tables(tables) if tables else wanted.empty_table()
    return check_table(table, contract, limits)


def _damaged() -> BodyInvalid:
    return body_invalid(
        "avro",
        "not an Avro container of this contract's records, or damaged",
        "không phải tệp Avro chứa bản ghi của hợp đồng này, hoặc bị hỏng",
    )


def _table(block: Any, schema: Schema, same: bool) -> pa.Table:
    wanted = arrow_schema(schema.definition)
    if same and columnar.supports(schema):
        # A block is its records one after the other: as Avro writes an array, but for the count before and the 0 after.
        body = _long(block.num_records) + block.bytes_.getvalue() + b"\0"
        codec = _rows_codec(schema.text)
        bodies = pa.array([body], pa.binary())
        frame = codec.decode(bodies)
        if not codec.encode(frame).equals(bodies):
            raise _damaged()
        rows = frame["rows"].explode().struct.unnest()
        return rows.to_arrow().cast(wanted)
    records = list(block)
    if block.bytes_.read(1):
        raise _damaged()
    codec_for(schema)
    return pa.Table.from_pylist([RowCodec(schema).placed(record) for record in records], schema=wanted)


@lru_cache(maxsize=16)
def _rows_codec(text: str) -> ColumnarCodec:
    definition = json.loads(text)
    rows = {
        "type": "record",
        "name": "Rows",
        "fields": [{"name": "rows", "type": {"type": "array", "items": definition}}],
    }
    return ColumnarCodec(parse(rows))


def _long(number: int) -> bytes:
    """Avro's zig-zag variable-length long."""
    value, out = (number << 1) ^ (number >> 63), bytearray()
    while value & ~0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
