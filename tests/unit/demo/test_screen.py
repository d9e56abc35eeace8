"""What a newcomer reads on the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from bus.demo.screen import Screen, number, seconds
from registry.errors import ERROR_CLASS_NAMES, Text

LONG = Text("a sentence that goes on for a while, " * 4, "một câu dài mô tả việc vừa xảy ra, " * 4)


def show_everything(screen: Screen) -> None:
    screen.panel(LONG, [LONG])
    screen.step(11, 13, Text("Revocation", "Thu hồi quyền khai thác"))
    with screen.bar(Text("delivering", "giao dữ liệu"), 10) as advance:
        advance(10, 10)
    screen.fact(LONG)
    columns = (Text("class", "loại lỗi"), Text("records", "bản ghi"), Text("by rule", "theo quy tắc"))
    rows = [(f"{text.vi}\n{text.en}", 62, "permanent_commune.reference") for text in ERROR_CLASS_NAMES.values()]
    screen.table(columns, rows, numbers=(1,))
    screen.broken(LONG, ["thấy · found: [1, 2]"])
    screen.next_steps(LONG, [("lgsp up", "trục dữ liệu của riêng bạn · a bus of your own")])


@pytest.mark.parametrize("width", [80, 300])
def test_no_line_is_wider_than_the_terminal_or_than_a_person_reads(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    show_everything(Screen(quiet=False, console=console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(len(line) for line in shown.splitlines()) <= min(width, 100)
    for text in (*ERROR_CLASS_NAMES.values(), Text("Revocation", "Thu hồi quyền khai thác")):
        assert text.en in shown
        assert text.vi in shown
    assert "[1, 2]" in shown  # values are no markup


def test_without_a_terminal_there_are_plain_lines_and_no_bars() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    show_everything(Screen(quiet=False, console=console))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b" not in shown
    assert "giao dữ liệu" not in shown


def test_a_terminal_gets_bars_and_they_go_when_done() -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with Screen(quiet=False, console=console).bar(Text("delivering", "giao dữ liệu"), 10) as advance:
        advance(10, 10)
    assert "giao dữ liệu" in console.file.getvalue()  # type: ignore[attr-defined]


def test_for_a_program_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show_everything(Screen(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_numbers_and_times_are_written_as_each_language_does() -> None:
    assert number(49_504) == Text("49,504", "49.504")
    assert seconds(0.024) == Text("24 ms", "24 ms")
    assert seconds(12.34) == Text("12.3 s", "12,3 giây")
