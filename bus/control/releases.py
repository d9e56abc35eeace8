"""Releases: what was handed over to whom, when, as positions and digests; written by `bus.deliver` before a byte leaves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, select

from bus.control import subscriptions
from bus.model import Actor, Clock
from bus.store.engine import transaction
from bus.store.tables import releases


@dataclass(frozen=True, slots=True)
class Release:
    """`runs` are [topic, partition, first offset, next offset]; `sha256` covers the records' keys and values, in hex."""

    id: int
    at: datetime
    subscription: str
    client: str
    records: int
    runs: tuple[tuple[str, int, int, int], ...]
    sha256: str


def page(engine: Engine, clock: Clock, actor: Actor, subscription: str, *, limit: int, after: int = 0) -> list[Release]:
    """The subscription's releases, oldest first, ids above `after`. Raises NotFound where the actor may not see it."""
    subscriptions.get(engine, clock, actor, subscription)
    query = (
        select(releases)
        .where(releases.c.subscription == subscription, releases.c.id > after)
        .order_by(releases.c.id)
        .limit(limit)
    )
    with transaction(engine) as connection:
        rows = connection.execute(query).mappings().all()
    return [
        Release(
            id=row["id"],
            at=row["created_at"],
            subscription=row["subscription"],
            client=row["client"],
            records=row["records"],
            runs=tuple((topic, partition, first, after) for topic, partition, first, after in row["runs"]),
            sha256=row["sha256"].hex(),
        )
        for row in rows
    ]
