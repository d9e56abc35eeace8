"""A whole bus in the test's own process, with a clock to turn and a client for every role; for tests of the API.

Kafka and PostgreSQL are real. Topics are shared by the session, so every test makes contracts of its own.
"""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from bus.api.app import create_app
from bus.control.clients import Credentials, first_administrator
from bus.embedded.kafka import KafkaAddress
from bus.runtime import Runtime, build
from bus.settings import Settings

POLICE, JUSTICE, OTHER = "H27.01", "H27.02", "H27.03"


class TurnedClock:
    """The real time, moved on by as much as the test says."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Caller:
    """One client of an agency, who asks for a new token whenever the clock has made the old one stale."""

    http: httpx.Client
    clock: TurnedClock
    credentials: Credentials
    _token: str = ""
    _until: datetime = field(default_factory=lambda: datetime.min.replace(tzinfo=UTC))

    @property
    def id(self) -> str:
        return self.credentials.client_id

    def token(self) -> str:
        if self.clock() >= self._until:
            answer = self.http.post(
                "/oauth/token", data={"grant_type": "client_credentials"}, auth=tuple(self.credentials)
            )
            assert answer.status_code == 200, answer.text
            self._token = answer.json()["access_token"]
            self._until = self.clock() + timedelta(seconds=answer.json()["expires_in"] - 10)
        return self._token

    def ask(self, method: str, path: str, **parts: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token()}"} | parts.pop("headers", {})
        return self.http.request(method, path, headers=headers, **parts)

    def get(self, path: str, **parts: Any) -> httpx.Response:
        return self.ask("GET", path, **parts)

    def post(self, path: str, json: Any = None, **parts: Any) -> httpx.Response:
        return self.ask("POST", path, **({"json": json} if json is not None else {}), **parts)

    def must(self, method: str, path: str, json: Any = None, **parts: Any) -> Any:
        """Ask, and insist on success."""
        answer = self.ask(method, path, **({"json": json} if json is not None else {}), **parts)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()


@dataclass
class House:
    """The bus with three agencies: the police who own data, the justice department that receives, and another one."""

    runtime: Runtime
    http: httpx.Client
    clock: TurnedClock
    admin: Caller
    callers: dict[tuple[str, str], Caller] = field(default_factory=dict)
    legal_basis: str = ""

    def client(self, agency: str, *roles: str) -> Caller:
        """A client of the agency with these roles, made when first asked for."""
        key = (agency, "+".join(sorted(roles)))
        if key not in self.callers:
            self.callers[key] = self.new_client(agency, *roles)
        return self.callers[key]

    def new_client(self, agency: str, *roles: str) -> Caller:
        made = self.admin.must("POST", f"/v1/agencies/{agency}/clients", {"name": "test", "roles": list(roles)})
        return Caller(self.http, self.clock, Credentials(made["client_id"], made["client_secret"]))

    def contract(self, *, approved: bool = True, **changes: Any) -> str:
        """A contract of the police, new for every call; its id."""
        id = f"test/c{secrets.token_hex(5)}"
        integrator = self.client(POLICE, "integrator")
        integrator.must("POST", "/v1/contracts", content=contract_yaml(id, **changes))
        if approved:
            version = changes.get("version", "1.0.0")
            self.client(POLICE, "owner").must("POST", f"/v1/contracts/{id}/versions/{version}/approve")
        return id

    def wish(self, contract: str, /, **changes: Any) -> dict[str, Any]:
        """What to POST to /v1/subscriptions."""
        return {
            "contract": contract,
            "view": "names",
            "purpose": "test",
            "legal_basis": self.legal_basis,
            "expires_at": (self.clock() + timedelta(days=1)).isoformat(),
        } | changes

    def subscription(self, contract: str, *, approved: bool = True, **changes: Any) -> str:
        """A subscription of the justice department; its id."""
        subscriber = self.client(JUSTICE, "subscriber")
        made = subscriber.must("POST", "/v1/subscriptions", self.wish(contract, **changes))
        if approved:
            self.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{made['id']}/approve")
        return str(made["id"])


def contract_yaml(
    id: str,
    version: str = "1.0.0",
    owner: str = POLICE,
    title: str = "Nơi cư trú",
    extra_field: str = "",
    key: str = "number",
    views: str = "",
    partitions: int = 2,
) -> bytes:
    """A small contract: number, name, commune; views full, names, local (cut by the reader's communes)."""
    number_key, name_key = ("primaryKey: true, ", "") if key == "number" else ("", "primaryKey: true, ")
    return f"""
apiVersion: v3.1.0
kind: DataContract
id: {id}
version: "{version}"
status: active
name: {title}
team: {{name: {owner}}}
schema:
  - name: Thing
    logicalType: object
    properties:
      - {{name: number, logicalType: string, {number_key}required: true, classification: personal}}
      - {{name: name, logicalType: string, {name_key}required: true, classification: personal}}
      - {{name: commune, logicalType: string, required: true, classification: ordinary}}
      {extra_field}
customProperties:
  - property: topic
    value: {{partitions: {partitions}}}
  - property: views
    value:
      {views or DEFAULT_VIEWS}
""".encode()


DEFAULT_VIEWS = """- {name: full, title: {vi: Toàn bộ, en: Everything}}
      - {name: names, title: {vi: Tên, en: Names}, fields: [number, name]}
      - {name: local, title: {vi: Địa bàn, en: Local}, fields: [number, name, commune], filter: record.commune in reader.communes}"""


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The application on a free port of the loopback interface; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def open_house(dsn: str, kafka: KafkaAddress, **settings: Any) -> Iterator[House]:
    """A bus on an empty database, with its agencies, a legal basis and an administrator."""
    clock = TurnedClock()
    given: Mapping[str, Any] = {
        "database_url": SecretStr(dsn),
        "kafka_bootstrap": kafka.bootstrap,
        "kafka_username": kafka.username or None,
        "kafka_password": SecretStr(kafka.password) if kafka.password else None,
        "kafka_ca_file": kafka.ca_file,
    }
    runtime = build(Settings(**(dict(given) | settings)), only_door=True, clock=clock)
    try:
        credentials = first_administrator(runtime.engine, clock)
        assert credentials is not None
        with served(create_app(runtime)) as url, httpx.Client(base_url=url, timeout=30) as http:
            house = House(runtime, http, clock, Caller(http, clock, credentials))
            for code, vi, en in (
                (POLICE, "Công an tỉnh", "Police"),
                (JUSTICE, "Sở Tư pháp", "Justice"),
                (OTHER, "Sở Y tế", "Health"),
            ):
                house.admin.must("POST", "/v1/agencies", {"code": code, "name_vi": vi, "name_en": en})
            house.legal_basis = house.admin.must(
                "POST",
                "/v1/legal-bases",
                {
                    "number": "194/2025/NĐ-CP",
                    "article": "5",
                    "title": "Chia sẻ dữ liệu",
                    "issuer": "Chính phủ",
                    "valid_from": "2025-08-19",
                },
            )["id"]
            yield house
    finally:
        runtime.close()
