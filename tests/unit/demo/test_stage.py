"""Processes of the demo: watched, and gone at the end."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from bus.demo.stage import Events, PromiseBroken, Stage, descendants, expect, left_running
from bus.embedded import child
from bus.embedded.child import Child
from registry.errors import Text

PROMISE = Text("it happens", "điều đó xảy ra")


def started(folder: Path, code: str) -> Child:
    return child.start("program", [sys.executable, "-c", code], folder)


def stage(folder: Path, process: Child) -> Stage:
    made = Stage(folder, ExitStack(), "http://127.0.0.1:1", "http://127.0.0.1:1", process)
    made.children["program"] = process
    return made


def test_what_differs_from_what_was_promised_is_said_with_both() -> None:
    expect(PROMISE, 3, 3)
    with pytest.raises(PromiseBroken) as caught:
        expect(PROMISE, 2, 3)
    assert (caught.value.promise, caught.value.found, caught.value.expected) == (PROMISE, 2, 3)


def test_waiting_ends_with_the_first_answer_with_patience_and_with_a_death(tmp_path: Path) -> None:
    process = started(tmp_path, "import time; time.sleep(60)")
    try:
        watched = stage(tmp_path, process)
        answers = iter([None, False, "", "here"])
        assert watched.wait_until(PROMISE, lambda: next(answers), 5.0) == ""
        with pytest.raises(PromiseBroken, match="it happens") as caught:
            watched.wait_until(PROMISE, lambda: None, 0.05)
        assert caught.value.found == "not within 0 s"
    finally:
        process.stop()
    dead = started(tmp_path, "print('no disk'); raise SystemExit(1)")
    dead.wait(10)
    with pytest.raises(PromiseBroken) as caught:
        stage(tmp_path, dead).wait_until(PROMISE, lambda: None, 60.0)
    assert "program has ended" in str(caught.value.found)
    assert "no disk" in str(caught.value.found)
    dead.stop()


def test_events_come_once_each_and_only_when_their_line_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    events = Events(log)
    assert list(events.fresh()) == []
    log.write_text('=== started\n{"n": 1}\nWARNING something\n{"n"')
    assert list(events.fresh()) == [{"n": 1}]
    with log.open("a") as more:
        more.write(": 2}\n")
    assert list(events.fresh()) == [{"n": 2}]
    assert list(events.fresh()) == []


def test_what_still_runs_is_named(tmp_path: Path) -> None:
    process = started(tmp_path, "import time; time.sleep(60)")
    try:
        deadline = time.monotonic() + 10
        while not any(one.pid == process.pid for one in descendants()) and time.monotonic() < deadline:
            time.sleep(0.01)
        running = [psutil.Process(process.pid)]
        assert left_running(running, 0.05) == [f"{running[0].name()} ({process.pid})"]
    finally:
        process.stop()
    assert left_running(running, 5.0) == []
