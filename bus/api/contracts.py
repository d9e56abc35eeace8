"""/v1/contracts: submission, decisions, and the catalogue that everyone reads. An id is `<domain>/<name>`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from bus.api.auth import Authenticated, Source
from bus.api.documents import Document, DocumentRoute, Page, Paragraph, limit, paged
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import contracts
from bus.control.continuity import view_of
from bus.control.contracts import ContractVersion
from bus.model import ContractState
from registry.contract import Contract

router = APIRouter(prefix="/v1/contracts", tags=["contracts"], route_class=DocumentRoute)


class ShownVersion(BaseModel):
    id: str
    version: str
    state: ContractState
    owner: str
    title_vi: str
    title_en: str
    submitted_by: str
    submitted_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None


class ShownField(BaseModel):
    name: str
    title_vi: str
    title_en: str
    classification: Annotated[str, Field(description="ordinary, personal or sensitive")]
    required: bool


class ShownContract(ShownVersion):
    """A contract version with what it says; `document` is its ODCS YAML as it was sent."""

    description_vi: str | None
    description_en: str | None
    key: str
    fields: list[ShownField]
    views: list[str]
    document: str


class ViewField(BaseModel):
    name: str
    source: str
    mask: Annotated[str | None, Field(description="What goes out instead of the value")]


class ShownView(BaseModel):
    """`fields` null: the whole record. `reader_attribute`: which attribute of the reader the filter asks for."""

    name: str
    title_vi: str
    title_en: str
    fields: list[ViewField] | None
    filter: str | None
    reader_attribute: str | None
    deidentified: bool
    key_granted: bool
    avro: Annotated[dict[str, Any], Field(description="The Avro schema of the view's records")]


class ShownViews(BaseModel):
    contract: str
    version: str
    views: list[ShownView]


class Reason(Document):
    reason: Paragraph


class PerhapsReason(Document):
    reason: Paragraph | None = None


def shown(one: ContractVersion) -> dict[str, Any]:
    """A version as JSON has it."""
    return {
        "id": one.id,
        "version": one.version,
        "state": one.state,
        "owner": one.owner,
        "title_vi": one.title.vi,
        "title_en": one.title.en,
        "submitted_by": one.submitted_by,
        "submitted_at": one.submitted_at,
        "decided_by": one.decided_by,
        "decided_at": one.decided_at,
        "reason": one.reason,
    }


_BODY = {
    "required": True,
    "content": {
        "application/yaml": {"schema": {"type": "string"}, "example": "apiVersion: v3.1.0\nkind: DataContract\n…"},
        "application/zip": {"schema": {"type": "string", "format": "binary"}},
    },
}


@router.post(
    "",
    status_code=201,
    response_model=ShownVersion,
    responses=responses(403, 409, 422),
    summary="Submit a version",
    openapi_extra={"requestBody": _BODY},
)
async def submit(bus: Bus, actor: Authenticated, source: Source, request: Request) -> Any:
    """The body is the contract's YAML (ODCS 3.1), or a zip of `contract.yaml` with its `.avsc` and samples."""
    body = await request.body()
    return shown(await run_in_threadpool(contracts.submit, bus.engine, bus.registry, bus.topics, actor, body, source))


@router.get("", response_model=Page[ShownVersion], responses=responses(), summary="Search the contracts")
def page(
    bus: Bus,
    actor: Authenticated,
    limit: Annotated[int, Depends(limit)],
    after: Annotated[str, Query()] = "",
    q: Annotated[str, Query(max_length=200, description="Words of id or title; case and diacritics don't matter")] = "",
) -> Any:
    found = contracts.page(bus.engine, actor, limit=limit + 1, after=after, q=q)
    return paged([shown(one) for one in found], limit, lambda one: str(one["id"]))


@router.get("/{domain}/{name}", response_model=ShownContract, responses=responses(404), summary="One contract")
def get(bus: Bus, actor: Authenticated, domain: str, name: str, version: Annotated[str | None, Query()] = None) -> Any:
    """The version asked for, else the newest in force."""
    one, contract = contracts.get(bus.engine, actor, f"{domain}/{name}", version)
    return shown(one) | {
        "description_vi": contract.description.vi if contract.description else None,
        "description_en": contract.description.en if contract.description else None,
        "key": contract.key,
        "fields": [
            {
                "name": field.name,
                "title_vi": field.title.vi,
                "title_en": field.title.en,
                "classification": field.classification,
                "required": field.required,
            }
            for field in contract.fields.values()
        ],
        "views": list(contract.views),
        "document": contract.document.decode("utf-8", "replace"),
    }


@router.get(
    "/{domain}/{name}/versions",
    response_model=Page[ShownVersion],
    responses=responses(404),
    summary="A contract's versions, newest first",
)
def versions(bus: Bus, actor: Authenticated, domain: str, name: str) -> Any:
    return {"items": [shown(one) for one in contracts.versions(bus.engine, actor, f"{domain}/{name}")], "next": None}


@router.get(
    "/{domain}/{name}/views", response_model=ShownViews, responses=responses(404), summary="What can be asked for"
)
def views(
    bus: Bus, actor: Authenticated, domain: str, name: str, version: Annotated[str | None, Query()] = None
) -> Any:
    one, contract = contracts.get(bus.engine, actor, f"{domain}/{name}", version)
    return {"contract": one.id, "version": one.version, "views": [_view(contract, view) for view in contract.views]}


@router.post(
    "/{domain}/{name}/versions/{version}/approve",
    response_model=ShownVersion,
    responses=responses(403, 404, 409, 422),
    summary="Bring a version into force",
)
def approve(bus: Bus, actor: Authenticated, source: Source, domain: str, name: str, version: str) -> Any:
    """For an owner of the owning agency or an administrator, and never for the client that submitted it."""
    decided = contracts.approve(
        bus.engine, bus.registry, bus.topics, bus.clock, actor, f"{domain}/{name}", version, source
    )
    bus.catalogue.forget()
    return shown(decided)


@router.post(
    "/{domain}/{name}/versions/{version}/refuse",
    response_model=ShownVersion,
    responses=responses(403, 404, 409),
    summary="Refuse a version",
)
def refuse(bus: Bus, actor: Authenticated, source: Source, domain: str, name: str, version: str, why: Reason) -> Any:
    return shown(contracts.refuse(bus.engine, bus.clock, actor, f"{domain}/{name}", version, why.reason, source))


@router.post(
    "/{domain}/{name}/versions/{version}/deprecate",
    response_model=ShownVersion,
    responses=responses(403, 404, 409),
    summary="Deprecate a version",
)
def deprecate(
    bus: Bus,
    actor: Authenticated,
    source: Source,
    domain: str,
    name: str,
    version: str,
    why: PerhapsReason | None = None,
) -> Any:
    reason = why.reason if why else None
    decided = contracts.deprecate(bus.engine, bus.clock, actor, f"{domain}/{name}", version, reason, source)
    bus.catalogue.forget()
    return shown(decided)


@router.post(
    "/{domain}/{name}/versions/{version}/retire",
    response_model=ShownVersion,
    responses=responses(403, 404, 409),
    summary="Retire a version",
)
def retire(
    bus: Bus,
    actor: Authenticated,
    source: Source,
    domain: str,
    name: str,
    version: str,
    why: PerhapsReason | None = None,
) -> Any:
    reason = why.reason if why else None
    decided = contracts.retire(bus.engine, bus.clock, actor, f"{domain}/{name}", version, reason, source)
    bus.catalogue.forget()
    return shown(decided)


def _view(contract: Contract, name: str) -> dict[str, Any]:
    definition, view = contract.views[name], view_of(contract, name)
    fields = definition.fields
    return {
        "name": name,
        "title_vi": definition.title.vi,
        "title_en": definition.title.en,
        "fields": None
        if fields is None
        else [{"name": one.name, "source": one.source, "mask": one.mask} for one in fields],
        "filter": definition.filter,
        "reader_attribute": view.reader_attribute,
        "deidentified": definition.deidentified,
        "key_granted": view.key_granted,
        "avro": view.schema.definition,
    }
