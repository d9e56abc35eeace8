"""Files cut into batches to publish, each record's bytes as they are. What a record means isn't looked at: the bus judges."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from bus.errors import InvalidRequest
from registry.errors import Problem, Text

RECORDS_MAX = 10_000  # a batch that a person sees go by, and far below the bus's limit
BYTES_MAX = 16 * 2**20


class Kind(StrEnum):
    NDJSON = "ndjson"
    JSON = "json"
    AVRO = "avro"
    ARROW = "arrow"


MEDIA_TYPES = {
    Kind.NDJSON: "application/x-ndjson",
    Kind.JSON: "application/json",
    Kind.AVRO: "application/avro",
    Kind.ARROW: "application/vnd.apache.arrow.stream",
}

EXTENSIONS = {
    ".ndjson": Kind.NDJSON,
    ".jsonl": Kind.NDJSON,
    ".json": Kind.JSON,
    ".avro": Kind.AVRO,
    ".arrow": Kind.ARROW,
    ".arrows": Kind.ARROW,
    ".ipc": Kind.ARROW,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """A body to send, and how many records it holds. `at_bytes` is how far the file has been read."""

    body: bytes
    records: int
    at_bytes: int


def kind_of(path: Path) -> Kind:
    """By the file's extension. Raises InvalidRequest for one that says nothing."""
    kind = EXTENSIONS.get(path.suffix.lower())
    if kind is None:
        names = ", ".join(EXTENSIONS)
        raise InvalidRequest(
            Text(f"{path.name}: expected one of {names}, or --type", f"{path.name}: cần đuôi {names}, hoặc --type")
        )
    return kind


def cut(file: BinaryIO, kind: Kind) -> Iterator[Batch]:
    """The file in batches of at most RECORDS_MAX records. Raises InvalidRequest where it can't be taken apart."""
    cutters: dict[Kind, Callable[[BinaryIO], Iterator[Batch]]] = {
        Kind.NDJSON: _lines,
        Kind.JSON: _array,
        Kind.AVRO: _blocks,
        Kind.ARROW: _columns,
    }
    return cutters[kind](file)


def _lines(file: BinaryIO) -> Iterator[Batch]:
    yield from _gathered((line for line in file if line.strip()), b"", b"", b"")


def _array(file: BinaryIO) -> Iterator[Batch]:
    import msgspec

    try:
        records = msgspec.json.decode(file.read(), type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable("a JSON array", "một mảng JSON") from error
    yield from _gathered((bytes(record) for record in records), b"[", b",", b"]")


def _gathered(records: Iterator[bytes], opening: bytes, between: bytes, closing: bytes) -> Iterator[Batch]:
    held: list[bytes] = []
    size = at = 0
    for record in records:
        if held and (len(held) == RECORDS_MAX or size + len(record) > BYTES_MAX):
            yield Batch(opening + between.join(held) + closing, len(held), at)
            held, size = [], 0
        held.append(record)
        size += len(record)
        at += len(record)
    if held:
        yield Batch(opening + between.join(held) + closing, len(held), at)


def _blocks(file: BinaryIO) -> Iterator[Batch]:
    """The container's own blocks, copied, so that not a byte of a record is written anew."""
    import fastavro
    from fastavro._write_py import Writer

    try:
        reader = fastavro.block_reader(file)
        held: list[Any] = []
        records = 0
        for block in reader:
            if held and records + block.num_records > RECORDS_MAX:
                yield _container(Writer, reader, held, records, file.tell())
                held, records = [], 0
            held.append(block)
            records += block.num_records
    except (ValueError, EOFError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise _unreadable("an Avro object container", "một tệp Avro") from error
    if held:
        yield _container(Writer, reader, held, records, file.tell())


def _container(writer: Any, reader: Any, blocks: list[Any], records: int, at: int) -> Batch:
    target = io.BytesIO()
    made = writer(target, reader.writer_schema, codec=reader.codec)
    for block in blocks:
        made.write_block(block)
    made.flush()
    return Batch(target.getvalue(), records, at)


def _columns(file: BinaryIO) -> Iterator[Batch]:
    """An Arrow stream or an Arrow file, by its first bytes."""
    import pyarrow as pa

    content = file.read()
    try:
        open_it = pa.ipc.open_file if content.startswith(b"ARROW1") else pa.ipc.open_stream
        with open_it(io.BytesIO(content)) as reader:
            table = reader.read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable("an Arrow stream or file", "một luồng hoặc tệp Arrow") from error
    done = 0
    for batch in table.to_batches(max_chunksize=RECORDS_MAX):
        target = io.BytesIO()
        with pa.ipc.new_stream(target, batch.schema) as writer:
            writer.write_batch(batch)
        done += batch.num_rows
        yield Batch(target.getvalue(), batch.num_rows, len(content) * done // max(1, table.num_rows))


def _unreadable(en: str, vi: str) -> InvalidRequest:
    message = Text(f"the file isn't {en}, or ends too early", f"tệp không phải là {vi} hoặc bị cắt cụt")
    return InvalidRequest(message, [Problem("file", "file_unreadable", message)])
