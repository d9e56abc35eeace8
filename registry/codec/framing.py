"""The header that the Confluent convention puts before an Avro body: a zero byte and the schema's id, 4 bytes, big-endian.

By columns. Not here: what the ids mean (registry.store).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HEADER_BYTES = 5
_END = 2**31 - 1  # without a stop Arrow 26 sizes its buffer wrongly where values are shorter than the start


class Framed(NamedTuple):
    """Bodies of one schema; `rows` are their positions among the values."""

    schema_id: int
    rows: pa.Array
    bodies: pa.BinaryArray


def add(bodies: pa.BinaryArray, schema_id: int) -> pa.BinaryArray:
    """The bodies with the header of `schema_id` (0 to 2^31-1) before each."""
    header = pa.scalar(struct.pack(">bI", 0, schema_id), pa.binary())
    return pc.binary_join_element_wise(header, bodies, pa.scalar(b"", pa.binary()))


def strip(values: pa.BinaryArray) -> tuple[list[Framed], list[int]]:
    """(one group per schema id, in the order in which the ids first come; positions of values without a header)

    A null (tombstone) is in neither.
    """
    lengths = pc.binary_length(values)
    headers = pc.binary_slice(values, 0, HEADER_BYTES)
    framed = pc.and_(pc.greater_equal(lengths, HEADER_BYTES), pc.equal(pc.binary_slice(values, 0, 1), b"\0"))
    bad = pc.indices_nonzero(pc.invert(pc.fill_null(framed, True))).to_pylist()
    rows = pc.indices_nonzero(pc.fill_null(framed, False))
    if len(rows) == 0:
        return [], bad
    if len(rows) < len(values):
        values, headers = values.take(rows), headers.take(rows)
    bodies = pc.binary_slice(values, HEADER_BYTES, _END)
    encoded = headers.dictionary_encode()
    ids = [struct.unpack(">I", header[1:])[0] for header in encoded.dictionary.to_pylist()]
    if len(ids) == 1:
        return [Framed(ids[0], rows, bodies)], bad
    codes = encoded.indices.to_numpy()
    groups = [pa.array(np.nonzero(codes == code)[0]) for code in range(len(ids))]
    return [Framed(i, rows.take(g), bodies.take(g)) for i, g in zip(ids, groups, strict=True)], bad
