"""/v1/me: who the bus takes the caller for."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from bus.api.agencies import ShownAgency, shown
from bus.api.auth import Authenticated
from bus.api.documents import DocumentRoute
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import agencies
from bus.model import Role

router = APIRouter(prefix="/v1/me", tags=["me"], route_class=DocumentRoute)


class Me(BaseModel):
    client_id: str
    roles: list[Role]
    agency: ShownAgency


@router.get("", response_model=Me, responses=responses(), summary="Who am I")
def me(bus: Bus, actor: Authenticated) -> Any:
    agency = agencies.get(bus.engine, actor, actor.agency)
    return {"client_id": actor.client_id, "roles": sorted(actor.roles), "agency": shown(agency)}
