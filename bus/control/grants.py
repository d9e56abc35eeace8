"""What an approval gives a subscription to stand on: its view topics, made where they are missing, and its first
position."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from bus.catalogue import ActiveContract
from bus.errors import Conflict, InvalidRequest, Unavailable
from bus.log import topics as names
from bus.log.topics import Topics
from bus.model import Agency
from bus.store.engine import transaction
from bus.store.tables import cursors, targets, view_positions
from registry.errors import Problem, Text

EARLIEST, LATEST = "earliest", "latest"
MADE_WITHIN_S = 20.0  # under the idle time of common proxies
POLL_S = 0.05
_FIRST = datetime(2000, 1, 1, tzinfo=UTC)  # no record is older; Kafka reads times before 1970 as something else


def make_topics(
    connection: Connection, topics: Topics, agency: Agency, active: ActiveContract, view: str
) -> dict[str, str | None]:
    """The view topics that the agency receives, each with its instance, made where they are missing, in the caller's
    transaction. Raises Conflict, LogUnavailable."""
    contract = active.contract
    partitions = topics.partitions(active.data_topic)
    named = {names.view_topic(contract.id, contract.major, view, one): one for one in instances(agency, active, view)}
    for topic, instance in named.items():
        topics.ensure(topic, contract.topic, partitions=partitions)
        connection.execute(
            insert(targets)
            .values(topic=topic, contract=contract.id, major=contract.major, view=view, instance=instance)
            .on_conflict_do_nothing()
        )
    return named


def open_position(
    connection: Connection, topics: Topics, active: ActiveContract, named: Iterable[str], subscription: str, start: str
) -> None:
    """Make the subscription's cursor on the topics `named`, in the caller's transaction. Raises LogUnavailable."""
    if start == EARLIEST:
        position = {topic: [0] * topics.partitions(active.data_topic) for topic in named}
    elif start == LATEST:
        position = topics.end_offsets(named)
    else:
        position = topics.offsets_at(named, datetime.fromisoformat(start))
    connection.execute(insert(cursors).values(subscription=subscription, start=position, acked=position))


def wait_until_made(engine: Engine, topics: Topics, active: ActiveContract, named: Iterable[str]) -> None:
    """Return when the view worker has brought every topic to the data topic's present end.

    A new instance's topic begins empty and is then filled from the data topic's beginning. "latest" means nothing in it before
    that is done. Raises Unavailable after MADE_WITHIN_S: the worker goes on, and asking again later succeeds.
    """
    wanted = list(named)
    ends = topics.end_offsets([active.data_topic])[active.data_topic]
    query = select(view_positions.c.topic, view_positions.c.partition, view_positions.c.source_offset).where(
        view_positions.c.topic.in_(wanted)
    )
    deadline = time.monotonic() + MADE_WITHIN_S
    while True:
        with transaction(engine) as connection:
            passed = {(row.topic, row.partition): row.source_offset for row in connection.execute(query)}
        if all(passed.get((topic, p), 0) >= end for topic in wanted for p, end in enumerate(ends)):
            return
        if time.monotonic() > deadline:
            raise Unavailable(
                Text(
                    "the view is still being made for this reader; try again",
                    "khung nhìn đang được tạo cho bên nhận này; hãy thử lại",
                )
            )
        time.sleep(POLL_S)


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
