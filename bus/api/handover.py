"""Records as they leave: NDJSON, an Avro object container or an Arrow stream, all with the same columns."""

from __future__ import annotations

import io
import json
import secrets
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa

from bus.catalogue import Catalogue, decode
from bus.deliver import Handover
from registry.codec import codec_for
from registry.schema import parse

NDJSON = "application/x-ndjson"
AVRO = "application/avro"
ARROW = "application/vnd.apache.arrow.stream"


def columns(catalogue: Catalogue, handover: Handover) -> pl.DataFrame:
    """cursor, key, op, value (a struct of the view's fields, null for a delete), version, published_at (UTC)."""
    view = handover.contract.views[handover.view]
    records = handover.records
    live = np.fromiter((value is not None for value in records.values), np.bool_, len(records))
    place = pl.Series(np.where(live, np.cumsum(live) - 1, -1)).replace({-1: None})
    values = [value for value in records.values if value is not None]
    frame = decode(catalogue, values, view.schema_id, view.codec)
    ids = pl.Series([int.from_bytes(v[1:5], "big") for v in values], dtype=pl.Int64)
    versions = ids.replace_strict(dict(handover.contract.versions), default=None, return_dtype=pl.String).gather(place)
    return pl.DataFrame(
        {
            "cursor": _cursors(handover),
            "key": pl.Series(records.keys, dtype=pl.Binary).cast(pl.String),
            "op": pl.Series(live).replace_strict({True: "upsert", False: "delete"}, return_dtype=pl.String),
            "value": frame.to_struct("value").gather(place),
            "version": versions.fill_null(handover.contract.contract.version),
            "published_at": pl.Series(records.timestamps, dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
        }
    )


def _cursors(handover: Handover) -> pl.Series:
    numbers = pl.int_range(len(handover.records), dtype=pl.Int64, eager=True).cast(pl.String)
    return (f"{handover.release}." + numbers).rename("cursor")


def ndjson(frame: pl.DataFrame) -> bytes:
    """A line per record, times as RFC 3339."""
    shown = frame.with_columns(pl.col("published_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), _times_as_text(frame))
    return shown.write_ndjson().encode()


def _times_as_text(frame: pl.DataFrame) -> pl.Expr:
    value = frame.schema["value"]
    assert isinstance(value, pl.Struct)
    stamps = [f.name for f in value.fields if isinstance(f.dtype, pl.Datetime)]
    column = pl.col("value")
    if not stamps:
        return column
    return column.struct.with_fields(*(pl.field(n).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ") for n in stamps))


def arrow(frame: pl.DataFrame) -> bytes:
    """An Arrow IPC stream of one batch."""
    table = frame.to_arrow()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def avro(frame: pl.DataFrame, view_schema: dict[str, Any] | str) -> bytes:
    """An Avro object container whose records wrap the view's."""
    schema = parse(
        json.dumps(
            {
                "type": "record",
                "name": "Delivery",
                "namespace": "lgsp",
                "fields": [
                    {"name": "cursor", "type": "string"},
                    {"name": "key", "type": "string"},
                    {"name": "op", "type": {"type": "enum", "name": "Op", "symbols": ["upsert", "delete"]}},
                    {
                        "name": "value",
                        "type": ["null", json.loads(view_schema) if isinstance(view_schema, str) else view_schema],
                    },
                    {"name": "version", "type": "string"},
                    {"name": "published_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
                ],
            }
        )
    )
    marker = secrets.token_bytes(16)
    sink = io.BytesIO()
    fastavro.writer(sink, schema.definition, [], sync_marker=marker)
    if frame.height:
        block = b"".join(codec_for(schema).encode(frame).to_pylist())
        sink.write(_long(frame.height) + _long(len(block)) + block + marker)
    return sink.getvalue()


def _long(number: int) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()
