"""/v1/audit: the account of a contract, what was handed over, and the journal."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from bus.api.auth import Authenticated
from bus.api.documents import DocumentRoute, Page, Shown, limit, paged
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import account, evidence, releases

router = APIRouter(prefix="/v1/audit", tags=["audit"], route_class=DocumentRoute)


class ShownAccount(Shown):
    """published = delivered + filtered + duplicate + quarantined + pending; `balanced` says whether it holds."""

    contract: str
    subscription: str | None
    published: int
    delivered: int
    filtered: int
    duplicate: int
    quarantined: int
    pending: int
    balanced: bool


class Accounts(BaseModel):
    items: list[ShownAccount]


class JournalEntry(Shown):
    id: int
    at: datetime
    client: str | None
    agency: str | None
    action: str
    object: str
    result: str
    detail: dict[str, Any]
    source: str | None


class ShownRelease(Shown):
    """One hand-over. `runs` are [topic, partition, first offset, next offset]; `sha256` covers the keys and values."""

    id: int
    at: datetime
    subscription: str
    client: str
    records: int
    runs: list[tuple[str, int, int, int]]
    sha256: str


@router.get("/account", response_model=Accounts, responses=responses(403, 404), summary="Where every record is")
def accounts(bus: Bus, actor: Authenticated, contract: Annotated[str, Query(max_length=200)]) -> Any:
    """One account for each subscription of the contract that one may see."""
    return {"items": account.read(bus.engine, bus.topics, bus.clock, actor, contract)}


@router.get("/journal", response_model=Page[JournalEntry], responses=responses(403), summary="Who did what")
def journal(
    bus: Bus,
    actor: Authenticated,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
    agency: Annotated[str | None, Query(max_length=35)] = None,
    object: Annotated[str | None, Query(max_length=300, description="<noun>:<id>")] = None,
    action: Annotated[str | None, Query(max_length=60)] = None,
) -> Any:
    """All of it for administrators and auditors, one's own agency's entries for others; oldest first."""
    found = evidence.page(bus.engine, actor, limit=limit + 1, after=after, agency=agency, object=object, action=action)
    return paged(found, limit, lambda one: str(one.id))


@router.get("/releases", response_model=Page[ShownRelease], responses=responses(404), summary="What was handed over")
def handed_over(
    bus: Bus,
    actor: Authenticated,
    subscription: Annotated[str, Query(max_length=40)],
    limit: Annotated[int, Depends(limit)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Any:
    """Every hand-over of one subscription that one may see, oldest first: positions and digests, no payload."""
    found = releases.page(bus.engine, bus.clock, actor, subscription, limit=limit + 1, after=after)
    return paged(found, limit, lambda one: str(one.id))
