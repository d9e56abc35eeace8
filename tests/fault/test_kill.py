"""kill -9 under load: of the whole bus, of Kafka, of PostgreSQL. Nothing acknowledged is missing afterwards, nothing comes twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from bus.client import Client, ClientCredentials, Retry
from bus.embedded.ports import free_port
from tests.running import OWNER, READER, contract_zip, resident

pytestmark = pytest.mark.fault

CONTRACT = "population/resident"
KEYS = 400


class Bus:
    """`lgsp up` as a user runs it, on a folder that outlives it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ports = {"port": free_port(), "registry-port": free_port(), "kafka-port": free_port()}
        self.url = f"http://127.0.0.1:{self.ports['port']}"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        options = [text for name, port in self.ports.items() for text in (f"--{name}", str(port))]
        command = [str(Path(sys.executable).parent / "lgsp"), "up", "--data", str(self.data), *options]
        with (self.data.parent / "up.log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "ready" in line, (self.data.parent / "up.log").read_text()[-4_000:]

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill_server(self, name: str) -> None:
        """kill -9 of the embedded server itself."""
        pid = json.loads((self.data / name / f"{name}.pid").read_text())
        os.kill(pid["pid"] if isinstance(pid, dict) else pid[0], signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(60) == 0
            assert self.process.stdout is not None
            self.process.stdout.close()

    def client(self, credentials: ClientCredentials) -> Client:
        return Client(
            self.url, credentials.client_id, credentials.client_secret, retry=Retry(for_s=None, wait_max_s=1.0)
        )


@contextmanager
def started(data: Path) -> Iterator[Bus]:
    bus = Bus(data)
    bus.start()
    try:
        yield bus
    finally:
        bus.stop()
        left = [p for p in psutil.process_iter(["cmdline"]) if str(data) in " ".join(p.info["cmdline"] or [])]
        assert not left


class Publisher(threading.Thread):
    """Publishes new versions of a few hundred residents, each batch until it is acknowledged, as a connector does."""

    def __init__(self, client: Client, seed: int) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.random = random.Random(seed)
        self.versions: dict[int, int] = {}
        self.acknowledged = 0
        self.over = threading.Event()

    def run(self) -> None:
        batch = 0
        while not self.over.is_set():
            batch += 1
            chosen = self.random.sample(range(KEYS), self.random.randint(1, 60))
            for number in chosen:
                self.versions[number] = self.versions.get(number, 0) + 1
            records = [resident(n, full_name=f"Nguyễn {self.versions[n]}") for n in chosen]
            receipt = self.client.publish(CONTRACT, records, idempotency_key=f"batch-{batch}")
            assert not receipt.rejected
            self.acknowledged += len(chosen)


class Reader(threading.Thread):
    """Pulls and acknowledges; remembers every event by key."""

    def __init__(self, client: Client, subscription: str) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.subscription = subscription
        self.events: dict[str, list[int]] = {}
        self.over = threading.Event()

    def run(self) -> None:
        after = None
        while True:
            page = self.client.pull(self.subscription, max_records=500, wait_ms=300, after=after)
            for record in page.records:
                self.events.setdefault(record.key, []).append(int(record.value["full_name"].split()[1]))
            if page.cursor:
                after = page.cursor
                self.client.ack(self.subscription, after)
            elif self.over.is_set():
                return


def introduce(bus: Bus) -> tuple[Client, Client, Client, str]:
    """Agencies, contract, subscription: (administrator, publisher, reader, subscription)."""
    admin = bus.client(ClientCredentials.from_file(bus.data / "admin.json"))
    admin.create_agency(OWNER, "Công an tỉnh Hà Tĩnh", "Hà Tĩnh police")
    admin.create_agency(READER, "Sở Tư pháp", "Justice department")
    owner = bus.client(admin.create_client(OWNER, "owner", ["owner", "integrator"]))
    integrator = bus.client(admin.create_client(OWNER, "integrator", ["integrator"]))
    publisher = bus.client(admin.create_client(OWNER, "publisher", ["publisher"]))
    reader = bus.client(admin.create_client(READER, "reader", ["subscriber"]))
    version = integrator.register_contract(contract_zip(CONTRACT))["version"]
    owner.approve_contract(CONTRACT, version)
    basis = admin.create_legal_basis("278/2025/NĐ-CP", "9", "Chia sẻ dữ liệu", "Chính phủ", "2025-01-01")
    expires = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = reader.request_subscription(CONTRACT, "identity", purpose="Xác minh", legal_basis=basis, expires_at=expires)
    owner.decide_subscription(made["id"], "approve")
    for client in (owner, integrator):
        client.close()
    return admin, publisher, reader, made["id"]


@pytest.mark.parametrize("victim", ["bus", "kafka", "postgres"])
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_missing_and_nothing_comes_twice(tmp_path: Path, victim: str) -> None:
    seed = 20_261_124
    chance = random.Random(seed)
    with started(tmp_path / "data") as bus:
        admin, publishing, reading, subscription = introduce(bus)
        publisher, reader = Publisher(publishing, seed), Reader(reading, subscription)
        publisher.start()
        reader.start()
        for _ in range(3):
            time.sleep(chance.uniform(0.5, 2.0))
            before = publisher.acknowledged
            if victim == "bus":
                bus.kill()
                bus.start()
            else:
                bus.kill_server(victim)
            wait_until(lambda least=before + 100: publisher.acknowledged > least, publisher, reader)  # type: ignore[misc]
        publisher.over.set()
        publisher.join()
        wait_until(lambda: {int(k[6:]): v[-1] for k, v in list(reader.events.items())} == publisher.versions, reader)
        reader.over.set()
        reader.join()
        for key, versions in reader.events.items():
            assert versions == sorted(set(versions)), f"{key}: out of order or twice"
        (line,) = admin.call("GET", "/v1/audit/account", params={"contract": CONTRACT})["items"]
        parts = ("delivered", "filtered", "duplicate", "quarantined", "pending")
        assert line["published"] == sum(line[part] for part in parts)
        assert line["pending"] == 0
        assert line["delivered"] == sum(len(v) for v in reader.events.values())
        for client in (admin, publishing, reading):
            client.close()


def wait_until(holds: Callable[[], bool], *working: threading.Thread, timeout_s: float = 90.0) -> None:
    """Until it holds; the threads that it waits for must live."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "not within the time"
        assert all(thread.is_alive() for thread in working), "a thread that it waits for has ended"
        time.sleep(0.05)
