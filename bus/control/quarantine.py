"""Quarantined records: their list, and closing one without publishing it. The bytes stay in the dlq topic, not here.

Sending one again, as it was or corrected, is publishing: the runtime does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, select, update

from bus.access.decide import Action, Resource, decide
from bus.audit import journal
from bus.control.owners import owner_of, visible
from bus.control.permit import not_found, permit
from bus.errors import Conflict, NotFound
from bus.model import Actor, Clock, QuarantineState
from bus.store.engine import transaction
from bus.store.tables import quarantine
from registry.errors import ErrorClass, Problem, Text


@dataclass(frozen=True, slots=True)
class Entry:
    """Why a record is in quarantine and what became of it. `key` is None where there is none or the actor may not see it.

    The record's bytes are at `offset` of the one partition of the contract's dlq topic.
    """

    id: int
    contract: str
    major: int
    partition: int
    offset: int
    key: str | None
    error_class: ErrorClass
    path: str
    code: str
    message: Text
    client: str
    receipt: str
    state: QuarantineState
    created_at: datetime
    closed_at: datetime | None
    closed_by: str | None
    reason: str | None


def page(
    engine: Engine,
    actor: Actor,
    *,
    limit: int,
    after: int = 0,
    contract: str | None = None,
    error_class: ErrorClass | None = None,
    state: QuarantineState | None = None,
) -> list[Entry]:
    """What the actor may see, oldest first, ids above `after`; None asks nothing."""
    query = select(quarantine).where(
        quarantine.c.id > after, visible(actor, Action.QUARANTINE_READ, contract=quarantine.c.contract)
    )
    for column, wanted in (
        (quarantine.c.contract, contract),
        (quarantine.c.error_class, error_class),
        (quarantine.c.state, state),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    with transaction(engine) as connection:
        rows = connection.execute(query.order_by(quarantine.c.id).limit(limit)).mappings().all()
        owners = {name: owner_of(connection, name) for name in {row["contract"] for row in rows}}
    return [_entry(actor, row, owners[row["contract"]]) for row in rows]


def get(engine: Engine, actor: Actor, id: int) -> Entry:
    """Raises NotFound for what isn't there or is someone else's."""
    with transaction(engine) as connection:
        return _get(connection, actor, Action.QUARANTINE_READ, id)


def open_entry(connection: Connection, actor: Actor, id: int) -> Entry:
    """An entry that the actor is about to resolve, its row locked. Raises NotFound, Forbidden, Conflict where it is
    closed."""
    entry = _get(connection, actor, Action.QUARANTINE_RESOLVE, id, for_update=True)
    if entry.state is not QuarantineState.OPEN:
        message = Text(
            f"quarantined record {id}: found {entry.state.value}, expected open",
            f"bản ghi cách ly {id}: đang là {entry.state.value}, cần open",
        )
        raise Conflict(message, [Problem("state", "wrong_state", message)])
    return entry


def close(
    connection: Connection,
    clock: Clock,
    actor: Actor,
    entry: Entry,
    state: QuarantineState,
    action: str,
    *,
    reason: str | None = None,
    source: str | None = None,
) -> Entry:
    """Write what became of an entry that `open_entry` locked, with its journal entry."""
    changed = connection.execute(
        update(quarantine)
        .where(quarantine.c.id == entry.id)
        .values(state=state, closed_at=clock(), closed_by=actor.client_id, reason=reason)
        .returning(quarantine)
    ).mappings()
    detail = {"contract": entry.contract, "state": state.value} | ({"reason": reason} if reason else {})
    journal.record(connection, actor, action, f"quarantine:{entry.id}", detail=detail, source=source)
    return _entry(actor, changed.one(), owner_of(connection, entry.contract))


def discard(engine: Engine, clock: Clock, actor: Actor, id: int, *, reason: str, source: str | None = None) -> Entry:
    """Give the record up, with the reason. Raises NotFound, Forbidden, Conflict."""
    with transaction(engine) as connection:
        entry = open_entry(connection, actor, id)
        return close(
            connection,
            clock,
            actor,
            entry,
            QuarantineState.DISCARDED,
            "quarantine.discard",
            reason=reason,
            source=source,
        )


def missing(id: int) -> NotFound:
    return not_found(Text("quarantined record", "bản ghi cách ly"), str(id), "quarantine")


def _get(connection: Connection, actor: Actor, action: Action, id: int, *, for_update: bool = False) -> Entry:
    query = select(quarantine).where(quarantine.c.id == id)
    row = connection.execute(query.with_for_update() if for_update else query).mappings().one_or_none()
    if row is None:
        raise missing(id)
    owner = owner_of(connection, row["contract"])
    permit(actor, action, Resource(owner=owner), missing(id))
    return _entry(actor, row, owner)


def _entry(actor: Actor, row: RowMapping, owner: str | None) -> Entry:
    may_see_key = decide(actor, Action.QUARANTINE_READ_KEY, Resource(owner=owner)).allowed
    return Entry(
        id=row["id"],
        contract=row["contract"],
        major=row["major"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["key"] if may_see_key else None,
        error_class=ErrorClass(row["error_class"]),
        path=row["path"],
        code=row["code"],
        message=Text(row["message_en"], row["message_vi"]),
        client=row["client"],
        receipt=row["receipt"],
        state=QuarantineState(row["state"]),
        created_at=row["created_at"],
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        reason=row["reason"],
    )
