"""Connectors start again when that can help, end when it can't, and the process stops when it is asked to."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from bus.client import ApiError
from bus.errors import GrantEnded
from connectors import runner
from connectors.base import DefinitionInvalid
from registry.errors import Problem, Text

UNREACHABLE: dict[str, Any] = {
    "kind": "source",
    "system": "postgres",
    "bus": {"url": "http://127.0.0.1:1", "client_id": "cl", "client_secret": {"file": "secret"}},
    "dsn": "postgresql://127.0.0.1:1/register?connect_timeout=2",
    "contract": "population/resident",
    "table": "resident",
    "key": "identity_number",
}


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s")
    path = tmp_path / "police.yaml"
    path.write_text(yaml.safe_dump(UNREACHABLE))
    return path


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "WAIT_FIRST_S", 0.01)


def test_what_passes_is_tried_again_ever_more_slowly_until_told_to_stop(definition: Path) -> None:
    stop, waits = threading.Event(), []

    def report(event: str, facts: dict[str, Any]) -> None:
        assert (event, facts["code"]) == ("failed", "system_unreachable")
        waits.append(facts["again_in_s"])
        if len(waits) == 4:
            stop.set()

    runner.supervise(definition, stop, report, again=runner.retriable)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


def test_what_does_not_pass_ends_the_run(definition: Path) -> None:
    definition.write_text("kind: source\nsystem: postgres\n")
    with pytest.raises(DefinitionInvalid):
        runner.supervise(definition, threading.Event(), lambda *_: None, again=runner.retriable)


def test_in_a_folder_a_definition_put_right_is_picked_up(definition: Path) -> None:
    """And one that is wrong doesn't hold up the others."""
    right = definition.read_text()
    definition.write_text("kind: source\n")
    (definition.parent / "other.yaml").write_text(right)
    (definition.parent / "notes.txt").write_text("not a definition")
    stop, seen = threading.Event(), set()

    def report_for(name: str) -> runner.Report:
        def report(event: str, facts: dict[str, Any]) -> None:
            seen.add((name, facts.get("code")))
            if ("police", "definition_invalid") in seen:
                definition.write_text(right)
            if {("police", "system_unreachable"), ("other", "system_unreachable")} <= seen:
                stop.set()

        return report

    threads = runner.run_folder(definition.parent, stop, report_for)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert stop.is_set()


def test_the_process_ends_on_sigterm_even_while_it_waits(definition: Path) -> None:
    command = [sys.executable, "-m", "connectors.runner", str(definition.parent), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert (line["connector"], line["event"], line["code"]) == ("police", "failed", "system_unreachable")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_lines_are_json_for_programs_and_words_for_people() -> None:
    out = io.StringIO()
    runner.lines(out, as_json=True)("police")("published", {"accepted": 3})
    document = json.loads(out.getvalue())
    assert (document["connector"], document["event"], document["accepted"]) == ("police", "published", 3)
    out = io.StringIO()
    runner.lines(out, as_json=False)("police")("published", {"accepted": 3, "nothing": {}})
    assert out.getvalue().split("  ", 1)[1] == "police  published  accepted 3\n"


def test_an_error_that_is_not_ours_is_told_without_what_it_says() -> None:
    try:
        raise RuntimeError("hunter2")
    except RuntimeError as error:
        told = runner.describe(error)
    assert told["code"] == "internal"
    assert "test_runner.py" in told["detail"]
    assert "hunter2" not in str(told)


def test_errors_of_ours_and_of_the_bus_are_told_with_their_paths() -> None:
    problem = Problem("table", "x", Text("not there", "không có"))
    assert runner.describe(GrantEnded(Text("ended", "hết"), [problem]))["problems"] == ["table: not there"]
    assert runner.describe(ApiError(404, "not_found", "no contract", [problem]))["status"] == 404
