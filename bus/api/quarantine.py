"""/v1/quarantine: rejected records and what becomes of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from bus.api.auth import Authenticated, Source
from bus.api.documents import Document, DocumentRoute, Page, Paragraph, limit, paged
from bus.api.errors import language, responses
from bus.api.runtime import Bus
from bus.control import quarantine
from bus.control.quarantine import Entry
from bus.model import QuarantineState
from registry.errors import ErrorClass

router = APIRouter(prefix="/v1/quarantine", tags=["quarantine"], route_class=DocumentRoute)

Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


class ShownEntry(BaseModel):
    """Why a record was rejected. `key` is null where there is none, and for auditors. `receipt` is the batch it came
    in."""

    id: int
    contract: str
    state: QuarantineState
    error_class: Annotated[ErrorClass, Field(alias="class")]
    path: str
    code: str
    message: str
    key: str | None
    client: str
    receipt: str
    created_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


class Discard(Document):
    reason: Paragraph


class Correction(Document):
    """The whole record as it should have been."""

    value: dict[str, Any]


def shown(one: Entry, spoken: str) -> dict[str, Any]:
    """An entry as JSON has it, its message in the language `spoken`."""
    return {
        "id": one.id,
        "contract": one.contract,
        "state": one.state,
        "class": one.error_class,
        "path": one.path,
        "code": one.code,
        "message": one.message.said_in(spoken),
        "key": one.key,
        "client": one.client,
        "receipt": one.receipt,
        "created_at": one.created_at,
        "closed_at": one.closed_at,
        "closed_by": one.closed_by,
        "reason": one.reason,
    }


@router.get("", response_model=Page[ShownEntry], responses=responses(), summary="List quarantined records")
def page(
    bus: Bus,
    actor: Authenticated,
    request: Request,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    contract: Annotated[str | None, Query()] = None,
    error_class: Annotated[ErrorClass | None, Query(alias="class")] = None,
    state: Annotated[QuarantineState | None, Query()] = None,
) -> Any:
    """Those of the contracts that one's agency answers for; all for administrators and auditors."""
    found = quarantine.page(
        bus.engine, actor, limit=limit + 1, after=after, contract=contract, error_class=error_class, state=state
    )
    return paged([shown(one, language(request)) for one in found], limit, lambda one: str(one["id"]))


@router.get("/{id}", response_model=ShownEntry, responses=responses(404), summary="One quarantined record")
def get(bus: Bus, actor: Authenticated, request: Request, id: Id) -> Any:
    return shown(quarantine.get(bus.engine, actor, id), language(request))


@router.post("/{id}/discard", response_model=ShownEntry, responses=responses(403, 404, 409), summary="Give a record up")
def discard(bus: Bus, actor: Authenticated, source: Source, request: Request, id: Id, why: Discard) -> Any:
    done = quarantine.discard(bus.engine, bus.clock, actor, id, reason=why.reason, source=source)
    return shown(done, language(request))


@router.post(
    "/{id}/replay",
    response_model=ShownEntry,
    responses=responses(403, 404, 409),
    summary="Send the record again as it came",
)
async def replay_entry(request: Request, bus: Bus, actor: Authenticated, source: Source, id: Id) -> dict[str, Any]:
    """For a record that was right when the rule, or a code list, was not. 409 where it's still rejected."""
    entry = await run_in_threadpool(lambda: bus.replay(actor, id, None, source=source))
    return shown(entry, language(request))


@router.post(
    "/{id}/correct",
    response_model=ShownEntry,
    responses=responses(403, 404, 409),
    summary="Send a corrected record in its place",
)
async def correct_entry(
    request: Request, bus: Bus, actor: Authenticated, source: Source, id: Id, correction: Correction
) -> dict[str, Any]:
    """For who can't correct at the source. 409 where it's still rejected."""
    entry = await run_in_threadpool(lambda: bus.replay(actor, id, correction.value, source=source))
    return shown(entry, language(request))
