"""`lgsp agency`: the agencies on the bus."""

from __future__ import annotations

from typing import Annotated

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Json, show
from registry.errors import Text

NAME = "agency"
app = typer.Typer(no_args_is_help=True, help="Agencies: who publishes and who receives.")

Code = Annotated[str, typer.Argument(metavar="CODE", help="Electronic identifier, such as H27.01.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option(
        "--attribute",
        metavar="NAME=VALUE,…",
        help="What a view's filter may ask of its reader, e.g. communes=18073,18076.",
    ),
]

COLUMNS = (
    Column("code", Text("Code", "Mã định danh")),
    Column("name_vi", Text("Name (vi)", "Tên")),
    Column("name_en", Text("Name (en)", "Tên (tiếng Anh)")),
    Column("attributes", Text("Attributes", "Thuộc tính")),
)


@app.command()
def create(
    code: Code,
    name_vi: Annotated[str, typer.Option("--name-vi", help="Name in Vietnamese.")],
    name_en: Annotated[str, typer.Option("--name-en", help="Name in English.")],
    attribute: Attributes = None,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Add an agency (administrator)."""
    attributes = parse_attributes(attribute or [])
    with connect(url, who, as_json) as bus:
        show(bus.create_agency(code, name_vi, name_en, attributes), as_json)


@app.command("list")
def list_agencies(limit: Limit = 1_000, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List agencies."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, "/v1/agencies", limit), as_json, COLUMNS)


@app.command("show")
def show_agency(code: Code, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Show one agency."""
    with connect(url, who, as_json) as bus:
        show(bus.call("GET", f"/v1/agencies/{code}"), as_json)


@app.command()
def change(
    code: Code,
    name_vi: Annotated[str | None, typer.Option("--name-vi", help="New name in Vietnamese.")] = None,
    name_en: Annotated[str | None, typer.Option("--name-en", help="New name in English.")] = None,
    attribute: Attributes = None,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Change names, or replace all attributes (administrator)."""
    changes = {"name_vi": name_vi, "name_en": name_en, "attributes": parse_attributes(attribute) if attribute else None}
    with connect(url, who, as_json) as bus:
        body = {name: value for name, value in changes.items() if value is not None}
        show(bus.call("PATCH", f"/v1/agencies/{code}", json=body), as_json)


def parse_attributes(said: list[str]) -> dict[str, list[str]]:
    """`["communes=18073,18076"]` to `{"communes": ["18073", "18076"]}`; a name said twice adds its values."""
    attributes: dict[str, list[str]] = {}
    for one in said:
        name, equals, values = one.partition("=")
        if not name or not equals or not values:
            raise typer.BadParameter(
                f"{one!r}: expected NAME=VALUE,… / cần dạng TÊN=GIÁ_TRỊ,…", param_hint="--attribute"
            )
        attributes.setdefault(name, []).extend(value for value in values.split(",") if value)
    return attributes
