"""Of what has one name, one goes at a time; what has another doesn't wait for it; nothing is remembered afterwards."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from bus.turns import Turns


def test_one_at_a_time_for_each_name_and_nothing_is_remembered() -> None:
    turns, inside, most, lock = Turns(), {"a": 0, "b": 0}, {"a": 0, "b": 0}, threading.Lock()

    def work(number: int) -> None:
        name = "ab"[number % 2]
        with turns.of(name):
            with lock:
                inside[name] += 1
                most[name] = max(most[name], inside[name])
            with lock:
                inside[name] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(2_000)))
    assert most == {"a": 1, "b": 1}
    assert len(turns) == 0


def test_another_name_does_not_wait_and_a_failure_gives_the_turn_on() -> None:
    turns = Turns()
    with turns.of("a"), turns.of("b"):
        assert len(turns) == 2
    for _ in range(2):
        try:
            with turns.of("a"):
                raise RuntimeError
        except RuntimeError:
            assert len(turns) == 0
