"""deliver(): handing a view's records to a subscriber who pulls, and taking the acknowledgement.

The order is the promise: is the grant alive now → read the view's topics → write the release, durably, in the transaction that looks
at the grant again → hand over. No release, no hand-over. An acknowledgement moves the cursor; without it the same records come again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, RowMapping, insert, select, update

from bus.access.decide import alive
from bus.catalogue import ActiveContract, Catalogue
from bus.errors import Conflict, GrantEnded, NotFound, Problem, Text
from bus.log.position import Cursor, Positions, advance, bad_cursor, parse_cursor, runs_of
from bus.log.reader import Readers, Records
from bus.model import Actor, Clock, SubscriptionState
from bus.outlets import readable_ends
from bus.settings import Settings
from bus.store.engine import transaction
from bus.store.tables import cursors, releases, subscriptions
from monitoring import metrics


@dataclass(frozen=True, slots=True)
class Counter:
    """What delivering needs."""

    engine: Engine
    readers: Readers
    catalogue: Catalogue
    clock: Clock
    settings: Settings


@dataclass(frozen=True, slots=True)
class Handover:
    """Records that may leave now. `release` is None where there are none."""

    contract: ActiveContract
    view: str
    records: Records
    release: int | None


@dataclass(frozen=True, slots=True)
class _Stand:
    positions: Positions
    delivered: int


def pull(counter: Counter, actor: Actor, subscription: str, *, records_max: int, after: str | None) -> Handover:
    """The next records of a subscription, at once: from `after` when given, else from what was acknowledged last.

    Raises NotFound for what isn't there or isn't the actor's, GrantEnded, BadCursor, LogUnavailable, StoreUnavailable.
    """
    with transaction(counter.engine) as connection:
        grant = _grant(connection, actor, subscription)
        _demand_alive(grant, counter.clock)
        stand = _stand(connection, subscription, after)
    active = counter.catalogue.active(grant["contract"])
    ends = readable_ends(counter.engine, list(stand.positions))
    records = counter.readers.read(stand.positions, ends, min(records_max, counter.settings.pull_records_max))
    if not len(records):
        return Handover(active, grant["view"], records, None)
    release = _release(counter, actor, subscription, stand, records)
    metrics.DELIVERED.labels(grant["contract"], grant["view"]).inc(len(records))
    return Handover(active, grant["view"], records, release)


def acknowledge(counter: Counter, actor: Actor, subscription: str, cursor: str) -> int:
    """Move the committed position to just behind `cursor`; returns how many records count as delivered in all.

    Acknowledging what is acknowledged changes nothing. What was handed over while the grant lived may be acknowledged later.
    """
    with transaction(counter.engine) as connection:
        _grant(connection, actor, subscription)
        committed = connection.scalars(
            select(cursors.c.delivered).where(cursors.c.subscription == subscription).with_for_update()
        ).one()
        stand = _after(connection, subscription, parse_cursor(cursor))
        if stand.delivered <= committed:
            return int(committed)
        connection.execute(
            update(cursors)
            .where(cursors.c.subscription == subscription)
            .values(acked=stand.positions, delivered=stand.delivered, updated_at=counter.clock())
        )
    return stand.delivered


def contract_of(counter: Counter, subscription: str) -> tuple[str, str]:
    """The contract that a subscription is for, and the agency that it's granted to. Raises NotFound."""
    query = select(subscriptions.c.contract, subscriptions.c.agency).where(subscriptions.c.id == subscription)
    with transaction(counter.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise no_subscription(subscription)
    return row.contract, row.agency


def no_subscription(subscription: str) -> NotFound:
    """What is answered where it isn't there, or isn't the asker's."""
    message = Text(f"no subscription {subscription}", f"không có đăng ký khai thác {subscription}")
    return NotFound(message, [Problem("subscription", "not_found", message)])


def _grant(connection: Connection, actor: Actor, subscription: str, *, lock: bool = False) -> RowMapping:
    query = select(
        subscriptions.c.contract,
        subscriptions.c.view,
        subscriptions.c.agency,
        subscriptions.c.state,
        subscriptions.c.expires_at,
    ).where(subscriptions.c.id == subscription)
    row = connection.execute(query.with_for_update(read=True) if lock else query).mappings().one_or_none()
    if row is None or row["agency"] != actor.agency:
        raise no_subscription(subscription)
    return row


def _demand_alive(grant: RowMapping, clock: Clock) -> None:
    decision = alive(SubscriptionState(grant["state"]), grant["expires_at"], clock())
    if not decision.allowed:
        raise GrantEnded(decision.reason, [Problem("subscription", "grant_ended", decision.reason)])


def _stand(connection: Connection, subscription: str, after: str | None) -> _Stand:
    if after is not None:
        return _after(connection, subscription, parse_cursor(after))
    row = connection.execute(select(cursors).where(cursors.c.subscription == subscription)).one_or_none()
    if row is None:
        raise Conflict(Text("the subscription has no position yet", "đăng ký khai thác chưa có vị trí đọc"))
    return _Stand(row.acked, row.delivered)


def _after(connection: Connection, subscription: str, cursor: Cursor) -> _Stand:
    row = connection.execute(
        select(releases).where(releases.c.id == cursor.release, releases.c.subscription == subscription)
    ).one_or_none()
    if row is None or cursor.index >= row.records:
        raise bad_cursor(
            Text("this cursor was never given to this subscription", "con trỏ này chưa từng được cấp cho đăng ký này")
        )
    taken = cursor.index + 1
    return _Stand(advance(row.base, row.runs, taken), row.base_delivered + taken)


def _release(counter: Counter, actor: Actor, subscription: str, stand: _Stand, records: Records) -> int:
    digest = hashlib.sha256()
    for key, value in zip(records.keys, records.values, strict=True):
        digest.update(key)
        digest.update(value or b"")
    row: Mapping[str, object] = {
        "subscription": subscription,
        "client": actor.client_id,
        "base": stand.positions,
        "base_delivered": stand.delivered,
        "runs": runs_of(records.topics, records.partitions, records.offsets),
        "records": len(records),
        "sha256": digest.digest(),
    }
    with transaction(counter.engine) as connection:
        _demand_alive(_grant(connection, actor, subscription, lock=True), counter.clock)
        return int(connection.scalars(insert(releases).returning(releases.c.id), row).one())
