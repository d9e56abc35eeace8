"""How commands answer: tables for people, one JSON document for programs, problems with their paths, and the exit codes.

Nothing here knows a noun or a server. Imports what is heavy only when it prints.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.errors import EmbeddedError, LgspError
from registry.errors import Problem, RegistryError, Text

if TYPE_CHECKING:
    from rich.console import Console

ROWS_SHOWN_MAX = 30  # a screenful; a pipe and `--json` have all


class Exit(IntEnum):
    """What a process ends with; `docs/reference/cli.md` is held to these words by a test."""

    OK = 0
    FAILED = 1
    USAGE = 2
    FORBIDDEN = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    INVALID = 7
    BROKEN = 8
    MACHINE = 9
    INTERRUPTED = 130


EXIT_MEANINGS: dict[Exit, Text] = {
    Exit.OK: Text("done", "thành công"),
    Exit.FAILED: Text(
        "it ran, but records were rejected, a contract has problems, or a check doesn't hold",
        "đã chạy, nhưng có bản ghi bị từ chối, hợp đồng có lỗi hoặc một phép kiểm tra không đạt",
    ),
    Exit.USAGE: Text("the command line doesn't say what it must", "câu lệnh chưa đúng hoặc còn thiếu"),
    Exit.FORBIDDEN: Text(
        "not allowed: wrong credentials, missing role, or a grant that has ended",
        "không có quyền: sai thông tin xác thực, thiếu vai trò, hoặc đăng ký khai thác không còn hiệu lực",
    ),
    Exit.NOT_FOUND: Text("isn't there, or isn't yours", "không có, hoặc không thuộc về bạn"),
    Exit.UNAVAILABLE: Text("not available now; try again", "tạm thời không phục vụ được; hãy thử lại"),
    Exit.CONFLICT: Text("the present state doesn't allow this", "trạng thái hiện tại không cho phép"),
    Exit.INVALID: Text(
        "the bus can't take what was sent: not valid, too large, or of another type",
        "nội dung gửi không được chấp nhận: không hợp lệ, quá lớn hoặc sai kiểu",
    ),
    Exit.BROKEN: Text("an error on the side of the bus", "lỗi phía hệ thống"),
    Exit.MACHINE: Text(
        "this machine isn't ready (a port, a folder, a download); `lgsp doctor` says more",
        "máy này chưa sẵn sàng (cổng, thư mục, tải về); xem `lgsp doctor`",
    ),
    Exit.INTERRUPTED: Text("stopped by Ctrl-C", "dừng bằng Ctrl-C"),
}

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else.")]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the id alone, for a script to keep.")]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the key in each row and its title."""

    key: str
    title: Text
    is_time: bool = False  # an ISO time, shown by this machine's clock and zone


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a command didn't do what it was told, as it is printed. `status` is HTTP's."""

    exit: Exit
    status: int
    code: str
    detail: str
    retriable: bool
    problems: tuple[Problem, ...] = ()
    done: Mapping[str, Any] | None = None  # what had been done before it stopped

    def document(self) -> dict[str, Any]:
        shown = {"status": self.status, "code": self.code, "detail": self.detail, "retriable": self.retriable}
        errors = [
            {"path": one.path, "code": one.code, "message": one.message.said_in(language())} for one in self.problems
        ]
        return {**shown, "errors": errors} | ({"done": dict(self.done)} if self.done is not None else {})


def language() -> str:
    """ "vi" or "en": LGSP_LANG, else the first that is set of LC_ALL, LC_MESSAGES and LANG; English for any other."""
    for name in ("LGSP_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if value := os.environ.get(name):
            return "vi" if value.lower().startswith("vi") else "en"
    return "en"


def records_en(count: int) -> str:
    """A number of records, in English; Vietnamese has no plural to mind."""
    return f"{count} record{'' if count == 1 else 's'}"


def say(text: Text) -> None:
    """A line for a person, on stderr, so that stdout stays what the command is for."""
    print(text.said_in(language()), file=sys.stderr)


def show(document: Any, as_json: bool, columns: Sequence[Column] = ()) -> None:
    """Print an answer: a list of rows as a table of `columns`, a mapping as names and values."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False, indent=2))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text as Styled

    console = _console()
    if isinstance(document, Mapping):
        table = Table(show_header=False, box=None, pad_edge=False)
        for key, value in document.items():
            table.add_row(Styled(str(key), style="bold"), Styled(_cell(value), overflow="fold"))
        console.print(table)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title.said_in(language()), overflow="fold")
    shown = ROWS_SHOWN_MAX if console.is_terminal else len(document)
    for row in document[:shown]:
        table.add_row(*(Styled(_cell(row.get(c.key), is_time=c.is_time)) for c in columns))
    console.print(table)
    if (left := len(document) - shown) > 0:
        say(Text(f"… and {left} more (--json shows all)", f"… và {left} dòng nữa (dùng --json để xem tất cả)"))


def show_made(document: Mapping[str, Any], as_json: bool, quiet: bool) -> None:
    """Print what was made, or its id alone."""
    if quiet and not as_json:
        print(document["id"])
    else:
        show(document, as_json)


def _console() -> Console:
    """A terminal's width for a person; no limit where a program reads, so that nothing is cut."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=10_000)


def _cell(value: Any, *, is_time: bool = False) -> str:
    if value is None:
        return "–"
    if is_time:
        return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def told(trouble: Trouble, as_json: bool) -> typer.Exit:
    """Print why it didn't work; returns what ends the process with the trouble's code, for the caller to raise."""
    if as_json:
        print(json.dumps(trouble.document(), ensure_ascii=False, indent=2))
        return typer.Exit(trouble.exit)
    from rich.console import Console
    from rich.text import Text as Styled

    console = Console(stderr=True)
    console.print(Styled.assemble(("✗ ", "bold red"), trouble.detail, (f"  ({trouble.code})", "dim")), soft_wrap=True)
    for one in trouble.problems[:ROWS_SHOWN_MAX]:
        message = one.message.said_in(language())
        if message != trouble.detail:
            where = f"{one.path}: " if one.path and not message.startswith(one.path) else ""
            console.print(Styled.assemble("  ", (where, "bold"), message), soft_wrap=True)
    if trouble.done is not None:
        console.print(Styled(f"  {json.dumps(trouble.done, ensure_ascii=False)}"), soft_wrap=True)
    return typer.Exit(trouble.exit)


@contextmanager
def troubles_told(as_json: bool) -> Iterator[None]:
    """What our own code raises becomes a printed problem and an exit code."""
    try:
        yield
    except (LgspError, RegistryError) as error:
        raise told(trouble_of(error), as_json) from error
    except OSError as error:  # a file that can't be written, a disk that is full
        detail = (
            f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or type(error).__name__)
        )
        raise told(Trouble(Exit.MACHINE, 500, "file_error", detail, False), as_json) from error


def trouble_of(error: LgspError | RegistryError, done: Mapping[str, Any] | None = None) -> Trouble:
    if isinstance(error, RegistryError):
        detail = error.message.said_in(language())
        return Trouble(Exit.INVALID, 422, error.code, detail, False, error.problems, done)
    detail = error.detail.said_in(language())
    return Trouble(_exit_for(error), error.status, error.code, detail, error.retriable, error.problems, done)


def _exit_for(error: LgspError) -> Exit:
    if isinstance(error, EmbeddedError):
        return Exit.MACHINE
    return Exit.UNAVAILABLE if error.retriable else exit_of(error.status)


def with_done(trouble: Trouble, done: Mapping[str, Any]) -> Trouble:
    return replace(trouble, done=done)


def exit_of(status: int) -> Exit:
    """The exit code for an HTTP status that isn't a success."""
    named = {401: Exit.FORBIDDEN, 403: Exit.FORBIDDEN, 404: Exit.NOT_FOUND, 409: Exit.CONFLICT}
    if status in named:
        return named[status]
    if status in (408, 429, 502, 503, 504):
        return Exit.UNAVAILABLE
    return Exit.INVALID if 400 <= status < 500 else Exit.BROKEN
