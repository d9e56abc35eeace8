"""A view worker alone, beside a raw consume → produce loop over the same records on the same broker."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from bus.embedded.kafka import EmbeddedKafka
from bus.embedded.postgres import EmbeddedPostgres
from bus.log.reader import Follower
from bus.log.writer import Writer
from bus.materialise import make_line, step
from bus.model import Actor, Role
from bus.outlets import Outlet, load_outlets
from bus.publish import Batch, publish
from bus.settings import Settings
from registry.contract import TopicPolicy
from tests.benchmarks.figure import Figure
from tests.running import OWNER, Running, resident, running_bus

BATCH = 20_000


def view_worker(folder: Path, records: int, rounds: int) -> list[Figure]:
    """Records a second through one view (`identity`), and through all views of the contract."""
    kafka, postgres = EmbeddedKafka(folder / "kafka", Settings().cache, port=0), EmbeddedPostgres(folder / "postgres")
    try:
        address, dsn = kafka.start(), postgres.start()
        with running_bus(address, dsn, workers=False) as bus:
            _fill(bus, records)
            sticks = tuple(_raw(bus, records) for _ in range(rounds))
            one = tuple(_work(bus, records, ["identity"]) for _ in range(rounds))
            every = tuple(_work(bus, records, None) for _ in range(rounds))
    finally:
        kafka.stop()
        postgres.stop()
    beside = "raw consume → produce"
    return [
        Figure("view worker, one view", "records/s", one, beside, sticks),
        Figure("view worker, full + identity + statistics", "records/s", every, beside, sticks),
    ]


def _fill(bus: Running, records: int) -> None:
    import orjson

    actor = Actor("bench", OWNER, frozenset({Role.PUBLISHER}))
    active = bus.runtime.catalogue.active(bus.contract)
    for begin in range(0, records, BATCH):
        body = b"\n".join(orjson.dumps(resident(n)) for n in range(begin, begin + BATCH))
        publish(bus.runtime.door, actor, active, Batch(body, "application/x-ndjson"))


def _work(bus: Running, records: int, views: list[str] | None) -> float:
    """The worker's own steps from the data topic's beginning, into topics of their own."""
    runtime = bus.runtime
    active = runtime.catalogue.active(bus.contract)
    outlets = [
        _fresh(runtime.topics.ensure, outlet, f"bench.{time.monotonic_ns()}")
        for outlet in load_outlets(runtime.engine, bus.contract, active.contract.major, 2)
        if not outlet.topic.startswith("bench.") and (views is None or outlet.view_name in views)
    ]
    with runtime.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM targets WHERE topic LIKE 'bench.%%'")
        for outlet in outlets:
            row = (outlet.topic, bus.contract, active.contract.major, outlet.view_name, outlet.topic[-40:])
            connection.exec_driver_sql(
                "INSERT INTO targets (topic, contract, major, view, instance) VALUES (%s, %s, %s, %s, %s)", row
            )
            for partition in range(2):
                connection.exec_driver_sql(
                    "INSERT INTO view_positions (topic, partition, source_offset, view_offset, filtered, duplicates)"
                    " VALUES (%s, %s, 0, 0, 0, 0)",
                    (outlet.topic, partition),
                )
    line = make_line(runtime.plant, active, outlets)
    follower = Follower(runtime.connection, active.data_topic, {0: 0, 1: 0})
    done, began = 0, time.monotonic()
    while done < records:
        found = follower.read(runtime.settings.view_batch_records, 5.0)
        step(runtime.plant, runtime.engine, line, found)
        done += len(found)
    took = time.monotonic() - began
    follower.close()
    return records / took


def _fresh(ensure: object, outlet: Outlet, topic: str) -> Outlet:
    name = f"{topic}.{outlet.view_name}"
    ensure(name, TopicPolicy(partitions=2, cleanup="delete", retention_ms=None))  # type: ignore[operator]
    zero = [0, 0]
    return replace(
        outlet,
        topic=name,
        source=list(zero),
        view=list(zero),
        filtered=list(zero),
        duplicates=list(zero),
        sent=list(zero),
        stored_source=list(zero),
        tail={},
    )


def _raw(bus: Running, records: int) -> float:
    """The same records, read with the same settings and written as they are."""
    runtime = bus.runtime
    active = runtime.catalogue.active(bus.contract)
    name = f"bench.{time.monotonic_ns()}.raw"
    runtime.topics.ensure(name, TopicPolicy(partitions=2, cleanup="delete", retention_ms=None))
    follower = Follower(runtime.connection, active.data_topic, {0: 0, 1: 0})
    writer: Writer = runtime.writer
    done, began, appends = 0, time.monotonic(), []
    while done < records:
        found = follower.read(runtime.settings.view_batch_records, 5.0)
        appends.append(writer.append(name, found.keys, found.values))
        done += len(found)
    for append in appends:
        append.wait(60)
    took = time.monotonic() - began
    follower.close()
    return records / took
