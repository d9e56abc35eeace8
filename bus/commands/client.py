"""`lgsp client`: the machine clients of an agency."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from bus.commands.connection import URL, As, Limit, Url, connect, pages
from bus.commands.output import Column, Json, say, show
from bus.model import Role
from registry.errors import Text

NAME = "client"
app = typer.Typer(no_args_is_help=True, help="Clients: the programs and people that act for an agency.")

Agency = Annotated[str, typer.Argument(metavar="AGENCY", help="Code of the agency.")]

COLUMNS = (
    Column("id", Text("Client", "Ứng dụng")),
    Column("name", Text("Name", "Tên")),
    Column("roles", Text("Roles", "Vai trò")),
    Column("created_at", Text("Since", "Từ ngày"), is_time=True),
    Column("disabled_at", Text("Disabled", "Ngừng từ"), is_time=True),
)


@app.command()
def create(
    agency: Agency,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the client is, for people.")],
    role: Annotated[list[Role], typer.Option("--role", help="What it may do; may be said several times.")],
    jwks: Annotated[
        Path | None,
        typer.Option(
            "--jwks", exists=True, dir_okay=False, help="Public keys (RFC 7517): it signs, and has no secret."
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save", help="Write the credentials to this new file (mode 0600) instead of showing the secret."
        ),
    ] = None,
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Add a client to an agency (administrator). Its secret is shown once."""
    body: dict[str, Any] = {"name": name, "roles": [one.value for one in role]}
    if jwks is not None:
        try:
            body["jwks"] = json.loads(jwks.read_bytes())
        except ValueError as error:
            raise typer.BadParameter(f"{jwks}: not JSON / không phải JSON", param_hint="--jwks") from error
    with connect(url, who, as_json) as bus, _new_file(save) as file:
        made = bus.call("POST", f"/v1/agencies/{agency}/clients", json=body)
        if file is not None:
            file.write(json.dumps(made) + "\n")
            made = {"client_id": made["client_id"], "saved": str(save)}
    show(made, as_json)
    if save is None and made.get("client_secret") and not as_json:
        say(Text("The secret is shown only now: keep it.", "Khóa bí mật chỉ hiển thị một lần: hãy lưu lại."))


@app.command("list")
def list_clients(agency: Agency, limit: Limit = 1_000, url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """List an agency's clients."""
    with connect(url, who, as_json) as bus:
        show(pages(bus, f"/v1/agencies/{agency}/clients", limit), as_json, COLUMNS)


@app.command()
def disable(
    agency: Agency,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Id of the client.")],
    url: Url = URL,
    who: As = None,
    as_json: Json = False,
) -> None:
    """Take a client's access away, for good."""
    with connect(url, who, as_json) as bus:
        show(bus.call("POST", f"/v1/agencies/{agency}/clients/{client}/disable"), as_json)


@contextmanager
def _new_file(path: Path | None) -> Iterator[TextIO | None]:
    """A new file for its owner alone, made before the secret is asked for: a secret that can't be kept would be lost.

    Raises OSError where it can't be made or is there; it goes again when what happens within fails.
    """
    if path is None:
        yield None
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        try:
            yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise
