"""Runs connectors: one until it ends, or every definition of a folder, each in a thread and restarted when it fails.

`python -m connectors.runner DIR` is what `lgsp up` starts. Connectors survive being killed at any point, so stopping is
only a courtesy: after a few seconds whatever still waits for an answer is left behind.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import orjson

from bus.client import ApiError
from bus.errors import GrantEnded, LgspError
from connectors.base import Report, build, load

WAIT_FIRST_S, WAIT_MAX_S = 1.0, 60.0
HEALTHY_AFTER_S = 60.0  # a failure after so long begins again with the shortest wait
STOP_GRACE_S = 5.0


def run_once(path: Path, stop: threading.Event, report: Report) -> None:
    """Load, build and run one definition until `stop`. Raises whatever ends it."""
    build(load(path), report).run(stop)


def supervise(
    path: Path,
    stop: threading.Event,
    report: Report,
    *,
    again: Callable[[Exception], bool],
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Run one definition, and again after failures that `again` accepts, waiting ever longer. Raises the others."""
    wait_s = WAIT_FIRST_S
    while not stop.is_set():
        began = monotonic()
        try:
            return run_once(path, stop, report)
        except Exception as error:
            if stop.is_set():
                return None
            if not again(error):
                raise
            wait_s = WAIT_FIRST_S if monotonic() - began > HEALTHY_AFTER_S else min(WAIT_MAX_S, wait_s * 2)
            report("failed", {**describe(error), "again_in_s": wait_s})
            stop.wait(wait_s)
    return None


def run_folder(folder: Path, stop: threading.Event, report_for: Callable[[str], Report]) -> list[threading.Thread]:
    """Start a thread for every definition of the folder. Only a grant that has ended ends one for good."""
    threads = []
    for path in definitions(folder):
        thread = threading.Thread(
            target=_supervise_forever, args=(path, stop, report_for(path.stem)), daemon=True, name=path.stem
        )
        thread.start()
        threads.append(thread)
    return threads


def definitions(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.suffix in (".yaml", ".yml") and one.is_file())


def retriable(error: Exception) -> bool:
    """Trying again may help without anybody changing anything."""
    return bool(getattr(error, "retriable", False))


def describe(error: Exception) -> dict[str, Any]:
    """What a log may say of an error: of those of ours everything, of others the kind and the place (no values)."""
    if isinstance(error, LgspError):
        problems = [f"{one.path}: {one.message}" for one in error.problems]
        return {"code": error.code, "detail": error.detail.en, "detail_vi": error.detail.vi, "problems": problems}
    if isinstance(error, ApiError):
        problems = [f"{one.path}: {one.message}" for one in error.errors]
        return {"code": error.code, "status": error.status, "detail": error.detail, "problems": problems}
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return {"code": "internal", "detail": f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"}


def lines(out: TextIO, *, as_json: bool) -> Callable[[str], Report]:
    """Reports as lines on `out`, one at a time: JSON for programs, or words."""
    lock = threading.Lock()

    def report_for(name: str) -> Report:
        def report(event: str, facts: dict[str, Any]) -> None:
            at = datetime.now(UTC)
            if as_json:
                line = orjson.dumps({"at": at.isoformat(), "connector": name, "event": event, **facts}).decode()
            else:
                said = "  ".join(f"{key} {value}" for key, value in facts.items() if value not in (None, {}, [], ""))
                line = f"{at:%H:%M:%S}  {name}  {event}  {said}".rstrip()
            with lock:
                out.write(line + "\n")
                out.flush()

        return report

    return report_for


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set while this lasts. For the main thread."""
    stop = threading.Event()
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    """The process that `lgsp up` starts; returns its exit code."""
    parser = argparse.ArgumentParser(prog="connectors.runner", description="run every connector of a folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON document a line")
    chosen = parser.parse_args(arguments)
    if not chosen.folder.is_dir():
        parser.error(f"{chosen.folder} is not a folder")
    with stop_on_signals() as stop:
        threads = run_folder(chosen.folder, stop, lines(sys.stdout, as_json=chosen.json))
        stop.wait()  # also when every connector has ended: an end is a finding, not a reason to be started again
        deadline = time.monotonic() + STOP_GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            os._exit(0)  # what is unfinished is done again at the next start
    return 0


def _supervise_forever(path: Path, stop: threading.Event, report: Report) -> None:
    """The file is read again each time: what was wrong in it, or at the bus, may have been put right."""
    try:
        supervise(path, stop, report, again=lambda error: not isinstance(error, GrantEnded))
    except GrantEnded as error:
        report("ended", describe(error))
    else:
        report("stopped", {})


if __name__ == "__main__":
    sys.exit(main())
