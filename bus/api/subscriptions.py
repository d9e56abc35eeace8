"""/v1/subscriptions: asking for a view, deciding, and the grant's life. Its records are in `bus.api.records`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bus.api.auth import Authenticated, Source
from bus.api.documents import Document, DocumentRoute, Line, Page, Paragraph, Shown, limit, paged
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import subscriptions
from bus.control.subscriptions import Wanted
from bus.errors import InvalidRequest
from bus.model import DeliveryMode, Subscription, SubscriptionState
from registry.errors import Problem, Text

router = APIRouter(prefix="/v1/subscriptions", tags=["subscriptions"], route_class=DocumentRoute)


class Delivery(Document):
    mode: DeliveryMode = DeliveryMode.PULL
    url: Annotated[str | None, Field(max_length=2_000, description="Where to push to; for mode push only")] = None


class NewSubscription(Document):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "contract": "population/resident",
                    "view": "identity",
                    "purpose": "Xác minh nhân thân khi cấp phiếu lý lịch tư pháp",
                    "legal_basis": "lb_1f0a5d3c9b7e",
                    "procedure": "1.001612",
                    "delivery": {"mode": "pull"},
                    "from": "earliest",
                    "expires_at": "2027-01-01T00:00:00+07:00",
                }
            ]
        }
    )
    contract: Line
    view: Line
    purpose: Paragraph
    legal_basis: Line
    procedure: Annotated[Line | None, Field(max_length=60, description="Code of the administrative procedure")] = None
    delivery: Delivery = Field(default_factory=Delivery)
    start: Annotated[
        str, Field(alias="from", max_length=40, description="earliest, latest, or a past time with its zone")
    ] = "earliest"
    expires_at: AwareDatetime


class ShownDelivery(BaseModel):
    mode: DeliveryMode


class ShownSubscription(BaseModel):
    id: str
    state: SubscriptionState
    contract: str
    view: str
    agency: str
    purpose: str
    legal_basis: str
    procedure: str | None
    delivery: ShownDelivery
    start: Annotated[str, Field(alias="from")]
    expires_at: datetime
    requested_by: str
    requested_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None


class Refusal(Document):
    """A refusal is in writing, with its reason and its legal basis (Decree 194/2025/NĐ-CP, Art. 16)."""

    reason: Paragraph
    legal_basis: Line


class Why(Document):
    reason: Paragraph | None = None


class Renewal(Document):
    expires_at: AwareDatetime


class HistoryEntry(Shown):
    id: int
    at: datetime
    client: str | None
    agency: str | None
    action: str
    result: str
    detail: dict[str, Any]


def shown(one: Subscription) -> dict[str, Any]:
    """A subscription as JSON has it."""
    return {
        "id": one.id,
        "state": one.state,
        "contract": one.contract,
        "view": one.view,
        "agency": one.agency,
        "purpose": one.purpose,
        "legal_basis": one.legal_basis,
        "procedure": one.procedure,
        "delivery": {"mode": one.delivery},
        "from": one.start,
        "expires_at": one.expires_at,
        "requested_by": one.requested_by,
        "requested_at": one.requested_at,
        "decided_by": one.decided_by,
        "decided_at": one.decided_at,
        "reason": one.reason,
    }


@router.post(
    "", status_code=201, response_model=ShownSubscription, responses=responses(403, 404, 409), summary="Ask for a view"
)
def request(bus: Bus, actor: Authenticated, source: Source, new: NewSubscription) -> Any:
    if new.delivery.url is not None and new.delivery.mode is not DeliveryMode.PUSH:
        message = Text("only mode push has a url", "chỉ phương thức push có url")
        raise InvalidRequest(message, [Problem("delivery.url", "not_for_mode", message)])
    wanted = Wanted(
        contract=new.contract,
        view=new.view,
        purpose=new.purpose,
        legal_basis=new.legal_basis,
        expires_at=new.expires_at,
        start=new.start,
        procedure=new.procedure,
        delivery=new.delivery.mode,
    )
    return shown(subscriptions.request(bus.engine, bus.catalogue, bus.clock, actor, wanted, source))


@router.get("", response_model=Page[ShownSubscription], responses=responses(), summary="List subscriptions")
def page(
    bus: Bus,
    actor: Authenticated,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[str, Query()] = "",
    contract: Annotated[str | None, Query()] = None,
    agency: Annotated[str | None, Query()] = None,
    state: Annotated[SubscriptionState | None, Query()] = None,
) -> Any:
    """Those of one's own agency, those of the contracts one's agency answers for; all for administrators and
    auditors."""
    found = subscriptions.page(
        bus.engine, bus.clock, actor, limit=limit + 1, after=after, contract=contract, agency=agency, state=state
    )
    return paged([shown(one) for one in found], limit, lambda one: str(one["id"]))


@router.get("/{id}", response_model=ShownSubscription, responses=responses(404), summary="One subscription")
def get(bus: Bus, actor: Authenticated, id: str) -> Any:
    return shown(subscriptions.get(bus.engine, bus.clock, actor, id))


@router.get(
    "/{id}/history", response_model=Page[HistoryEntry], responses=responses(404), summary="What was done with it"
)
def history(
    bus: Bus,
    actor: Authenticated,
    id: str,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[int, Query(ge=0, le=2**63 - 1)] = 0,
) -> Any:
    found = subscriptions.history(bus.engine, bus.clock, actor, id, limit=limit + 1, after=after)
    return paged(found, limit, lambda one: str(one.id))


@router.post(
    "/{id}/approve",
    response_model=ShownSubscription,
    responses=responses(403, 404, 409),
    summary="Grant what was asked",
)
def approve(bus: Bus, actor: Authenticated, source: Source, id: str) -> Any:
    """For an owner of the contract's agency or an administrator, and never for the client that asked."""
    return shown(subscriptions.approve(bus.engine, bus.catalogue, bus.topics, bus.clock, actor, id, source))


@router.post(
    "/{id}/refuse", response_model=ShownSubscription, responses=responses(403, 404, 409), summary="Refuse, in writing"
)
def refuse(bus: Bus, actor: Authenticated, source: Source, id: str, why: Refusal) -> Any:
    return shown(
        subscriptions.refuse(
            bus.engine, bus.clock, actor, id, reason=why.reason, legal_basis=why.legal_basis, source=source
        )
    )


@router.post(
    "/{id}/suspend", response_model=ShownSubscription, responses=responses(403, 404, 409), summary="Suspend a grant"
)
def suspend(bus: Bus, actor: Authenticated, source: Source, id: str, why: Why | None = None) -> Any:
    reason = why.reason if why else None
    return shown(subscriptions.suspend(bus.engine, bus.clock, actor, id, reason=reason, source=source))


@router.post(
    "/{id}/resume", response_model=ShownSubscription, responses=responses(403, 404, 409), summary="Resume a grant"
)
def resume(bus: Bus, actor: Authenticated, source: Source, id: str) -> Any:
    return shown(subscriptions.resume(bus.engine, bus.clock, actor, id, source=source))


@router.post(
    "/{id}/renew", response_model=ShownSubscription, responses=responses(403, 404, 409), summary="Give it a later end"
)
def renew(bus: Bus, actor: Authenticated, source: Source, id: str, renewal: Renewal) -> Any:
    return shown(subscriptions.renew(bus.engine, bus.clock, actor, id, expires_at=renewal.expires_at, source=source))


@router.post(
    "/{id}/revoke", response_model=ShownSubscription, responses=responses(403, 404, 409), summary="End it for good"
)
def revoke(bus: Bus, actor: Authenticated, source: Source, id: str, why: Why | None = None) -> Any:
    """Also for the agency that receives: it may give up what it doesn't need."""
    reason = why.reason if why else None
    return shown(subscriptions.revoke(bus.engine, bus.clock, actor, id, reason=reason, source=source))
