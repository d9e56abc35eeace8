"""`lgsp publish`: a file of records to a contract, batch after batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.commands.batches import MEDIA_TYPES, Batch, Kind, cut, kind_of
from bus.commands.connection import URL, As, Url, connect, trouble_of_answer
from bus.commands.files import STDIN, opened, readable
from bus.commands.output import (
    Column,
    Exit,
    Json,
    language,
    records_en,
    show,
    told,
    trouble_of,
    troubles_told,
    with_done,
)
from bus.errors import LgspError
from bus.model import Op, Rejection
from registry.errors import ERROR_CLASS_NAMES, Text

if TYPE_CHECKING:
    from bus.client import Client

NAME = "publish"

COLUMNS = (
    Column("index", Text("Record", "Bản ghi")),
    Column("class", Text("Class", "Loại lỗi")),
    Column("path", Text("Field", "Trường dữ liệu")),
    Column("message", Text("What is wrong", "Lỗi")),
)


@dataclass(slots=True)
class Tally:
    """What became of a file so far. `index` of a rejection counts from 0 in the whole file."""

    records: int = 0
    accepted: int = 0
    duplicates: int = 0
    receipts: list[str] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "rejected": len(self.rejected),
            "receipts": [one for one in self.receipts if one],
        }


def run(
    contract: Annotated[str, typer.Argument(metavar="CONTRACT", help="Such as population/resident.")],
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", callback=readable, help="Records: .ndjson, .json, .avro, .arrow; - for stdin."),
    ],
    kind: Annotated[
        Kind | None, typer.Option("--type", help="What the file is; by default its extension says.")
    ] = None,
    op: Annotated[Op, typer.Option("--op", help="delete: the file holds keys.")] = Op.UPSERT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; nothing is stored.")] = False,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Publish a file of records, in batches of 10,000. Exit code 1 when the bus put some of them in quarantine.

    Publishing the same file again is safe: what hasn't changed is no second event.
    """
    with troubles_told(as_json):
        what = kind or (Kind.NDJSON if file == STDIN else kind_of(file))
    with connect(url, who, as_json) as bus, opened(file) as (content, size):
        tally = Tally()
        with _saying_what_was_done(tally, as_json):
            for batch in _with_progress(cut(content, what), size, tally, as_json):
                _send(bus, contract, batch, what, op, dry_run, tally)
    _tell(tally, dry_run, as_json)
    raise typer.Exit(Exit.FAILED if tally.rejected else Exit.OK)


def _send(bus: Client, contract: str, batch: Batch, kind: Kind, op: Op, dry_run: bool, tally: Tally) -> None:
    receipt = bus.publish(contract, batch.body, media_type=MEDIA_TYPES[kind], op=op, dry_run=dry_run)
    tally.rejected += [_rejection(one, tally.records) for one in receipt.rejected]
    tally.records += batch.records
    tally.accepted += receipt.accepted
    tally.duplicates += receipt.duplicates
    tally.receipts.append(receipt.id)


def _rejection(one: Rejection, before: int) -> dict[str, Any]:
    return {
        "index": before + one.index,
        "key": one.key,
        "class": one.error_class.value,
        "path": one.path,
        "code": one.code,
        "message": one.message.said_in(language()),
    }


def _tell(tally: Tally, dry_run: bool, as_json: bool) -> None:
    if as_json:
        show(tally.facts() | {"rejected": tally.rejected, "dry_run": dry_run}, as_json)
        return
    if tally.rejected:
        show(tally.rejected, as_json, COLUMNS)
        for error_class, count in Counter(one["class"] for one in tally.rejected).most_common():
            name = ERROR_CLASS_NAMES[error_class].said_in(language())
            print(f"{count:>8}  {name}")
    counts = f"{tally.accepted} / {tally.duplicates} / {len(tally.rejected)}"
    if dry_run:
        print(
            Text(f"checked only: {counts} good / same / wrong", f"chỉ kiểm tra: {counts} đạt / trùng / lỗi").said_in(
                language()
            )
        )
        return
    said = Text(
        f"{records_en(tally.records)}: {tally.accepted} accepted, {tally.duplicates} unchanged, "
        f"{len(tally.rejected)} in quarantine",
        f"{tally.records} bản ghi: {tally.accepted} được nhận, {tally.duplicates} không đổi, "
        f"{len(tally.rejected)} bị cách ly",
    )
    print(said.said_in(language()))


@contextmanager
def _saying_what_was_done(tally: Tally, as_json: bool) -> Iterator[None]:
    """A file that stops in the middle is in part published: whoever sends it again should know."""
    from bus.client import ApiError

    try:
        yield
    except ApiError as error:
        trouble = trouble_of_answer(error)
        raise told(with_done(trouble, tally.facts()) if tally.records else trouble, as_json) from error
    except LgspError as error:
        raise told(trouble_of(error, tally.facts() if tally.records else None), as_json) from error


def _with_progress(batches: Iterator[Batch], size: int | None, tally: Tally, as_json: bool) -> Iterator[Batch]:
    """The batches, with a bar for a person on a terminal once there is more than one."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=as_json or not console.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=size)
        for batch in batches:
            bar.update(task, description=f"{tally.records:,}")
            yield batch
            bar.update(task, completed=batch.at_bytes, description=f"{tally.records:,}")
