"""The journal: who did what to which thing, when, from where, with which result. Not the evidence of what was handed over,
record by record: that is `releases`.

No payload value, secret or token goes in: `detail` holds ids, digests, counts, states and reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from bus.model import Actor
from bus.store.tables import journal


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `client` is None where the bus itself acted (a grant expired)."""

    id: int
    at: datetime
    client: str | None
    agency: str | None
    action: str
    object: str
    result: str
    detail: Mapping[str, Any]
    source: str | None


def record(
    connection: Connection,
    actor: Actor | None,
    action: str,
    object: str,
    result: str = "done",
    detail: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> None:
    """Write one entry in the caller's transaction, so that the act and its entry stand or fall together.

    `object` is "<noun>:<id>"; `result` is "done" or "refused"; `source` the caller's address.
    """
    connection.execute(
        insert(journal).values(
            client=actor.client_id if actor else None,
            agency=actor.agency if actor else None,
            action=action,
            object=object,
            result=result,
            detail=dict(detail or {}),
            source=source,
        )
    )


def read(
    connection: Connection,
    *,
    limit: int,
    after: int = 0,
    agency: str | None = None,
    object: str | None = None,
    action: str | None = None,
) -> list[Entry]:
    """Up to `limit` entries with an id above `after`, oldest first; None asks nothing of that column."""
    query = select(journal).where(journal.c.id > after).order_by(journal.c.id).limit(limit)
    for column, wanted in ((journal.c.agency, agency), (journal.c.object, object), (journal.c.action, action)):
        if wanted is not None:
            query = query.where(column == wanted)
    return [Entry(**row) for row in connection.execute(query).mappings()]
