"""Outlets: the targets of views at work, with where each partition of them stands. Loaded from the database, moved on in one
transaction, and after a crash held against what their topics really hold.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import ARRAY, BigInteger, Connection, Engine, Integer, bindparam, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import Text as SqlText

from bus.errors import StoreUnavailable, Text
from bus.log.connection import KafkaConnection
from bus.log.position import SOURCE_HEADER, parse_source
from bus.log.reader import scan
from bus.store.engine import transaction
from bus.store.events import APPENDED, notify
from bus.store.tables import targets, view_positions

logger = logging.getLogger(__name__)

Tail = list[tuple[bytes, bytes | None]]  # key and value of records, in their order


@dataclass(slots=True)
class Outlet:
    """One target. Lists are by partition: `source` and `view` are offsets, the others counts since the topic began.

    `tail` are records in the topic beyond `view`: outputs that a crash kept from being recorded.
    """

    topic: str
    view_name: str
    instance: str | None
    source: list[int]
    view: list[int]
    filtered: list[int]
    duplicates: list[int]
    sent: list[int]
    stored_source: list[int]
    tail: dict[int, Tail] = field(default_factory=dict)

    @property
    def tail_records(self) -> int:
        return sum(len(records) for records in self.tail.values())

    def recognise(self, partition: int, keys: Sequence[bytes], values: Sequence[bytes | None]) -> int:
        """How many of these outputs, from the first on, the topic holds already.

        Outputs depend on the data topic alone, so the tail is their beginning. Should it not be (a view was changed between the
        crash and now), the tail stands as it is and everything is sent: each key's last record is right then, too.
        """
        tail = self.tail.get(partition)
        if not tail:
            return 0
        count = min(len(tail), len(keys))
        if tail[:count] == list(zip(keys[:count], values[:count], strict=True)):
            del tail[:count]
            return count
        logger.warning("%s/%d: %d records of before the crash are of another making", self.topic, partition, len(tail))
        self.view[partition] += len(tail)
        self.sent[partition] += len(tail)
        tail.clear()
        return 0


def load_outlets(engine: Engine, contract: str, major: int, partitions: int) -> list[Outlet]:
    """Every target of the contract, with a position for each partition (new ones begin at 0)."""
    with transaction(engine) as connection:
        rows = connection.execute(
            select(targets.c.topic, targets.c.view, targets.c.instance)
            .where(targets.c.contract == contract, targets.c.major == major)
            .order_by(targets.c.topic)
        ).all()
        if not rows:
            return []
        zero = {"source_offset": 0, "view_offset": 0, "filtered": 0, "duplicates": 0}
        connection.execute(
            insert(view_positions).on_conflict_do_nothing(),
            [{"topic": row.topic, "partition": p} | zero for row in rows for p in range(partitions)],
        )
        stand = connection.execute(
            select(view_positions)
            .where(view_positions.c.topic.in_([row.topic for row in rows]))
            .order_by(view_positions.c.topic, view_positions.c.partition)
        ).all()
    outlets = []
    for row in rows:
        mine = [s for s in stand if s.topic == row.topic]
        source = [s.source_offset for s in mine]
        outlets.append(
            Outlet(
                topic=row.topic,
                view_name=row.view,
                instance=row.instance,
                source=source,
                view=[s.view_offset for s in mine],
                filtered=[s.filtered for s in mine],
                duplicates=[s.duplicates for s in mine],
                sent=[0] * len(mine),
                stored_source=list(source),
            )
        )
    return outlets


def find_tail(connection: KafkaConnection, outlet: Outlet, begin: Sequence[int], end: Sequence[int]) -> None:
    """Read what the topic holds from the stored position to `end`; `begin` is the first offset that it still has.

    Where a partition has no stored position although its topic has records (the database lost it), the topic's own word
    counts: the last `lgsp-source` in it says what is out, and only what follows that is tail. How the records before were
    divided into filtered and repeated is lost then; they count as filtered.
    """
    start = [max(b, v) for b, v in zip(begin, outlet.view, strict=True)]
    lost = {p for p, source in enumerate(outlet.source) if source == 0}
    for records in scan(connection, {outlet.topic: start}, {outlet.topic: list(end)}, with_headers=bool(lost)):
        for i, partition in enumerate(records.partitions):
            outlet.tail.setdefault(partition, []).append((records.keys[i], records.values[i]))
            if partition in lost and (said := dict(records.headers[i] or ()).get(SOURCE_HEADER)):
                _, outlet.source[partition] = parse_source(said)
                outlet.view[partition] = records.offsets[i] + 1
                outlet.filtered[partition] = outlet.source[partition] - outlet.view[partition]
                outlet.tail[partition].clear()


_SAVE = text(
    """
    UPDATE view_positions AS p
    SET source_offset = n.source_offset, view_offset = n.view_offset, filtered = n.filtered, duplicates = n.duplicates,
        updated_at = now()
    FROM unnest(:topics, :partitions, :before, :sources, :views, :filtered, :duplicates)
        AS n (topic, partition, before, source_offset, view_offset, filtered, duplicates)
    WHERE p.topic = n.topic AND p.partition = n.partition AND p.source_offset = n.before
    """
).bindparams(
    bindparam("topics", type_=ARRAY(SqlText)),
    bindparam("partitions", type_=ARRAY(Integer)),
    *(bindparam(name, type_=ARRAY(BigInteger)) for name in ("before", "sources", "views", "filtered", "duplicates")),
)


def save(engine: Engine | Connection, contract: str, outlets: Sequence[Outlet], partitions: Sequence[int]) -> None:
    """Store where the outlets' `partitions` stand now, all or none, and tell the readers who wait.

    Raises StoreUnavailable when another worker has moved one of them: this one must begin anew.
    """
    moved = [(outlet, p) for outlet in outlets for p in partitions]
    if not moved:
        return
    values = {
        "topics": [o.topic for o, _ in moved],
        "partitions": [p for _, p in moved],
        "before": [o.stored_source[p] for o, p in moved],
        "sources": [o.source[p] for o, p in moved],
        "views": [o.view[p] for o, p in moved],
        "filtered": [o.filtered[p] for o, p in moved],
        "duplicates": [o.duplicates[p] for o, p in moved],
    }
    with transaction(engine) as connection:
        if connection.execute(_SAVE, values).rowcount != len(moved):
            raise StoreUnavailable(
                Text(
                    f"{contract}: another worker moved the views on; this one begins anew",
                    f"{contract}: tiến trình khác đã xử lý tiếp; tiến trình này bắt đầu lại",
                )
            )
        notify(connection, APPENDED, contract)
    for outlet, p in moved:
        outlet.stored_source[p] = outlet.source[p]


def readable_ends(engine: Engine, topics: Sequence[str]) -> dict[str, list[int]]:
    """For each view topic the offsets up to which its records are recorded, and so may be handed over."""
    query = (
        select(view_positions.c.topic, view_positions.c.view_offset)
        .where(view_positions.c.topic.in_(topics))
        .order_by(view_positions.c.topic, view_positions.c.partition)
    )
    ends: dict[str, list[int]] = {}
    with transaction(engine) as connection:
        for topic, offset in connection.execute(query):
            ends.setdefault(topic, []).append(offset)
    return ends
