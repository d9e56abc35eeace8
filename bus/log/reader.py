"""Reading the log: a follower that goes on from an offset, and a bounded pool of consumers for those who ask now and then.

Nobody here joins a consumer group: where to go on is known from the database or the topics, and is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from bus.errors import LogUnavailable, Text
from bus.log.connection import KafkaConnection
from bus.log.position import Positions

READ_TIMEOUT_S = 10.0
POOL_WAIT_MS = 100  # a consumer that is moved must first let its last request come back
Place = tuple[str, int]  # topic, partition
TICK_S = 0.1


@dataclass(slots=True)
class Records:
    """Records by columns, each partition's in its order. A `None` value is a tombstone; times are epoch milliseconds."""

    topics: list[str] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    headers: list[list[tuple[str, bytes]] | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.offsets)

    @classmethod
    def of(cls, messages: Sequence[Any], *, with_headers: bool = False) -> Records:
        """The messages' records in their order; a comprehension a column is twice as fast as a call a record."""
        return cls(
            topics=[m.topic() for m in messages],
            partitions=[m.partition() for m in messages],
            offsets=[m.offset() for m in messages],
            timestamps=[m.timestamp()[1] for m in messages],
            keys=[m.key() or b"" for m in messages],
            values=[m.value() for m in messages],
            headers=[m.headers() for m in messages] if with_headers else [],
        )

    def below(self, until: Mapping[int, int]) -> Records:
        """The records before the given offset of their partition."""
        kept = [i for i, (p, o) in enumerate(zip(self.partitions, self.offsets, strict=True)) if o < until[p]]
        return Records(
            topics=[self.topics[i] for i in kept],
            partitions=[self.partitions[i] for i in kept],
            offsets=[self.offsets[i] for i in kept],
            timestamps=[self.timestamps[i] for i in kept],
            keys=[self.keys[i] for i in kept],
            values=[self.values[i] for i in kept],
        )


def _consumer(
    connection: KafkaConnection, *, prefetch_kbytes: int, prefetch_records: int, wait_ms: int = 250
) -> Consumer:
    return Consumer(
        connection.librdkafka()
        | {
            "group.id": "lgsp-unused",  # librdkafka demands a name; nothing is committed under it
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # an offset that is gone is said, never skipped
            "enable.partition.eof": True,
            "fetch.queue.backoff.ms": 5,  # the default of 1,000 holds a reader at a third of its speed
            "fetch.error.backoff.ms": 50,
            "queued.min.messages": prefetch_records,
            "queued.max.messages.kbytes": prefetch_kbytes,
            "fetch.message.max.bytes": 4 * 2**20,
            "fetch.wait.max.ms": wait_ms,
            "check.crcs": True,
        }
    )


class Follower:
    """Follows all partitions of one topic from given offsets; what a worker reads. One thread only."""

    def __init__(self, connection: KafkaConnection, topic: str, offsets: Mapping[int, int]) -> None:
        self._consumer = _consumer(connection, prefetch_kbytes=65_536, prefetch_records=200_000)
        self._consumer.assign([TopicPartition(topic, p, o) for p, o in offsets.items()])

    def read(self, records_max: int, timeout_s: float) -> Records:
        """Up to `records_max` records; returns what is there as soon as there is something, or empty after `timeout_s`."""
        # consume(n) waits for n or the timeout; so the first is awaited alone, and what else is there is then taken at once.
        first = self._consumer.poll(timeout_s)
        if first is None:
            return Records()
        messages = [first, *self._consumer.consume(records_max - 1, 0.0)]
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                _raise_unless_passing(error)
        return Records.of([message for message in messages if message.error() is None])

    def close(self) -> None:
        self._consumer.close()


class Readers:
    """A bounded pool of consumers for reads that begin anywhere. Safe for threads; a read waits for a free consumer."""

    def __init__(self, connection: KafkaConnection, consumers_max: int) -> None:
        self._connection = connection
        self._consumers_max = consumers_max
        self._made = 0
        self._free = threading.Semaphore(consumers_max)
        self._idle: list[tuple[Consumer, dict[Place, int]]] = []
        self._lock = threading.Lock()

    def read(self, start: Positions, end: Positions, records_max: int, *, with_headers: bool = False) -> Records:
        """Up to `records_max` records from `start` to before `end`, sorted by topic, partition, offset.

        All records of `end` were acknowledged before the call, so that the read ends: raises LogUnavailable when the brokers don't
        hand them over in time or the start is older than what they keep.
        """
        wanted = {
            (topic, p): (begin, end[topic][p])
            for topic, offsets in start.items()
            for p, begin in enumerate(offsets)
            if topic in end and begin < end[topic][p]
        }
        if not wanted:
            return Records()
        places = {(topic, p): begin for topic, offsets in start.items() for p, begin in enumerate(offsets)}
        with self._borrow(places) as (consumer, reached):
            records, exact = _read(consumer, wanted, records_max, with_headers)
            if exact:  # where the consumer stands is known, so that the next read that begins there needn't move it
                reached |= places
                for topic, partition, offset in zip(records.topics, records.partitions, records.offsets, strict=True):
                    reached[topic, partition] = offset + 1
        return records

    def close(self) -> None:
        with self._lock:
            for consumer, _ in self._idle:
                consumer.close()
            self._made -= len(self._idle)
            self._idle.clear()

    @contextmanager
    def _borrow(self, places: Mapping[Place, int]) -> Iterator[tuple[Consumer, dict[Place, int]]]:
        """A consumer that stands at `places`: one that is there already, waiting for what comes, else one that is moved there.

        It's assigned to all places of the reader, those without news too: the next record may come in any of them.
        """
        if not self._free.acquire(timeout=READ_TIMEOUT_S):
            raise LogUnavailable(
                Text("too many readers at once; try again", "quá nhiều lượt đọc cùng lúc; hãy thử lại")
            )
        try:
            consumer = self._choose(places)
            reached: dict[Place, int] = {}
            try:
                yield consumer, reached
            except BaseException:
                consumer.close()
                with self._lock:
                    self._made -= 1
                raise
            with self._lock:
                self._idle.append((consumer, reached))
        finally:
            self._free.release()

    def _choose(self, places: Mapping[Place, int]) -> Consumer:
        with self._lock:
            at = next((i for i, (_, stands) in enumerate(self._idle) if stands == places), None)
            if at is not None:
                return self._idle.pop(at)[0]
            full = self._made >= self._consumers_max and self._idle
            consumer = self._idle.pop(0)[0] if full else None  # the one that rests longest
            self._made += consumer is None
        if consumer is None:
            consumer = _consumer(self._connection, prefetch_kbytes=8_192, prefetch_records=20_000, wait_ms=POOL_WAIT_MS)
        consumer.assign([TopicPartition(topic, p, begin) for (topic, p), begin in places.items()])
        return consumer


def _read(
    consumer: Consumer,
    wanted: Mapping[Place, tuple[int, int]],
    records_max: int,
    with_headers: bool,
) -> tuple[Records, bool]:
    """The records, and whether the consumer took no more than those."""
    taken: list[Any] = []
    going = dict(wanted)
    over = False
    deadline = time.monotonic() + READ_TIMEOUT_S
    while going and len(taken) < records_max:
        # consume(n) waits for n or the timeout: asked for just what is there, it returns with the last of it.
        there = sum(after - begin for begin, after in wanted.values()) - len(taken)
        messages = consumer.consume(max(1, min(records_max - len(taken), there, 10_000)), TICK_S if not taken else 0.02)
        if not messages and time.monotonic() > deadline:
            raise LogUnavailable(Text("Kafka does not hand over; try again", "Kafka không trả dữ liệu; hãy thử lại"))
        for message in messages:
            place = (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    if place in going and message.offset() >= going[place][1]:
                        del going[place]
                    continue
                _raise_unless_passing(error)
                continue
            if place not in wanted or message.offset() >= wanted[place][1]:
                over = True
                going.pop(place, None)
                continue
            taken.append(message)
            if message.offset() + 1 >= wanted[place][1]:
                going.pop(place, None)
    taken.sort(key=lambda m: (m.topic(), m.partition(), m.offset()))
    return Records.of(taken, with_headers=with_headers), not over


def _raise_unless_passing(error: KafkaError) -> None:
    """Lost connections heal by themselves; the caller's deadline bounds the wait."""
    if error.code() in (
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
    ):
        return
    if error.retriable():
        return
    raise LogUnavailable(
        Text(f"reading from Kafka failed ({error.name()})", f"đọc từ Kafka thất bại ({error.name()})")
    ) from KafkaException(error)


def scan(
    connection: KafkaConnection, start: Positions, end: Positions, *, with_headers: bool = False
) -> Iterator[Records]:
    """Every record from `start` to before `end`, in pieces, each partition in its order; what a worker rebuilds its memory from.

    All of `end` was acknowledged before. Raises LogUnavailable when nothing comes for a while.
    """
    going = {
        (topic, p): (begin, end[topic][p])
        for topic, offsets in start.items()
        for p, begin in enumerate(offsets)
        if begin < end[topic][p]
    }
    if not going:
        return
    consumer = _consumer(connection, prefetch_kbytes=65_536, prefetch_records=200_000)
    try:
        consumer.assign([TopicPartition(t, p, begin) for (t, p), (begin, _) in going.items()])
        deadline = time.monotonic() + READ_TIMEOUT_S
        while going:
            found: list[Any] = []
            for message in consumer.consume(50_000, TICK_S):
                place, error = (message.topic(), message.partition()), message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    _raise_unless_passing(error)
                elif place in going:
                    if error is None and message.offset() < going[place][1]:
                        found.append(message)
                    if message.offset() + (error is None) >= going[place][1]:
                        del going[place]
            if found:
                deadline = time.monotonic() + READ_TIMEOUT_S
                yield Records.of(found, with_headers=with_headers)
            elif time.monotonic() > deadline:
                raise LogUnavailable(
                    Text("Kafka does not hand over; try again", "Kafka không trả dữ liệu; hãy thử lại")
                )
    finally:
        consumer.close()
