from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from bus.embedded import child
from bus.errors import EmbeddedError

PYTHON = [sys.executable, "-I", "-S", "-u", "-c"]


def gone(pid: int, within_s: float = 5) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def said(folder: Path, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in child.log_tail(folder, "x"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_its_output_is_in_the_log_and_its_exit_code_is_told(tmp_path: Path) -> None:
    running = child.start("x", [*PYTHON, "import sys; print('hello'); sys.exit(7)"], tmp_path)
    assert running.wait(10) == 7
    assert running.log_tail().splitlines()[-1] == "hello"
    running.stop()


def test_the_tail_shows_the_last_run_only(tmp_path: Path) -> None:
    for word in ("first", "second"):
        running = child.start("x", [*PYTHON, f"print('{word}')"], tmp_path)
        running.wait(10)
        running.stop()
    assert "first" not in running.log_tail()
    assert "first" in (tmp_path / "x.log").read_text()


def test_a_server_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
    running = child.start("x", [*PYTHON, program], tmp_path, grace_s=0.2)
    said(tmp_path, "deaf")
    running.stop()
    assert gone(running.pid, 0.5)
    assert not running.alive
    running.stop()


def test_an_endless_log_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOG_BYTES_MAX", 100_000)
    running = child.start("x", [*PYTHON, "for i in range(200_000): print(i, 'words words')"], tmp_path)
    running.wait(30)
    running.stop()
    assert "199999 words words" in running.log_tail()
    assert sum(file.stat().st_size for file in tmp_path.glob("x.log*")) < 300_000


def test_no_secret_of_the_bus_reaches_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGSP_DATABASE_URL", "postgresql://someone:hidden@nowhere/db")
    running = child.start("x", [*PYTHON, "import os; print(dict(os.environ))"], tmp_path)
    running.wait(10)
    running.stop()
    assert "hidden" not in (tmp_path / "x.log").read_text()


def test_a_program_that_is_not_there_is_told_in_the_log(tmp_path: Path) -> None:
    running = child.start("x", [str(tmp_path / "nothing")], tmp_path)
    assert running.wait(10) != 0
    assert "nothing" in running.log_tail()
    running.stop()


def test_a_server_that_never_answers_is_told_with_its_last_words(tmp_path: Path) -> None:
    running = child.start("x", [*PYTHON, "import time; print('thinking'); time.sleep(60)"], tmp_path)
    said(tmp_path, "thinking")
    with pytest.raises(EmbeddedError) as failed:
        child.wait_until(running, lambda: False, 0.1)
    running.stop()
    assert "thinking" in failed.value.detail.vi


def test_a_leftover_of_an_earlier_run_is_stopped(tmp_path: Path) -> None:
    """As it is where the system can't tie a server's life to the bus's: the pid file alone knows of it."""
    with subprocess.Popen([*PYTHON, "import time; time.sleep(60)"]) as leftover:
        child.pid_file(tmp_path, "x").write_text(str(list(child.stamp(leftover.pid) or ())))
        assert child.stop_leftover(tmp_path, "x", signal.SIGTERM, 5)
        assert gone(leftover.pid)
    assert not child.pid_file(tmp_path, "x").exists()


def test_another_process_with_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([*PYTHON, "import time; time.sleep(60)"]) as stranger:
        pid, started = child.stamp(stranger.pid) or (0, 0.0)
        child.pid_file(tmp_path, "x").write_text(str([pid, started - 100]))
        assert not child.stop_leftover(tmp_path, "x", signal.SIGTERM, 5)
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", '["a", "b"]', "[-5, 0]"])
def test_an_unreadable_pid_file_is_no_obstacle(tmp_path: Path, text: str) -> None:
    child.pid_file(tmp_path, "x").write_text(text)
    assert not child.stop_leftover(tmp_path, "x", signal.SIGTERM, 5)
