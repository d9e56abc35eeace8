"""`lgsp quarantine`: the records that the bus did not take, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.files import opened, readable
from bus.commands.output import Column, Json, show
from bus.model import QuarantineState
from registry.errors import ErrorClass, Text

NAME = "quarantine"
app = typer.Typer(no_args_is_help=True, help="Quarantine: rejected records, each with its reason.")

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="Number of the quarantined record.")]

COLUMNS = (
    Column("id", Text("Id", "Mã")),
    Column("contract", Text("Contract", "Hợp đồng dữ liệu")),
    Column("class", Text("Class", "Loại lỗi")),
    Column("path", Text("Field", "Trường dữ liệu")),
    Column("message", Text("What is wrong", "Lỗi")),
    Column("key", Text("Key", "Khóa")),
    Column("state", Text("State", "Trạng thái")),
    Column("created_at", Text("Since", "Từ lúc"), is_time=True),
)


@app.command("list")
def list_quarantined(
    contract: Annotated[str | None, typer.Option("--contract", help="Only of this contract.")] = None,
    error_class: Annotated[ErrorClass | None, typer.Option("--class", help="Only of this class.")] = None,
    state: Annotated[QuarantineState | None, typer.Option("--state", help="Only in this state.")] = None,
    limit: Limit = 1_000,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """List the quarantined records of the contracts that your agency answers for."""
    query = {
        "contract": contract,
        "class": error_class.value if error_class else None,
        "state": state.value if state else None,
    }
    with connect(url, who, as_json) as bus:
        show(pages(bus, "/v1/quarantine", limit, query), as_json, COLUMNS)


@app.command("show")
def show_quarantined(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Show one: what is wrong where, which batch it came in, what became of it."""
    with connect(url, who, as_json) as bus:
        show(bus.call("GET", f"/v1/quarantine/{id}"), as_json)


@app.command()
def replay(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Send a record again as it came, once the rule or the code list that refused it is mended."""
    with connect(url, who, as_json) as bus:
        show(bus.call("POST", f"/v1/quarantine/{id}/replay"), as_json)


@app.command()
def correct(
    id: Id,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", callback=readable, help="The whole record as JSON; - for stdin."),
    ],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Send a corrected record in its place. Better: correct it at the source, and publish it from there."""
    try:
        with opened(file) as (content, _):
            record = json.load(content)
    except ValueError as error:
        raise typer.BadParameter("not JSON / không phải JSON", param_hint="FILE") from error
    with connect(url, who, as_json) as bus:
        show(bus.call("POST", f"/v1/quarantine/{id}/correct", json={"value": record}), as_json)


@app.command()
def discard(
    id: Id,
    reason: Annotated[str, typer.Option("--reason", help="Why nobody will correct it.")],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Give a record up, with a reason."""
    with connect(url, who, as_json) as bus:
        show(bus.call("POST", f"/v1/quarantine/{id}/discard", json={"reason": reason}), as_json)
