"""Avro object containers. Blocks of the contract's own schema are decoded by columns in one go, others record by record."""

from __future__ import annotations

import io
import json
import zlib
from functools import lru_cache
from typing import Any

import fastavro
import pyarrow as pa
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

from registry.codec import codec_for, columnar
from registry.codec.columnar import ColumnarCodec
from registry.codec.frame import arrow_schema
from registry.codec.row import UNREADABLE, RowCodec
from registry.contract import Contract
from registry.errors import BodyInvalid, CodecError, Text
from registry.parse.result import Limits, Parsed, body_invalid, check_count
from registry.parse.table import check_table
from registry.schema import Schema, parse

# Besides what records can raise: the header's, the compression's, and those of schemas that don't resolve.
_ERRORS = (*UNREADABLE, OSError, RecursionError, StopIteration, zlib.error, SchemaParseException, UnknownType,
           SchemaResolutionError)  # fmt: skip


def parse_avro_container(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """An Avro object container (null, deflate, or another codec that is installed), written with the contract's schema or
    one that it can read. Raises BodyInvalid on a truncated or damaged container, and on trailing bytes."""
    limits = limits or Limits()
    wanted = arrow_schema(contract.schema.definition)
    try:
        blocks = fastavro.block_reader(io.BytesIO(body))
        same = to_parsing_canonical_form(blocks.writer_schema) == contract.schema.canonical
        if same and columnar.supports(contract.schema):
            table = _by_columns(blocks, contract.schema, limits).cast(wanted)
        else:
            table = _by_rows(body, contract.schema, limits)
    except BodyInvalid:
        raise
    except (CodecError, *_ERRORS) as error:
        raise body_invalid(
            "avro",
            "not an Avro container of this contract's records, or damaged",
            "không phải tệp Avro chứa bản ghi của hợp đồng này, hoặc bị hỏng",
        ) from error
    return check_table(table, contract)


def _by_columns(blocks: Any, schema: Schema, limits: Limits) -> pa.Table:
    """A block is its records one after the other: as Avro writes an array, but for the count before and the 0 after. So all
    blocks together are one record that holds an array."""
    count, parts = 0, []
    for block in blocks:
        count += block.num_records
        check_count(count, limits)
        parts.append(block.bytes_.getvalue())
    codec = _rows_codec(schema.text)
    if count == 0:
        return codec_for(schema).decode(pa.array([], pa.binary())).to_arrow()
    bodies = pa.array([b"".join([_long(count), *parts, b"\0"])], pa.binary())
    frame = codec.decode(bodies)
    if not codec.encode(frame).equals(bodies):
        raise CodecError(Text("the records' bytes are not exact", "các byte của bản ghi không chính xác"))
    return frame["rows"].explode().struct.unnest().to_arrow()


def _by_rows(body: bytes, schema: Schema, limits: Limits) -> pa.Table:
    """The writer's schema differs, or has types that don't go by columns: fastavro resolves it record by record."""
    codec = RowCodec(schema)
    records: list[Any] = []
    reader = fastavro.block_reader(io.BytesIO(body), reader_schema=schema.definition, return_named_type=True)
    for block in reader:
        data: Any = block
        check_count(len(records) + data.num_records, limits)
        records += [codec.placed(record) for record in data]
        if data.bytes_.read(1):
            raise CodecError(Text("a block has bytes after its records", "một khối có byte thừa sau các bản ghi"))
    return pa.Table.from_pylist(records, schema=arrow_schema(schema.definition))


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
