"""/health/live, /health/ready and /metrics: for whoever runs the bus. They need no token and say nothing of what it
carries."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy import text

from bus.runtime import Runtime
from bus.store.engine import transaction
from monitoring import metrics
from monitoring.health import Probe

router = APIRouter(tags=["health"])


class Live(BaseModel):
    status: Literal["live"] = "live"


class Dependency(BaseModel):
    ok: bool
    took_ms: float
    detail: str | None


class Ready(BaseModel):
    status: Literal["ready", "not_ready"]
    checks: dict[str, Dependency]


def probe_of(runtime: Runtime) -> Probe:
    """The checks of what this process can't serve without."""

    def database() -> None:
        with transaction(runtime.engine) as connection:
            connection.execute(text("SELECT 1"))

    return Probe({"database": database, "kafka": lambda: runtime.topics.ping()})


@router.get("/health/live", response_model=Live, summary="Is the process alive")
async def live() -> Live:
    return Live()


@router.get("/health/ready", response_model=Ready, responses={503: {"model": Ready}}, summary="Can it serve")
async def ready(request: Request) -> JSONResponse:
    """503 while PostgreSQL or Kafka doesn't answer within 2 s."""
    probe: Probe = request.app.state.probe
    found = await probe.ask()
    ok = all(one.ok for one in found.values())
    checks = {name: Dependency(ok=one.ok, took_ms=one.took_ms, detail=one.detail) for name, one in found.items()}
    answer = Ready(status="ready" if ok else "not_ready", checks=checks)
    return JSONResponse(answer.model_dump(), 200 if ok else 503)


@router.get("/metrics", response_class=Response, summary="Metrics in Prometheus' text format")
def exposition() -> Response:
    return Response(metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})
