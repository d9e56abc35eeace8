"""Routes whose bodies are documents (everything that isn't records): read to the limit and no further, before anything
parses
them; and the shapes that many routers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.types import Message

from bus.errors import InvalidRequest, TooLarge
from registry.errors import Problem, Text

T = TypeVar("T")

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
    """Reads at most `document_bytes_max` of the body, and refuses NUL in the address."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            if "\0" in request.scope["path"] or b"%00" in request.scope["query_string"]:
                message = Text("NUL has no place in an address", "địa chỉ không được chứa ký tự NUL")
                raise InvalidRequest(message, [Problem("path", "nul", message)])
            body = await read_limited(request, request.app.state.runtime.settings.document_bytes_max)
            return await handle(Request(request.scope, _once(body, request.receive)))

        return limited


async def read_limited(request: Request, bytes_max: int) -> bytes:
    """The whole body. Raises TooLarge as soon as it is known to be over the limit: by its header, or while it comes."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > bytes_max:
        raise _too_large(bytes_max)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
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


def _too_large(bytes_max: int) -> TooLarge:
    message = Text(f"the body is over {bytes_max} bytes", f"nội dung vượt quá {bytes_max} byte")
    return TooLarge(message, [Problem("body", "too_large", message)])
