"""How commands reach a bus: where it is, as whom, and what becomes of its refusals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bus.commands.output import Exit, Trouble, exit_of, language, say, told, troubles_told
from bus.model import Json as Document
from registry.errors import Text

if TYPE_CHECKING:
    from bus.client import ApiError, Client, ClientCredentials

URL = "http://127.0.0.1:8080"
INSIST_S = 10.0  # a bus that restarts is back in seconds; a person doesn't wait longer without a word

Url = Annotated[str, typer.Option("--url", envvar="LGSP_URL", help="Where the bus is.")]
As = Annotated[
    Path | None,
    typer.Option(
        "--as",
        metavar="FILE",
        help="Credentials: a JSON file with client_id and client_secret, such as DATA/admin.json. "
        "Without it: LGSP_CLIENT_ID and LGSP_CLIENT_SECRET.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="At most so many entries.")]


@contextmanager
def connect(url: str, who: Path | None, as_json: bool) -> Iterator[Client]:
    """A client of the bus. Refusals within are printed, and end the process with their exit code."""
    from bus.client import ApiError, Client, Retry

    found = credentials(who, as_json)
    retry = Retry(for_s=INSIST_S, on_wait=None if as_json else _SayOnce())
    with (
        troubles_told(as_json),
        Client(url, found.client_id, found.client_secret, retry=retry, language=language()) as client,
    ):
        try:
            yield client
        except ApiError as error:
            raise told(trouble_of_answer(error), as_json) from error


def trouble_of_answer(error: ApiError) -> Trouble:
    return Trouble(exit_of(error.status), error.status, error.code, error.detail, error.retriable, error.errors)


def pages(client: Client, path: str, limit: int, query: dict[str, str | None] | None = None) -> list[Document]:
    """Up to `limit` entries of a list, page after page. Entries of `query` that are None aren't asked for."""
    wanted: dict[str, Any] = {name: value for name, value in (query or {}).items() if value is not None}
    items: list[Document] = []
    while len(items) < limit:
        answer = client.call("GET", path, params=wanted | {"limit": min(limit - len(items), 1_000)})
        items += answer["items"]
        if answer.get("next") is None:
            break
        wanted["after"] = answer["next"]
    return items


def credentials(who: Path | None, as_json: bool) -> ClientCredentials:
    from bus.client import ClientCredentials

    if who is not None:
        try:
            return ClientCredentials.from_file(who)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "client_id, client_secret?"
            message = Text(f"{who}: no credentials ({reason})", f"{who}: không có thông tin xác thực ({reason})")
            raise told(
                Trouble(Exit.USAGE, 400, "credentials_unreadable", message.said_in(language()), False), as_json
            ) from error
    client_id, secret = os.environ.get("LGSP_CLIENT_ID"), os.environ.get("LGSP_CLIENT_SECRET")
    if client_id and secret:
        return ClientCredentials(client_id, secret)
    message = Text(
        "as whom? Give --as FILE (lgsp up writes admin.json), or set LGSP_CLIENT_ID and LGSP_CLIENT_SECRET",
        "chưa có thông tin xác thực: dùng --as TỆP (lgsp up ghi admin.json), hoặc đặt LGSP_CLIENT_ID và LGSP_CLIENT_SECRET",
    )
    raise told(Trouble(Exit.USAGE, 400, "credentials_missing", message.said_in(language()), False), as_json)


class _SayOnce:
    """Says that the bus doesn't answer yet, once, however often it is tried."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, reason: str, _seconds: float) -> None:
        if not self._said:
            self._said = True
            say(Text(f"waiting for the bus ({reason}) …", f"đang chờ trục dữ liệu ({reason}) …"))
