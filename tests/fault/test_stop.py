"""SIGTERM under load: the bus ends in order and in time, and what it acknowledged is there at the next start."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.fault.test_kill import CONTRACT, introduce, started
from tests.running import resident

pytestmark = pytest.mark.fault
PUBLISHERS = 4
STOP_S_MAX = 30.0


class Publisher(threading.Thread):
    """Publishes records of its own, one after the other, without ever trying again; remembers what was acknowledged."""

    def __init__(self, url: str, token: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url, self.headers, self.first = url, {"Authorization": f"Bearer {token}"}, number * 100_000
        self.acknowledged: set[str] = set()
        self.answers: set[int] = set()

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=60) as http:
            for number in range(self.first, self.first + 100_000, 20):
                records = [resident(one) for one in range(number, number + 20)]
                try:
                    answer = http.post(f"/v1/publish/{CONTRACT}", json=records, headers=self.headers)
                except httpx.TransportError:
                    return
                self.answers.add(answer.status_code)
                if answer.status_code != 200:
                    return
                self.acknowledged |= {str(one["identity_number"]) for one in records}


@pytest.mark.timeout(300)
def test_what_was_acknowledged_before_sigterm_is_there_at_the_next_start(tmp_path: Path) -> None:
    with started(tmp_path / "data") as bus:
        admin, publishing, reading, subscription = introduce(bus)
        publishers = [Publisher(bus.url, publishing._bearer(), number) for number in range(PUBLISHERS)]
        for publisher in publishers:
            publisher.start()
        while sum(len(publisher.acknowledged) for publisher in publishers) < 1_000:
            time.sleep(0.01)
        assert bus.process is not None
        bus.process.send_signal(signal.SIGTERM)
        assert bus.process.wait(STOP_S_MAX) == 0
        assert bus.process.stdout is not None
        bus.process.stdout.close()
        for publisher in publishers:
            publisher.join(60)
            assert publisher.answers <= {200, 503}
        acknowledged = set().union(*(publisher.acknowledged for publisher in publishers))
        bus.start()
        found: list[str] = []
        after = None
        while not acknowledged <= set(found):
            page = reading.pull(subscription, max_records=5_000, wait_ms=10_000, after=after)
            assert page.records, f"{len(acknowledged - set(found))} acknowledged records are missing"
            found += [record.key for record in page.records]
            after = page.cursor
        assert len(found) == len(set(found)), "none comes twice"
        for line in admin.account(CONTRACT)["items"]:
            assert line["balanced"], line
        for client in (admin, publishing, reading):
            client.close()
