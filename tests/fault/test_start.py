"""`lgsp up` where it can't start: it says why and what to do, in the user's language, with an exit code, and leaves nothing."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bus.commands.output import Exit
from bus.embedded import folder
from bus.embedded.ports import free_port

pytestmark = pytest.mark.fault

LGSP = str(Path(sys.executable).with_name("lgsp"))
OPTIONS = ("--port", "--registry-port", "--kafka-port")


def up(data: Path, language: str, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`lgsp up` on free ports, but for `options`; it must end by itself."""
    ports = [text for name in OPTIONS if name not in options for text in (name, str(free_port()))]
    command = [LGSP, "up", "--data", str(data), *ports, *options]
    environment = os.environ | {"LGSP_LANG": language} | settings
    for given in ("LGSP_KAFKA_BOOTSTRAP", "LGSP_DATABASE_URL"):
        environment.pop(given, None)
    return subprocess.run(command, env=environment | settings, capture_output=True, text=True, timeout=60)


def running_in(data: Path) -> list[str]:
    ps = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in ps.stdout.splitlines() if str(data) in line]


@pytest.mark.parametrize(
    ("option", "language", "word"),
    [("--port", "en", "is taken by"), ("--registry-port", "vi", "đang bị"), ("--kafka-port", "en", "is taken by")],
)
def test_a_port_that_is_taken_is_told_with_who_has_it_and_the_way_to_another(
    tmp_path: Path, option: str, language: str, word: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = up(tmp_path / "data", language, option, port)
    assert ended.returncode == Exit.MACHINE
    assert word in ended.stderr
    assert port in ended.stderr
    assert str(os.getpid()) in ended.stderr
    assert option in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not running_in(tmp_path / "data")


@pytest.mark.parametrize(("language", "word"), [("en", "was written by"), ("vi", "ghi; chương trình này cần")])
def test_a_data_folder_of_another_version_is_left_as_it_is(tmp_path: Path, language: str, word: str) -> None:
    found = json.dumps({"format": 99, "kafka": "9.0.0", "postgresql": "42"})
    (tmp_path / "version").write_text(found)
    ended = up(tmp_path, language)
    assert (ended.returncode, word in ended.stderr) == (Exit.MACHINE, True)
    assert "42" in ended.stderr
    assert "--data" in ended.stderr
    assert (tmp_path / "version").read_text() == found
    assert {one.name for one in tmp_path.iterdir()} <= {"version", "lock"}


@pytest.mark.parametrize(("language", "word"), [("en", "in use by process"), ("vi", "đang được tiến trình")])
def test_a_data_folder_in_use_names_its_holder(tmp_path: Path, language: str, word: str) -> None:
    with folder.DataFolder.open(tmp_path):
        ended = up(tmp_path, language)
    assert (ended.returncode, word in ended.stderr) == (Exit.MACHINE, True)
    assert str(os.getpid()) in ended.stderr


def test_a_data_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    ended = up(tmp_path / "data", "en")
    assert ended.returncode == Exit.MACHINE
    assert str(tmp_path / "data") in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("name", "value", "language", "expected"),
    [
        ("LGSP_PORT", "eighty", "vi", "cần một số"),
        ("LGSP_PUBLISH_RECORDS_MAX", "-5", "en", "expected more than 0"),
        ("LGSP_KAFKA_PORT", "70000", "vi", "cần tối đa 65535"),
    ],
)
def test_a_setting_that_cannot_be_is_named_and_not_repeated(
    tmp_path: Path, name: str, value: str, language: str, expected: str
) -> None:
    command = [LGSP, "up", "--data", str(tmp_path / "data")]
    environment = os.environ | {"LGSP_LANG": language, name: value}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == Exit.USAGE, ended.stderr
    assert f"{name}: {expected}" in ended.stderr
    assert value not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data").exists()


def test_a_database_and_a_kafka_that_do_not_answer_are_told_without_their_passwords(tmp_path: Path) -> None:
    url = f"postgresql://lgsp:the-password@127.0.0.1:{free_port()}/lgsp"
    bootstrap = f"127.0.0.1:{free_port()}"
    ended = up(tmp_path / "data", "en", LGSP_DATABASE_URL=url, LGSP_KAFKA_BOOTSTRAP=bootstrap)
    assert ended.returncode == Exit.UNAVAILABLE
    assert "the-password" not in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
