"""The embedded servers when processes are killed: nothing is left behind, and what was stored is there again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bus.embedded import identity
from bus.embedded.kafka import EmbeddedKafka, KafkaAddress
from bus.embedded.postgres import EmbeddedPostgres, binaries_folder
from bus.errors import DataFolderInUse, EmbeddedError
from bus.settings import Settings

QUIET = {"log_level": 0, "error_cb": lambda _: None}  # broken connections are what these tests make
pytestmark = pytest.mark.fault

# Servers are started from a thread that ends at once: a server tied to that thread would end with it.
PARENT = """
import json, sys, threading
from pathlib import Path
from bus.embedded.kafka import EmbeddedKafka
from bus.embedded.postgres import EmbeddedPostgres
from bus.settings import Settings

folder = Path(sys.argv[1])
kafka, postgres = EmbeddedKafka(folder / "kafka", Settings().cache, port=0), EmbeddedPostgres(folder / "postgres")
address = []
def start():
    address.append(postgres.start())
    address.append(kafka.start())
thread = threading.Thread(target=start)
thread.start()
thread.join()
words = json.dumps({"postgres": postgres.pid, "kafka": kafka.pid, "dsn": address[0], "bootstrap": address[1].bootstrap})
try:
    print(words, flush=True)
    sys.stdin.read()
except KeyboardInterrupt:
    alive = [kafka.alive, postgres.alive]
    kafka.stop()
    postgres.stop()
    print(json.dumps(alive), flush=True)
"""


@dataclass
class Parent:
    process: subprocess.Popen[bytes]
    servers: dict[str, int]
    dsn: str

    def keepers(self) -> list[psutil.Process]:
        return [parent for pid in self.servers.values() if (parent := psutil.Process(pid).parent()) is not None]


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    argv = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        yield Parent(process, {name: said[name] for name in ("postgres", "kafka")}, said["dsn"])
        process.kill()


def wait_until_gone(pids: list[int], within_s: float) -> float:
    begin = time.monotonic()
    while running := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() - begin < within_s, f"{running} still run"
        time.sleep(0.02)
    return time.monotonic() - begin


def test_servers_outlive_the_thread_that_started_them(parent: Parent) -> None:
    time.sleep(1.5)  # longer than the keeper's own look-around
    assert all(psutil.pid_exists(pid) for pid in parent.servers.values())
    with psycopg.connect(parent.dsn) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_no_server_is_left_when_the_bus_is_killed(parent: Parent) -> None:
    pids = [*parent.servers.values(), *(keeper.pid for keeper in parent.keepers())]
    pids += [child.pid for child in psutil.Process(parent.servers["postgres"]).children()]
    parent.process.send_signal(signal.SIGKILL)
    parent.process.wait()
    wait_until_gone(pids, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the next start stops what is left")
def test_no_server_is_left_when_its_keeper_is_killed_with_the_bus(parent: Parent) -> None:
    keepers = parent.keepers()
    for process in (*keepers, parent.process):
        process.send_signal(signal.SIGKILL)
    parent.process.wait()
    wait_until_gone([*parent.servers.values(), *(keeper.pid for keeper in keepers)], 5)


def test_ctrl_c_reaches_the_bus_alone_which_then_stops_its_servers(parent: Parent) -> None:
    os.killpg(parent.process.pid, signal.SIGINT)
    assert parent.process.stdout is not None
    assert json.loads(parent.process.stdout.readline()) == [True, True]
    wait_until_gone(list(parent.servers.values()), 5)


def test_a_folder_in_use_is_refused_and_names_the_holder(parent: Parent, tmp_path: Path) -> None:
    postgres, kafka = EmbeddedPostgres(tmp_path / "postgres"), EmbeddedKafka(tmp_path / "kafka", Settings().cache)
    for server in (postgres, kafka):
        with pytest.raises(DataFolderInUse, match=str(parent.process.pid)):
            server.start()
    assert all(psutil.pid_exists(pid) for pid in parent.servers.values())


def test_postgres_killed_under_load_has_every_committed_row_again(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres")
    with ExitStack() as cleanup:
        cleanup.callback(server.stop)
        with psycopg.connect(server.start(), autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (number int PRIMARY KEY)")
            for number in range(200):
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        while server.alive:
            time.sleep(0.01)
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (200,)


def test_kafka_killed_under_load_has_every_acknowledged_record_again(tmp_path: Path) -> None:
    server = EmbeddedKafka(tmp_path / "kafka", Settings().cache, port=0)
    with ExitStack() as cleanup:
        cleanup.callback(server.stop)
        address = server.start()
        admin = AdminClient(address.librdkafka() | QUIET)
        admin.create_topics([NewTopic("kept", 1)])["kept"].result(10)
        acknowledged: list[bytes] = []
        producer = Producer(address.librdkafka() | QUIET | {"enable.idempotence": True, "linger.ms": 1})
        for number in range(2_000):
            record = str(number).encode()
            producer.produce("kept", record, on_delivery=lambda error, m: error or acknowledged.append(m.value()))
            producer.poll(0)
            if len(acknowledged) > 1_000:
                break
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        producer.flush(0.2)
        producer.purge()
        producer.flush(1)
        server.stop()
        cleanup.callback(server.stop)
        assert set(acknowledged) <= set(read_all(server.start()))


def read_all(address: KafkaAddress) -> list[bytes]:
    consumer = Consumer(
        address.librdkafka() | {"group.id": "reader", "auto.offset.reset": "earliest", "enable.partition.eof": True}
    )
    consumer.subscribe(["kept"])
    records: list[bytes] = []
    try:
        while (message := consumer.poll(10)) is not None:
            if message.error():
                break
            records.append(message.value() or b"")
    finally:
        consumer.close()
    return records


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another identity")
def test_root_without_namespaces_runs_postgres_as_an_unprivileged_user(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(identity, "namespaces_permitted", lambda: False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with pytest.raises(EmbeddedError, match=str(folder)):
            EmbeddedPostgres(folder / "postgres").start()
        folder.chmod(0o755)
        if identity.closed_to(binaries_folder() / "postgres", 65534, 65534) is not None:
            pytest.skip("the packages are where only root may enter")
        server = EmbeddedPostgres(folder / "postgres")
        for _ in range(2):
            try:
                with psycopg.connect(server.start()) as connection:
                    assert connection.execute("SELECT 1").fetchone() == (1,)
                assert server.pid is not None
                assert psutil.Process(server.pid).uids().real != 0
            finally:
                server.stop()
            monkeypatch.undo()  # the second start finds the folder another user's and runs as that user again


def test_several_databases_run_side_by_side(tmp_path: Path) -> None:
    servers = [EmbeddedPostgres(tmp_path / name) for name in ("one", "two")]
    with ExitStack() as cleanup:
        dsns = [server.start() for server in servers if cleanup.callback(server.stop)]
        assert len(set(dsns)) == 2
        for dsn in dsns:
            with psycopg.connect(dsn) as connection:
                assert connection.execute("SELECT current_database()").fetchone() == ("lgsp",)
