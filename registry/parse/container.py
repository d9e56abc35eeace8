"""The frame of an Avro object container (Avro 1.12, "Object Container Files"): header, blocks, sync markers.

fastavro reads these too, but unpacks a block to whatever size it has, lets trailing bytes pass and doesn't look at the magic
number; here what comes from outside is bounded and exact. Not here: the records (registry.parse.avro).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
META_ENTRIES_MAX = 100


class Damaged(ValueError):
    """Not a container, cut short, or unpacking to more than was allowed."""


class Block(NamedTuple):
    """`records` of them in `data`, unpacked."""

    records: int
    data: bytes


@dataclass
class Container:
    """`schema` is the writer's, as its JSON."""

    schema: Any
    _codec: str
    _sync: bytes
    _source: Source

    def blocks(self, unpacked_bytes_max: int) -> Iterator[Block]:
        """Raises Damaged where they aren't as the format says, to the last byte."""
        left = unpacked_bytes_max
        while self._source.more():
            count, size = self._source.long(), self._source.long()
            if count < 0:
                raise Damaged
            data = self._source.take(size)
            if self._source.take(SYNC_BYTES) != self._sync:
                raise Damaged
            if self._codec == "deflate":
                data = _inflated(data, left)
            left -= len(data)
            if left < 0:
                raise Damaged
            yield Block(count, data)


def open_container(body: bytes) -> Container:
    """Read the header. Raises Damaged; codecs other than null and deflate are Damaged too."""
    source = Source(body)
    if source.take(4) != MAGIC:
        raise Damaged
    meta: dict[str, bytes] = {}
    while (entries := source.long()) != 0:
        if entries < 0:  # then the size of the entries in bytes follows, which nobody needs
            entries = -entries
            source.long()
        if entries + len(meta) > META_ENTRIES_MAX:
            raise Damaged
        for _ in range(entries):
            name = source.take(source.long())
            meta[name.decode("utf-8", "replace")] = source.take(source.long())
    codec = meta.get("avro.codec", b"null").decode("ascii", "replace")
    if codec not in ("null", "deflate"):
        raise Damaged
    try:
        schema = json.loads(meta["avro.schema"])
    except (KeyError, ValueError, RecursionError):
        raise Damaged from None
    return Container(schema, codec, source.take(SYNC_BYTES), source)


class Source:
    """Bytes that are taken from the front."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def more(self) -> bool:
        return self._at < len(self._body)

    def take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._body):
            raise Damaged
        self._at += size
        return self._body[self._at - size : self._at]

    def long(self) -> int:
        """Avro's zig-zag variable-length long."""
        value = 0
        for shift in range(0, 64, 7):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)
        raise Damaged


def _inflated(data: bytes, size_max: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=-15)
    try:
        out = unpacker.decompress(data, size_max + 1)
    except zlib.error:
        raise Damaged from None
    # fastavro leaves three bytes of zlib's checksum behind the data.
    if not unpacker.eof or len(unpacker.unused_data) > 4:
        raise Damaged
    return out
