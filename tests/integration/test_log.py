"""The log on a real broker: what is acknowledged is there, in order, and can be read from anywhere."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bus.embedded.kafka import KafkaAddress
from bus.errors import Conflict, LogUnavailable
from bus.log.connection import KafkaConnection
from bus.log.reader import Follower, Readers, scan
from bus.log.topics import Topics, data_topic, dlq_topic, view_topic
from bus.log.writer import Writer
from bus.settings import Settings
from registry.contract import TopicPolicy

COMPACT = TopicPolicy(partitions=2, cleanup="compact", retention_ms=None)


@pytest.fixture(scope="module")
def connection(kafka: KafkaAddress) -> KafkaConnection:
    return KafkaConnection(kafka.bootstrap, kafka.username, kafka.password)


@pytest.fixture(scope="module")
def topics(connection: KafkaConnection) -> Iterator[Topics]:
    made = Topics(connection, Settings())
    yield made
    made.close()


@pytest.fixture(scope="module")
def writer(connection: KafkaConnection) -> Iterator[Writer]:
    made = Writer(connection, timeout_s=20)
    yield made
    made.close()


@pytest.fixture(scope="module")
def readers(connection: KafkaConnection) -> Iterator[Readers]:
    made = Readers(connection, 2)
    yield made
    made.close()


@pytest.fixture
def topic(topics: Topics) -> str:
    name = f"data.test.{uuid.uuid4().hex}.v1"
    topics.ensure(name, COMPACT)
    return name


def test_topics_are_named_after_contract_major_view_and_instance() -> None:
    assert data_topic("population/resident", 1) == "data.population.resident.v1"
    assert dlq_topic("population/resident", 2) == "dlq.population.resident.v2"
    assert view_topic("population/resident", 1, "residence", "18073") == "view.population.resident.v1.residence.18073"
    odd = view_topic("population/resident", 1, "residence", "phường Thành Sen")
    assert odd.startswith("view.population.resident.v1.residence.")
    assert odd.isascii()


def test_what_is_acknowledged_is_read_in_order_per_key(
    topic: str, topics: Topics, writer: Writer, readers: Readers
) -> None:
    keys = [b"k%d" % (i % 100) for i in range(25_000)]
    values = [b"%d" % i for i in range(25_000)]
    positions = writer.append(topic, keys, values).wait(20)
    ends = topics.end_offsets([topic])
    assert {p: [0, e] for p, e in enumerate(ends[topic])} == positions
    records = readers.read({topic: [0, 0]}, ends, 100_000)
    assert len(records) == 25_000
    last: dict[bytes, int] = {}
    for key, value in zip(records.keys, records.values, strict=True):
        assert value is not None
        assert last.get(key, -1) < int(value)
        last[key] = int(value)


def test_a_read_goes_on_where_the_last_one_ended(topic: str, topics: Topics, writer: Writer, readers: Readers) -> None:
    writer.append(topic, [b"%d" % i for i in range(1_000)], [b"v"] * 1_000).wait(20)
    ends = topics.end_offsets([topic])
    at, seen = {topic: [0, 0]}, 0
    while records := readers.read(at, ends, 137):
        seen += len(records)
        for partition, offset in zip(records.partitions, records.offsets, strict=True):
            assert offset == at[topic][partition]
            at[topic][partition] = offset + 1
    assert seen == 1_000
    assert at == ends


def test_new_records_of_another_partition_are_not_missed(
    topic: str, topics: Topics, writer: Writer, readers: Readers
) -> None:
    """A consumer that stands where one partition goes on isn't taken for one that knows the other partition too."""
    writer.append(topic, [b"a"], [b"1"], partition=0).wait(20)
    assert len(readers.read({topic: [0, 0]}, topics.end_offsets([topic]), 10)) == 1
    writer.append(topic, [b"b"], [b"2"], partition=1).wait(20)
    found = readers.read({topic: [1, 0]}, topics.end_offsets([topic]), 10)
    assert found.keys == [b"b"]


def test_a_read_never_passes_the_end_that_it_was_given(topic: str, writer: Writer, readers: Readers) -> None:
    writer.append(topic, [b"k"] * 10, [b"%d" % i for i in range(10)], partition=0).wait(20)
    assert readers.read({topic: [2, 0]}, {topic: [5, 0]}, 100).offsets == [2, 3, 4]
    assert readers.read({topic: [5, 0]}, {topic: [10, 0]}, 100).offsets == [5, 6, 7, 8, 9]


def test_headers_of_each_record_and_of_a_batchs_last(
    topic: str, topics: Topics, writer: Writer, readers: Readers
) -> None:
    writer.append(topic, [b"a", b"b"], [b"1", None], partition=0, last_headers=[("lgsp-source", b"0:2")]).wait(20)
    writer.append(topic, [b"c"], [b"3"], partition=0, headers=[[("lgsp-class", b"format")]]).wait(20)
    records = readers.read({topic: [0, 0]}, topics.end_offsets([topic]), 10, with_headers=True)
    assert records.values == [b"1", None, b"3"]
    assert records.headers == [None, [("lgsp-source", b"0:2")], [("lgsp-class", b"format")]]


def test_a_follower_hears_of_a_record_at_once(topic: str, connection: KafkaConnection, writer: Writer) -> None:
    follower = Follower(connection, topic, {0: 0, 1: 0})
    try:
        assert not follower.read(10, 0.5)
        timer = threading.Timer(0.2, lambda: writer.append(topic, [b"k"], [b"v"]))
        timer.start()
        records = follower.read(10, 20)
        timer.join()
    finally:
        follower.close()
    assert records.keys == [b"k"]


def test_a_scan_sees_all_from_start_to_end_and_ends(topic: str, connection: KafkaConnection, writer: Writer) -> None:
    writer.append(topic, [b"k"] * 100, [b"%d" % i for i in range(100)], partition=1).wait(20)
    seen = [o for records in scan(connection, {topic: [0, 10]}, {topic: [0, 90]}) for o in records.offsets]
    assert seen == list(range(10, 90))
    assert not list(scan(connection, {topic: [0, 10]}, {topic: [0, 10]}))


def test_the_number_of_partitions_cannot_change_under_the_keys(topic: str, topics: Topics) -> None:
    assert topics.ensure(topic, COMPACT) == 2
    with pytest.raises(Conflict):
        topics.ensure(topic, TopicPolicy(partitions=3, cleanup="compact", retention_ms=None))


def test_offsets_at_a_time(topic: str, topics: Topics, writer: Writer) -> None:
    writer.append(topic, [b"k"], [b"1"], partition=0).wait(20)
    assert topics.offsets_at([topic], datetime(2020, 1, 1, tzinfo=UTC)) == {topic: [0, 0]}
    assert topics.offsets_at([topic], datetime(2100, 1, 1, tzinfo=UTC)) == {topic: [1, 0]}


def test_no_acknowledgement_means_a_retriable_error(kafka: KafkaAddress) -> None:
    del kafka
    nowhere = Writer(KafkaConnection("127.0.0.1:9"), timeout_s=1)
    append = nowhere.append("data.test.none.v1", [b"k"], [b"v"])
    with pytest.raises(LogUnavailable) as refused:
        append.wait(5)
    assert refused.value.retriable
    nowhere.close()


def test_brokers_that_do_not_answer_leave_no_thread_behind() -> None:
    before = set(threading.enumerate())
    nowhere = Topics(KafkaConnection("127.0.0.1:9"), Settings())
    for _ in range(2):
        with pytest.raises(LogUnavailable):
            nowhere.ping()
    nowhere.close()
    assert set(threading.enumerate()) <= before
