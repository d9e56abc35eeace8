"""Legal bases: the laws and decrees that a request rests on and that a refusal must name. They are data: laws are
repealed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, insert, select

from bus.access.decide import Action, Resource
from bus.audit import journal
from bus.control.permit import not_found, permit
from bus.errors import InvalidRequest, NotFound
from bus.model import Actor
from bus.store.engine import transaction
from bus.store.tables import legal_bases
from registry.errors import Problem, Text

# A law comes into force at midnight in Hanoi.
VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """`valid_from` and `valid_to` are days in Vietnam, both inclusive; `valid_to` None: still in force."""

    id: str
    number: str
    article: str
    title: str
    issuer: str
    valid_from: date
    valid_to: date | None

    def valid_on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


def create(
    engine: Engine,
    actor: Actor,
    *,
    number: str,
    article: str,
    title: str,
    issuer: str,
    valid_from: date,
    valid_to: date | None = None,
    source: str | None = None,
) -> LegalBasis:
    """Raises InvalidRequest where it would end before it begins, Forbidden."""
    permit(actor, Action.LEGAL_BASIS_CREATE, Resource(), missing(""))
    if valid_to is not None and valid_to < valid_from:
        message = Text("valid_to lies before valid_from", "valid_to sớm hơn valid_from")
        raise InvalidRequest(message, [Problem("valid_to", "before_start", message)])
    basis = LegalBasis(f"lb_{secrets.token_hex(6)}", number, article, title, issuer, valid_from, valid_to)
    with transaction(engine) as connection:
        connection.execute(
            insert(legal_bases).values(
                id=basis.id,
                number=number,
                article=article,
                title=title,
                issuer=issuer,
                valid_from=valid_from,
                valid_to=valid_to,
            )
        )
        journal.record(connection, actor, "legal_basis.create", f"legal_basis:{basis.id}", source=source)
    return basis


def get(engine: Engine, actor: Actor, id: str) -> LegalBasis:
    """Raises NotFound."""
    permit(actor, Action.LEGAL_BASIS_READ, Resource(), missing(id))
    with transaction(engine) as connection:
        return get_in(connection, id)


def page(engine: Engine, actor: Actor, *, limit: int, after: str = "") -> list[LegalBasis]:
    """Legal bases by id, those above `after`."""
    permit(actor, Action.LEGAL_BASIS_READ, Resource(), missing(""))
    query = select(*_COLUMNS).where(legal_bases.c.id > after).order_by(legal_bases.c.id).limit(limit)
    with transaction(engine) as connection:
        return [LegalBasis(**row) for row in connection.execute(query).mappings()]


def get_in(connection: Connection, id: str) -> LegalBasis:
    """The legal basis, in the caller's transaction. Raises NotFound."""
    row = connection.execute(select(*_COLUMNS).where(legal_bases.c.id == id)).mappings().one_or_none()
    if row is None:
        raise missing(id)
    return LegalBasis(**row)


def valid_in(connection: Connection, id: str, now: datetime) -> LegalBasis:
    """The legal basis if it is in force at `now`. Raises InvalidRequest naming `legal_basis` where it isn't, or
    isn't known."""
    day = now.astimezone(VIETNAM).date()
    try:
        basis = get_in(connection, id)
    except NotFound as error:
        message = Text(f"no legal basis {id}; register it first", f"không có căn cứ pháp lý {id}; hãy đăng ký trước")
        raise InvalidRequest(message, [Problem("legal_basis", "not_found", message)]) from error
    if not basis.valid_on(day):
        message = Text(
            f"{basis.number} is not in force on {day}: valid from {basis.valid_from} to {basis.valid_to or '…'}",
            f"{basis.number} không có hiệu lực vào ngày {day}: từ {basis.valid_from} đến {basis.valid_to or '…'}",
        )
        raise InvalidRequest(message, [Problem("legal_basis", "not_in_force", message)])
    return basis


def missing(id: str) -> NotFound:
    return not_found(Text("legal basis", "căn cứ pháp lý"), id, "legal_basis")


_COLUMNS = [legal_bases.c[name] for name in ("id", "number", "article", "title", "issuer", "valid_from", "valid_to")]
