"""A probe tells what it found in time, whatever the dependencies do."""

from __future__ import annotations

import asyncio
import threading
import time

from monitoring.health import Found, Probe
from monitoring.metrics import exposition


def test_a_check_that_hangs_fails_in_time_and_keeps_no_other_from_succeeding() -> None:
    release = threading.Event()
    probe = Probe({"hangs": lambda: release.wait(30) and None, "works": lambda: None}, timeout_s=0.2)
    began = time.perf_counter()
    found = asyncio.run(probe.ask())
    release.set()
    assert time.perf_counter() - began < 2
    assert list(found) == ["hangs", "works"]
    assert (found["hangs"].ok, found["hangs"].detail) == (False, "timeout")
    assert (found["works"].ok, found["works"].detail) == (True, None)
    text = exposition().decode()
    assert 'lgsp_ready{check="hangs"} 0.0' in text
    assert 'lgsp_ready{check="works"} 1.0' in text


def test_a_check_that_hangs_is_not_asked_again_until_it_has_answered() -> None:
    release, calls = threading.Event(), []

    def hangs() -> None:
        calls.append(1)
        release.wait(30)

    async def main() -> Found:
        probe = Probe({"hangs": hangs}, timeout_s=0.05)
        for _ in range(5):
            assert not (await probe.ask())["hangs"].ok
        assert len(calls) == 1
        release.set()
        while not (found := (await probe.ask())["hangs"]).ok:
            pass
        return found

    assert asyncio.run(main()).ok


def test_a_failure_is_named_by_its_kind_and_not_by_its_message() -> None:
    def fails() -> None:
        raise ConnectionError("to 10.0.0.7:5432 as admin")

    found = asyncio.run(Probe({"fails": fails}).ask())["fails"]
    assert (found.ok, found.detail) == (False, "ConnectionError")
