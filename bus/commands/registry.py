"""`lgsp registry`: look at the schema registry, by its own HTTP API. Schemas get there by approved contracts, not from here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from bus.commands.connection import As, credentials
from bus.commands.output import Column, Exit, Json, Trouble, exit_of, language, show, told
from registry.errors import Text

if TYPE_CHECKING:
    import httpx

NAME = "registry"
app = typer.Typer(no_args_is_help=True, help="The schema registry: subjects and their schemas.")

URL = "http://127.0.0.1:8081"
Url = Annotated[str, typer.Option("--url", envvar="LGSP_REGISTRY_URL", help="Where the registry is.")]
COLUMNS = (Column("subject", Text("Subject", "Subject")), Column("versions", Text("Versions", "Phiên bản")))


@app.command("list")
def list_subjects(url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List subjects with their versions."""
    with _registry(url, who, as_json) as ask:
        subjects = ask("/subjects")
        rows = [{"subject": one, "versions": ask(f"/subjects/{quote(one, safe='')}/versions")} for one in subjects]
        show(rows, as_json, COLUMNS)


@app.command("show")
def show_subject(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Such as data.population.resident.v1-value.")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A number, or latest.")] = "latest",
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Show a schema: its id, version and text."""
    with _registry(url, who, as_json) as ask:
        show(ask(f"/subjects/{quote(subject, safe='')}/versions/{quote(version, safe='')}"), as_json)


@contextmanager
def _registry(url: str, who: Path | None, as_json: bool) -> Iterator[Any]:
    import httpx

    found = credentials(who, as_json)
    auth = httpx.BasicAuth(found.client_id, found.client_secret)
    headers = {"Accept-Language": language()}
    try:
        with httpx.Client(base_url=url, auth=auth, headers=headers, timeout=10.0) as client:
            yield lambda path: _answer(client.get(path), as_json)
    except httpx.TransportError as error:
        what = type(error).__name__
        message = Text(f"the registry does not answer ({what})", f"không kết nối được tới kho lược đồ ({what})")
        raise told(
            Trouble(Exit.UNAVAILABLE, 503, "registry_unreachable", message.said_in(language()), True), as_json
        ) from error


def _answer(response: httpx.Response, as_json: bool) -> Any:
    if response.is_success:
        return response.json()
    said = response.json() if "json" in response.headers.get("Content-Type", "") else {}
    code, detail = str(said.get("error_code", response.status_code)), str(said.get("message", response.reason_phrase))
    status = response.status_code
    raise told(Trouble(exit_of(status), status, code, detail, status >= 500), as_json)
