"""POST /v1/publish/{contract}: the door for records. What happens behind it is `bus.publish`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from bus.access.decide import Action, Resource
from bus.api import errors
from bus.api.auth import Authenticated
from bus.api.documents import demand_plain, read_limited
from bus.api.runtime import Bus
from bus.control.permit import permit
from bus.errors import NotFound, Problem, Text
from bus.model import Actor, Op, Receipt
from bus.publish import TYPES, Batch, publish

router = APIRouter(prefix="/v1/publish", tags=["records"])

SMALLER = Text("; send smaller batches", "; hãy chia thành các lô nhỏ hơn")


class RejectionShown(BaseModel):
    """Why one record is in quarantine. `index` counts from 0 in the batch; `class` is one of the eight error classes."""

    index: int
    key: str | None
    error_class: str = Field(alias="class")
    path: str
    code: str
    message: str


class ReceiptShown(BaseModel):
    """What became of a batch: accepted + duplicates + the number rejected is what came."""

    receipt: str
    accepted: int
    duplicates: int
    rejected: list[RejectionShown]


@router.post(
    "/{domain}/{name}",
    summary="Publish a batch of records, or delete some by their keys",
    response_model=ReceiptShown,
    responses=errors.responses(403, 404, 409, 415)
    | {
        207: {"description": "Some records were rejected into quarantine", "model": ReceiptShown},
        422: {"description": "All records were rejected into quarantine", "model": ReceiptShown},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {kind: {"schema": {"type": "string"}} for kind in TYPES}}
    },
)
async def publish_records(
    request: Request,
    bus: Bus,
    actor: Authenticated,
    domain: str,
    name: str,
    op: Annotated[Op, Query(description="`delete`: the body holds keys")] = Op.UPSERT,
    dry_run: Annotated[bool, Query(description="Check only; nothing is stored")] = False,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> JSONResponse:
    demand_plain(request)
    contract = f"{domain}/{name}"
    await run_in_threadpool(_may_publish, bus, actor, contract)
    body = await read_limited(request, bus.settings.publish_body_bytes_max, SMALLER)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    batch = Batch(body, media_type, op, idempotency_key, dry_run)
    receipt = await run_in_threadpool(lambda: publish(bus.door, actor, bus.catalogue.active(contract), batch))
    return JSONResponse(_shown(receipt, errors.language(request)), _status(receipt))


def _may_publish(bus: Bus, actor: Actor, contract: str) -> None:
    message = Text(f"no contract {contract} is in force", f"không có hợp đồng {contract} đang hiệu lực")
    missing = NotFound(message, [Problem("contract", "not_found", message)])
    owner = bus.catalogue.active(contract).contract.owner
    permit(actor, Action.RECORDS_PUBLISH, Resource(owner=owner), missing)


def _status(receipt: Receipt) -> int:
    if not receipt.rejected:
        return 200
    return 207 if receipt.accepted or receipt.duplicates else 422


def _shown(receipt: Receipt, language: str) -> dict[str, object]:
    return {
        "receipt": receipt.id,
        "accepted": receipt.accepted,
        "duplicates": receipt.duplicates,
        "rejected": [
            {
                "index": r.index,
                "key": r.key,
                "class": r.error_class.value,
                "path": r.path,
                "code": r.code,
                "message": r.message.said_in(language),
            }
            for r in receipt.rejected
        ],
    }
