"""How the registry's API speaks HTTP, as Confluent's clients expect it: media types, bodies, error bodies.

What it says is in `registry.api`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from registry import errors
from registry.errors import RegistryError, Text
from registry.schema import SIZE_BYTES_MAX

Shape = TypeVar("Shape")

V1_JSON = "application/vnd.schemaregistry.v1+json"
_PRODUCED = (V1_JSON, "application/vnd.schemaregistry+json", "application/json")
_CONSUMED = (*_PRODUCED, "application/octet-stream")  # Confluent's list
BODY_BYTES_MAX = 2 * SIZE_BYTES_MAX + 100_000  # a schema within JSON doubles its quotes

# Confluent's codes: https://docs.confluent.io/platform/current/schema-registry/develop/api.html
_CODES: dict[type[RegistryError], tuple[int, int]] = {
    errors.SubjectUnknown: (404, 40401),
    errors.VersionUnknown: (404, 40402),
    errors.SchemaUnknown: (404, 40403),
    errors.SchemaIncompatible: (409, 409),
    errors.SchemaInvalid: (422, 42201),
    errors.SubjectInvalid: (422, 42208),
}
_CHALLENGES = 'Basic realm="registry", Bearer realm="registry"'


class Refused(Exception):
    """A request that isn't served, with Confluent's code."""

    def __init__(self, status: int, code: int, message: Text) -> None:
        super().__init__(message.en)
        self.status, self.code, self.message = status, code, message


class SchemaGiven(msgspec.Struct, rename="camel"):
    """The body of registering, looking up and testing."""

    schema: str | None = None
    schema_type: str | None = None
    references: list[Any] | None = None
    metadata: dict[str, Any] | None = None
    rule_set: dict[str, Any] | None = None
    id: int | None = None
    version: int | None = None


class ConfigGiven(msgspec.Struct, rename="camel"):
    """The body of setting a level. The other settings are named here so that none is taken and then forgotten."""

    compatibility: str | None = None
    normalize: bool | None = None
    alias: str | None = None
    compatibility_group: str | None = None
    default_metadata: dict[str, Any] | None = None
    override_metadata: dict[str, Any] | None = None
    default_rule_set: dict[str, Any] | None = None
    override_rule_set: dict[str, Any] | None = None


class Wire:
    """ASGI around the app: routes see the path still percent-encoded (a subject may hold a slash), answers are labelled
    with the media type that was asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        produced = _produced(Headers(scope=scope).get("accept", "*/*"))
        if produced is None:
            said = Text("Not acceptable: this API produces JSON", "Không đáp ứng được: API này trả về JSON")
            await _error(406, 406, said.en)(scope, receive, send)
            return

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type") == V1_JSON:
                    headers["content-type"] = produced
                    headers.add_vary_header("Accept")
            await send(message)

        raw = scope.get("raw_path")
        await self.app({**scope, "path": raw.decode("latin-1")} if raw else scope, receive, labelled)


def answer(data: Any, status: int = 200) -> Response:
    """JSON, labelled as Confluent's unless the client asked for another name of it."""
    return Response(orjson.dumps(data), status, media_type=V1_JSON)


def path_text(encoded: str) -> str:
    """One segment of the path as text; what isn't UTF-8 stays an invalid subject for `check_subject` to refuse."""
    return unquote(encoded, errors="surrogateescape")


async def read_body(request: Request) -> bytes:
    """The body. Raises Refused with 415 for other media types, 413 over BODY_BYTES_MAX."""
    kind = request.headers.get("content-type", V1_JSON).partition(";")[0].strip().lower()
    if kind not in _CONSUMED:
        en, vi = f"Unsupported media type; send {V1_JSON}", f"Kiểu nội dung không được hỗ trợ; hãy gửi {V1_JSON}"
        raise Refused(415, 415, Text(en, vi))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            en = f"The body is larger than {BODY_BYTES_MAX:,} bytes"
            raise Refused(413, 413, Text(en, f"Nội dung lớn hơn {BODY_BYTES_MAX:,} byte"))
    return bytes(body)


def decode(body: bytes, shape: type[Shape]) -> Shape:
    """The body as `shape`. Raises Refused with 400 where it isn't JSON, 42201 where a part has another type."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        raise Refused(422, 42201, Text(f"Unexpected body: {error}", f"Nội dung không đúng: {error}")) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, 400, Text(f"The body is not JSON: {error}", f"Nội dung không phải JSON: {error}")) from error


def install_errors(app: FastAPI) -> None:
    """Every error leaves as `{error_code, message}`, in Vietnamese for clients that ask for it."""

    @app.exception_handler(RegistryError)
    def registry_error(request: Request, error: RegistryError) -> Response:
        if isinstance(error, errors.AccessDenied):
            headers = {"WWW-Authenticate": _CHALLENGES} if error.status == 401 else None
            return _error(error.status, error.status * 100 + 1, _said(request, error.message), headers)
        if isinstance(error, errors.DeletionRefused):
            first = 40404 if isinstance(error, errors.AlreadyDeleted) else 40405
            return _error(404, first if error.version is None else first + 2, _said(request, error.message))
        status, code = _CODES.get(type(error), (500, 50001))
        return _error(status, code, _said(request, error.message))

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        return _error(error.status, error.code, _said(request, error.message))

    @app.exception_handler(RequestValidationError)
    def unreadable(request: Request, error: RequestValidationError) -> Response:
        where = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        return _error(422, 422, _said(request, Text(f"Invalid request: {where}", f"Yêu cầu không hợp lệ: {where}")))

    @app.exception_handler(HTTPException)
    def not_routed(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.status_code, f"HTTP {error.status_code} {error.detail}", error.headers)

    @app.exception_handler(SQLAlchemyError)
    def store_failed(request: Request, _: SQLAlchemyError) -> Response:
        said = Text("Error in the backend data store", "Lỗi kho dữ liệu của registry")
        return _error(500, 50001, _said(request, said))


def _error(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps({"error_code": code, "message": message.encode("utf-8", "replace").decode()})
    return Response(body, status, headers=headers, media_type=V1_JSON)


def _said(request: Request, message: Text) -> str:
    return message.said_in(request.headers.get("accept-language", "en")[:2].lower())


def _produced(accept: str) -> str | None:
    """The media type to answer with: of those we have, the one the client wants most; None where it wants none."""
    best: tuple[float, str] | None = None
    for one in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in one.split(";"))
        quality = next((_number(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
        name = V1_JSON if kind in ("*/*", "application/*", "") else kind
        if name in _PRODUCED and quality > 0 and (best is None or quality > best[0]):
            best = (quality, name)
    return best[1] if best else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
