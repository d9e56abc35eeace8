"""POST /oauth/token: client credentials (RFC 6749 section 4.4) by Basic, by form, or by a signed assertion (RFC 7523).

Errors have OAuth's own shape (RFC 6749 section 5.2), which client libraries understand, not problem+json.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from bus.api.documents import DocumentRoute
from bus.api.errors import language
from bus.control.tokens import ASSERTION_TYPE, Issued, OAuthError, Tokens
from monitoring.metrics import TOKENS_ISSUED, TOKENS_REFUSED
from registry.errors import Text

router = APIRouter(tags=["tokens"], route_class=DocumentRoute)

_FIELDS_MAX = 20
_NOT_CACHED = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1


class TokenBody(BaseModel):
    """An access token; send it as `Authorization: Bearer …` until `expires_in` seconds have passed."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the type's name
    expires_in: int


class OAuthErrorBody(BaseModel):
    error: str
    error_description: str


_FORM = {
    "required": True,
    "content": {
        "application/x-www-form-urlencoded": {
            "schema": {
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"type": "string", "enum": ["client_credentials"]},
                    "client_id": {"type": "string"},
                    "client_secret": {"type": "string", "format": "password"},
                    "client_assertion_type": {"type": "string", "enum": [ASSERTION_TYPE]},
                    "client_assertion": {"type": "string", "description": "A JWT; EdDSA, ES256 or RS256"},
                    "scope": {
                        "type": "string",
                        "description": "Ignored: a client's roles are what it was registered with",
                    },
                },
            },
            "example": {"grant_type": "client_credentials", "client_id": "cl_1c9f", "client_secret": "…"},
        }
    },
}


@router.post(
    "/oauth/token",
    response_model=TokenBody,
    summary="Get an access token",
    responses={400: {"model": OAuthErrorBody}, 401: {"model": OAuthErrorBody}},
    openapi_extra={"requestBody": _FORM},
)
async def token(request: Request) -> JSONResponse:
    """Prove who you are by `Authorization: Basic`, by `client_id` and `client_secret`, or by `client_assertion`."""
    try:
        form = _form(request, await request.body())
        method, issued = await run_in_threadpool(_issue, request.app.state.runtime.tokens, request, form)
    except OAuthError as error:
        TOKENS_REFUSED.labels(error.code).inc()
        headers = dict(_NOT_CACHED)
        if error.status == 401:
            headers["WWW-Authenticate"] = 'Basic realm="lgsp", charset="UTF-8"'
        body = {"error": error.code, "error_description": error.detail.said_in(language(request))}
        return JSONResponse(body, error.status, headers=headers)
    TOKENS_ISSUED.labels(method).inc()
    answer: dict[str, object] = {
        "access_token": issued.token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in_s,
    }
    return JSONResponse(answer, headers=_NOT_CACHED)


def _issue(tokens: Tokens, request: Request, form: dict[str, str]) -> tuple[str, Issued]:
    grant = form.get("grant_type")
    if grant is None:
        raise _invalid(Text("grant_type is missing", "thiếu grant_type"))
    if grant != "client_credentials":
        raise OAuthError("unsupported_grant_type", Text("expected client_credentials", "chỉ hỗ trợ client_credentials"))
    basic = _basic(request)
    if (basic is not None) + ("client_secret" in form) + ("client_assertion" in form) > 1:
        raise _invalid(Text("prove who you are in one way only", "chỉ dùng một cách xác thực"))
    if basic is not None:
        return "basic", tokens.by_secret(*basic)
    if "client_assertion" in form:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise _invalid(Text(f"client_assertion_type must be {ASSERTION_TYPE}", "client_assertion_type không đúng"))
        return "assertion", tokens.by_assertion(form["client_assertion"], form.get("client_id"))
    if "client_id" in form and "client_secret" in form:
        return "form", tokens.by_secret(form["client_id"], form["client_secret"])
    raise OAuthError(
        "invalid_client", Text("no client authentication was sent", "chưa gửi thông tin xác thực ứng dụng"), 401
    )


def _form(request: Request, body: bytes) -> dict[str, str]:
    """The form's fields. Raises OAuthError invalid_request; no field may come twice (RFC 6749 section 3.2)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise _invalid(Text("expected application/x-www-form-urlencoded", "cần application/x-www-form-urlencoded"))
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise _invalid(Text("the form can't be read", "không đọc được biểu mẫu")) from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _invalid(Text("a field comes twice", "có trường bị lặp"))
    return {name: value for name, value in fields.items() if value}


def _basic(request: Request) -> tuple[str, str] | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError) as error:
        raise _invalid(Text("the Authorization header can't be read", "không đọc được Authorization")) from error
    if not colon:
        raise _invalid(Text("the Authorization header can't be read", "không đọc được Authorization"))
    return unquote_plus(user), unquote_plus(password)  # form-encoded first: RFC 6749 section 2.3.1


def _invalid(detail: Text) -> OAuthError:
    return OAuthError("invalid_request", detail)
