"""Errors as HTTP shows them: problem+json (RFC 9457), in the language the caller asked for, never with a payload's
values."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from bus.errors import InvalidRequest, LgspError, StoreUnavailable, TooLarge, Unauthenticated
from registry.errors import (
    BodyInvalid,
    BodyTooLarge,
    CodecError,
    Problem,
    RegistryError,
    SchemaUnknown,
    SubjectUnknown,
    Text,
    VersionUnknown,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
PATH_PART_MAX = 100  # of a name that someone sent; ours are shorter
PROBLEMS_SHOWN_MAX = 1_000  # of a bad document; more help nobody


class ProblemPart(BaseModel):
    """One thing that is wrong: where, a stable code, and what was found and expected."""

    path: str
    code: str
    message: str


class ProblemBody(BaseModel):
    """An error (RFC 9457). `code` is stable; `retriable` says whether the same request may succeed later."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:lgsp:problem:conflict",
                    "title": "The present state does not allow this",
                    "status": 409,
                    "detail": "subscription sub_5f0c: found refused, expected requested",
                    "code": "conflict",
                    "retriable": False,
                    "errors": [
                        {"path": "state", "code": "wrong_state", "message": "found refused, expected requested"}
                    ],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str
    retriable: bool
    errors: list[ProblemPart] = []


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For OpenAPI: the problems an operation may answer, besides 401, 413 and 503, which any may."""
    described = {
        400: "The request doesn't say what it must",
        401: "No token, or one that is expired or forged",
        403: "This client may not do this",
        404: "Isn't there, or isn't yours",
        409: "The present state doesn't allow this",
        413: "Over a limit",
        415: "A media type that isn't taken here",
        422: "The contract doesn't hold together",
        503: "Kafka or PostgreSQL doesn't answer; try again",
    }
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    return {
        status: {"description": described[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, 400, 401, 413, 503})
    }


def language(request: Request) -> str:
    """ "vi" or "en" by Accept-Language (RFC 9110 section 12.5.4); English where neither is asked for."""
    best, best_q = "en", 0.0
    for part in request.headers.get("accept-language", "").split(","):
        tag, _, parameter = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        try:
            q = float(parameter.strip().removeprefix("q=")) if parameter.strip() else 1.0
        except ValueError:
            continue
        if name in ("vi", "en") and q > best_q:
            best, best_q = name, q
    return best


def problem(request: Request, error: LgspError) -> JSONResponse:
    """The answer that `error` is told in."""
    headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'} if isinstance(error, Unauthenticated) else {}
    return _answer(
        request, error.status, error.code, error.retriable, error.title, error.detail, error.problems, headers
    )


def install(app: FastAPI) -> None:
    """Every exception that may reach the edge, and what is told."""
    app.add_exception_handler(LgspError, _lgsp)
    app.add_exception_handler(RegistryError, _registry)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.add_exception_handler(kind, _store)
    app.add_exception_handler(Exception, unforeseen)


async def _lgsp(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, LgspError)
    return problem(request, error)


async def _registry(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    if isinstance(error, SubjectUnknown | VersionUnknown | SchemaUnknown):
        status, title = 404, Text("Not found", "Không tìm thấy")
    elif isinstance(error, BodyTooLarge):
        status, title = TooLarge.status, TooLarge.title
    elif isinstance(error, BodyInvalid):
        status, title = InvalidRequest.status, InvalidRequest.title
    elif isinstance(error, CodecError):
        status, title = 422, Text("The record can't be read", "Không đọc được bản ghi")
    else:
        status, title = 422, Text("The document is not valid", "Tài liệu không hợp lệ")
    return _answer(request, status, error.code, False, title, error.message, error.problems)


async def _validation(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    problems = [
        Problem(_path(one["loc"]) if one["type"] != "json_invalid" else "body", str(one["type"]), _pydantic(one))
        for one in error.errors()[:PROBLEMS_SHOWN_MAX]
    ]
    paths = ", ".join(problem.path for problem in problems[:5])
    detail = Text(f"not valid: {paths}", f"không hợp lệ: {paths}")
    return problem(request, InvalidRequest(detail, problems))


async def _http(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses: an unknown path, a method, a body that isn't JSON."""
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, LgspError):
        return problem(request, error.__cause__)
    told = {
        400: ("invalid_request", Text("the body is not valid JSON", "nội dung không phải JSON hợp lệ")),
        404: ("not_found", Text("there is no such path", "không có đường dẫn này")),
        405: ("method_not_allowed", Text("this path has no such method", "đường dẫn này không nhận phương thức này")),
    }
    code, detail = told.get(error.status_code, ("http_error", Text("the request is refused", "yêu cầu bị từ chối")))
    title = {404: Text("Not found", "Không tìm thấy"), 405: Text("Method not allowed", "Phương thức không được phép")}
    headers = dict(error.headers or {})
    problems = [Problem("body", "json_invalid", detail)] if error.status_code == InvalidRequest.status else []
    shown = title.get(error.status_code, InvalidRequest.title)
    return _answer(request, error.status_code, code, False, shown, detail, problems, headers)


async def _store(request: Request, _error: Exception) -> JSONResponse:
    """The database, where it was asked past `bus.store.engine.transaction` (the registry is, which knows nothing of
    the bus)."""
    detail = Text("the database does not answer; try again", "cơ sở dữ liệu không phản hồi; hãy thử lại")
    return problem(request, StoreUnavailable(detail))


async def unforeseen(request: Request, error: Exception) -> JSONResponse:
    """A defect of ours. The log has its place; the answer has nothing of it, and the log no message: it may hold
    values."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("unforeseen %s at %s\n%s", type(error).__name__, _route(request), frames)
    detail = Text("an error on our side; it is logged", "lỗi phía hệ thống; đã được ghi nhật ký")
    return _answer(request, 500, LgspError.code, False, LgspError.title, detail, ())


def _answer(
    request: Request,
    status: int,
    code: str,
    retriable: bool,
    title: Text,
    detail: Text,
    problems: Sequence[Problem],
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    spoken = language(request)
    body = {
        "type": f"urn:lgsp:problem:{code}",
        "title": title.said_in(spoken),
        "status": status,
        "detail": detail.said_in(spoken),
        "code": code,
        "retriable": retriable,
        "errors": [
            {"path": one.path, "code": one.code, "message": one.message.said_in(spoken)}
            for one in problems[:PROBLEMS_SHOWN_MAX]
        ],
    }
    headers = {"Content-Language": spoken, **(headers or {})}
    if retriable:
        headers["Retry-After"] = "1"
    if status == TooLarge.status:
        headers["Connection"] = "close"  # the rest of the body isn't read
    return JSONResponse(body, status, headers=headers, media_type=MEDIA_TYPE)


def _path(location: Iterable[int | str]) -> str:
    parts = [str(part)[:PATH_PART_MAX] for part in location]
    return ".".join(parts[1:] if parts[:1] in (["body"], ["query"], ["path"], ["header"]) else parts) or "body"


def _pydantic(error: dict[str, Any]) -> Text:
    """Pydantic's finding in both languages. Its own `msg` and `input` are left out: they may repeat what was sent."""
    context = error.get("ctx", {})
    kind = str(error["type"])
    texts = {
        "missing": Text("is required", "là bắt buộc"),
        "extra_forbidden": Text("is not a field here", "không phải là trường ở đây"),
        "string_type": Text("expected text", "cần văn bản"),
        "list_type": Text("expected a list", "cần một danh sách"),
        "dict_type": Text("expected an object", "cần một đối tượng"),
        "model_attributes_type": Text("expected an object", "cần một đối tượng"),
        "json_invalid": Text(
            f"is not valid JSON at character {error['loc'][-1]}", f"không phải JSON hợp lệ ở ký tự {error['loc'][-1]}"
        ),
        "string_too_long": Text(
            f"expected at most {context.get('max_length')} characters", f"tối đa {context.get('max_length')} ký tự"
        ),
        "string_too_short": Text(
            f"expected at least {context.get('min_length')} characters", f"tối thiểu {context.get('min_length')} ký tự"
        ),
        "too_short": Text(f"expected at least {context.get('min_length')}", f"cần ít nhất {context.get('min_length')}"),
        "too_long": Text(f"expected at most {context.get('max_length')}", f"tối đa {context.get('max_length')}"),
        "string_pattern_mismatch": Text(
            f"expected the form {context.get('pattern')}", f"cần theo dạng {context.get('pattern')}"
        ),
        "enum": Text(f"expected {context.get('expected')}", f"cần một trong {context.get('expected')}"),
        "literal_error": Text(f"expected {context.get('expected')}", f"cần một trong {context.get('expected')}"),
        "timezone_aware": Text("expected a time with its zone", "cần thời điểm kèm múi giờ"),
        "less_than_equal": Text(f"expected at most {context.get('le')}", f"tối đa {context.get('le')}"),
        "greater_than_equal": Text(f"expected at least {context.get('ge')}", f"tối thiểu {context.get('ge')}"),
    }
    if kind in texts:
        return texts[kind]
    if kind.startswith("date_"):
        return Text("expected a date such as 2026-01-31", "cần ngày dạng 2026-01-31")
    if kind.startswith("datetime_"):
        return Text("expected a time such as 2026-01-31T08:00:00+07:00", "cần thời điểm dạng 2026-01-31T08:00:00+07:00")
    if kind.startswith(("int_", "float_")):
        return Text("expected a number", "cần một số")
    return Text(f"not valid ({kind})", f"không hợp lệ ({kind})")


def _route(request: Request) -> str:
    return str(getattr(request.scope.get("route"), "path", "unknown"))
