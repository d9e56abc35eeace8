"""Bodies written under one schema as bodies of another, by Avro's schema resolution: how a record of an older contract version is
read today. Row by row through fastavro; only records that were written before the newest version pay for it.
"""

from __future__ import annotations

import io

import fastavro
import pyarrow as pa

from registry.errors import CodecError, Text
from registry.schema import Schema


def resolve(bodies: pa.BinaryArray, writer: Schema, reader: Schema) -> pa.BinaryArray:
    """The same records under `reader`. Raises CodecError with the first index that can't be read so."""
    resolved: list[bytes] = []
    for index, body in enumerate(bodies.to_pylist()):
        out = io.BytesIO()
        try:
            record = fastavro.schemaless_reader(io.BytesIO(body), writer.definition, reader.definition)
            fastavro.schemaless_writer(out, reader.definition, record)
        except (ValueError, TypeError, EOFError, fastavro.read.SchemaResolutionError) as error:
            raise CodecError(
                Text(
                    "found a record of an older version that the newest schema can't read",
                    "bản ghi của phiên bản cũ không đọc được bằng lược đồ mới nhất",
                ),
                index,
            ) from error
        resolved.append(out.getvalue())
    return pa.array(resolved, pa.binary())
