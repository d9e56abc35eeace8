"""Subscriptions: a request, its decision, and the grant's life.

    requested ── approve ──► active ◄── resume ── suspended
        │                      │ └──── suspend ──────► │
        └─ refuse ► refused    └── revoke, or its end ─┴──► revoked, expired

Every transition is one transaction with the subscription's row locked, its journal entry and a notice to all processes.
A grant
past its end counts as expired at once, whether `expire_due` has written it or not. Handing records over is `bus.deliver`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, RowMapping, and_, insert, or_, select, update

from bus.access.decide import Action, Resource, effective
from bus.audit import journal
from bus.catalogue import ActiveContract, Catalogue
from bus.control import agencies, grants, legal_bases
from bus.control.owners import hold_in_force, owner_of, visible
from bus.control.permit import not_found, permit
from bus.errors import Conflict, InvalidRequest, NotFound
from bus.log.topics import Topics
from bus.model import Actor, Clock, ContractState, DeliveryMode, Subscription, SubscriptionState
from bus.store.engine import transaction
from bus.store.events import GRANTS, notify
from bus.store.tables import contract_versions, subscriptions
from monitoring.metrics import GRANTS_CHANGED
from registry.errors import Problem, Text

GRANT_YEARS_MAX = 10  # access is reviewed every half year; an end beyond any review is none

_LIVING = (SubscriptionState.ACTIVE, SubscriptionState.SUSPENDED)

_EXPECTED = {
    Action.SUBSCRIPTION_APPROVE: (SubscriptionState.REQUESTED,),
    Action.SUBSCRIPTION_REFUSE: (SubscriptionState.REQUESTED,),
    Action.SUBSCRIPTION_SUSPEND: (SubscriptionState.ACTIVE,),
    Action.SUBSCRIPTION_RESUME: (SubscriptionState.SUSPENDED,),
    Action.SUBSCRIPTION_RENEW: _LIVING,
    Action.SUBSCRIPTION_REVOKE: (SubscriptionState.REQUESTED, *_LIVING),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscriber asks for. `start` is "earliest", "latest" or an ISO time with its zone."""

    contract: str
    view: str
    purpose: str
    legal_basis: str
    expires_at: datetime
    start: str = "earliest"
    procedure: str | None = None
    delivery: DeliveryMode = DeliveryMode.PULL


def request(
    engine: Engine, catalogue: Catalogue, clock: Clock, actor: Actor, wanted: Wanted, source: str | None = None
) -> Subscription:
    """Ask for a view. Raises NotFound naming `contract` or `view`, InvalidRequest naming what doesn't hold,
    Conflict, Forbidden."""
    permit(actor, Action.SUBSCRIPTION_REQUEST, Resource(reader=actor.agency), missing(""))
    active = catalogue.active(wanted.contract)
    _view_exists(active, wanted.view)
    now = clock()
    _ends_later(wanted.expires_at, now)
    grants.check_start(wanted.start, now)
    if wanted.delivery is not DeliveryMode.PULL:
        message = Text(
            f"found {wanted.delivery.value}; this bus delivers by pull",
            f"là {wanted.delivery.value}; hệ thống giao bằng pull",
        )
        raise InvalidRequest(message, [Problem("delivery.mode", "not_offered", message)])
    id = f"sub_{secrets.token_hex(6)}"
    with transaction(engine) as connection:
        _not_deprecated(connection, active)
        legal_bases.valid_in(connection, wanted.legal_basis, now)
        grants.instances(agencies.get_in(connection, actor.agency), active, wanted.view)
        row = connection.execute(
            insert(subscriptions)
            .values(
                id=id,
                contract=active.contract.id,
                major=active.contract.major,
                view=wanted.view,
                agency=actor.agency,
                purpose=wanted.purpose,
                legal_basis=wanted.legal_basis,
                procedure=wanted.procedure,
                delivery=wanted.delivery,
                start=wanted.start,
                state=SubscriptionState.REQUESTED,
                requested_by=actor.client_id,
                expires_at=wanted.expires_at,
                created_at=now,
            )
            .returning(subscriptions)
        ).mappings()
        made = _subscription(row.one(), now)
        detail = {"contract": made.contract, "view": made.view, "legal_basis": made.legal_basis, "state": made.state}
        journal.record(connection, actor, Action.SUBSCRIPTION_REQUEST, _object(id), detail=detail, source=source)
    GRANTS_CHANGED.labels("request").inc()
    return made


def approve(
    engine: Engine, catalogue: Catalogue, topics: Topics, clock: Clock, actor: Actor, id: str, source: str | None = None
) -> Subscription:
    """Grant what was asked for: from now on its records may be read. Never by the client that asked.

    Raises NotFound, Forbidden, Conflict (wrong state; an attribute that the view asks for is gone), LogUnavailable, and
    Unavailable while a new reader's instances are still being filled (asking again succeeds).
    """
    _fill_new_instances(engine, catalogue, topics, clock, actor, id)
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_APPROVE, id, now)
        legal_bases.valid_in(connection, row["legal_basis"], now)
        _ends_later(row["expires_at"], now)
        active = _in_force(connection, catalogue, row)
        # Locked: what the agency is must not change under the grant that rests on it.
        agency = agencies.get_in(connection, row["agency"], for_update=True)
        named = grants.make_topics(connection, topics, agency, active, row["view"])
        grants.open_position(connection, topics, active, named, id, row["start"])
        return _moved(connection, actor, Action.SUBSCRIPTION_APPROVE, row, SubscriptionState.ACTIVE, now, source)


def refuse(
    engine: Engine, clock: Clock, actor: Actor, id: str, *, reason: str, legal_basis: str, source: str | None = None
) -> Subscription:
    """Refuse in writing, with the reason and the legal basis (Decree 194/2025/NĐ-CP, Art. 16)."""
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_REFUSE, id, now)
        basis = legal_bases.valid_in(connection, legal_basis, now)
        return _moved(
            connection,
            actor,
            Action.SUBSCRIPTION_REFUSE,
            row,
            SubscriptionState.REFUSED,
            now,
            source,
            reason=reason,
            detail={"legal_basis": basis.id},
        )


def suspend(
    engine: Engine, clock: Clock, actor: Actor, id: str, *, reason: str | None, source: str | None = None
) -> Subscription:
    """Nothing is handed over until it is resumed; its place is kept."""
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_SUSPEND, id, now)
        return _moved(
            connection, actor, Action.SUBSCRIPTION_SUSPEND, row, SubscriptionState.SUSPENDED, now, source, reason=reason
        )


def resume(engine: Engine, clock: Clock, actor: Actor, id: str, *, source: str | None = None) -> Subscription:
    """Go on from where it stood."""
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_RESUME, id, now)
        return _moved(connection, actor, Action.SUBSCRIPTION_RESUME, row, SubscriptionState.ACTIVE, now, source)


def renew(
    engine: Engine, clock: Clock, actor: Actor, id: str, *, expires_at: datetime, source: str | None = None
) -> Subscription:
    """A later end for a grant that lives. Raises InvalidRequest for an end that isn't later, or a legal basis out of
    force."""
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_RENEW, id, now)
        _ends_later(expires_at, max(now, row["expires_at"]))
        legal_bases.valid_in(connection, row["legal_basis"], now)
        state = SubscriptionState(row["state"])
        return _moved(connection, actor, Action.SUBSCRIPTION_RENEW, row, state, now, source, expires_at=expires_at)


def revoke(
    engine: Engine, clock: Clock, actor: Actor, id: str, *, reason: str | None, source: str | None = None
) -> Subscription:
    """End the grant, or withdraw the request, for good. When this returns, nothing more is handed over."""
    now = clock()
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_REVOKE, id, now)
        return _moved(
            connection, actor, Action.SUBSCRIPTION_REVOKE, row, SubscriptionState.REVOKED, now, source, reason=reason
        )


def expire_due(engine: Engine, clock: Clock) -> list[str]:
    """Write `expired` for every grant past its end; their ids. Safe to run on every process at any time."""
    now = clock()
    with transaction(engine) as connection:
        ended = connection.execute(
            update(subscriptions)
            .where(subscriptions.c.state.in_(_LIVING), subscriptions.c.expires_at <= now)
            .values(state=SubscriptionState.EXPIRED, decided_at=now, decided_by=None)
            .returning(subscriptions.c.id)
        ).scalars()
        ids = sorted(ended)
        for id in ids:
            journal.record(connection, None, "subscription.expire", _object(id), detail={"state": "expired"})
            notify(connection, GRANTS, id)
    GRANTS_CHANGED.labels("expire").inc(len(ids))
    return ids


def get(engine: Engine, clock: Clock, actor: Actor, id: str) -> Subscription:
    """Raises NotFound for what isn't there or is someone else's."""
    with transaction(engine) as connection:
        row = connection.execute(select(subscriptions).where(subscriptions.c.id == id)).mappings().one_or_none()
        if row is None:
            raise missing(id)
        permit(actor, Action.SUBSCRIPTION_READ, _resource(connection, row), missing(id))
        return _subscription(row, clock())


def page(
    engine: Engine,
    clock: Clock,
    actor: Actor,
    *,
    limit: int,
    after: str = "",
    contract: str | None = None,
    agency: str | None = None,
    state: SubscriptionState | None = None,
) -> list[Subscription]:
    """What the actor may see, by id, those above `after`; `state` is the one that counts now."""
    now = clock()
    query = select(subscriptions).where(
        subscriptions.c.id > after,
        visible(actor, Action.SUBSCRIPTION_READ, contract=subscriptions.c.contract, reader=subscriptions.c.agency),
    )
    if contract is not None:
        query = query.where(subscriptions.c.contract == contract)
    if agency is not None:
        query = query.where(subscriptions.c.agency == agency)
    past = and_(subscriptions.c.state.in_(_LIVING), subscriptions.c.expires_at <= now)
    if state is SubscriptionState.EXPIRED:
        query = query.where(or_(subscriptions.c.state == state, past))
    elif state is not None:
        query = query.where(subscriptions.c.state == state, ~past)
    with transaction(engine) as connection:
        rows = connection.execute(query.order_by(subscriptions.c.id).limit(limit)).mappings()
        return [_subscription(row, now) for row in rows]


def history(engine: Engine, clock: Clock, actor: Actor, id: str, *, limit: int, after: int = 0) -> list[journal.Entry]:
    """What was done with a subscription, oldest first. Raises NotFound."""
    get(engine, clock, actor, id)
    with transaction(engine) as connection:
        return journal.read(connection, limit=limit, after=after, object=_object(id))


def missing(id: str) -> NotFound:
    return not_found(Text("subscription", "đăng ký khai thác"), id, "subscription")


def _for_transition(connection: Connection, actor: Actor, action: Action, id: str, now: datetime) -> RowMapping:
    """The row, locked, after asking whether the actor may and the state allows."""
    found = connection.execute(select(subscriptions).where(subscriptions.c.id == id).with_for_update())
    row = found.mappings().one_or_none()
    if row is None:
        raise missing(id)
    permit(actor, action, _resource(connection, row), missing(id))
    state = effective(SubscriptionState(row["state"]), row["expires_at"], now)
    expected = _EXPECTED[action]
    if state not in expected:
        said = " / ".join(expected)
        message = Text(
            f"subscription {id}: found {state.value}, expected {said}",
            f"đăng ký khai thác {id}: đang là {state.value}, cần {said}",
        )
        raise Conflict(message, [Problem("state", "wrong_state", message)])
    return row


def _moved(
    connection: Connection,
    actor: Actor,
    action: Action,
    row: RowMapping,
    state: SubscriptionState,
    now: datetime,
    source: str | None,
    *,
    reason: str | None = None,
    expires_at: datetime | None = None,
    detail: dict[str, str] | None = None,
) -> Subscription:
    changed = connection.execute(
        update(subscriptions)
        .where(subscriptions.c.id == row["id"])
        .values(
            state=state,
            decided_by=actor.client_id,
            decided_at=now,
            reason=reason,
            expires_at=expires_at or row["expires_at"],
        )
        .returning(subscriptions)
    ).mappings()
    after = _subscription(changed.one(), now)
    said = {"state": state.value} | (detail or {}) | ({"reason": reason} if reason else {})
    if expires_at is not None:
        said["expires_at"] = expires_at.astimezone(UTC).isoformat()
    journal.record(connection, actor, action, _object(after.id), detail=said, source=source)
    notify(connection, GRANTS, after.id)
    GRANTS_CHANGED.labels(action.value.partition(".")[2]).inc()
    return after


def _resource(connection: Connection, row: RowMapping) -> Resource:
    return Resource(owner_of(connection, row["contract"]), row["agency"], row["requested_by"])


def _fill_new_instances(
    engine: Engine, catalogue: Catalogue, topics: Topics, clock: Clock, actor: Actor, id: str
) -> None:
    """Before a grant that begins at the present: have the reader's instances made and filled up to it."""
    with transaction(engine) as connection:
        row = _for_transition(connection, actor, Action.SUBSCRIPTION_APPROVE, id, clock())
        active = _in_force(connection, catalogue, row)
        if row["start"] == grants.EARLIEST or active.views[row["view"]].view.reader_attribute is None:
            return
        agency = agencies.get_in(connection, row["agency"])
        named = grants.make_topics(connection, topics, agency, active, row["view"])
        notify(connection, GRANTS, id)
    grants.wait_until_made(engine, topics, active, named)


def _view_exists(active: ActiveContract, view: str) -> None:
    if view not in active.views:
        there = ", ".join(sorted(active.views))
        message = Text(
            f"{active.contract.id} has no view {view}; it has {there}",
            f"{active.contract.id} không có khung nhìn {view}; có: {there}",
        )
        raise NotFound(message, [Problem("view", "not_found", message)])


def _ends_later(expires_at: datetime, than: datetime) -> None:
    if expires_at.year > than.year + GRANT_YEARS_MAX:
        message = Text(
            f"expected an end within {GRANT_YEARS_MAX} years; a grant can be renewed",
            f"cần thời hạn trong vòng {GRANT_YEARS_MAX} năm; có thể gia hạn",
        )
        raise InvalidRequest(message, [Problem("expires_at", "too_late", message)])
    if expires_at <= than:
        moment = than.astimezone(UTC).isoformat(timespec="seconds")
        message = Text(f"expected a time after {moment}", f"cần thời điểm sau {moment}")
        raise InvalidRequest(message, [Problem("expires_at", "not_later", message)])


def _not_deprecated(connection: Connection, active: ActiveContract) -> None:
    contract = active.contract
    state = connection.scalar(
        select(contract_versions.c.state).where(
            contract_versions.c.contract == contract.id, contract_versions.c.version == contract.version
        )
    )
    if state != ContractState.ACTIVE:
        message = Text(
            f"{contract.id} {contract.version} is {state}: it takes no new subscriptions",
            f"{contract.id} {contract.version} đang là {state}: không nhận đăng ký mới",
        )
        raise Conflict(message, [Problem("contract", "wrong_state", message)])


def _in_force(connection: Connection, catalogue: Catalogue, row: RowMapping) -> ActiveContract:
    """The contract that the subscription is for, which stays in force until the transaction ends."""
    active = catalogue.active(row["contract"])
    if not hold_in_force(connection, row["contract"], row["major"]) or active.contract.major != row["major"]:
        message = Text(
            f"major version {row['major']} of {row['contract']}, which was asked for, is not in force: ask anew",
            f"phiên bản chính {row['major']} của {row['contract']} đã đăng ký không còn hiệu lực: hãy đăng ký lại",
        )
        raise Conflict(message, [Problem("contract", "other_major", message)])
    _view_exists(active, row["view"])
    return active


def _object(id: str) -> str:
    return f"subscription:{id}"


def _subscription(row: RowMapping, now: datetime) -> Subscription:
    return Subscription(
        id=row["id"],
        contract=row["contract"],
        view=row["view"],
        agency=row["agency"],
        purpose=row["purpose"],
        legal_basis=row["legal_basis"],
        state=effective(SubscriptionState(row["state"]), row["expires_at"], now),
        delivery=DeliveryMode(row["delivery"]),
        start=row["start"],
        requested_by=row["requested_by"],
        requested_at=row["created_at"],
        expires_at=row["expires_at"],
        procedure=row["procedure"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
    )
