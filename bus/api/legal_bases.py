"""/v1/legal-bases: what requests rest on."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict, Field

from bus.api.auth import Authenticated, Source
from bus.api.documents import Document, DocumentRoute, Line, Page, Shown, limit, paged
from bus.api.errors import responses
from bus.api.runtime import Bus
from bus.control import legal_bases

router = APIRouter(prefix="/v1/legal-bases", tags=["legal bases"], route_class=DocumentRoute)


class NewLegalBasis(Document):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": "194/2025/NĐ-CP",
                    "article": "16",
                    "title": "Nghị định về cơ sở dữ liệu quốc gia, kết nối và chia sẻ dữ liệu",
                    "issuer": "Chính phủ",
                    "valid_from": "2025-08-19",
                }
            ]
        }
    )
    number: Annotated[Line, Field(max_length=100)]
    article: Annotated[Line, Field(max_length=100)]
    title: Annotated[Line, Field(max_length=1000)]
    issuer: Line
    valid_from: date
    valid_to: Annotated[date | None, Field(description="The last day in force; null while there is none")] = None


class ShownLegalBasis(Shown):
    id: str
    number: str
    article: str
    title: str
    issuer: str
    valid_from: date
    valid_to: date | None


@router.post("", status_code=201, response_model=ShownLegalBasis, responses=responses(403), summary="Add a legal basis")
def create(bus: Bus, actor: Authenticated, source: Source, new: NewLegalBasis) -> Any:
    return legal_bases.create(bus.engine, actor, **new.model_dump(), source=source)


@router.get("", response_model=Page[ShownLegalBasis], responses=responses(), summary="List legal bases")
def page(
    bus: Bus, actor: Authenticated, limit: Annotated[int, Depends(limit)], after: Annotated[str, Query()] = ""
) -> Any:
    return paged(legal_bases.page(bus.engine, actor, limit=limit + 1, after=after), limit, lambda one: one.id)


@router.get("/{id}", response_model=ShownLegalBasis, responses=responses(404), summary="One legal basis")
def get(bus: Bus, actor: Authenticated, id: str) -> Any:
    return legal_bases.get(bus.engine, actor, id)
