"""Agencies: who takes part. Their codes follow the national rule (DOMAIN.md, "Identifiers"), the new form or the old
one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine, RowMapping, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from bus.access.decide import Action, Resource
from bus.audit import journal
from bus.control.permit import not_found, permit
from bus.errors import Conflict, InvalidRequest, NotFound
from bus.model import Actor, Agency, SubscriptionState
from bus.store.engine import transaction
from bus.store.tables import agencies, cursors, subscriptions, targets
from registry.errors import Problem, Text

NEW_CODE = re.compile(r"(?=.{3,35}\Z)[A-Z]\d{2}(\.[0-9A-Z]+)*", re.ASCII)  # H27.01
OLD_CODE = re.compile(r"\d{3}\.\d{2}\.\d{2}\.[A-Z]\d{2}", re.ASCII)  # 000.00.01.H27
OPERATOR = "operator"  # whoever runs the bus; no agency's code has this form
ATTRIBUTES_MAX = 20
ATTRIBUTE_VALUES_MAX = 1_000  # a province has under 200 communes

_NOUN = Text("agency", "cơ quan")


def create(
    engine: Engine,
    actor: Actor,
    *,
    code: str,
    name: Text,
    attributes: Mapping[str, Sequence[str]] | None = None,
    source: str | None = None,
) -> Agency:
    """Raises InvalidRequest for a code of neither form, Conflict where the code is taken, Forbidden."""
    permit(actor, Action.AGENCY_CREATE, Resource(owner=code), missing(code))
    if not (NEW_CODE.fullmatch(code) or OLD_CODE.fullmatch(code)):
        message = Text(
            "expected an agency code such as H27.01 (new form) or 000.00.01.H27 (old form)",
            "cần mã định danh điện tử như H27.01 (dạng mới) hoặc 000.00.01.H27 (dạng cũ)",
        )
        raise InvalidRequest(message, [Problem("code", "pattern", message)])
    agency = Agency(code, name, checked_attributes(attributes or {}))
    try:
        with transaction(engine) as connection:
            connection.execute(insert(agencies).values(code=code, **_columns(agency)))
            journal.record(connection, actor, "agency.create", f"agency:{code}", source=source)
    except IntegrityError as error:
        message = Text(f"agency {code} is there already", f"cơ quan {code} đã tồn tại")
        raise Conflict(message, [Problem("code", "taken", message)]) from error
    return agency


def change(
    engine: Engine,
    actor: Actor,
    code: str,
    *,
    name_vi: str | None = None,
    name_en: str | None = None,
    attributes: Mapping[str, Sequence[str]] | None = None,
    source: str | None = None,
) -> Agency:
    """Change what is given. Attributes decide which instances an agency receives, so they can't change under a grant that
    rests on them: raises Conflict, naming those subscriptions."""
    permit(actor, Action.AGENCY_CHANGE, Resource(owner=code), missing(code))
    with transaction(engine) as connection:
        before = get_in(connection, code, for_update=True)
        after = Agency(
            code,
            Text(name_en or before.name.en, name_vi or before.name.vi),
            before.attributes if attributes is None else checked_attributes(attributes),
        )
        if after.attributes != before.attributes:
            _refuse_under_grants(connection, code)
        connection.execute(update(agencies).where(agencies.c.code == code).values(**_columns(after)))
        detail = {"attributes": {k: len(v) for k, v in after.attributes.items()}}
        journal.record(connection, actor, "agency.change", f"agency:{code}", detail=detail, source=source)
    return after


def get(engine: Engine, actor: Actor, code: str) -> Agency:
    """Raises NotFound."""
    permit(actor, Action.AGENCY_READ, Resource(owner=code), missing(code))
    with transaction(engine) as connection:
        return get_in(connection, code)


def page(engine: Engine, actor: Actor, *, limit: int, after: str = "") -> list[Agency]:
    """Agencies by code, those above `after`."""
    permit(actor, Action.AGENCY_READ, Resource(), missing(""))
    query = select(agencies).where(agencies.c.code > after).order_by(agencies.c.code).limit(limit)
    with transaction(engine) as connection:
        return [_agency(row) for row in connection.execute(query).mappings()]


def get_in(connection: Connection, code: str, *, for_update: bool = False) -> Agency:
    """The agency, in the caller's transaction. Raises NotFound."""
    query = select(agencies).where(agencies.c.code == code)
    row = connection.execute(query.with_for_update() if for_update else query).mappings().one_or_none()
    if row is None:
        raise missing(code)
    return _agency(row)


def missing(code: str) -> NotFound:
    return not_found(_NOUN, code, "agency")


def checked_attributes(given: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Attributes as they are kept: values sorted, each once. Raises InvalidRequest over a limit."""
    if len(given) > ATTRIBUTES_MAX or any(len(values) > ATTRIBUTE_VALUES_MAX for values in given.values()):
        message = Text(
            f"at most {ATTRIBUTES_MAX} attributes of {ATTRIBUTE_VALUES_MAX} values",
            f"tối đa {ATTRIBUTES_MAX} thuộc tính, mỗi thuộc tính {ATTRIBUTE_VALUES_MAX} giá trị",
        )
        raise InvalidRequest(message, [Problem("attributes", "too_many", message)])
    return {name: tuple(sorted(set(values))) for name, values in given.items()}


def _refuse_under_grants(connection: Connection, code: str) -> None:
    rests_on_instance = exists().where(
        targets.c.instance.is_not(None),
        targets.c.contract == subscriptions.c.contract,
        targets.c.major == subscriptions.c.major,
        targets.c.view == subscriptions.c.view,
    )
    held = connection.scalars(
        select(subscriptions.c.id)
        .join(cursors, cursors.c.subscription == subscriptions.c.id)
        .where(
            subscriptions.c.agency == code,
            subscriptions.c.state.in_((SubscriptionState.ACTIVE, SubscriptionState.SUSPENDED)),
            rests_on_instance,
        )
        .order_by(subscriptions.c.id)
    ).all()
    if held:
        ids = ", ".join(held)
        message = Text(
            f"grants rest on the agency's attributes: revoke {ids} first, then ask anew",
            f"có đăng ký khai thác dựa trên thuộc tính của cơ quan: hãy thu hồi {ids} rồi đăng ký lại",
        )
        raise Conflict(message, [Problem("attributes", "in_use", message)])


def _columns(agency: Agency) -> dict[str, object]:
    return {
        "name_vi": agency.name.vi,
        "name_en": agency.name.en,
        "attributes": {name: list(values) for name, values in agency.attributes.items()},
    }


def _agency(row: RowMapping) -> Agency:
    attributes = {name: tuple(values) for name, values in row["attributes"].items()}
    return Agency(row["code"], Text(row["name_en"], row["name_vi"]), attributes)
