"""A bus that runs in the test's process, on the session's real Kafka and PostgreSQL, with its people and a contract of its own."""

from __future__ import annotations

import asyncio
import io
import threading
import uuid
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr

from bus.api.app import create_app
from bus.api.registry_access import authorize_with
from bus.client import Client, ClientCredentials
from bus.control.clients import first_administrator
from bus.embedded.kafka import KafkaAddress
from bus.embedded.ports import free_port
from bus.runtime import Runtime, Workers, build
from bus.settings import Settings
from bus.store.events import APPENDED, GRANTS
from registry.api import create_app as create_registry_app

RESIDENT = Path(__file__).parent.parent / "contracts" / "population" / "resident"
OWNER, READER, WARD = "G01.42", "H27.03", "H27.77.01"


def resident(number: int, **changed: Any) -> dict[str, Any]:
    """A valid resident, unlike any other: a woman born in 1990 in Hà Tĩnh."""
    return {
        "identity_number": f"042190{number:06d}",
        "full_name": f"Nguyễn Thị Bình {number}",
        "birth_date": "1990-05",
        "birth_date_precision": "month",
        "sex": "female",
        "ethnicity": "Kinh",
        "religion": "Không",
        "permanent_province": "42",
        "permanent_commune": "18073",
        "phone": "0912345678",
        "father": {"name": "Nguyễn Văn An", "identity_number": "042060000001"},
        "children": [{"name": "Trần Văn Cường"}],
        "verified_on": "2026-01-15",
        "updated_at": "2026-11-01T08:00:00+07:00",
    } | changed


@dataclass
class MovableClock:
    """A clock that a test moves."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Running:
    """`contract` is a copy of population/resident under a name of this bus alone: topics are shared by the session."""

    runtime: Runtime
    clock: MovableClock
    url: str
    registry_url: str
    contract: str
    clients: dict[str, Client] = field(default_factory=dict)
    credentials: dict[str, ClientCredentials] = field(default_factory=dict)

    def __getitem__(self, who: str) -> Client:
        return self.clients[who]

    def enter(self, who: str, credentials: ClientCredentials) -> Client:
        self.credentials[who] = credentials
        self.clients[who] = Client(self.url, credentials.client_id, credentials.client_secret)
        return self.clients[who]

    def subscribe(self, view: str, who: str = "reader", **options: Any) -> str:
        """A granted subscription of `view`; its id."""
        expires = (self.clock() + timedelta(days=30)).isoformat()
        basis = self["admin"].create_legal_basis(
            "278/2025/NĐ-CP", "9", "Kết nối, chia sẻ dữ liệu", "Chính phủ", "2025-01-01"
        )
        made = self[who].request_subscription(
            self.contract, view, purpose="Xác minh nhân thân", legal_basis=basis, **({"expires_at": expires} | options)
        )
        self["owner"].decide_subscription(made["id"], "approve")
        return str(made["id"])

    def pull_all(self, subscription: str, who: str = "reader", *, at_least: int = 0, ack: bool = True) -> list[Any]:
        """Everything there is, waiting until there are `at_least` so many."""
        found: list[Any] = []
        after = None
        deadline = datetime.now(UTC) + timedelta(seconds=30)
        while True:
            page = self[who].pull(
                subscription, max_records=5_000, wait_ms=500 if len(found) < at_least else 0, after=after
            )
            if not page.records and (len(found) >= at_least or datetime.now(UTC) > deadline):
                return found
            found += page.records
            if page.cursor:
                after = page.cursor
                if ack:
                    self[who].ack(subscription, page.cursor)


def contract_zip(
    contract: str,
    folder: Path = RESIDENT,
    *,
    version: str | None = None,
    without: Sequence[str] = (),
    edits: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The contract of `folder` under another name; `edits` replace text in the document."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in (path for path in folder.iterdir() if path.name not in without):
            content = path.read_bytes()
            if path.name == "contract.yaml":
                text = content.decode().replace("id: population/resident\n", f"id: {contract}\n")
                text = text.replace("domain: population\n", f"domain: {contract.partition('/')[0]}\n")
                if version:
                    text = text.replace('version: "1.0.0"', f'version: "{version}"')
                for old, new in edits.items():
                    text = text.replace(old, new)
                content = text.encode()
            archive.writestr(path.name, content)
    return sink.getvalue()


@contextmanager
def running_bus(kafka: KafkaAddress, dsn: str, *, workers: bool = True, **changed: Any) -> Iterator[Running]:
    """The whole bus on loopback ports: API, registry, view workers."""
    port, registry_port = free_port(), free_port()
    settings = Settings().model_copy(
        update={
            "kafka_bootstrap": kafka.bootstrap,
            "kafka_username": kafka.username or None,
            "kafka_password": SecretStr(kafka.password),
            "database_url": SecretStr(dsn),
            "port": port,
            "registry_port": registry_port,
        }
        | changed
    )
    clock = MovableClock()
    runtime = build(settings, only_door=True, clock=clock)
    crew = Workers(runtime)
    app = create_app(runtime)
    runtime.listener.on(APPENDED, app.state.bell.ring)
    runtime.listener.on(GRANTS, lambda _: app.state.bell.ring())
    registry = create_registry_app(runtime.registry, authorize_with(runtime.tokens))
    servers = [_Quiet(uvicorn.Config(a, port=p, log_config=None)) for a, p in ((app, port), (registry, registry_port))]
    thread = threading.Thread(target=lambda: asyncio.run(_serve(servers)))
    runtime.listener.start()
    if workers:
        crew.start()
    thread.start()
    contract = f"test{uuid.uuid4().hex[:8]}/resident"
    bus = Running(runtime, clock, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{registry_port}", contract)
    try:
        _people(bus)
        yield bus
    finally:
        app.state.bell.close()
        for server in servers:
            server.should_exit = True
        thread.join()
        crew.close()
        for client in bus.clients.values():
            client.close()
        runtime.close()


def _people(bus: Running) -> None:
    made = first_administrator(bus.runtime.engine, bus.clock)
    assert made is not None
    admin = bus.enter("admin", ClientCredentials(made.client_id, made.client_secret))
    admin.create_agency(OWNER, "Công an tỉnh Hà Tĩnh", "Hà Tĩnh police")
    admin.create_agency(READER, "Sở Tư pháp tỉnh Hà Tĩnh", "Hà Tĩnh justice department")
    admin.create_agency(WARD, "UBND phường Thành Sen", "Thành Sen ward", {"communes": ["18073"]})
    roles = {
        "integrator": (OWNER, ["integrator"]),
        "owner": (OWNER, ["owner"]),
        "publisher": (OWNER, ["publisher"]),
        "reader": (READER, ["subscriber"]),
        "ward": (WARD, ["subscriber"]),
        "auditor": (READER, ["auditor"]),
    }
    for who, (agency, given) in roles.items():
        bus.enter(who, admin.create_client(agency, who, given))
    registered = bus["integrator"].register_contract(contract_zip(bus.contract))
    bus["owner"].approve_contract(bus.contract, registered["version"])


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(servers: list[_Quiet]) -> None:
    await asyncio.gather(*(server.serve() for server in servers))


@pytest.fixture(scope="module")
def bus(kafka: KafkaAddress, postgres_module_dsn: str) -> Iterator[Running]:
    """One bus for the tests of a module."""
    with running_bus(kafka, postgres_module_dsn) as running:
        yield running
