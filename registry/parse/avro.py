"""Avro object containers. Records of the contract's own schema are decoded by columns in one go, others one by one."""

from __future__ import annotations

import io
import json
from functools import lru_cache

import fastavro
import pyarrow as pa
from fastavro.read import SchemaResolutionError

from registry.codec import columnar
from registry.codec.columnar import ColumnarCodec
from registry.codec.frame import Definition, arrow_schema
from registry.codec.row import UNREADABLE, RowCodec
from registry.contract import Contract
from registry.errors import CodecError, SchemaInvalid, Text
from registry.parse.container import Block, Damaged, open_container
from registry.parse.result import Limits, Parsed, body_invalid, check_count, record_too_large
from registry.parse.table import check_table
from registry.schema import Schema, parse


def parse_avro_container(body: bytes, contract: Contract, limits: Limits | None = None) -> Parsed:
    """An Avro object container, plain or deflated, written with the contract's schema or one that it can read. Raises
    BodyInvalid on a truncated or damaged container, and on bytes that belong to no record."""
    limits = limits or Limits()
    try:
        container = open_container(body)
        writer = parse(container.schema)
        count, blocks = 0, []
        for block in container.blocks(limits.unpacked_bytes_max):
            count += block.records
            check_count(count, limits)
            blocks.append(block)
        if writer.canonical == contract.schema.canonical and columnar.supports(contract.schema):
            table = _by_columns(blocks, contract.schema)
        else:
            table = _by_rows(blocks, writer, contract.schema, limits)
    except (Damaged, CodecError, SchemaInvalid, SchemaResolutionError, *UNREADABLE) as error:
        raise body_invalid(
            "avro",
            "not an Avro container of this contract's records, or damaged",
            "không phải tệp Avro chứa bản ghi của hợp đồng này, hoặc bị hỏng",
        ) from error
    return check_table(table, contract)


def _by_columns(blocks: list[Block], schema: Schema) -> pa.Table:
    """A block is its records one after the other: as Avro writes an array, but for the count before and the 0 after. So all
    blocks together are one record that holds an array."""
    count = sum(block.records for block in blocks)
    if count == 0:
        if any(block.data for block in blocks):
            raise Damaged
        return arrow_schema(schema.definition).empty_table()
    codec = _rows_codec(schema.text)
    bodies = pa.array([b"".join([_long(count), *(block.data for block in blocks), b"\0"])], pa.binary())
    frame = codec.decode(bodies)
    if not codec.encode(frame).equals(bodies):
        raise CodecError(Text("the records' bytes are not exact", "các byte của bản ghi không chính xác"))
    return frame["rows"].explode().struct.unnest().to_arrow().cast(arrow_schema(schema.definition))


def _by_rows(blocks: list[Block], writer: Schema, reader: Schema, limits: Limits) -> pa.Table:
    """The writer's schema differs, or has types that don't go by columns: fastavro resolves it record by record.

    The schema comes from outside: one that contains itself would overflow the stack, and what takes no bytes could be had
    any number of times. A page at a time is Python's objects, which take a hundred times the bytes.
    """
    arrow_schema(writer.definition)
    if _has_weightless(writer.definition):
        raise Damaged
    codec, schema = RowCodec(reader), arrow_schema(reader.definition)
    pages = [schema.empty_table()]
    for block in blocks:
        at, left = 0, block.records
        while left:
            page = io.BytesIO(block.data[at : at + limits.record_bytes_max])
            records, end = [], 0
            try:
                while left:
                    record = fastavro.schemaless_reader(
                        page, writer.definition, reader.definition, return_named_type=True
                    )
                    records.append(codec.placed(record))
                    end, left = page.tell(), left - 1
            except UNREADABLE as error:
                if at + limits.record_bytes_max >= len(block.data):
                    raise
                if not records:  # else it may be the page's end that cut this one
                    raise (record_too_large(limits) if isinstance(error, EOFError) else error) from None
            at += end
            pages.append(pa.Table.from_pylist(records, schema=schema))
        if at != len(block.data):
            raise Damaged
    return pa.concat_tables(pages)


def _has_weightless(node: Definition) -> bool:
    """Whether something other than a union's null takes no bytes."""
    if isinstance(node, list):
        return any(_has_weightless(branch) for branch in node if branch != "null")
    if not isinstance(node, dict):
        return bool(node == "null")
    if node["type"] == "fixed":
        return bool(node["size"] == 0)
    if node["type"] in ("record", "error"):
        return not node["fields"] or any(_has_weightless(field["type"]) for field in node["fields"])
    inner = [node[k] for k in ("items", "values") if k in node]
    return any(_has_weightless(one) for one in inner) or (node["type"] != "enum" and _has_weightless(node["type"]))


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
    value, out = number << 1, bytearray()
    while value & ~0x7F:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
