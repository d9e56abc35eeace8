"""The control plane and gateway as one ASGI application, made of its routers."""

from __future__ import annotations

import time

from fastapi import FastAPI, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bus.api import (
    agencies,
    audit,
    contracts,
    errors,
    health,
    legal_bases,
    me,
    publish,
    quarantine,
    records,
    subscriptions,
    token,
)
from bus.api.bell import Bell
from bus.runtime import Runtime
from monitoring.metrics import HTTP_REQUESTS, HTTP_SECONDS

_ABOUT = """An inter-agency data bus: agencies publish records under a contract, others receive the part that they were granted.

Errors are `application/problem+json` (RFC 9457) with a stable `code`, in English or in Vietnamese by
`Accept-Language`."""


def create_app(runtime: Runtime) -> FastAPI:
    """The application. `runtime` stays the caller's to close."""
    app = FastAPI(
        title="LGSP data bus",
        version="1",
        description=_ABOUT,
        openapi_url="/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.runtime = runtime
    app.state.bell = Bell()
    app.state.probe = health.probe_of(runtime)
    errors.install(app)
    for noun in (
        token,
        me,
        agencies,
        legal_bases,
        contracts,
        subscriptions,
        publish,
        records,
        quarantine,
        audit,
        health,
    ):
        app.include_router(noun.router)
    app.add_middleware(_Measured)
    _describe(app)
    return app


class _Measured:
    """Counts and times requests by the route's template. No exception passes: the server's log would have its text, which may
    hold what was sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001  the last door: whatever it is, it's our defect
            answer = await errors.unforeseen(Request(scope), error)
            if status:
                raise RuntimeError("the answer was cut") from None
            await answer(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            HTTP_REQUESTS.labels(route, scope["method"], str(status)).inc()
            HTTP_SECONDS.labels(route).observe(time.perf_counter() - began)


def _describe(app: FastAPI) -> None:
    """Add to OpenAPI the one schema that only error answers use; take out FastAPI's own error schemas, which we
    never send."""
    made = app.openapi

    def described() -> dict[str, object]:
        document = made()
        schemas = document["components"]["schemas"]
        if "ProblemBody" not in schemas:
            definition = errors.ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(definition.pop("$defs"))
            schemas["ProblemBody"] = definition
            for operations in document["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None) if _is_frameworks(operation) else None
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
        return document

    app.openapi = described  # type: ignore[method-assign]


def _is_frameworks(operation: dict[str, object]) -> bool:
    return "HTTPValidationError" in str(operation["responses"].get("422", ""))  # type: ignore[attr-defined]
