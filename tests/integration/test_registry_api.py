"""The registry over real HTTP and a real PostgreSQL, by hand and with Confluent's own clients."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal
from urllib.parse import quote

import httpx
import pytest
import uvicorn
from fastapi import Request
from sqlalchemy import create_engine

from registry.api import create_app
from registry.errors import AccessDenied, Text
from registry.store import METADATA, RegistryStore
from tests.servers import sqlalchemy_url

V1_JSON = "application/vnd.schemaregistry.v1+json"


def allow(request: Request, action: Literal["read", "write"], subject: str | None) -> None:
    """Anybody may do anything, except that who names an agency may only act on subjects that start with it."""
    agency = request.headers.get("x-agency")
    if agency == "":
        raise AccessDenied(401, Text("Who are you?", "Bạn là ai?"))
    if agency is not None and not (subject or "").startswith(agency):
        raise AccessDenied(403, Text(f"{agency} may not {action} this", f"{agency} không có quyền"))


@pytest.fixture(scope="module")
def url(postgres_module_dsn: str) -> Iterator[str]:
    engine = create_engine(sqlalchemy_url(postgres_module_dsn))
    METADATA.create_all(engine)
    app = create_app(RegistryStore(engine), allow)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)
    engine.dispose()


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, headers={"Content-Type": V1_JSON}) as client:
        yield client


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}-value"


def record(*fields: dict[str, Any], name: str = "Resident") -> str:
    return json.dumps({"type": "record", "name": name, "fields": list(fields)})


ID = {"name": "id", "type": "string"}
ONE = record(ID)
TWO = record(ID, {"name": "name", "type": ["null", "string"], "default": None})
BROKEN = record({"name": "id", "type": "int"})


def register(http: httpx.Client, subject: str, schema: str) -> dict[str, Any]:
    answer = http.post(f"/subjects/{quote(subject, safe='')}/versions", json={"schema": schema})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def error(answer: httpx.Response) -> tuple[int, int]:
    body = answer.json()
    assert set(body) == {"error_code", "message"}
    assert body["message"]
    return answer.status_code, body["error_code"]


def test_a_schema_is_found_by_subject_version_and_id(http: httpx.Client, subject: str) -> None:
    first = register(http, subject, ONE)
    second = register(http, subject, TWO)
    assert (first["version"], second["version"]) == (1, 2)
    assert http.get(f"/subjects/{subject}/versions").json() == [1, 2]
    told = {"subject": subject, "version": 2, "id": second["id"], "schema": TWO}
    for version in ("2", "latest", "-1"):
        assert http.get(f"/subjects/{subject}/versions/{version}").json() == told
        assert http.get(f"/subjects/{subject}/versions/{version}/schema").text == TWO
    assert http.get(f"/schemas/ids/{first['id']}").json() == {"schema": ONE}
    assert http.get(f"/schemas/ids/{first['id']}/schema").text == ONE
    assert {"subject": subject, "version": 1} in http.get(f"/schemas/ids/{first['id']}/versions").json()
    assert subject in http.get(f"/schemas/ids/{first['id']}/subjects").json()
    assert http.post(f"/subjects/{subject}", json={"schema": TWO}).json() == told
    assert subject in http.get("/subjects").json()
    assert http.get("/subjects", params={"subjectPrefix": subject}).json() == [subject]
    assert http.get("/schemas/types").json() == ["AVRO"]


@pytest.mark.parametrize("name", ["a/b", "công dân/x", "100%", "a b+c", "%2F", "a?b#c", "versions", "x/versions/1"])
def test_a_subject_may_hold_any_character(http: httpx.Client, name: str) -> None:
    encoded = quote(name, safe="")
    register(http, name, ONE)
    assert http.get(f"/subjects/{encoded}/versions/1").json()["subject"] == name
    assert http.put(f"/config/{encoded}", json={"compatibility": "FULL"}).json() == {"compatibility": "FULL"}
    assert name in http.get("/subjects").json()
    assert http.delete(f"/subjects/{encoded}").json() == [1]
    assert http.delete(f"/subjects/{encoded}", params={"permanent": "true"}).json() == [1]


def test_errors_carry_confluents_codes(http: httpx.Client, subject: str) -> None:
    assert error(http.get("/subjects/nothing/versions")) == (404, 40401)
    assert error(http.get("/subjects/nothing/versions/1")) == (404, 40401)
    assert error(http.delete("/subjects/nothing")) == (404, 40401)
    assert error(http.post("/subjects/nothing", json={"schema": ONE})) == (404, 40401)
    register(http, subject, ONE)
    assert error(http.get(f"/subjects/{subject}/versions/7")) == (404, 40402)
    assert error(http.post(f"/subjects/{subject}", json={"schema": TWO})) == (404, 40403)
    assert error(http.get("/schemas/ids/999999")) == (404, 40403)
    assert error(http.get("/schemas/ids/99999999999999999999")) == (404, 40403)
    assert error(http.get("/schemas/ids/x")) == (404, 40403)
    assert error(http.get(f"/config/{subject}")) == (404, 40408)
    assert error(http.get(f"/mode/{subject}")) == (404, 40409)
    assert error(http.post(f"/subjects/{subject}/versions", json={"schema": BROKEN})) == (409, 409)
    for version in ("0", "-2", "x", "99999999999999999999", "%00"):
        assert error(http.get(f"/subjects/{subject}/versions/{version}")) == (422, 42202)
    assert error(http.put("/config", json={"compatibility": "SIDEWAYS"})) == (422, 42203)
    assert error(http.put("/config", json={})) == (422, 42203)
    assert error(http.get("/subjects/%00/versions")) == (422, 42208)
    assert error(http.get("/subjects/%FF/versions")) == (422, 42208)
    assert error(http.post("/subjects/:.other:a/versions", json={"schema": ONE})) == (422, 42208)
    assert error(http.get("/nowhere")) == (404, 404)
    assert error(http.put("/subjects")) == (405, 405)
    assert error(http.get(f"/subjects/{subject}/versions", params={"deleted": "perhaps"})) == (422, 422)


@pytest.mark.parametrize(
    "body",
    [
        {"schema": "{"},
        {"schema": '{"type": "record"}'},
        {"schema": ""},
        {},
        {"schema": 5},
        {"schema": ONE, "schemaType": "PROTOBUF"},
        {"schema": ONE, "schemaType": "JSON"},
        {"schema": ONE, "references": [{"name": "a", "subject": "b", "version": 1}]},
        {"schema": ONE, "metadata": {"properties": {"a": "b"}}},
        {"schema": ONE, "ruleSet": {"domainRules": []}},
    ],
)
def test_what_is_not_served_is_refused_and_not_forgotten(http: httpx.Client, subject: str, body: Any) -> None:
    assert error(http.post("/subjects/refused/versions", json=body)) == (422, 42201)
    assert error(http.get("/subjects/refused/versions")) == (404, 40401)


def test_bad_bodies_get_a_clear_answer(http: httpx.Client) -> None:
    path = "/subjects/bad/versions"
    assert error(http.post(path, content=b"{")) == (400, 400)
    assert error(http.post(path, content=b"\xff")) == (400, 400)
    assert error(http.post(path, content=b"[" * 1_000_000)) == (422, 42201)
    assert error(http.post(path, content=b'{"x":' * 200_000)) == (400, 400)
    assert error(http.post(path, content=b" " * 3_000_000)) == (413, 413)
    assert error(http.post(path, json={"schema": "[" * 900_000})) == (422, 42201)
    assert error(http.post(path, json={"schema": '"' + "x" * 1_200_000 + '"'})) == (422, 42201)
    assert error(http.post(path, content=b'{"schema": "\\ud800"}')) in ((422, 42201), (400, 400))
    assert error(http.post(path, content=b"{}", headers={"Content-Type": "text/plain"})) == (415, 415)
    assert error(http.get("/subjects", headers={"Accept": "image/png"})) == (406, 406)


def test_an_incompatible_version_is_refused_with_the_path_in_the_callers_language(
    http: httpx.Client, subject: str
) -> None:
    register(http, subject, ONE)
    path = f"/subjects/{subject}/versions"
    english = http.post(path, json={"schema": BROKEN}).json()["message"]
    assert "/fields/0/type TYPE_MISMATCH" in english
    assert "int can't read what is written as string" in english
    vietnamese = http.post(path, json={"schema": BROKEN}, headers={"Accept-Language": "vi"}).json()["message"]
    assert "không tương thích" in vietnamese
    assert "/fields/0/type TYPE_MISMATCH" in vietnamese


def test_compatibility_is_told_without_registering(http: httpx.Client, subject: str) -> None:
    path = f"/compatibility/subjects/{subject}/versions"
    assert http.post(path, json={"schema": ONE}).json() == {"is_compatible": True}
    assert http.post(f"{path}/latest", json={"schema": ONE}).json() == {"is_compatible": True}
    register(http, subject, ONE)
    assert http.post(f"{path}/1", json={"schema": TWO}).json() == {"is_compatible": True}
    verdict = http.post(f"{path}/latest", json={"schema": BROKEN}, params={"verbose": "true"}).json()
    assert verdict["is_compatible"] is False
    assert verdict["messages"][0].startswith("/fields/0/type TYPE_MISMATCH: ")
    assert http.post(path, json={"schema": BROKEN}).json() == {"is_compatible": False}
    assert error(http.post(f"{path}/9", json={"schema": TWO})) == (404, 40402)
    assert http.get(f"/subjects/{subject}/versions").json() == [1]


def test_levels_are_set_inherited_and_taken_away(http: httpx.Client, subject: str) -> None:
    assert http.get("/config").json() == {"compatibilityLevel": "BACKWARD"}
    assert http.put(f"/config/{subject}", json={"compatibility": "none"}).json() == {"compatibility": "NONE"}
    assert http.get(f"/config/{subject}").json() == {"compatibilityLevel": "NONE"}
    register(http, subject, ONE)
    register(http, subject, BROKEN)
    assert http.delete(f"/config/{subject}").json() == {"compatibilityLevel": "NONE"}
    assert error(http.delete(f"/config/{subject}")) == (404, 40401)
    inherited = http.get(f"/config/{subject}", params={"defaultToGlobal": "true"})
    assert inherited.json() == {"compatibilityLevel": "BACKWARD"}
    assert error(http.put("/config", json={"compatibility": "FULL", "alias": "x"})) == (422, 42201)
    assert http.get("/mode").json() == {"mode": "READWRITE"}
    assert http.get(f"/mode/{subject}", params={"defaultToGlobal": "true"}).json() == {"mode": "READWRITE"}


def test_deletion_is_soft_first_and_permanent_when_asked_again(http: httpx.Client, subject: str) -> None:
    register(http, subject, ONE)
    second = register(http, subject, TWO)
    permanent = {"permanent": "true"}
    assert error(http.delete(f"/subjects/{subject}/versions/1", params=permanent)) == (404, 40407)
    assert http.delete(f"/subjects/{subject}/versions/1").json() == 1
    assert error(http.delete(f"/subjects/{subject}/versions/1")) == (404, 40406)
    assert http.get(f"/subjects/{subject}/versions").json() == [2]
    assert http.get(f"/subjects/{subject}/versions", params={"deleted": "true"}).json() == [1, 2]
    assert http.get(f"/subjects/{subject}/versions", params={"deletedOnly": "true"}).json() == [1]
    assert http.get(f"/subjects/{subject}/versions/1", params={"deleted": "true"}).json()["deleted"] is True
    assert http.delete(f"/subjects/{subject}/versions/1", params=permanent).json() == 1
    assert error(http.delete(f"/subjects/{subject}", params=permanent)) == (404, 40405)
    assert http.delete(f"/subjects/{subject}").json() == [2]
    assert error(http.delete(f"/subjects/{subject}")) == (404, 40404)
    assert subject not in http.get("/subjects").json()
    assert subject in http.get("/subjects", params={"deleted": "true"}).json()
    assert http.delete(f"/subjects/{subject}", params=permanent).json() == [2]
    assert http.get(f"/schemas/ids/{second['id']}").json() == {"schema": TWO}


@pytest.mark.parametrize(
    ("accept", "label"),
    [
        ("*/*", V1_JSON),
        (V1_JSON, V1_JSON),
        ("application/json", "application/json"),
        (f"{V1_JSON};q=0.5, application/json", "application/json"),
        ("text/html, application/vnd.schemaregistry+json", "application/vnd.schemaregistry+json"),
    ],
)
def test_answers_are_labelled_as_asked(http: httpx.Client, accept: str, label: str) -> None:
    for path in ("/subjects", "/subjects/nothing/versions"):
        assert http.get(path, headers={"Accept": accept}).headers["content-type"] == label


def test_rights_are_asked_per_subject(http: httpx.Client) -> None:
    registered = register(http, "police.resident-value", record(ID, name="Guarded"))
    unknown, justice, police = ({"X-Agency": name} for name in ("", "justice", "police"))
    refused = http.get("/subjects", headers=unknown)
    assert error(refused) == (401, 40101)
    assert "Basic" in refused.headers["www-authenticate"]
    for method, path in [
        ("GET", "/subjects/police.resident-value/versions"),
        ("GET", "/subjects/police.resident-value/versions/1"),
        ("GET", "/subjects/police.resident-value/versions/1/schema"),
        ("DELETE", "/subjects/police.resident-value"),
        ("DELETE", "/subjects/police.resident-value/versions/1"),
        ("GET", "/config/police.resident-value"),
        ("DELETE", "/config/police.resident-value"),
        ("GET", "/mode/police.resident-value"),
        ("GET", f"/schemas/ids/{registered['id']}"),
        ("GET", f"/schemas/ids/{registered['id']}/schema"),
        ("GET", f"/schemas/ids/{registered['id']}/versions"),
        ("GET", f"/schemas/ids/{registered['id']}/subjects"),
        ("GET", f"/schemas/ids/{registered['id']}?subject=justice"),
        ("GET", "/schemas/ids/999999"),
        ("GET", "/config"),
        ("GET", "/mode"),
        ("DELETE", "/config"),
    ]:
        assert error(http.request(method, path, headers=justice)) == (403, 40301), path
        assert error(http.request(method, path, headers=unknown)) == (401, 40101), path
    for method, path in [
        ("POST", "/subjects/police.resident-value"),
        ("POST", "/subjects/police.resident-value/versions"),
        ("POST", "/compatibility/subjects/police.resident-value/versions"),
        ("POST", "/compatibility/subjects/police.resident-value/versions/1"),
        ("PUT", "/config/police.resident-value"),
        ("PUT", "/config"),
    ]:
        body = {"schema": ONE, "compatibility": "NONE"}
        assert error(http.request(method, path, json=body, headers=justice)) == (403, 40301), path
        assert error(http.request(method, path, json=body, headers=unknown)) == (401, 40101), path
    assert http.get(f"/schemas/ids/{registered['id']}", headers=police).status_code == 200
    shared = register(http, "justice.copy-value", record(ID, name="Guarded"))
    assert shared["id"] == registered["id"]
    assert http.get(f"/schemas/ids/{shared['id']}", headers=justice).status_code == 200
    assert http.get(f"/schemas/ids/{shared['id']}/subjects", headers=justice).json() == ["justice.copy-value"]


def test_one_schema_registered_a_thousand_times_at_once_has_one_id_and_one_version(url: str, subject: str) -> None:
    def ask(index: int) -> tuple[int, int]:
        answer = client.post(f"/subjects/{subject}/versions", json={"schema": record(ID, name="Crowd")})
        return answer.json()["id"], answer.json()["version"]

    limits = httpx.Limits(max_connections=20)
    with httpx.Client(base_url=url, limits=limits, timeout=60) as client, ThreadPoolExecutor(20) as pool:
        assert len(set(pool.map(ask, range(1000)))) == 1


def test_a_database_that_does_not_answer_is_said_with_confluents_code() -> None:
    engine = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none?connect_timeout=2")
    from fastapi.testclient import TestClient

    with TestClient(create_app(RegistryStore(engine), allow)) as client:
        assert error(client.get("/subjects")) == (500, 50001)
    engine.dispose()


class TestConfluentsClient:
    """confluent-kafka's own registry client, serializer and deserializer, unchanged."""

    @pytest.fixture
    def client(self, url: str) -> Iterator[Any]:
        module = pytest.importorskip(
            "confluent_kafka.schema_registry", reason="confluent-kafka[schemaregistry] is not here"
        )
        with module.SchemaRegistryClient({"url": url}) as client:
            yield client

    def test_serializer_and_deserializer_work_unchanged(self, client: Any) -> None:
        from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
        from confluent_kafka.serialization import MessageField, SerializationContext

        context = SerializationContext("topic.of/residents", MessageField.VALUE)
        written = AvroSerializer(client, ONE)({"id": "042"}, context)
        framed_id = int.from_bytes(written[1:5], "big")
        assert written[0] == 0
        assert client.get_latest_version("topic.of/residents-value").schema_id == framed_id
        evolved = AvroDeserializer(client, TWO)
        assert evolved(written, context) == {"id": "042", "name": None}
        latest = AvroSerializer(client, conf={"auto.register.schemas": False, "use.latest.version": True})
        assert latest({"id": "042"}, context) == written

    def test_every_call_of_the_registry_client_is_answered(self, client: Any, subject: str) -> None:
        from confluent_kafka.schema_registry import Schema
        from confluent_kafka.schema_registry.error import SchemaRegistryError

        one, two, broken = (Schema(each, "AVRO") for each in (ONE, TWO, BROKEN))
        first = client.register_schema(subject, one)
        assert client.register_schema(subject, two) != first
        assert client.get_schema(first).schema_str == ONE
        assert client.lookup_schema(subject, two).version == 2
        assert client.get_versions(subject) == [1, 2]
        assert client.get_version(subject, 1).schema_id == first
        assert subject in client.get_subjects()
        assert subject in client.get_subjects_by_schema_id(first)
        assert any(each.subject == subject for each in client.get_schema_versions(first))
        assert client.get_schema_types() == ["AVRO"]
        assert client.test_compatibility(subject, two)
        assert not client.test_compatibility(subject, broken)
        assert not client.test_compatibility_all_versions(subject, broken)
        with pytest.raises(SchemaRegistryError) as raised:
            client.register_schema(subject, broken)
        assert raised.value.http_status_code == 409
        client.set_compatibility(subject, "NONE")
        assert client.get_compatibility(subject) == "NONE"
        assert client.get_config(subject).compatibility_level == "NONE"
        client.delete_config(subject)
        assert client.delete_version(subject, 1) == 1
        assert client.delete_subject(subject) == [2]
        assert client.delete_subject(subject, permanent=True) == [1, 2]
