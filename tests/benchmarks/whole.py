"""The whole bus as a user runs it: `lgsp up`, two agencies' databases, connectors as processes; load on loopback only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson
import psutil
import psycopg
from confluent_kafka import Producer

from bus.client import Client, ClientCredentials
from bus.demo.residents import make_register, rename_resident
from bus.demo.stage import Agency, Stage, start_agency, start_bus, start_connector
from bus.embedded.kafka import KafkaAddress
from bus.log.connection import KafkaConnection
from bus.log.reader import Follower
from bus.log.topics import Topics
from bus.log.writer import Writer
from bus.settings import Settings
from registry.contract import TopicPolicy, load_folder
from registry.errors import Text
from tests.benchmarks.figure import Figure
from tests.running import OWNER, READER, RESIDENT, contract_zip, resident

CONTRACT = "population/resident"
DONE = Text("it gets done", "hoàn tất")
MB = 1e6


@dataclass
class House:
    """What runs, and who acts. `rest_mb` and `peak_mb` are resident megabytes by process."""

    stage: Stage
    police: Agency
    justice: Agency
    admin: Client
    publisher: ClientCredentials
    reader: ClientCredentials
    ready_s: float
    rest_mb: dict[str, float]
    peak_mb: dict[str, float]

    def subscribe(self, start: str = "earliest") -> str:
        basis = self.admin.create_legal_basis("278/2025/NĐ-CP", "9", "Chia sẻ dữ liệu", "Chính phủ", "2025-01-01")
        expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        with self.stage.client(self.reader) as reader:
            made = reader.request_subscription(
                CONTRACT, "identity", purpose="Đo", legal_basis=basis, expires_at=expires, start=start
            )
        self.admin.decide_subscription(made["id"], "approve")
        return str(made["id"])


@contextmanager
def house(folder: Path, records: int) -> Iterator[House]:
    """A bus that is ready, a register of `records` residents, an approved contract."""
    with ExitStack() as stack:
        police = start_agency(folder / "police", stack, OWNER, Text("Police", "Công an"))
        justice = start_agency(folder / "justice", stack, READER, Text("Justice", "Tư pháp"))
        began = time.monotonic()
        stage = start_bus(folder, stack, 120)
        ready_s = time.monotonic() - began
        admin = stage.client(ClientCredentials.from_file(folder / "bus" / "admin.json"))
        admin.create_agency(OWNER, "Công an tỉnh Hà Tĩnh", "Police")
        admin.create_agency(READER, "Sở Tư pháp", "Justice")
        time.sleep(2)
        made = House(
            stage=stage,
            police=police,
            justice=justice,
            admin=admin,
            publisher=admin.create_client(OWNER, "publisher", ["publisher"]),
            reader=admin.create_client(READER, "reader", ["subscriber"]),
            ready_s=ready_s,
            rest_mb=memory(stage),
            peak_mb={},
        )
        integrator = stage.client(admin.create_client(OWNER, "integrator", ["integrator"]))
        admin.approve_contract(CONTRACT, integrator.register_contract(contract_zip(CONTRACT))["version"])
        make_register(police.dsn, records, bad_share=0.01, today=date(2026, 11, 1))
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(made, over))
        watch.start()
        try:
            yield made
        finally:
            over.set()
            watch.join()


def memory(stage: Stage) -> dict[str, float]:
    """Resident megabytes: the bus itself with its keepers, Kafka, PostgreSQL, connectors; shared pages count once."""
    found = {"bus": 0.0, "kafka": 0.0, "postgresql": 0.0}
    bus = psutil.Process(stage.bus.pid)
    for process in [bus, *bus.children(recursive=True)]:
        try:
            kind = {"java": "kafka", "postgres": "postgresql"}.get(process.name(), "bus")
            found[kind] += (process.memory_full_info().pss if kind == "postgresql" else process.memory_info().rss) / MB
        except psutil.NoSuchProcess:
            continue
    return found


def _watch(house: House, over: threading.Event) -> None:
    while not over.wait(0.2):
        for kind, size in memory(house.stage).items():
            house.peak_mb[kind] = max(house.peak_mb.get(kind, 0.0), size)


def table_to_table(house: House, records: int) -> Figure:
    """Both connectors started at once on a full source table; until the last row is committed in the sink's table."""
    expected = records - _wrong(house)
    contract = load_folder(RESIDENT)
    subscription = house.subscribe()
    sink = {"kind": "sink", "system": "postgres", "subscription": subscription, "table": "residents"}
    start_connector(
        house.stage, house.justice, "sink", house.reader, sink | {"key": contract.key, "create_table": True}
    )
    source = {"kind": "source", "system": "postgres", "contract": CONTRACT, "table": "resident_register"}
    columns = {name: name for name in contract.fields}
    with psycopg.connect(house.justice.dsn, autocommit=True) as connection:
        house.stage.wait_until(DONE, lambda: _count(connection) == 0, 60)
        began = time.monotonic()
        start_connector(
            house.stage,
            house.police,
            "source",
            house.publisher,
            source | {"key": contract.key, "watermark": "updated_at", "columns": columns},
        )
        house.stage.wait_until(DONE, lambda: time.sleep(0.02) or _count(connection) == expected, 300)
        took = time.monotonic() - began
    sticks = tuple(_copy_out_and_in(house) for _ in range(3))
    return Figure(f"source table → sink table, {records:,} residents", "s", (took,), "COPY out, COPY in", sticks)


def _wrong(house: House) -> int:
    with psycopg.connect(house.police.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM register_truth").fetchone()
        twins = connection.execute(
            "SELECT count(*) FROM resident_register r WHERE id NOT IN (SELECT id FROM register_truth) AND EXISTS"
            " (SELECT 1 FROM resident_register o WHERE o.identity_number = r.identity_number AND o.id <> r.id)"
        ).fetchone()
    assert row is not None
    assert twins is not None
    return int(row[0]) + int(twins[0])


def _count(connection: psycopg.Connection) -> int:
    found = connection.execute("SELECT to_regclass('residents') IS NOT NULL").fetchone()
    if not found or not found[0]:
        return -1
    row = connection.execute("SELECT count(*) FROM residents").fetchone()
    return int(row[0]) if row else -1


def _copy_out_and_in(house: House) -> float:
    """The granted columns of the same rows by PostgreSQL's own COPY, piped from one database into the other."""
    columns = "identity_number, full_name, birth_date, birth_date_precision, sex"
    with psycopg.connect(house.police.dsn) as source, psycopg.connect(house.justice.dsn) as sink:
        sink.execute(f"CREATE TEMP TABLE t ({columns.replace(',', ' text,')} text)")
        began = time.monotonic()
        with (
            source.cursor().copy(f"COPY resident_register ({columns}) TO STDOUT") as out,
            sink.cursor().copy(f"COPY t ({columns}) FROM STDIN") as into,
        ):
            for data in out:
                into.write(data)
        sink.commit()
        return time.monotonic() - began


def updates(house: House, times: int) -> list[Figure]:
    """From a commit at the source to the commit at the sink, one change at a time; beside one record through bare Kafka."""
    took: list[float] = []
    with (
        psycopg.connect(house.police.dsn, autocommit=True) as source,
        psycopg.connect(house.justice.dsn, autocommit=True) as sink,
    ):
        rows = source.execute(
            "SELECT id, identity_number FROM resident_register r WHERE id NOT IN (SELECT id FROM register_truth)"
            " ORDER BY id DESC LIMIT %s",
            [times],
        ).fetchall()
        for number, (row, key) in enumerate(rows):
            name = f"Nguyễn Văn Đo {number}"
            rename_resident(house.police.dsn, row, name)
            began = time.monotonic()
            query = "SELECT 1 FROM residents WHERE identity_number = %s AND full_name = %s"
            house.stage.wait_until(DONE, lambda q=query, k=key, n=name: sink.execute(q, [k, n]).fetchone(), 30)  # type: ignore[misc]
            took.append((time.monotonic() - began) * 1000)
    took.sort()
    bare = bare_latency(kafka_of(house), 50)
    return [
        Figure(
            "commit at the source → commit at the sink, p50", "ms", (took[len(took) // 2],), "bare Kafka", tuple(bare)
        ),
        Figure(
            "commit at the source → commit at the sink, p99", "ms", (took[min(len(took) - 1, int(len(took) * 0.99))],)
        ),
    ]


def kafka_of(house: House) -> KafkaConnection:
    folder = house.stage.folder / "bus" / "kafka"
    secrets = orjson.loads((folder / "secrets.json").read_bytes())
    lines = (folder / "server.properties").read_text().splitlines()
    listener = next(line for line in lines if line.startswith("listeners="))
    port = next(part.rsplit(":", 1)[1] for part in listener.partition("=")[2].split(",") if "CLIENT" in part.upper())
    address = KafkaAddress(f"127.0.0.1:{port}", "admin", secrets["admin_password"])
    return KafkaConnection(address.bootstrap, address.username, address.password)


def bare_latency(connection: KafkaConnection, times: int) -> list[float]:
    """One record through Kafka alone: produced with all acknowledgements, and seen by a consumer that waits; in ms."""
    topics, writer = Topics(connection, Settings()), Writer(connection, timeout_s=20)
    topics.ensure("bench.latency", TopicPolicy(partitions=1, cleanup="delete", retention_ms=None))
    follower = Follower(connection, "bench.latency", {0: topics.end_offsets(["bench.latency"])["bench.latency"][0]})
    follower.read(1, 1.0)
    took = []
    for _ in range(times):
        began = time.monotonic()
        writer.append("bench.latency", [b"k"], [b"v" * 300])
        while not len(follower.read(1, 5.0)):
            pass
        took.append((time.monotonic() - began) * 1000)
    follower.close()
    writer.close()
    topics.close()
    return took


def publish_batches(house: House, batch: int, batches: int) -> Figure:
    """NDJSON by HTTP, batches of `batch`, each answered after Kafka's acknowledgement; beside raw produce() of the same bytes."""
    bodies = [b"\n".join(orjson.dumps(resident(n)) for n in range(i * batch, (i + 1) * batch)) for i in range(batches)]
    rates = []
    with house.stage.client(house.publisher) as client:
        for round_ in range(3):
            sent = [body.replace(b"Nguy\xe1\xbb\x85n", b"Ho\xc3\xa0ng%d" % round_) for body in bodies]
            began = time.monotonic()
            for body in sent:
                assert not client.publish(CONTRACT, body, media_type="application/x-ndjson").rejected
            rates.append(batch * batches / (time.monotonic() - began))
    sticks = tuple(raw_produce(kafka_of(house), [b"x" * 300] * (batch * batches)) for _ in range(3))
    return Figure(f"publish by HTTP, batches of {batch:,}", "records/s", tuple(rates), "raw produce()", sticks)


def publish_singles(house: House, seconds: float, connections: int) -> Figure:
    """One record a request; beside the same server's route that only checks the token."""

    def rate(act: str) -> float:
        counts = [0] * connections
        over = time.monotonic() + seconds

        def work(number: int) -> None:
            with house.stage.client(house.publisher) as client:
                while time.monotonic() < over:
                    if act == "me":
                        client.me()
                    else:
                        client.publish(CONTRACT, [resident(500_000 + number, full_name=f"Lê {counts[number]} {over}")])
                    counts[number] += 1

        threads = [threading.Thread(target=work, args=(n,)) for n in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / seconds

    sticks = tuple(rate("me") for _ in range(3))
    rates = tuple(rate("publish") for _ in range(3))
    return Figure(f"publish by HTTP, one by one, {connections} connections", "records/s", rates, "GET /v1/me", sticks)


def raw_produce(connection: KafkaConnection, values: list[bytes]) -> float:
    """Records a second of the client library alone, acknowledged by all replicas."""
    topics = Topics(connection, Settings())
    topics.ensure("bench.raw", TopicPolicy(partitions=2, cleanup="delete", retention_ms=None))
    topics.close()
    producer = Producer(
        connection.librdkafka()
        | {
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    began = time.monotonic()
    for number, value in enumerate(values):
        producer.produce("bench.raw", value, b"%d" % number)
    producer.flush()
    return len(values) / (time.monotonic() - began)
