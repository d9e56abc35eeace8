"""The Python client of the bus: what an agency's program needs to publish, read, acknowledge and administer by HTTP.

It speaks only the surfaces of `/v1` and knows nothing of Kafka or of the bus's database. It isn't a connector: it
keeps no state between calls but its token.
"""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import httpx
import orjson
import tenacity

from bus.errors import Unavailable
from bus.model import Json, Op, Receipt, Rejection
from registry.errors import ErrorClass, Problem, Text

if TYPE_CHECKING:  # imported where columns are used: it takes longer than all the rest
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"
AVRO = "application/avro"

# A batch of 64 MB over a slow line, a long poll of 30 s: both fit.
TIMEOUT = httpx.Timeout(connect=5.0, read=90.0, write=90.0, pool=30.0)
TOKEN_MARGIN_S = 20.0  # renewed before it ends, so that no request is refused for a token that died on the way

_LOTS = random.Random()  # noqa: S311 -- spreads clients out; no secret, and not the lots that the whole process shares


class ApiError(Exception):
    """The bus said no. `errors` point at paths of what was sent; `retriable` says whether trying again can help."""

    def __init__(
        self, status: int, code: str, detail: str, errors: Sequence[Problem] = (), retriable: bool = False
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.retriable = retriable
        self.retry_after_s: float | None = None


class BusUnreachable(Unavailable):
    """No answer at all: refused, cut or timed out, for as long as the retry policy allows."""

    code = "bus_unreachable"

    def __init__(self, what: str, *, again: bool) -> None:
        super().__init__(Text(f"the bus does not answer ({what})", f"không kết nối được tới trục dữ liệu ({what})"))
        self.again = again  # the request may be repeated without a second effect


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to insist. `for_s` None insists until `stop` is set; waits double up to `wait_max_s`, with jitter."""

    for_s: float | None = 30.0
    wait_first_s: float = 0.1
    wait_max_s: float = 10.0
    stop: threading.Event = field(default_factory=threading.Event)
    on_wait: Callable[[str, float], None] | None = None  # (reason, seconds): for a line in a log


@dataclass(frozen=True, slots=True)
class Delivered:
    """One record as a subscriber receives it. `value` is None when it was deleted; `published_at` is an ISO time."""

    cursor: str
    key: str
    op: Op
    value: Json | None
    version: str
    published_at: str


@dataclass(frozen=True, slots=True)
class Page:
    """Records after a cursor. `cursor` is the last one, to acknowledge or to read on after; None when nothing came."""

    records: tuple[Delivered, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ArrowPage:
    """The same as columns: cursor, key, op, value (struct), version, published_at."""

    table: pa.Table
    cursor: str | None


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What `POST …/clients` answers, once."""

    client_id: str
    client_secret: str

    @classmethod
    def from_file(cls, path: Path) -> ClientCredentials:
        """Read `{"client_id", "client_secret"}` as `lgsp up` writes it. Raises OSError, ValueError, KeyError."""
        document = json.loads(path.read_bytes())
        return cls(document["client_id"], document["client_secret"])


class Client(AbstractContextManager["Client"]):
    """A connection to one bus as one client. Safe to share between threads; close it, or use it as a context."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        *,
        retry: Retry | None = None,
        timeout: httpx.Timeout = TIMEOUT,
        language: str = "en",
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.retry = retry or Retry()
        self._credentials = (client_id, client_secret)
        self._monotonic = monotonic
        self._http = httpx.Client(
            base_url=url.rstrip("/"), timeout=timeout, transport=transport, headers={"Accept-Language": language}
        )
        self._lock = threading.Lock()
        self._token: tuple[str, float] | None = None

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # Records

    def publish(
        self,
        contract: str,
        records: Sequence[Mapping[str, Any]] | Sequence[str] | pa.Table | bytes,
        *,
        media_type: str | None = None,
        op: Op = Op.UPSERT,
        idempotency_key: str | None = None,
        dry_run: bool = False,
    ) -> Receipt:
        """Publish a batch: mappings, an Arrow table, or bytes of `media_type`; for `op` DELETE, the keys as strings.

        Returns the receipt, also when some or all records were rejected (207, 422). Safe to repeat: without an
        `idempotency_key` one is made for this call. Raises ApiError, BusUnreachable.
        """
        body, media = _encode(records, media_type)
        response = self.send(
            "POST",
            f"/v1/publish/{contract}",
            params={"op": op.value, "dry_run": "true"} if dry_run else {"op": op.value},
            content=body,
            headers={"Content-Type": media, "Idempotency-Key": idempotency_key or uuid4().hex},
            repeatable=True,
            also_good=(422,),
        )
        return _receipt(response)

    def pull(self, subscription: str, *, max_records: int = 1_000, wait_ms: int = 0, after: str | None = None) -> Page:
        """Records after `after` (by default: after the last acknowledged one), waiting up to `wait_ms` for the first.

        Raises ApiError (403 `grant_ended` when the subscription isn't active), BusUnreachable.
        """
        response = self._records(subscription, NDJSON, max_records, wait_ms, after)
        records = tuple(_delivered(orjson.loads(line)) for line in response.content.splitlines() if line)
        return Page(records, response.headers.get("Lgsp-Cursor") or (records[-1].cursor if records else None))

    def pull_arrow(
        self, subscription: str, *, max_records: int = 10_000, wait_ms: int = 0, after: str | None = None
    ) -> ArrowPage:
        """The same as an Arrow table; nothing to read gives a table of no rows. Raises ApiError, BusUnreachable."""
        import pyarrow as pa

        response = self._records(subscription, ARROW, max_records, wait_ms, after)
        with pa.ipc.open_stream(io.BytesIO(response.content)) as reader:
            table = reader.read_all()
        last = table.column("cursor")[-1].as_py() if table.num_rows else None
        return ArrowPage(table, response.headers.get("Lgsp-Cursor") or last)

    def ack(self, subscription: str, cursor: str) -> None:
        """Move the committed position to `cursor`. Safe to repeat. Raises ApiError, BusUnreachable."""
        self.send("POST", f"/v1/subscriptions/{subscription}/ack", json={"cursor": cursor}, repeatable=True)

    def _records(
        self, subscription: str, accept: str, max_records: int, wait_ms: int, after: str | None
    ) -> httpx.Response:
        params: dict[str, str | int] = {"max": max_records, "wait_ms": wait_ms}
        if after is not None:
            params["after"] = after
        return self.send("GET", f"/v1/subscriptions/{subscription}/records", params=params, headers={"Accept": accept})

    # Agencies, clients, legal bases

    def me(self) -> Json:
        return self.call("GET", "/v1/me")

    def create_agency(
        self, code: str, name_vi: str, name_en: str, attributes: Mapping[str, Sequence[str]] | None = None
    ) -> Json:
        body: Json = {"code": code, "name_vi": name_vi, "name_en": name_en}
        return self.call("POST", "/v1/agencies", json=body | ({"attributes": attributes} if attributes else {}))

    def create_client(self, agency: str, name: str, roles: Sequence[str]) -> ClientCredentials:
        """A new client of `agency`; its secret is shown only here."""
        answer = self.call("POST", f"/v1/agencies/{agency}/clients", json={"name": name, "roles": list(roles)})
        return ClientCredentials(answer["client_id"], answer["client_secret"])

    def create_legal_basis(
        self, number: str, article: str, title: str, issuer: str, valid_from: str, valid_to: str | None = None
    ) -> str:
        """Enter a law; dates are ISO. Returns its id."""
        body: Json = {
            "number": number,
            "article": article,
            "title": title,
            "issuer": issuer,
            "valid_from": valid_from,
        }
        answer = self.call("POST", "/v1/legal-bases", json=body | ({"valid_to": valid_to} if valid_to else {}))
        return str(answer["id"])

    # Contracts

    def register_contract(self, document: bytes) -> Json:
        """Submit an ODCS document (YAML) or a zip with its parts. Returns `{id, version, state}`."""
        media = "application/zip" if document.startswith(b"PK\x03\x04") else "application/yaml"
        return self.call("POST", "/v1/contracts", content=document, headers={"Content-Type": media})

    def approve_contract(self, contract: str, version: str) -> Json:
        return self.call("POST", f"/v1/contracts/{contract}/versions/{version}/approve", json={})

    def contracts(self, query: str | None = None) -> Json:
        return self.call("GET", "/v1/contracts", params={"q": query} if query else {})

    # Subscriptions

    def request_subscription(
        self,
        contract: str,
        view: str,
        *,
        purpose: str,
        legal_basis: str,
        expires_at: str,
        start: str = "earliest",
        procedure: str | None = None,
        delivery: Mapping[str, str] | None = None,
    ) -> Json:
        """Ask for a view. `start` is "earliest", "latest" or an ISO time; `expires_at` an ISO time. `{id, state}`."""
        body: Json = {
            "contract": contract,
            "view": view,
            "purpose": purpose,
            "legal_basis": legal_basis,
            "delivery": dict(delivery or {"mode": "pull"}),
            "from": start,
            "expires_at": expires_at,
        }
        return self.call("POST", "/v1/subscriptions", json=body | ({"procedure": procedure} if procedure else {}))

    def subscription(self, subscription: str) -> Json:
        return self.call("GET", f"/v1/subscriptions/{subscription}")

    def subscriptions(self, **query: str) -> Json:
        return self.call("GET", "/v1/subscriptions", params=query)

    def decide_subscription(
        self,
        subscription: str,
        action: Literal["approve", "refuse", "suspend", "resume", "renew", "revoke", "seek"],
        **document: Any,
    ) -> Json:
        """One of the acts on a subscription, with what it demands (`reason`, `legal_basis`, `expires_at`, …)."""
        return self.call("POST", f"/v1/subscriptions/{subscription}/{action}", json=document)

    # Quarantine, account, journal

    def quarantine(self, **query: str) -> Json:
        """Rejected records, by `contract` and `class`, a page at a time."""
        return self.call("GET", "/v1/quarantine", params=query)

    def decide_quarantined(
        self, quarantined: str, action: Literal["replay", "correct", "discard"], **document: Any
    ) -> Json:
        return self.call("POST", f"/v1/quarantine/{quarantined}/{action}", json=document)

    def account(self, contract: str, **query: str) -> Json:
        """published = delivered + filtered + duplicate + quarantined + pending, for a contract."""
        return self.call("GET", "/v1/audit/account", params={"contract": contract} | query)

    def journal(self, **query: str) -> Json:
        return self.call("GET", "/v1/audit/journal", params=query)

    # The wire

    def call(self, method: str, path: str, **request: Any) -> Json:
        """One request with a JSON answer; {} where the answer has no body. Raises ApiError, BusUnreachable."""
        response = self.send(method, path, **request)
        answer: Json = orjson.loads(response.content) if response.content else {}
        return answer

    def send(
        self, method: str, path: str, *, repeatable: bool = False, also_good: Sequence[int] = (), **request: Any
    ) -> httpx.Response:
        """One request, repeated while the bus can't be reached or says 429, 502, 503 or 504; no other 4xx is repeated.

        What isn't `repeatable` is sent again only when the bus surely hasn't acted: not reached, or it said so itself.
        """
        repeatable = repeatable or method == "GET"
        for attempt in self._attempts():
            with attempt:
                try:
                    response = self._send_once(method, path, request)
                except httpx.TransportError as error:
                    untouched = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
                    raise BusUnreachable(type(error).__name__, again=repeatable or untouched) from error
                if response.is_success or (response.status_code in also_good and not _is_problem(response)):
                    return response
                raise _api_error(response)
        raise AssertionError("tenacity either returns or raises")

    def _send_once(self, method: str, path: str, request: Json) -> httpx.Response:
        response = self._authorized(method, path, request)
        if response.status_code == 401:  # revoked or forgotten by the bus: a fresh one, once
            self._token = None
            response = self._authorized(method, path, request)
        return response

    def _authorized(self, method: str, path: str, request: Json) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._bearer()}"} | dict(request.get("headers") or {})
        return self._http.request(method, path, **(request | {"headers": headers}))

    def _bearer(self) -> str:
        """The token, fetched when there is none or it is about to end. Raises ApiError, httpx.TransportError."""
        with self._lock:
            if self._token is None or self._monotonic() >= self._token[1]:
                client_id, client_secret = self._credentials
                form = {
                    "grant_type": "client_credentials",
                    "client_id": client_id,
                    "client_secret": client_secret,
                }
                response = self._http.post("/oauth/token", data=form)
                if not response.is_success:
                    raise _api_error(response)
                answer = orjson.loads(response.content)
                lifetime_s = float(answer.get("expires_in", 60))
                usable_s = max(lifetime_s - TOKEN_MARGIN_S, lifetime_s / 2)
                self._token = (str(answer["access_token"]), self._monotonic() + usable_s)
            return self._token[0]

    def _attempts(self) -> Iterator[tenacity.AttemptManager]:
        retry = self.retry
        ends: list[Any] = [tenacity.stop_when_event_set(retry.stop)]
        if retry.for_s is not None:
            ends.append(tenacity.stop_after_delay(retry.for_s))
        return iter(
            tenacity.Retrying(
                retry=tenacity.retry_if_exception(_can_help),
                wait=lambda state: _wait_s(state, retry),
                stop=tenacity.stop_any(*ends),
                sleep=tenacity.sleep_using_event(retry.stop),
                before_sleep=lambda state: _say_wait(state, retry),
                reraise=True,
            )
        )


def _encode(records: Any, media_type: str | None) -> tuple[bytes, str]:
    if isinstance(records, bytes):
        return records, media_type or NDJSON
    if type(records).__module__.startswith("pyarrow."):
        import pyarrow as pa

        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, records.schema) as writer:
            writer.write_table(records)
        return sink.getvalue(), ARROW
    return b"\n".join(orjson.dumps(record) for record in records), NDJSON


def _receipt(response: httpx.Response) -> Receipt:
    answer = orjson.loads(response.content)
    rejected = tuple(
        Rejection(
            index=int(one["index"]),
            key=one.get("key"),
            error_class=ErrorClass(one["class"]),
            path=str(one.get("path", "")),
            code=str(one["code"]),
            message=_text(one.get("message", "")),
        )
        for one in answer.get("rejected", ())
    )
    return Receipt(str(answer["receipt"]), int(answer["accepted"]), int(answer["duplicates"]), rejected)


def _text(said: Any) -> Text:
    """A message as the bus says it: both languages, or one string in the language that was asked for."""
    if isinstance(said, Mapping):
        return Text(str(said.get("en", "")), str(said.get("vi", "")))
    if isinstance(said, Sequence) and not isinstance(said, str) and len(said) == 2:
        return Text(str(said[0]), str(said[1]))
    return Text(str(said), str(said))


def _delivered(line: Json) -> Delivered:
    return Delivered(
        line["cursor"], line["key"], Op(line["op"]), line.get("value"), str(line["version"]), str(line["published_at"])
    )


def _is_problem(response: httpx.Response) -> bool:
    return str(response.headers.get("Content-Type", "")).startswith("application/problem+json")


def _api_error(response: httpx.Response) -> ApiError:
    """From problem+json; from a proxy's page, only the status is believed."""
    try:
        problem = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    status = response.status_code
    errors = tuple(
        Problem(str(one.get("path", "")), str(one.get("code", "")), _text(one.get("message", "")))
        for one in problem.get("errors") or ()
    )
    error = ApiError(
        status,
        str(problem.get("code") or problem.get("error") or f"http_{status}"),
        str(problem.get("detail") or problem.get("error_description") or response.reason_phrase),
        errors,
        bool(problem.get("retriable", status in (429, 502, 503, 504))),
    )
    after = response.headers.get("Retry-After", "")
    error.retry_after_s = float(after) if after.replace(".", "", 1).isdigit() else None
    return error


def _can_help(error: BaseException) -> bool:
    if isinstance(error, ApiError):
        return error.status == 429 or (error.retriable and error.status >= 500)
    return isinstance(error, BusUnreachable) and error.again


def _wait_s(state: tenacity.RetryCallState, retry: Retry) -> float:
    """Doubling with jitter up to the policy's cap, and never sooner than the bus asks for."""
    doubled = min(retry.wait_max_s, retry.wait_first_s * 2.0 ** min(state.attempt_number - 1, 30))
    jittered = doubled * _LOTS.uniform(0.5, 1.0)
    error = state.outcome.exception() if state.outcome else None
    return max(jittered, (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0)


def _say_wait(state: tenacity.RetryCallState, retry: Retry) -> None:
    error = state.outcome.exception() if state.outcome else None
    if retry.on_wait is not None and state.next_action is not None:
        reason = error.code if isinstance(error, (ApiError, BusUnreachable)) else type(error).__name__
        retry.on_wait(reason, float(state.next_action.sleep))
