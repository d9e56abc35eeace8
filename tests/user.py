"""Someone with a token and no client library: what the bus answers, in both languages."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import Running, resident

JSON, NDJSON, AVRO = "application/json", "application/x-ndjson", "application/avro"
ARROW = "application/vnd.apache.arrow.stream"
MB = 2**20
PEAK_GROWTH_BYTES_MAX = (
    1_200 * MB
)  # of client and server together, which hold a bomb of 500 MB; the bombs stand for more


class User:
    """Someone with a token and no client library."""

    def __init__(self, bus: Running) -> None:
        self.bus = bus
        self.http = httpx.Client(base_url=bus.url, timeout=60)

    def ask(self, method: str, path: str, who: str | None = "publisher", **request: Any) -> httpx.Response:
        """In Vietnamese and in English, where it is refused: the same refusal."""
        given = request.pop("headers", {})
        token = {"Authorization": f"Bearer {self.bus[who]._bearer()}"} if who else {}
        answers = {}
        for language in ("vi", "en"):
            headers = token | {"Accept-Language": language} | given
            answers[language] = self.http.request(method, path, headers=headers, **request)
            if answers[language].is_success:
                return answers[language]
        vi, en = answers["vi"], answers["en"]
        assert vi.status_code == en.status_code
        if "problem+json" in en.headers["content-type"]:
            assert en.json()["title"] != vi.json()["title"]
            assert en.json()["detail"] != vi.json()["detail"]
            assert (en.headers["content-language"], vi.headers["content-language"]) == ("en", "vi")
        return en

    def publish(self, body: bytes | Iterator[bytes], media: str = JSON, **request: Any) -> httpx.Response:
        headers = {"Content-Type": media} | request.pop("headers", {})
        return self.ask("POST", f"/v1/publish/{self.bus.contract}", content=body, headers=headers, **request)

    def submit(self, document: bytes) -> httpx.Response:
        return self.ask("POST", "/v1/contracts", "integrator", content=document)

    def stored(self) -> int:
        """How many records the account knows; the same whichever subscription it is asked for."""
        return int(self.bus["admin"].account(self.bus.contract)["items"][0]["published"])


@pytest.fixture(scope="module")
def user(bus: Running) -> Iterator[User]:
    found = User(bus)
    bus["publisher"].publish(bus.contract, [resident(0)])
    yield found
    found.http.close()


@pytest.fixture
def still_well(user: User) -> Iterator[None]:
    """After the test the bus is ready, its account balances, its memory has not grown with what was sent."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < PEAK_GROWTH_BYTES_MAX
    ready = user.http.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    for line in user.bus["admin"].account(user.bus.contract)["items"]:
        assert line["balanced"], line


def code_of(answer: httpx.Response) -> tuple[int, str, str]:
    """(status, the path and the code of the first thing that's wrong)"""
    errors = answer.json()["errors"] or [{"path": "", "code": answer.json()["code"]}]
    return answer.status_code, errors[0]["path"], errors[0]["code"]


def rows(*records: dict[str, Any]) -> bytes:
    return json.dumps(records, ensure_ascii=False).encode()
