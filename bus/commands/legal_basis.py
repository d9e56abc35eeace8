"""`lgsp legal-basis`: the laws that requests rest on."""

from __future__ import annotations

from typing import Annotated

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Json, Quiet, show, show_made
from registry.errors import Text

NAME = "legal-basis"
app = typer.Typer(no_args_is_help=True, help="Legal bases: the articles of law that sharing rests on.")

COLUMNS = (
    Column("id", Text("Id", "Mã")),
    Column("number", Text("Number", "Số hiệu")),
    Column("article", Text("Article", "Điều")),
    Column("title", Text("Title", "Tên văn bản")),
    Column("issuer", Text("Issuer", "Cơ quan ban hành")),
    Column("valid_from", Text("In force from", "Hiệu lực từ")),
    Column("valid_to", Text("to", "đến")),
)


@app.command()
def create(
    number: Annotated[str, typer.Option("--number", help="Such as 194/2025/NĐ-CP.")],
    article: Annotated[str, typer.Option("--article", help="Such as 16.")],
    title: Annotated[str, typer.Option("--title", help="The document's title.")],
    issuer: Annotated[str, typer.Option("--issuer", help="Who issued it.")],
    valid_from: Annotated[str, typer.Option("--valid-from", metavar="DATE", help="First day in force.")],
    valid_to: Annotated[str | None, typer.Option("--valid-to", metavar="DATE", help="Last day in force.")] = None,
    quiet: Quiet = False,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Enter a legal basis."""
    body = {"number": number, "article": article, "title": title, "issuer": issuer, "valid_from": valid_from}
    with connect(url, who, as_json) as bus:
        show_made(
            bus.call("POST", "/v1/legal-bases", json=body | ({"valid_to": valid_to} if valid_to else {})),
            as_json,
            quiet,
        )


@app.command("list")
def list_legal_bases(limit: Limit = 1_000, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List legal bases."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, "/v1/legal-bases", limit), as_json, COLUMNS)


@app.command("show")
def show_legal_basis(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of the legal basis.")],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Show one legal basis."""
    with connect(url, who, as_json) as bus:
        show(bus.call("GET", f"/v1/legal-bases/{id}"), as_json)
