"""Views after a crash: what the topics hold beyond the stored positions is recognised, never written twice."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from sqlalchemy import delete

from bus.embedded.kafka import KafkaAddress
from bus.errors import StoreUnavailable
from bus.log.reader import scan
from bus.materialise import Plant, make_line, materialise, step
from bus.model import Op
from bus.outlets import Outlet, load_outlets, save
from bus.store.engine import make_engine
from bus.store.tables import view_positions
from tests.running import Running, resident, running_bus


@pytest.fixture(scope="module")
def still(kafka: KafkaAddress, postgres_module_dsn: str) -> Iterator[Running]:
    """A bus whose view workers don't run: the test does their work."""
    with running_bus(kafka, postgres_module_dsn, workers=False) as bus:
        yield bus


def outlets_of(bus: Running) -> list[Outlet]:
    active = bus.runtime.catalogue.active(bus.contract)
    return load_outlets(bus.runtime.engine, bus.contract, active.contract.major, 2)


def work_once(bus: Running, plant: Plant) -> None:
    """One batch with everything that the data topic holds beyond the stored position."""
    active = bus.runtime.catalogue.active(bus.contract)
    outlets = outlets_of(bus)
    line = make_line(plant, active, outlets)
    topic = active.data_topic
    end = bus.runtime.topics.end_offsets([topic])
    for records in scan(plant.connection, {topic: outlets[0].source}, end):
        step(plant, plant.engine, line, records)


def run_workers(bus: Running) -> None:
    """The real worker, until every outlet stands at the end of the data topic."""
    stop = threading.Event()
    worker = threading.Thread(target=materialise, args=(bus.runtime.plant, bus.contract, threading.Event(), stop))
    worker.start()
    end = bus.runtime.topics.end_offsets([bus.runtime.catalogue.active(bus.contract).data_topic])
    try:
        for _ in range(300):
            if all(outlet.source == next(iter(end.values())) for outlet in outlets_of(bus)):
                return
            threading.Event().wait(0.05)
        pytest.fail("the worker did not reach the end")
    finally:
        stop.set()
        worker.join()


def view_records(bus: Running, outlet: Outlet) -> list[tuple[int, bytes, bytes | None]]:
    ends = bus.runtime.topics.end_offsets([outlet.topic])
    return [
        (p, k, v)
        for records in scan(bus.runtime.connection, {outlet.topic: [0, 0]}, ends)
        for p, k, v in zip(records.partitions, records.keys, records.values, strict=True)
    ]


def test_a_batch_that_was_written_but_not_recorded_is_recognised(still: Running) -> None:
    still.subscribe("residence", "ward")
    still["publisher"].publish(still.contract, [resident(i) for i in range(300)])
    still["publisher"].publish(still.contract, [resident(i, permanent_commune="18100") for i in range(0, 300, 3)])
    nowhere = make_engine("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(StoreUnavailable):
        work_once(still, replace(still.runtime.plant, engine=nowhere))
    nowhere.dispose()
    written = {outlet.topic: view_records(still, outlet) for outlet in outlets_of(still)}
    assert sum(map(len, written.values())) > 0
    assert all(outlet.view == [0, 0] for outlet in outlets_of(still)), "nothing is recorded"
    run_workers(still)
    for outlet in outlets_of(still):
        assert view_records(still, outlet) == written[outlet.topic]
        assert sum(outlet.view) == len(written[outlet.topic])


def test_a_batch_that_was_cut_in_the_middle_is_completed(still: Running) -> None:
    run_workers(still)
    before = {outlet.topic: view_records(still, outlet) for outlet in outlets_of(still)}
    still["publisher"].publish(still.contract, [resident(1_000 + i) for i in range(50)])
    still["publisher"].publish(still.contract, ["042190001003"], op=Op.DELETE)
    whole = outlets_of(still)
    # What a crash leaves: the first outputs of one view's partition, no positions.
    active = still.runtime.catalogue.active(still.contract)
    identity = next(o for o in whole if o.view_name == "identity")
    topic = active.data_topic
    ends = still.runtime.topics.end_offsets([topic])
    records = next(iter(scan(still.runtime.connection, {topic: identity.source}, ends)))
    view = active.views["identity"]
    frame = view.view.project(active.codec.decode(_bodies([v for v in records.values if v])))
    encoded = view.codec.encode(frame).to_pylist()
    chosen = [i for i, p in enumerate(records.partitions) if p == 0 and records.values[i]][:7]
    header = b"\0" + view.schema_id.to_bytes(4, "big")
    still.runtime.writer.append(
        identity.topic, [records.keys[i] for i in chosen], [header + encoded[i] for i in chosen], partition=0
    ).wait(20)
    run_workers(still)
    new = Counter(view_records(still, identity)) - Counter(before[identity.topic])
    assert new.total() == 51
    assert len({key for _, key, _ in new}) == 50, "each once, and one deleted again"


def test_when_the_database_lost_the_positions_the_topics_own_word_counts(still: Running) -> None:
    still["publisher"].publish(still.contract, [resident(3_000 + i) for i in range(30)])
    run_workers(still)
    before = {outlet.topic: view_records(still, outlet) for outlet in outlets_of(still)}
    stood = {outlet.topic: (outlet.source, outlet.view) for outlet in outlets_of(still)}
    with still.runtime.engine.begin() as connection:
        topics = [outlet.topic for outlet in outlets_of(still)]
        connection.execute(delete(view_positions).where(view_positions.c.topic.in_(topics)))
    run_workers(still)
    still["publisher"].publish(still.contract, [resident(3_100)])
    run_workers(still)
    for outlet in outlets_of(still):
        records = view_records(still, outlet)
        assert Counter(records) >= Counter(before[outlet.topic])
        assert len(records) - len(before[outlet.topic]) <= 1, "nothing is written a second time"
        assert sum(outlet.source) == sum(stood[outlet.topic][0]) + 1
        assert sum(outlet.view) == len(records)


def test_of_two_workers_one_works_and_the_other_takes_over_when_it_ends(still: Running) -> None:
    run_workers(still)
    before = {outlet.topic: len(view_records(still, outlet)) for outlet in outlets_of(still)}
    first, second = threading.Event(), threading.Event()
    arguments = (still.runtime.plant, still.contract, threading.Event())
    crew = [threading.Thread(target=_insist, args=(*arguments, stop)) for stop in (first, second)]
    for worker in crew:
        worker.start()
    for round_ in range(10):
        still["publisher"].publish(still.contract, [resident(2_000 + round_ * 20 + i) for i in range(20)])
        if round_ == 5:
            first.set()
    for stop in (first, second):
        threading.Event().wait(0.2)
        stop.set()
    for worker in crew:
        worker.join()
    run_workers(still)
    identity = next(o for o in outlets_of(still) if o.view_name == "identity")
    assert len(view_records(still, identity)) == before[identity.topic] + 200


def _insist(plant: Plant, contract: str, changed: threading.Event, stop: threading.Event) -> None:
    while not stop.is_set():
        materialise(plant, contract, changed, stop)


def test_two_workers_cannot_both_move_the_views_on(still: Running) -> None:
    run_workers(still)
    mine, other = outlets_of(still), outlets_of(still)
    for outlets in (mine, other):
        for outlet in outlets:
            outlet.source[0] += 1
    save(still.runtime.engine, still.contract, mine, [0])
    with pytest.raises(StoreUnavailable):
        save(still.runtime.engine, still.contract, other, [0])


def _bodies(values: list[bytes]) -> pa.BinaryArray:
    return pa.array([value[5:] for value in values], pa.binary())
