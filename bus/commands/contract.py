"""`lgsp contract`: lint one here, send it to the bus, decide on it, look at what there is."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Annotated

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Exit, Json, Trouble, language, show, told, troubles_told
from bus.model import Json as Document
from registry.errors import Text

NAME = "contract"
app = typer.Typer(no_args_is_help=True, help="Contracts: what records look like, which views there are.")

Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        exists=True,
        help="Folder with contract.yaml (and v1.avsc, code lists, samples), a YAML file, or a zip.",
    ),
]
Id = Annotated[str, typer.Argument(metavar="CONTRACT", help="Such as population/resident.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Such as 1.0.0.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the file.")]
PerhapsReason = Annotated[str | None, typer.Option("--reason", help="Why, for the file.")]

COLUMNS = (
    Column("id", Text("Contract", "Hợp đồng dữ liệu")),
    Column("version", Text("Version", "Phiên bản")),
    Column("state", Text("State", "Trạng thái")),
    Column("owner", Text("Owner", "Chủ quản dữ liệu")),
    Column("title_vi", Text("Title (vi)", "Tên")),
    Column("title_en", Text("Title (en)", "Tên (tiếng Anh)")),
)
FIELD_COLUMNS = (
    Column("name", Text("Field", "Trường dữ liệu")),
    Column("title_vi", Text("Title (vi)", "Tên")),
    Column("title_en", Text("Title (en)", "Tên (tiếng Anh)")),
    Column("classification", Text("Classification", "Phân loại")),
    Column("required", Text("Required", "Bắt buộc")),
)
VIEW_COLUMNS = (
    Column("name", Text("View", "Khung nhìn")),
    Column("title_vi", Text("Title (vi)", "Tên")),
    Column("title_en", Text("Title (en)", "Tên (tiếng Anh)")),
    Column("field_names", Text("Fields", "Trường dữ liệu")),
    Column("filter", Text("Filter", "Bộ lọc")),
)


@app.command()
def lint(source: Source, as_json: Json = False) -> None:
    """Check a contract on this machine, without a bus: every problem with its path and line. Exit code 1 where there is one."""
    from registry.contract import load, load_folder, load_zip
    from registry.errors import ContractInvalid

    try:
        if source.is_dir():
            found = load_folder(source)
        elif zipfile.is_zipfile(source):
            found = load_zip(source.read_bytes())
        else:
            found = load({"contract.yaml": source.read_bytes()})
    except ContractInvalid as error:
        detail = error.message.said_in(language())
        raise told(Trouble(Exit.FAILED, 422, error.code, detail, False, error.problems), as_json) from error
    facts = {
        "id": found.id,
        "version": found.version,
        "owner": found.owner,
        "key": found.key,
        "fields": len(found.fields),
        "views": list(found.views),
        "rules": len(found.rules),
        "code_lists": list(found.code_lists),
    }
    show({"problems": 0, **facts}, as_json)


@app.command()
def register(source: Source, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Submit a version of a contract (integrator, owner). Another client of its owner approves it."""
    with troubles_told(as_json):
        content = packed(source)
    with connect(url, who, as_json) as bus:
        show(bus.register_contract(content), as_json)


@app.command()
def approve(id: Id, version: Version, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Bring a submitted version into force (owner, never the client that submitted it)."""
    _decide(id, version, "approve", {}, url, who, as_json)


@app.command()
def refuse(id: Id, version: Version, reason: Reason, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Refuse a submitted version."""
    _decide(id, version, "refuse", {"reason": reason}, url, who, as_json)


@app.command()
def deprecate(
    id: Id, version: Version, reason: PerhapsReason = None, url: Url = URL, who: As = None, as_json: Json = False
) -> None:
    """Say that a version will go; records still flow."""
    _decide(id, version, "deprecate", {"reason": reason} if reason else {}, url, who, as_json)


@app.command()
def retire(
    id: Id, version: Version, reason: PerhapsReason = None, url: Url = URL, who: As = None, as_json: Json = False
) -> None:
    """End a version: nothing is published under it any more."""
    _decide(id, version, "retire", {"reason": reason} if reason else {}, url, who, as_json)


@app.command("list")
def list_contracts(
    query: Annotated[
        str | None, typer.Option("--query", "-q", help="Words of the id or the title, with or without marks.")
    ] = None,
    limit: Limit = 1_000,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """List contracts, each by its newest version."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, "/v1/contracts", limit, {"q": query}), as_json, COLUMNS)


@app.command("show")
def show_contract(
    id: Id,
    version: Annotated[str | None, typer.Option("--version", help="Another than the newest in force.")] = None,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Show what a contract says: its fields and how each is classified."""
    with connect(url, who, as_json) as bus:
        found = bus.call("GET", f"/v1/contracts/{id}", params={"version": version} if version else {})
    if as_json:
        show(found, as_json)
        return
    apart = ("fields", "document")
    show({name: value for name, value in found.items() if name not in apart}, as_json)
    show(found["fields"], as_json, FIELD_COLUMNS)


@app.command()
def versions(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List a contract's versions, newest first."""
    with connect(url, who, as_json) as bus:
        answer = bus.call("GET", f"/v1/contracts/{id}/versions")
        show(answer["items"], as_json, COLUMNS)


@app.command()
def views(id: Id, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List a contract's views: what can be asked for. A field with * goes out masked."""
    with connect(url, who, as_json) as bus:
        found = bus.call("GET", f"/v1/contracts/{id}/views")["views"]
        rows = found if as_json else [view | {"field_names": _field_names(view)} for view in found]
        show(rows, as_json, VIEW_COLUMNS)


def _field_names(view: Document) -> str:
    if view["fields"] is None:
        return Text("all", "tất cả").said_in(language())
    return ", ".join(one["name"] + ("*" if one["mask"] else "") for one in view["fields"])


def packed(source: Path) -> bytes:
    """What is sent to the bus: the YAML or the zip as it is, a folder's files as a zip with no times of its own."""
    if source.is_file():
        return source.read_bytes()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(source.iterdir()):
            if path.is_file():
                archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _decide(
    id: str, version: str, action: str, body: dict[str, str], url: str, who: Path | None, as_json: bool
) -> None:
    with connect(url, who, as_json) as bus:
        show(bus.call("POST", f"/v1/contracts/{id}/versions/{version}/{action}", json=body), as_json)
