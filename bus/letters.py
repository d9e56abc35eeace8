"""Dead letters: what a rejected record carries into the dlq topic, and the index of them in the database.

The topic has the bytes and the reason; the index can be made again from it, so a crash between the two loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, any_, exists, func, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text as SqlText

from bus.catalogue import ActiveContract
from bus.log.reader import Readers, Records
from bus.log.topics import Topics
from bus.log.writer import Append, Header, Writer
from bus.model import Actor, Op, QuarantineState, Rejection
from bus.store.engine import transaction
from bus.store.tables import quarantine
from registry.errors import ErrorClass, Text

logger = logging.getLogger(__name__)

PIECE = 5_000


def append_letters(
    writer: Writer,
    active: ActiveContract,
    rejections: Sequence[Rejection],
    originals: Sequence[bytes],
    *,
    publisher: str,
    receipt: str,
    op: Op,
) -> Append:
    """Put the rejected records of a batch in the dlq topic, each with its bytes as they came and the reason."""
    return writer.append(
        active.dlq_topic,
        [None if r.key is None else r.key.encode() for r in rejections],
        [originals[r.index] for r in rejections],
        partition=0,
        headers=[_headers(r, publisher, receipt, op) for r in rejections],
    )


def _headers(rejection: Rejection, publisher: str, receipt: str, op: Op) -> list[Header]:
    return [
        ("lgsp-class", rejection.error_class.encode()),
        ("lgsp-code", rejection.code.encode()),
        ("lgsp-path", rejection.path.encode()),
        ("lgsp-message", rejection.message.en.encode()),
        ("lgsp-message-vi", rejection.message.vi.encode()),
        ("lgsp-publisher", publisher.encode()),
        ("lgsp-receipt", receipt.encode()),
        ("lgsp-index", str(rejection.index).encode()),
        ("lgsp-op", op.encode()),
    ]


def index_letters(
    connection: Connection,
    active: ActiveContract,
    rejections: Sequence[Rejection],
    offsets: Sequence[int],
    *,
    publisher: str,
    receipt: str,
) -> None:
    """Enter the letters at `offsets` in the index; those that are in it stay as they are."""
    rows = [
        {
            "contract": active.contract.id,
            "major": active.contract.major,
            "partition": 0,
            "offset": offset,
            "key": rejection.key,
            "error_class": rejection.error_class,
            "path": rejection.path,
            "code": rejection.code,
            "message_en": rejection.message.en,
            "message_vi": rejection.message.vi,
            "client": publisher,
            "receipt": receipt,
            "state": QuarantineState.OPEN,
        }
        for rejection, offset in zip(rejections, offsets, strict=True)
    ]
    if rows:
        connection.execute(insert(quarantine).on_conflict_do_nothing(), rows)


def close_corrected(connection: Connection, active: ActiveContract, keys: Sequence[bytes], actor: Actor) -> None:
    """A valid record of a quarantined key is its correction at the source."""
    mine = (
        (quarantine.c.contract == active.contract.id)
        & (quarantine.c.major == active.contract.major)
        & (quarantine.c.state == QuarantineState.OPEN)
    )
    if not keys or not connection.scalar(select(exists().where(mine))):
        return
    connection.execute(
        update(quarantine)
        .where(mine, quarantine.c.key == any_(literal([k.decode() for k in keys], ARRAY(SqlText))))
        .values(state=QuarantineState.CORRECTED, closed_by=actor.client_id, closed_at=func.now())
    )


def reconcile(engine: Engine, topics: Topics, readers: Readers, active: ActiveContract, before: datetime) -> int:
    """Index the letters that a crash kept out of the index; returns how many. Younger ones than `before` may be on their way."""
    end = topics.end_offsets([active.dlq_topic])[active.dlq_topic]
    begin = topics.start_offsets([active.dlq_topic])[active.dlq_topic]
    mine = (quarantine.c.contract == active.contract.id, quarantine.c.major == active.contract.major)
    with transaction(engine) as connection:
        known = set(connection.scalars(select(quarantine.c.offset).where(*mine, quarantine.c.offset >= begin[0])))
    missing = [offset for offset in range(begin[0], end[0]) if offset not in known]
    found = 0
    while missing:
        upto = [min(missing[0] + PIECE, end[0])]
        records = readers.read({active.dlq_topic: [missing[0]]}, {active.dlq_topic: upto}, PIECE, with_headers=True)
        wanted = {offset for offset in missing if offset < upto[0]}
        found += _index_found(engine, active, records, wanted, before)
        missing = [offset for offset in missing if offset >= upto[0]]
    if found:
        logger.warning("%s: %d dead letters of before a crash entered in the index", active.contract.id, found)
    return found


def _index_found(engine: Engine, active: ActiveContract, records: Records, wanted: set[int], before: datetime) -> int:
    limit_ms = before.timestamp() * 1000
    found = 0
    with transaction(engine) as connection:
        for i, offset in enumerate(records.offsets):
            if offset in wanted and records.timestamps[i] < limit_ms:
                headers = {name: value.decode() for name, value in records.headers[i] or ()}
                rejection = _rejection(headers, records.keys[i].decode() or None)
                index_letters(
                    connection,
                    active,
                    [rejection],
                    [offset],
                    publisher=headers["lgsp-publisher"],
                    receipt=headers["lgsp-receipt"],
                )
                found += 1
    return found


def _rejection(headers: Mapping[str, Any], key: str | None) -> Rejection:
    return Rejection(
        int(headers["lgsp-index"]),
        key,
        ErrorClass(headers["lgsp-class"]),
        headers["lgsp-path"],
        headers["lgsp-code"],
        Text(headers["lgsp-message"], headers["lgsp-message-vi"]),
    )


def settled_before(now: datetime, timeout_s: float) -> datetime:
    """Letters older than this have their index entry, or never will without `reconcile`."""
    return now - timedelta(seconds=2 * timeout_s)
