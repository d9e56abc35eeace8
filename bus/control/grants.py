"""What an approval gives a subscription to stand on: its view topics, made where they are missing, and its first
position."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from bus.catalogue import ActiveContract
from bus.errors import Conflict, InvalidRequest
from bus.log import topics as names
from bus.log.topics import Topics
from bus.model import Agency
from bus.store.tables import cursors, targets
from registry.errors import Problem, Text

EARLIEST, LATEST = "earliest", "latest"
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # no record is older; Kafka reads times before 1970 as something else


def open_position(
    connection: Connection,
    topics: Topics,
    agency: Agency,
    active: ActiveContract,
    view: str,
    subscription: str,
    start: str,
) -> None:
    """Make the subscription's topics and its cursor, in the caller's transaction. Raises Conflict, LogUnavailable."""
    wanted = instances(agency, active, view)
    contract = active.contract
    partitions = topics.partitions(active.data_topic)
    named = {names.view_topic(contract.id, contract.major, view, one): one for one in wanted}
    for topic, instance in named.items():
        topics.ensure(topic, contract.topic, partitions=partitions)
        connection.execute(
            insert(targets)
            .values(topic=topic, contract=contract.id, major=contract.major, view=view, instance=instance)
            .on_conflict_do_nothing()
        )
    if start == EARLIEST:
        position = {topic: [0] * partitions for topic in named}
    elif start == LATEST:
        position = topics.end_offsets(named)
    else:
        position = topics.offsets_at(named, datetime.fromisoformat(start))
    connection.execute(insert(cursors).values(subscription=subscription, start=position, acked=position))


def instances(agency: Agency, active: ActiveContract, view: str) -> list[str | None]:
    """The instances of the view that the agency receives; [None] where the view asks nothing of its reader.

    Raises Conflict where the view asks for an attribute that the agency doesn't have.
    """
    attribute = active.views[view].view.reader_attribute
    if attribute is None:
        return [None]
    values = agency.attributes.get(attribute, ())
    if not values:
        message = Text(
            f"view {view} is cut by the reader's {attribute}, and agency {agency.code} has none; an administrator sets it",
            f"khung nhìn {view} lọc theo {attribute} của bên nhận, nhưng cơ quan {agency.code} chưa có; hãy nhờ quản trị đặt",
        )
        raise Conflict(message, [Problem(f"attributes.{attribute}", "missing", message)])
    return list(values)


def check_start(start: str, now: datetime) -> None:
    """Raises InvalidRequest unless `start` is earliest, latest or a time with its zone that isn't in the future."""
    if start in (EARLIEST, LATEST):
        return
    try:
        when = datetime.fromisoformat(start)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None or not _FIRST <= when <= now:
        message = Text(
            "expected earliest, latest or a past time with its zone, such as 2026-01-31T08:00:00+07:00",
            "cần earliest, latest hoặc thời điểm đã qua kèm múi giờ, như 2026-01-31T08:00:00+07:00",
        )
        raise InvalidRequest(message, [Problem("from", "not_a_start", message)])
