"""The client against a real HTTP server that answers what each test says, to see what it repeats and what it doesn't."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pyarrow as pa
import pytest

from bus.client import ARROW, NDJSON, ApiError, BusUnreachable, Client, Retry
from bus.model import Op
from registry.errors import ErrorClass

RECEIPT = {"receipt": "rcp_1", "accepted": 1, "duplicates": 0, "rejected": []}
REJECTED = {
    "receipt": "rcp_2",
    "accepted": 0,
    "duplicates": 0,
    "rejected": [
        {"index": 0, "key": "042", "class": "format", "path": "birth_date", "code": "date", "message": "not a date"}
    ],
}
PROBLEM = "application/problem+json"


@dataclass
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False  # close the connection without an answer

    def bytes(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Surface:
    """Answers in order, the last one again and again; remembers what was asked."""

    url: str
    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    tokens: int = 0
    token_answer: Answer = field(
        default_factory=lambda: Answer(200, {"access_token": "t", "token_type": "Bearer", "expires_in": 300})
    )

    def next(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def surface() -> Iterator[Surface]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path == "/oauth/token":
                known.tokens += 1
                assert parse_qs(body.decode())["grant_type"] == ["client_credentials"]
                return self.give(known.token_answer, tokens=True)
            known.asked.append((f"{self.command} {self.path}", dict(self.headers), body))
            return self.give(known.next())

        do_GET = do_POST

        def give(self, answer: Answer, tokens: bool = False) -> None:
            if answer.cut:
                self.close_connection = True
                return
            body = answer.bytes()
            if tokens and answer.status == 200:
                body = body.replace(b'"t"', f'"t{known.tokens}"'.encode())
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known = Surface(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield known
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def connect(surface: Surface) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(**options: Any) -> Client:
        options.setdefault("retry", Retry(for_s=20.0, wait_first_s=0.01, wait_max_s=0.02))
        clients.append(Client(surface.url, "cl", "secret", **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_one_token_serves_many_requests_until_it_is_about_to_end(surface: Surface, connect: Any) -> None:
    now = [0.0]
    client = connect(monotonic=lambda: now[0])
    surface.answers = [Answer(200, {"agency": "H27"})]
    client.me()
    client.me()
    assert surface.tokens == 1
    now[0] = 290.0  # of 300: a request could outlive it
    client.me()
    assert surface.tokens == 2
    assert surface.asked[-1][1]["Authorization"] == "Bearer t2"


def test_a_token_the_bus_has_forgotten_is_fetched_anew_once(surface: Surface, connect: Any) -> None:
    surface.answers = [Answer(401, {"code": "unauthenticated"}, {"Content-Type": PROBLEM}), Answer(200, {})]
    connect().me()
    assert surface.tokens == 2
    surface.answers = [Answer(401, {"code": "unauthenticated"}, {"Content-Type": PROBLEM})]
    with pytest.raises(ApiError) as caught:
        connect().me()
    assert (caught.value.status, caught.value.code) == (401, "unauthenticated")


def test_wrong_credentials_are_an_error_and_not_tried_again(surface: Surface, connect: Any) -> None:
    surface.token_answer = Answer(401, {"error": "invalid_client", "error_description": "no such client"})
    with pytest.raises(ApiError) as caught:
        connect().me()
    assert (caught.value.code, caught.value.detail) == ("invalid_client", "no such client")
    assert surface.tokens == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_bus_is_asked_again(surface: Surface, connect: Any, status: int) -> None:
    surface.answers = [Answer(status, {}), Answer(status, {}), Answer(200, RECEIPT)]
    assert connect().publish("population/resident", [{"a": 1}]).accepted == 1
    assert len(surface.asked) == 3


def test_waits_as_long_as_the_bus_asks_for(surface: Surface, connect: Any) -> None:
    waits: list[tuple[str, float]] = []
    retry = Retry(for_s=20.0, wait_first_s=0.01, wait_max_s=0.02, on_wait=lambda why, s: waits.append((why, s)))
    busy = Answer(503, {"code": "log_unavailable", "retriable": True}, {"Content-Type": PROBLEM, "Retry-After": "0.3"})
    surface.answers = [busy, Answer(200, RECEIPT)]
    connect(retry=retry).publish("population/resident", [{"a": 1}])
    assert waits == [("log_unavailable", 0.3)]


@pytest.mark.parametrize("status", [400, 403, 404, 409, 413, 415, 422, 500])
def test_a_refusal_is_not_tried_again_and_says_everything(surface: Surface, connect: Any, status: int) -> None:
    problem = {
        "status": status,
        "code": "some_code",
        "detail": "why",
        "retriable": False,
        "errors": [{"path": "a.b", "code": "c", "message": "found x, expected y"}],
    }
    surface.answers = [Answer(status, problem, {"Content-Type": PROBLEM})]
    with pytest.raises(ApiError) as caught:
        connect().publish("population/resident", [{"a": 1}])
    error = caught.value
    assert (error.status, error.code, error.detail, error.retriable) == (status, "some_code", "why", False)
    assert [(one.path, one.code, one.message.en) for one in error.errors] == [("a.b", "c", "found x, expected y")]
    assert len(surface.asked) == 1


def test_a_proxys_page_is_an_error_by_its_status(surface: Surface, connect: Any) -> None:
    surface.answers = [Answer(404, b"<html>nothing here</html>", {"Content-Type": "text/html"})]
    with pytest.raises(ApiError) as caught:
        connect().me()
    assert caught.value.code == "http_404"


@pytest.mark.parametrize(("status", "body"), [(200, RECEIPT), (207, REJECTED), (422, REJECTED)])
def test_a_receipt_is_an_answer_also_when_records_were_rejected(
    surface: Surface, connect: Any, status: int, body: Any
) -> None:
    surface.answers = [Answer(status, body)]
    receipt = connect().publish("population/resident", b'{"a":1}', media_type=NDJSON)
    assert receipt.id == body["receipt"]
    assert [(one.index, one.key, one.error_class, one.path) for one in receipt.rejected] == [
        (0, "042", ErrorClass.FORMAT, "birth_date") for _ in body["rejected"]
    ]


def test_a_batch_cut_off_on_the_way_is_sent_again_under_the_same_idempotency_key(
    surface: Surface, connect: Any
) -> None:
    surface.answers = [Answer(cut=True), Answer(200, RECEIPT)]
    connect().publish("population/resident", [{"a": 1}, {"a": 2}])
    first, second = surface.asked
    assert first[2] == second[2] == b'{"a":1}\n{"a":2}'
    assert first[1]["Idempotency-Key"] == second[1]["Idempotency-Key"]


def test_what_may_have_happened_already_is_not_done_twice(surface: Surface, connect: Any) -> None:
    surface.answers = [Answer(cut=True)]
    with pytest.raises(BusUnreachable):
        connect().create_client("H27", "app", ["publisher"])
    assert len(surface.asked) == 1


def test_a_bus_that_is_down_is_waited_for_and_then_said_to_be_down(connect: Any) -> None:
    reasons: list[str] = []
    retry = Retry(for_s=0.2, wait_first_s=0.02, wait_max_s=0.05, on_wait=lambda why, _: reasons.append(why))
    with (
        Client("http://127.0.0.1:1", "cl", "secret", retry=retry) as client,
        pytest.raises(BusUnreachable) as caught,
    ):
        client.create_client("H27", "app", ["publisher"])
    assert caught.value.retriable
    assert set(reasons) == {"bus_unreachable"}


def test_insisting_ends_at_once_when_it_is_told_to_stop(connect: Any) -> None:
    stop = threading.Event()
    retry = Retry(for_s=None, wait_first_s=60.0, wait_max_s=60.0, stop=stop, on_wait=lambda *_: stop.set())
    with Client("http://127.0.0.1:1", "cl", "secret", retry=retry) as client, pytest.raises(BusUnreachable):
        client.me()


def test_secrets_are_in_no_message(surface: Surface, connect: Any) -> None:
    surface.token_answer = Answer(401, {"error": "invalid_client"})
    with pytest.raises(ApiError) as caught:
        connect().me()
    assert "secret" not in f"{caught.value} {caught.value!r} {caught.value.__dict__}"


def test_records_come_with_the_last_cursor(surface: Surface, connect: Any) -> None:
    lines = [
        {
            "cursor": "1.0",
            "key": "a",
            "op": "upsert",
            "value": {"n": 1},
            "version": "1.0.0",
            "published_at": "2025-07-01",
        },
        {"cursor": "1.1", "key": "b", "op": "delete", "value": None, "version": "1.0.0", "published_at": "2025-07-01"},
    ]
    body = b"\n".join(json.dumps(line).encode() for line in lines)
    surface.answers = [Answer(200, body, {"Content-Type": NDJSON, "Lgsp-Cursor": "1.1"}), Answer(200, b"")]
    client = connect()
    page = client.pull("sub", max_records=5, wait_ms=7, after="0.9")
    assert [(one.key, one.op, one.value) for one in page.records] == [
        ("a", Op.UPSERT, {"n": 1}),
        ("b", Op.DELETE, None),
    ]
    assert page.cursor == "1.1"
    assert surface.asked[0][0] == "GET /v1/subscriptions/sub/records?max=5&wait_ms=7&after=0.9"
    assert client.pull("sub").cursor is None


def test_columns_come_as_an_arrow_table_also_when_there_is_nothing(surface: Surface, connect: Any) -> None:
    table = pa.table({"cursor": ["3.0", "3.1"], "key": ["a", "b"], "op": ["upsert", "delete"]})
    surface.answers = [
        Answer(200, _stream(table), {"Content-Type": ARROW, "Lgsp-Cursor": "3.1"}),
        Answer(200, _stream(table.slice(0, 0)), {"Content-Type": ARROW}),
    ]
    client = connect()
    page = client.pull_arrow("sub")
    assert page.table.equals(table)
    assert page.cursor == "3.1"
    assert surface.asked[0][1]["Accept"] == ARROW
    empty = client.pull_arrow("sub")
    assert (empty.table.num_rows, empty.cursor) == (0, None)


def test_arrow_tables_are_published_as_a_stream(surface: Surface, connect: Any) -> None:
    surface.answers = [Answer(200, RECEIPT)]
    table = pa.table({"a": [1, 2]})
    connect().publish("population/resident", table, dry_run=True)
    asked, headers, body = surface.asked[0]
    assert asked == "POST /v1/publish/population/resident?op=upsert&dry_run=true"
    assert headers["Content-Type"] == ARROW
    assert pa.ipc.open_stream(body).read_all().equals(table)


def test_keys_are_published_as_deletions(surface: Surface, connect: Any) -> None:
    surface.answers = [Answer(200, RECEIPT)]
    connect().publish("population/resident", ["a", "b"], op=Op.DELETE)
    asked, _, body = surface.asked[0]
    assert (asked, body) == ("POST /v1/publish/population/resident?op=delete", b'"a"\n"b"')


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
