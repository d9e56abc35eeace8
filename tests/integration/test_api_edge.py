"""What holds for every operation: no token no answer, limits, languages, problem+json, and an OpenAPI that tells all of it."""

from __future__ import annotations

import json
import re
from contextlib import suppress

import httpx
import psycopg
import pytest

from tests.house import POLICE, House

OPEN = {"/oauth/token", "/health/live", "/health/ready", "/metrics"}


def operations(house: House) -> list[tuple[str, str]]:
    document = house.http.get("/openapi.json").json()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


def test_every_operation_asks_for_a_token(house: House) -> None:
    asked = [one for one in operations(house) if one[1] not in OPEN]
    assert len(asked) > 30
    for method, path in asked:
        answer = house.http.request(method, re.sub(r"\{[^}]*\}", "1", path))
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "unauthenticated"


def test_openapi_tells_each_operations_problems_and_its_security(house: House) -> None:
    document = house.http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = f"{method} {path}"
            assert operation.get("summary"), name
            if path in OPEN:
                continue
            assert operation["security"], name
            assert {"400", "401", "503"} <= set(operation["responses"]), name
            for status, response in operation["responses"].items():
                if status.startswith(("4", "5")) and "application/problem+json" in response.get("content", {}):
                    assert "ProblemBody" in str(response["content"]), name
    assert "ProblemBody" in document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document)


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        (None, "en"),
        ("vi", "vi"),
        ("vi-VN,vi;q=0.9,en;q=0.8", "vi"),
        ("en;q=0.5, vi;q=0.9", "vi"),
        ("vi;q=0.2, en;q=0.7", "en"),
        ("fr, vi;q=0.1", "vi"),
        ("fr", "en"),
        ("vi;q=0", "en"),
        ("vi;q=x", "en"),
        (";;,,=", "en"),
    ],
)
def test_errors_speak_the_language_that_was_asked_for(house: House, asked: str | None, spoken: str) -> None:
    answer = house.http.get("/v1/me", headers={"Accept-Language": asked} if asked else {})
    assert answer.headers["content-language"] == spoken
    assert answer.json()["title"] == {"en": "Not authenticated", "vi": "Chưa xác thực"}[spoken]


def test_a_problem_says_all_its_parts(house: House) -> None:
    answer = house.admin.post("/v1/agencies", {"code": "Hà Tĩnh", "name_vi": "x", "name_en": "x"})
    assert answer.status_code == 400
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "retriable", "errors"}
    assert problem["type"] == "urn:lgsp:problem:invalid_request"
    assert problem["status"] == 400
    assert problem["retriable"] is False
    assert problem["errors"][0].keys() == {"path", "code", "message"}
    assert problem["errors"][0]["path"] == "code"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"name_vi": "x", "name_en": "x"}, "code"),
        ({"code": "H27.77", "name_vi": "x", "name_en": "x", "colour": "red"}, "colour"),
        ({"code": "H27.77", "name_vi": "", "name_en": "x"}, "name_vi"),
        ({"code": "H27.77", "name_vi": "a\0b", "name_en": "x"}, "name_vi"),
        ({"code": "H27.77", "name_vi": 5, "name_en": "x"}, "name_vi"),
        ({"code": "H27.77", "name_vi": "x" * 301, "name_en": "x"}, "name_vi"),
        (
            {"code": "H27.77", "name_vi": "x", "name_en": "x", "attributes": {"communes": "18073"}},
            "attributes.communes",
        ),
        ([], "body"),
        ("secret-value", "body"),
    ],
    ids=str,
)
def test_a_body_that_is_not_what_it_must_be_names_the_path_and_not_the_value(
    house: House, body: object, path: str
) -> None:
    answer = house.admin.ask(
        "POST", "/v1/agencies", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"] == path
    assert "secret-value" not in answer.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 1_000_000, b"nul", b'{"code": 1e999999}'])
def test_what_is_no_json_is_refused(house: House, body: bytes) -> None:
    answer = house.admin.ask("POST", "/v1/agencies", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"


def test_a_document_over_the_limit_is_refused_without_being_read(house: House) -> None:
    limit = house.runtime.settings.document_bytes_max
    too_large = house.admin.ask("POST", "/v1/contracts", content=b"x" * (limit + 1))
    assert too_large.status_code == 413
    assert too_large.json()["code"] == "too_large"

    sent = 0

    def endless() -> object:
        nonlocal sent
        while sent < 20 * limit:
            sent += 65536
            yield b"x" * 65536

    # Either the answer comes, or the server has closed the connection while it was being written to.
    with suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        assert house.admin.ask("POST", "/v1/contracts", content=endless()).status_code == 413
    assert sent < 20 * limit


def test_pages_have_a_limit_and_go_on(house: House) -> None:
    assert house.admin.get("/v1/agencies", params={"limit": 1001}).status_code == 400
    assert house.admin.get("/v1/agencies", params={"limit": 0}).status_code == 400
    seen: list[str] = []
    after = ""
    while True:
        page = house.admin.must("GET", "/v1/agencies", params={"limit": 2, "after": after})
        assert len(page["items"]) <= 2
        seen += [one["code"] for one in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == sorted(set(seen))
    assert {POLICE, "operator"} <= set(seen)


@pytest.mark.parametrize("path", ["/v1/agencies/%00", "/v1/agencies?after=%00", "/v1/subscriptions/a%00b"])
def test_nul_in_an_address_is_refused(house: House, path: str) -> None:
    answer = house.admin.get(path)
    assert answer.status_code == 400, answer.text


def test_an_unknown_path_and_a_wrong_method_are_problems_too(house: House) -> None:
    missing, wrong = house.admin.get("/v1/nothing"), house.admin.ask("DELETE", "/v1/agencies")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"]


def test_an_error_of_ours_says_nothing_of_its_inside(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the-inside")

    monkeypatch.setattr("bus.control.agencies.get", broken)
    answer = house.admin.get("/v1/agencies/H27.01")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "the-inside" not in answer.text


def test_health_says_what_it_found(house: House) -> None:
    assert house.http.get("/health/live").json() == {"status": "live"}
    ready = house.http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    assert all(found["ok"] for found in ready.json()["checks"].values())
    assert set(ready.json()["checks"]) == {"database", "kafka"}


def test_not_ready_while_kafka_does_not_answer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def dead(_: object) -> None:
        raise TimeoutError("at kafka-1.internal:9092")

    monkeypatch.setattr("bus.log.topics.Topics.ping", dead)
    ready = house.http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    assert not ready.json()["checks"]["kafka"]["ok"]
    assert "kafka-1.internal" not in ready.text


def test_metrics_count_requests_by_template(house: House) -> None:
    house.admin.get(f"/v1/agencies/{POLICE}")
    text = house.http.get("/metrics").text
    assert 'lgsp_http_requests_total{method="GET",route="/v1/agencies/{code}",status="200"}' in text
    assert POLICE not in text


@pytest.mark.parametrize(
    "name",
    [r'"\ud800"', r'"\u0000"', r'"a\u0007b"', '"' + "Ả" * 300 + '"', '"\U0010ffff"'],
    ids=["surrogate", "nul", "bell", "long", "last"],
)
def test_strange_letters_never_reach_further_than_they_can_be_kept(house: House, name: str) -> None:
    body = f'{{"name_vi": {name}}}'.encode()
    answer = house.admin.ask(
        "PATCH", f"/v1/agencies/{POLICE}", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        assert answer.json()["name_vi"] == json.loads(name)


def test_while_the_database_is_away_the_answer_is_503_and_afterwards_all_is_well(
    house: House, postgres_server: str
) -> None:
    engine = house.runtime.engine
    name = engine.url.database
    owner = house.client(POLICE, "owner")
    calls = [("GET", "/v1/me"), ("GET", "/v1/agencies"), ("GET", "/v1/subscriptions"), ("GET", "/v1/audit/journal")]
    with psycopg.connect(postgres_server, autocommit=True) as server:
        owner.must("GET", "/v1/me")
        server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            for method, path in calls:
                answer = owner.ask(method, path)
                assert (answer.status_code, answer.json()["retriable"]) == (503, True), path
                assert answer.headers["retry-after"]
            ready = house.http.get("/health/ready")
            assert (ready.status_code, ready.json()["checks"]["database"]["ok"]) == (503, False)
            assert house.http.get("/health/live").status_code == 200
        finally:
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    for method, path in calls:
        assert owner.ask(method, path).status_code == 200
