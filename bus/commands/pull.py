"""`lgsp pull`: the records of a subscription, as lines of JSON, to a file or to stdout."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from bus.commands.connection import URL, As, Url, connect
from bus.commands.output import Exit, Json, Trouble, language, records_en, say, show, told
from registry.errors import Text

if TYPE_CHECKING:
    from bus.client import Client

NAME = "pull"
PAGE_RECORDS_MAX = 10_000
FOLLOW_WAIT_MS = 20_000
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Page:
    """Lines of JSON as they came, and the cursor of the last one (None where there is none)."""

    lines: bytes
    records: int
    cursor: str | None


def run(
    subscription: Annotated[str, typer.Argument(metavar="SUBSCRIPTION", help="Id of the subscription.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", dir_okay=False, help="Append the records to this file instead of printing them."),
    ] = None,
    ack: Annotated[
        bool, typer.Option("--ack", help="Acknowledge what is written; without it the same records come again.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Page after page, until nothing is left.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Then wait for more, until Ctrl-C.")] = False,
    records_max: Annotated[
        int | None, typer.Option("--max", min=1, help="At most so many records. [1000, without --all and --follow]")
    ] = None,
    wait_ms: Annotated[int, typer.Option("--wait-ms", min=0, help="Wait so long for the first record.")] = 0,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="CURSOR", help="Begin behind this record, not behind the acknowledged one."),
    ] = None,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Receive the records of a subscription: a line of JSON for each, and a word on stderr at the end."""
    if follow and as_json and out is None:
        message = Text(
            "--follow has no end to make one document of; its lines are JSON as they are",
            "--follow không có điểm dừng để tạo một tài liệu JSON; mỗi dòng đã là JSON",
        )
        raise told(Trouble(Exit.USAGE, 400, "json_of_endless", message.said_in(language()), False), as_json)
    most = records_max or (None if everything or follow else 1_000)
    done, last = 0, after
    printed: list[bytes] = []
    with connect(url, who, as_json) as bus, _opened(out) as target, _spinner(everything and not as_json) as tell:
        try:
            for page in _pages(bus, subscription, most, after, everything or follow, follow, wait_ms):
                if as_json and out is None:
                    printed.append(page.lines)
                else:
                    _write(target, page.lines, durable=out is not None)
                if ack and page.cursor is not None:
                    bus.ack(subscription, page.cursor)
                done, last = done + page.records, page.cursor or last
                tell(done)
        except KeyboardInterrupt:
            if not follow:
                raise
    facts = {"records": done, "cursor": last, "acknowledged": ack and done > 0}
    if as_json:
        lines = b"".join(printed).splitlines()
        show(facts | ({"items": [json.loads(line) for line in lines]} if out is None else {"out": str(out)}), as_json)
        return
    said = Text(records_en(done), f"{done} bản ghi")
    taken = Text(", acknowledged", ", đã xác nhận") if facts["acknowledged"] else Text("", "")
    say(Text(said.en + taken.en, said.vi + taken.vi))


def _pages(
    bus: Client, subscription: str, most: int | None, after: str | None, on: bool, follow: bool, wait_ms: int
) -> Iterator[Page]:
    """Pages in order: one, or (`on`) all there are, or (`follow`) without end; `most` records together."""
    done = 0
    while most is None or done < most:
        wanted = min(PAGE_RECORDS_MAX, PAGE_RECORDS_MAX if most is None else most - done)
        page = _page(bus, subscription, wanted, after, FOLLOW_WAIT_MS if follow else wait_ms)
        if page.records:
            yield page
            done, after = done + page.records, page.cursor
        if not on or (not page.records and not follow):
            return


def _page(bus: Client, subscription: str, records_max: int, after: str | None, wait_ms: int) -> Page:
    params: dict[str, str | int] = {"max": records_max, "wait_ms": wait_ms} | ({"after": after} if after else {})
    path = f"/v1/subscriptions/{subscription}/records"
    response = bus.send("GET", path, params=params, headers={"Accept": NDJSON})
    content = response.content
    return Page(content, content.count(b"\n"), response.headers.get("Lgsp-Cursor"))


def _write(target: BinaryIO, lines: bytes, *, durable: bool) -> None:
    """Whole, before it is acknowledged: on the disk where it goes to a file."""
    target.write(lines)
    target.flush()
    if durable:
        os.fsync(target.fileno())


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    if out is None:
        yield sys.stdout.buffer
        return
    with out.open("ab") as file:
        yield file


@contextmanager
def _spinner(wanted: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    shown = wanted and console.is_terminal
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=not shown,
        transient=True,
    ) as bar:
        task = bar.add_task("0")
        yield lambda done: bar.update(task, description=f"{done:,}")
