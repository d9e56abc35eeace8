"""What a person and a program get from any command."""

from __future__ import annotations

import json

import pytest
import typer

from bus.commands.output import (
    EXIT_MEANINGS,
    Column,
    Exit,
    Trouble,
    exit_of,
    language,
    show,
    told,
    trouble_of,
    troubles_told,
)
from bus.errors import Conflict, InvalidRequest, LgspError, NotFound, PortTaken, StoreUnavailable
from registry.errors import Problem, SchemaInvalid, Text

WRONG = Text("found 3, expected 4", "là 3, cần 4")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "vi_VN.UTF-8"}, "vi"),
        ({"LANG": "vi_VN.UTF-8", "LGSP_LANG": "en"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "vi_VN"}, "vi"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
    ],
)
def test_the_language_is_the_one_asked_for(
    environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LGSP_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFound(WRONG), Exit.NOT_FOUND),
        (Conflict(WRONG), Exit.CONFLICT),
        (InvalidRequest(WRONG), Exit.INVALID),
        (StoreUnavailable(WRONG), Exit.UNAVAILABLE),
        (PortTaken(WRONG), Exit.MACHINE),
        (LgspError(WRONG), Exit.BROKEN),
        (SchemaInvalid(WRONG), Exit.INVALID),
    ],
)
def test_every_kind_of_error_has_its_exit_code(error: LgspError | SchemaInvalid, expected: Exit) -> None:
    assert trouble_of(error).exit is expected


def test_every_http_status_has_an_exit_code_and_every_code_a_meaning() -> None:
    assert {exit_of(status) for status in range(400, 600)} == {
        Exit.FORBIDDEN,
        Exit.NOT_FOUND,
        Exit.CONFLICT,
        Exit.UNAVAILABLE,
        Exit.INVALID,
        Exit.BROKEN,
    }
    assert set(EXIT_MEANINGS) == set(Exit)


def test_with_json_a_problem_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem("views.identity", "unknown_field", WRONG)
    with pytest.raises(typer.Exit) as ended, troubles_told(as_json=True):
        raise InvalidRequest(WRONG, [problem])
    assert ended.value.exit_code == Exit.INVALID
    out, err = capsys.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["code"] == "invalid_request"
    assert document["errors"] == [{"path": "views.identity", "code": "unknown_field", "message": WRONG.en}]


def test_without_json_a_problem_is_on_stderr_with_its_path_in_the_readers_language(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LGSP_LANG", "vi")
    detail = Text("not valid", "không hợp lệ")
    told(trouble_of(InvalidRequest(detail, [Problem("views.identity", "x", WRONG)])), as_json=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert "không hợp lệ" in err
    assert "views.identity: là 3, cần 4" in err


def test_what_was_done_before_it_stopped_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told(Trouble(Exit.UNAVAILABLE, 503, "unavailable", "gone", True, done={"accepted": 7}), as_json=True)
    assert json.loads(capsys.readouterr().out)["done"] == {"accepted": 7}


def test_a_table_read_by_a_program_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "Cơ quan " * 50
    show([{"name": long, "more": [1]}], False, (Column("name", WRONG), Column("more", WRONG), Column("none", WRONG)))
    out = capsys.readouterr().out
    assert long.strip() in out
    assert "–" in out


def test_brackets_in_an_answer_are_text_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show({"filter": "[bold]record.ward[/] in [reader.wards]"}, False)
    assert "[bold]record.ward[/] in [reader.wards]" in capsys.readouterr().out


def test_a_pipe_gets_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"n": n} for n in range(100)], False, (Column("n", WRONG),))
    assert "99" in capsys.readouterr().out


def test_a_terminal_gets_a_screenful_and_is_told_how_many_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show([{"n": n} for n in range(100)], False, (Column("n", WRONG),))
    out, err = capsys.readouterr()
    assert "29" in out
    assert "99" not in out
    assert "70" in err


def test_times_are_shown_by_the_clock_on_the_wall(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Ho_Chi_Minh")
    time.tzset()
    try:
        show([{"at": "2026-01-31T23:30:00.123Z"}], False, (Column("at", WRONG, is_time=True),))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert "2026-02-01 06:30:00" in capsys.readouterr().out
