"""One server as a child of the bus: started by the keeper, stopped in order, recognised when an earlier run left it.

It knows processes, not servers: what to run, as whom, and when it is ready is said by `kafka` and `postgres`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import psutil

from bus.embedded import keeper
from bus.embedded.folder import write_private
from bus.errors import EmbeddedError
from registry.errors import Text

LOG_BYTES_MAX = 4 * 2**20  # twice this on disk; weeks of a quiet server
REPORT_S = 20.0  # the keeper forks at once; only a machine in deep trouble needs longer
KEPT = ("PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
SAME_START_S = 0.05  # start times come in clock ticks of 10 ms


@dataclass
class Child:
    """A running server. `pid` is the server's own, not the keeper's."""

    name: str
    folder: Path
    pid: int
    _keeper: subprocess.Popen[bytes]
    _life: int
    _grace_s: float
    _lock: Lock = field(default_factory=Lock)

    @property
    def alive(self) -> bool:
        return self._life >= 0 and self._keeper.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._keeper.poll()

    def wait(self, timeout_s: float) -> int:
        """The exit code, 128 + number after a signal. Raises subprocess.TimeoutExpired."""
        return self._keeper.wait(timeout_s)

    def stop(self) -> None:
        """Ask the server to end, wait, and kill it when the grace is over. May be called again."""
        with self._lock:
            if self._life < 0:
                return
            os.close(self._life)
            self._life = -1
            try:
                self._keeper.wait(self._grace_s + 5)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
                self._keeper.kill()
                self._keeper.wait()
            pid_file(self.folder, self.name).unlink(missing_ok=True)

    def log_tail(self) -> str:
        return log_tail(self.folder, self.name)

    @property
    def last_words(self) -> Text:
        """The end of the log, with its path, for an error's message."""
        file, tail = self.folder / f"{self.name}.log", self.log_tail()
        return Text(f"The end of {file}:\n{tail}", f"Cuối tệp {file}:\n{tail}")


def start(
    name: str,
    argv: Sequence[str],
    folder: Path,
    *,
    stop_signal: signal.Signals = signal.SIGTERM,
    grace_s: float = 10.0,
    run_as: str = "self",
    env: Mapping[str, str] | None = None,
) -> Child:
    """Start `argv` in `folder` with a clean environment; its output goes to `folder`/`name`.log.

    `run_as` is "self", "namespace" or "UID:GID" (see keeper). Safe from any thread. Raises EmbeddedError.
    """
    life_read, life_write = os.pipe()
    report_read, report_write = os.pipe()
    order = {
        "argv": list(argv),
        "env": clean_environment() | dict(env or {}),
        "cwd": str(folder),
        "life": life_read,
        "report": report_write,
        "log": str(folder / f"{name}.log"),
        "log_bytes_max": LOG_BYTES_MAX,
        "stop_signal": int(stop_signal),
        "grace_s": grace_s,
        "run_as": run_as,
    }
    try:
        # A session of its own: Ctrl-C in the terminal reaches the bus alone, which then stops its servers in order.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, name],
            pass_fds=(life_read, report_write),
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
        )
    except BaseException:
        os.close(life_write)
        os.close(report_read)
        raise
    finally:
        os.close(life_read)
        os.close(report_write)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
        stdin.write(json.dumps(order).encode())
    with os.fdopen(report_read, "rb") as report:
        pid = int(report.read() or 0)
    if not pid:
        os.close(life_write)
        process.wait(REPORT_S)
        raise EmbeddedError(
            Text(f"The process that keeps {name} did not start.", f"Tiến trình trông giữ {name} không khởi động được.")
        )
    child = Child(name, folder, pid, process, life_write, grace_s)
    write_private(pid_file(folder, name), json.dumps(stamp(pid)) + "\n")
    return child


def clean_environment() -> dict[str, str]:
    """What a server needs of ours: no secret of the bus and no option of another Java or PostgreSQL gets through."""
    return {name: os.environ[name] for name in KEPT if name in os.environ} | {"LC_ALL": "C.UTF-8"}


def pid_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.pid"


def stamp(pid: int) -> tuple[int, float] | None:
    """Pid and start time together name one process for good."""
    try:
        return pid, psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def stamped(mark: Sequence[float] | None) -> psutil.Process | None:
    """The process that `stamp` named, when it still runs."""
    if mark is None:
        return None
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(int(mark[0]))
        if abs(process.create_time() - mark[1]) < SAME_START_S and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def stop_leftover(folder: Path, name: str, stop_signal: signal.Signals, grace_s: float) -> bool:
    """Stop the server that an earlier run left in `folder`; True when there was one.

    The caller holds the folder's lock, so whoever started that server is gone.
    """
    file = pid_file(folder, name)
    try:
        server = stamped(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError, LookupError):
        server = None
    if server is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            server.send_signal(stop_signal)
            try:
                server.wait(grace_s)
            except psutil.TimeoutExpired:
                server.kill()
                server.wait(5)
    file.unlink(missing_ok=True)
    return server is not None


def wait_until(running: Child, answers: Callable[[], bool], ready_s: float) -> str | None:
    """Call `answers` (which waits a little itself) until it says yes: None. When the server ends first: its last words.

    Raises EmbeddedError after `ready_s` seconds.
    """
    deadline = time.monotonic() + ready_s
    while not answers():
        if not running.alive:
            return running.log_tail()
        if time.monotonic() > deadline:
            raise EmbeddedError(
                Text(
                    f"{running.name} did not answer within {ready_s:.0f} s. {running.last_words.en}",
                    f"{running.name} không trả lời trong {ready_s:.0f} giây. {running.last_words.vi}",
                )
            )
    return None


def log_tail(folder: Path, name: str, lines: int = 20) -> str:
    """The last lines of the server's log since its last start, at most 8 KiB."""
    try:
        with (folder / f"{name}.log").open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 8192))
            text = log.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rsplit(keeper.STARTED, 1)[-1].splitlines()[-lines:])
