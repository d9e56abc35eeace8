"""Who may use the schema registry: any client that proves itself, by bearer token or by its id and secret (what the stock clients
send as Basic); writing past the contracts is for administrators.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from fastapi import Request

from bus.access.decide import Action, Resource, decide
from bus.control.tokens import OAuthError, Tokens
from bus.errors import Unauthenticated
from bus.model import Actor
from registry.api import Authorize
from registry.errors import AccessDenied, Text


def authorize_with(tokens: Tokens) -> Authorize:
    """What `registry.api.create_app` asks before every act."""

    def authorize(request: Request, act: Literal["read", "write"], _subject: str | None) -> None:
        actor = _actor(tokens, request.headers.get("authorization", ""))
        action = Action.REGISTRY_READ if act == "read" else Action.REGISTRY_WRITE
        decision = decide(actor, action, Resource())
        if not decision.allowed:
            raise AccessDenied(403, decision.reason)

    return authorize


def _actor(tokens: Tokens, header: str) -> Actor:
    scheme, _, value = header.partition(" ")
    try:
        if scheme.lower() == "bearer":
            return tokens.verify(value.strip())
        if scheme.lower() == "basic":
            client_id, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
            return tokens.actor_by_secret(client_id, secret)
    except (Unauthenticated, OAuthError, binascii.Error, UnicodeDecodeError) as error:
        raise AccessDenied(401, Text("the credentials are not valid", "thông tin xác thực không hợp lệ")) from error
    raise AccessDenied(
        401,
        Text(
            "send a bearer token, or client id and secret as Basic",
            "cần gửi mã truy cập (Bearer) hoặc client_id và secret (Basic)",
        ),
    )
