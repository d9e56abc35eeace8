"""GET /v1/subscriptions/{id}/records and POST …/ack: a subscriber pulls what it was granted."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response
from pydantic import BaseModel, Field

from bus.access.decide import Action, Resource
from bus.api import errors, handover
from bus.api.auth import Authenticated
from bus.api.bell import Bell
from bus.api.documents import Document, DocumentRoute
from bus.api.runtime import Bus
from bus.control.permit import permit
from bus.deliver import Handover, acknowledge, contract_of, no_subscription, pull
from bus.errors import Problem, Text, UnsupportedMediaType
from bus.model import Actor

router = APIRouter(prefix="/v1/subscriptions", tags=["records"], route_class=DocumentRoute)

LAST_CURSOR = "Lgsp-Cursor"


class Acknowledgement(Document):
    """`cursor`: of the last record that the subscriber has safely."""

    cursor: str = Field(min_length=3, max_length=40)


class Acknowledged(BaseModel):
    """How many records count as delivered since the grant began."""

    delivered: int


@router.get(
    "/{subscription}/records",
    summary="Pull the next records",
    response_class=Response,
    responses=errors.responses(403, 404)
    | {
        200: {
            "description": "Records, none when none came within `wait_ms`; `Lgsp-Cursor` names the last one",
            "content": {kind: {} for kind in (handover.NDJSON, handover.AVRO, handover.ARROW)},
        }
    },
)
async def get_records(
    request: Request,
    bus: Bus,
    actor: Authenticated,
    subscription: str,
    max: Annotated[int, Query(ge=1)] = 1_000,
    wait_ms: Annotated[int, Query(ge=0)] = 0,
    after: Annotated[str | None, Query(max_length=40)] = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    kind = _chosen(accept)
    bell: Bell = request.app.state.bell
    contract = await run_in_threadpool(_may_read, bus, actor, subscription)
    deadline = time.monotonic() + min(wait_ms, bus.settings.pull_wait_ms_max) / 1000
    while True:
        tolls = bell.tolls(contract)
        given = await run_in_threadpool(lambda: pull(bus.counter, actor, subscription, records_max=max, after=after))
        left = deadline - time.monotonic()
        if given.release is not None or left <= 0 or bell.closed:
            break
        await bell.wait(contract, tolls, left)
    body = await run_in_threadpool(_written, bus, given, kind)
    headers = {} if given.release is None else {LAST_CURSOR: f"{given.release}.{len(given.records) - 1}"}
    return Response(body, media_type=kind, headers=headers)


@router.post(
    "/{subscription}/ack",
    summary="Acknowledge everything up to a cursor",
    responses=errors.responses(403, 404),
)
def acknowledge_records(bus: Bus, actor: Authenticated, subscription: str, given: Acknowledgement) -> Acknowledged:
    _may_read(bus, actor, subscription)
    return Acknowledged(delivered=acknowledge(bus.counter, actor, subscription, given.cursor))


def _may_read(bus: Bus, actor: Actor, subscription: str) -> str:
    """The subscription's contract. What isn't the actor's isn't there for it."""
    contract, reader = contract_of(bus.counter, subscription)
    missing = no_subscription(subscription)
    if reader != actor.agency:
        raise missing
    permit(actor, Action.RECORDS_READ, Resource(reader=reader), missing)
    return contract


def _chosen(accept: str) -> str:
    """The first of our types that the caller takes; NDJSON where it takes anything."""
    for part in accept.lower().split(","):
        name = part.partition(";")[0].strip()
        if name in (handover.NDJSON, handover.AVRO, handover.ARROW):
            return name
        if name in ("*/*", "application/*", ""):
            return handover.NDJSON
    offered = ", ".join((handover.NDJSON, handover.AVRO, handover.ARROW))
    message = Text(f"expected to be asked for one of {offered}", f"cần yêu cầu một trong các kiểu {offered}")
    raise UnsupportedMediaType(message, [Problem("Accept", "unsupported_media_type", message)])


def _written(bus: Bus, given: Handover, kind: str) -> bytes:
    frame = handover.columns(bus.catalogue, given)
    if kind == handover.ARROW:
        return handover.arrow(frame)
    if kind == handover.AVRO:
        return handover.avro(frame, given.contract.views[given.view].view.schema.text)
    return handover.ndjson(frame)
