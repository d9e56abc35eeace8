"""Routes whose bodies are documents (everything that isn't records): read to the limit and no further, before anything parses
them; and the shapes that many routers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.types import Message

from bus.errors import InvalidRequest, TooLarge, UnsupportedMediaType
from registry.errors import Problem, Text

T = TypeVar("T")
NO_HINT = Text("", "")

# PostgreSQL keeps no NUL, and no name has a control character.
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Paragraph = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$"),
]


class Document(BaseModel):
    """A request's body. A field that isn't known is refused: it was meant to do something, and would not."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """An answer's body."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[T]):
    """`next` is what to send as `after` for the following page; null on the last."""

    items: list[T]
    next: str | None


class DocumentRoute(APIRoute):
    """Reads at most `document_bytes_max` of the body; refuses NUL in the address and a body that is packed."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            demand_plain(request)
            body = await read_limited(request, request.app.state.runtime.settings.document_bytes_max)
            return await handle(Request(request.scope, _once(body, request.receive)))

        return limited


def demand_plain(request: Request) -> None:
    """Raises InvalidRequest on NUL in the address, which no database keeps, UnsupportedMediaType on a packed body: what it
    unpacks to isn't known before it is."""
    if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        message = Text("NUL has no place in an address", "địa chỉ không được chứa ký tự NUL")
        raise InvalidRequest(message, [Problem("path", "nul", message)])
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        name = "Content-Encoding"
        message = Text(
            f"{name}: found {coding[:40]}, expected none: send the body unpacked",
            f"{name}: có {coding[:40]}, cần để trống: hãy gửi nội dung không nén",
        )
        raise UnsupportedMediaType(message, [Problem(name, "unsupported_encoding", message)])


async def read_limited(request: Request, bytes_max: int, hint: Text = NO_HINT) -> bytes:
    """The whole body. Raises TooLarge, which ends with `hint`, as soon as it is known to be over the limit: by its header, or
    while it comes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max:
        raise _too_large(bytes_max, hint)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max, hint)
    return bytes(body)


def limit(request: Request, limit: Annotated[int | None, Query(ge=1, description="Entries on a page")] = None) -> int:
    """How many entries a page has. Raises InvalidRequest over `page_size_max`."""
    most: int = request.app.state.runtime.settings.page_size_max
    if limit is not None and limit > most:
        message = Text(f"expected at most {most}", f"tối đa {most}")
        raise InvalidRequest(message, [Problem("limit", "less_than_equal", message)])
    return limit or min(100, most)


def paged(items: list[T], limit: int, mark: Callable[[T], str]) -> dict[str, Any]:
    """A page of `items`, which were asked for with one more than `limit`; `mark` says what to send as `after`."""
    return {"items": items[:limit], "next": mark(items[limit - 1]) if len(items) > limit else None}


def _once(body: bytes, receive: Callable[[], Awaitable[Message]]) -> Callable[[], Awaitable[Message]]:
    told = False

    async def replay() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _too_large(bytes_max: int, hint: Text) -> TooLarge:
    message = Text(f"the body is over {bytes_max} bytes{hint.en}", f"nội dung vượt quá {bytes_max} byte{hint.vi}")
    return TooLarge(message, [Problem("body", "too_large", message)])
