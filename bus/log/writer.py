"""Appending to the log: batches in, positions out, and no answer before Kafka's acknowledgement.

Order per partition is the order of the calls. The producer is idempotent and waits for all in-sync replicas; correctness above
this doesn't rest on transactions (no Python client speaks the current protocol).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException, Producer

from bus.errors import LogUnavailable, Text
from bus.log.connection import KafkaConnection

logger = logging.getLogger(__name__)

IN_FLIGHT_RECORDS_MAX = 200_000  # what one process may hold unacknowledged; then append() waits
PIECE_RECORDS = 10_000
RENEWAL_S = 5.0
PARTITION_BY_KEY = -1
Header = tuple[str, bytes]


class Headers(Protocol):
    """The headers of each record of a batch, by its index."""

    def __getitem__(self, index: int, /) -> Sequence[Header] | None: ...


@dataclass(slots=True)
class Append:
    """Some records on their way. `wait()` returns where they are: partition → [first, next] offset."""

    expected: int
    positions: dict[int, list[int]] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)  # of each record, where each has headers of its own
    each: bool = False
    error: KafkaError | None = None
    _done: threading.Event = field(default_factory=threading.Event)

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        """Kafka's word on one record. On the polling thread alone, so that nothing here needs a lock."""
        if error is not None:
            self.error = error
        else:
            partition, offset = message.partition(), message.offset()
            if self.each:
                self.offsets.append(offset)
            span = self.positions.get(partition)
            if span is None:
                self.positions[partition] = [offset, offset + 1]
            else:
                span[1] = offset + 1
        self.expected -= 1
        if self.expected == 0:
            self._done.set()

    def wait(self, timeout_s: float) -> dict[int, list[int]]:
        """Raises LogUnavailable when not all records were acknowledged in time: none of them counts as accepted then."""
        if self.expected and not self._done.wait(timeout_s):
            raise LogUnavailable(
                Text(
                    f"Kafka did not acknowledge within {timeout_s:g} s; send the same again",
                    f"Kafka không xác nhận trong {timeout_s:g} giây; hãy gửi lại",
                )
            )
        if self.error is not None:
            raise LogUnavailable(
                Text(
                    f"Kafka did not take the records ({self.error.name()}); send the same again",
                    f"Kafka không nhận bản ghi ({self.error.name()}); hãy gửi lại",
                )
            )
        return self.positions


class _Last:
    """Headers for one record of a batch alone."""

    __slots__ = ("_at", "_headers")

    def __init__(self, at: int, headers: Sequence[Header]) -> None:
        self._at = at
        self._headers = headers

    def __getitem__(self, index: int) -> Sequence[Header] | None:
        return self._headers if index == self._at else None


class Writer:
    """One producer for the process, polled by a thread of its own. Safe for threads."""

    def __init__(self, connection: KafkaConnection, *, timeout_s: float, message_bytes_max: int = 2**20) -> None:
        self._settings = connection.librdkafka() | {
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # the Java clients' choice of partition for a key
            "compression.type": "lz4",
            "linger.ms": 1,  # a single record shouldn't wait for company
            "batch.num.messages": 10_000,
            "batch.size": 900_000,
            "queue.buffering.max.messages": IN_FLIGHT_RECORDS_MAX * 2,
            "queue.buffering.max.kbytes": 262_144,
            "message.max.bytes": message_bytes_max,  # the dead letter takes a record of any size that came in
            "message.timeout.ms": int(timeout_s * 1000),
            "error_cb": self._on_error,
        }
        self.timeout_s = timeout_s
        self._lock = threading.Lock()  # one append at a time enters the queue, whole
        self._room = threading.BoundedSemaphore(IN_FLIGHT_RECORDS_MAX // PIECE_RECORDS)
        self._producer = Producer(self._settings)
        self._fatal = False
        self._refused: deque[tuple[_Piece, KafkaError]] = (
            deque()
        )  # what the queue didn't take, told on the polling thread too
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="log-writer", daemon=True)
        self._thread.start()

    def append(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        *,
        partition: int | None = None,
        headers: Headers | None = None,
        last_headers: Sequence[Header] | None = None,
        timestamps: Sequence[int] | None = None,
    ) -> Append:
        """Put records in the queue; `wait()` on what comes back.

        Without `partition` the key decides. `headers` are one list a record; `last_headers` go on the last record alone, which
        says once per batch what would cost a third of the speed on each. `timestamps` are epoch milliseconds, now where there
        are none. Raises LogUnavailable when the queue stays full.
        """
        append = Append(len(keys), each=headers is not None)
        if last_headers is not None and keys:
            headers = _Last(len(keys) - 1, last_headers)
        with self._lock:
            self._renew_if_fatal()
            for begin in range(0, len(keys), PIECE_RECORDS):
                end = min(begin + PIECE_RECORDS, len(keys))
                if not self._room.acquire(timeout=self.timeout_s):
                    raise LogUnavailable(
                        Text("too much waits for Kafka; try again", "quá nhiều bản ghi đang chờ Kafka; hãy thử lại")
                    )
                piece = _Piece(append, end - begin, self._room)
                self._put(topic, keys, values, range(begin, end), partition, timestamps, headers, piece)
        return append

    def close(self) -> None:
        """Wait for what is under way; nobody appends any more."""
        self._closed.set()
        self._thread.join()
        self._producer.flush(self.timeout_s)

    def _put(
        self,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        span: range,
        partition: int | None,
        timestamps: Sequence[int] | None,
        headers: Headers | None,
        piece: _Piece,
    ) -> None:
        """One call a record: as fast as the client's batch call, which takes neither headers nor timestamps."""
        where = PARTITION_BY_KEY if partition is None else partition
        produce, delivered = self._producer.produce, piece.delivered
        for i in span:
            at = 0 if timestamps is None else timestamps[i]
            with_headers = None if headers is None else headers[i]
            try:
                if with_headers:
                    produce(topic, values[i], keys[i], where, delivered, timestamp=at, headers=list(with_headers))
                else:
                    produce(topic, values[i], keys[i], where, delivered, timestamp=at)
            except KafkaException as error:
                self._refused.append((piece, error.args[0]))
            except BufferError:
                self._refused.append((piece, KafkaError(KafkaError._QUEUE_FULL)))

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)
            while self._refused:
                piece, error = self._refused.popleft()
                piece.delivered(error, None)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = True
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            logger.warning("kafka: %s", error.name())

    def _renew_if_fatal(self) -> None:
        if self._fatal:
            logger.warning("the producer is beyond use; a new one takes over")
            used, self._producer = self._producer, Producer(self._settings)
            self._fatal = False
            used.purge()  # what it still held is told as failed, on this thread: the polling one has the new producer
            used.flush(RENEWAL_S)


class _Piece:
    """Counts one piece's acknowledgements and gives its room back when the last has come."""

    __slots__ = ("_append", "_left", "_room")

    def __init__(self, append: Append, records: int, room: threading.BoundedSemaphore) -> None:
        self._append = append
        self._left = records
        self._room = room

    def delivered(self, error: KafkaError | None, message: Any) -> None:
        self._append.delivered(error, message)
        self._left -= 1
        if self._left == 0:
            self._room.release()
