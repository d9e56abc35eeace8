"""/v1/agencies and their clients."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from bus.api.auth import Authenticated, Source
from bus.api.documents import Document, DocumentRoute, Line, Page, Shown, limit, paged
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import agencies, clients
from bus.model import Agency, Role
from registry.errors import Text

router = APIRouter(prefix="/v1/agencies", tags=["agencies"], route_class=DocumentRoute)

Attributes = dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], list[Line]]


class NewAgency(Document):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"code": "H27.01", "name_vi": "Công an tỉnh Hà Tĩnh", "name_en": "Hà Tĩnh provincial police"}]
        }
    )
    code: Annotated[str, Field(max_length=35, description="H27.01 (new form) or 000.00.01.H27 (old form)")]
    name_vi: Line
    name_en: Line
    attributes: Annotated[
        Attributes,
        Field(default_factory=dict, description="What a view's filter may ask of its reader, such as its communes"),
    ]


class AgencyChange(Document):
    model_config = ConfigDict(json_schema_extra={"examples": [{"attributes": {"communes": ["18073", "18076"]}}]})
    name_vi: Line | None = None
    name_en: Line | None = None
    attributes: Annotated[Attributes | None, Field(description="Replaces all attributes")] = None


class ShownAgency(BaseModel):
    code: str
    name_vi: str
    name_en: str
    attributes: dict[str, list[str]]


class NewClient(Document):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "resident source", "roles": ["publisher"]}]})
    name: Annotated[Line, Field(max_length=200)]
    roles: Annotated[list[Role], Field(min_length=1, max_length=len(Role))]
    jwks: Annotated[
        dict[str, Any] | None,
        Field(description="Public keys (RFC 7517): the client signs assertions and has no secret"),
    ] = None


class NewCredentials(BaseModel):
    """Shown once: the bus keeps only a digest of the secret."""

    client_id: str
    client_secret: Annotated[str | None, Field(description="null for a client with keys")]


class ShownClient(Shown):
    id: str
    agency: str
    name: str
    roles: list[Role]
    has_secret: bool
    has_keys: bool
    created_at: datetime
    disabled_at: datetime | None


def shown(agency: Agency) -> dict[str, Any]:
    """An agency as JSON has it."""
    return {
        "code": agency.code,
        "name_vi": agency.name.vi,
        "name_en": agency.name.en,
        "attributes": {name: list(values) for name, values in agency.attributes.items()},
    }


@router.post("", status_code=201, response_model=ShownAgency, responses=responses(403, 409), summary="Add an agency")
def create(bus: Bus, actor: Authenticated, source: Source, new: NewAgency) -> Any:
    return shown(
        agencies.create(
            bus.engine,
            actor,
            code=new.code,
            name=Text(new.name_en, new.name_vi),
            attributes=new.attributes,
            source=source,
        )
    )


@router.get("", response_model=Page[ShownAgency], responses=responses(), summary="List agencies")
def page(
    bus: Bus, actor: Authenticated, limit: Annotated[int, Depends(limit)], after: Annotated[str, Query()] = ""
) -> Any:
    found = agencies.page(bus.engine, actor, limit=limit + 1, after=after)
    return paged([shown(one) for one in found], limit, lambda one: str(one["code"]))


@router.get("/{code}", response_model=ShownAgency, responses=responses(404), summary="One agency")
def get(bus: Bus, actor: Authenticated, code: str) -> Any:
    return shown(agencies.get(bus.engine, actor, code))


@router.patch(
    "/{code}", response_model=ShownAgency, responses=responses(403, 404, 409), summary="Change names or attributes"
)
def change(bus: Bus, actor: Authenticated, source: Source, code: str, changes: AgencyChange) -> Any:
    return shown(agencies.change(bus.engine, actor, code, **changes.model_dump(exclude_none=True), source=source))


@router.post(
    "/{code}/clients",
    status_code=201,
    response_model=NewCredentials,
    responses=responses(403, 404),
    summary="Add a client",
)
def create_client(bus: Bus, actor: Authenticated, source: Source, code: str, new: NewClient) -> Any:
    made = clients.create(bus.engine, actor, code, name=new.name, roles=new.roles, jwks=new.jwks, source=source)
    return made._asdict()


@router.get(
    "/{code}/clients",
    response_model=Page[ShownClient],
    responses=responses(403, 404),
    summary="List an agency's clients",
)
def page_clients(
    bus: Bus,
    actor: Authenticated,
    code: str,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[str, Query()] = "",
) -> Any:
    return paged(clients.page(bus.engine, actor, code, limit=limit + 1, after=after), limit, lambda one: one.id)


@router.post(
    "/{code}/clients/{client_id}/disable",
    response_model=ShownClient,
    responses=responses(403, 404, 409),
    summary="Disable a client",
)
def disable_client(bus: Bus, actor: Authenticated, source: Source, code: str, client_id: str) -> Any:
    return clients.disable(bus.engine, bus.clock, actor, code, client_id, source=source)
