"""How much an Arrow IPC stream unpacks to, told by its messages' headers before anything is unpacked.

pyarrow makes room for whatever size a compressed buffer claims: 33 KB of zstd are 1 GB of zeros. The headers are flatbuffers
(Arrow columnar format, "Encapsulated message format" and Message.fbs), of which four fields are looked at here; pyarrow has
verified each message's layout by then. Not here: columns and their types (registry.parse.arrow).
"""

from __future__ import annotations

import struct

import pyarrow as pa

DICTIONARY_BATCH, RECORD_BATCH = 2, 3  # Message.fbs, union MessageHeader


def unpacked_bytes(body: bytes) -> int:
    """The bytes of all buffers of all batches after decompression. Raises pa.ArrowException, EOFError, ValueError where the
    body is no stream; a claim below zero counts as nothing, since pyarrow refuses it."""
    size = 0
    reader = pa.ipc.MessageReader.open_stream(body)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return size
        try:
            size += _message_bytes(message)
        except (struct.error, IndexError) as error:
            raise ValueError("a message's header can't be read") from error


def _message_bytes(message: pa.Message) -> int:
    header = memoryview(message.metadata)
    root = _u32(header, 0)
    kind_at, table = _field(header, root, 1), _reference(header, root, 2)
    kind = header[kind_at] if kind_at else 0
    if kind == DICTIONARY_BATCH:
        table = _reference(header, table, 1)
    elif kind != RECORD_BATCH:
        return 0
    if table == 0 or message.body is None:
        return 0
    body, size = memoryview(message.body), 0
    is_packed = _field(header, table, 3) != 0
    buffers = _reference(header, table, 2)
    for number in range(_u32(header, buffers) if buffers else 0):
        offset, length = struct.unpack_from("<qq", header, buffers + 4 + 16 * number)
        claimed = struct.unpack_from("<q", body, offset)[0] if is_packed and length >= 8 and offset >= 0 else -1
        size += max(claimed, length, 0)  # -1: this buffer was left as it is
    return size


def _field(view: memoryview, table: int, number: int) -> int:
    """Where the table keeps its field; 0 where it has none."""
    layout = table - struct.unpack_from("<i", view, table)[0]
    place = 4 + 2 * number
    if place >= struct.unpack_from("<H", view, layout)[0]:
        return 0
    offset = int(struct.unpack_from("<H", view, layout + place)[0])
    return table + offset if offset else 0


def _reference(view: memoryview, table: int, number: int) -> int:
    at = _field(view, table, number)
    return at + _u32(view, at) if at else 0


def _u32(view: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", view, at)[0])
