"""Who is asking: the bearer token as an actor, and where the request came from."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2
from fastapi.security.utils import get_authorization_scheme_param

from bus.control.tokens import Tokens
from bus.errors import Unauthenticated
from bus.model import Actor
from registry.errors import Text

# For OpenAPI only: `auto_error=False`, the refusal is ours.
SCHEME = OAuth2(flows={"clientCredentials": {"tokenUrl": "/oauth/token", "scopes": {}}}, auto_error=False)


async def actor(request: Request, _scheme: Annotated[str | None, Depends(SCHEME)] = None) -> Actor:
    """The client that the request's bearer token (RFC 6750) belongs to. Raises Unauthenticated."""
    scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            Text(
                "send a bearer token; POST /oauth/token gives one",
                "cần gửi kèm mã truy cập (Bearer); lấy mã tại POST /oauth/token",
            )
        )
    tokens: Tokens = request.app.state.runtime.tokens
    return await run_in_threadpool(tokens.verify, token)


def source(request: Request) -> str | None:
    """The caller's address, for the journal. Behind a proxy it is what the server was told to trust (uvicorn's
    setting)."""
    return request.client.host[:60] if request.client else None


Authenticated = Annotated[Actor, Depends(actor)]
Source = Annotated[str | None, Depends(source)]
