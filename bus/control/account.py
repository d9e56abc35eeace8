"""The account of a contract: published = delivered + filtered + duplicate + quarantined + pending, for each subscription.

What is counted where, for a contract with D records in its data topic:

- published = D + the dlq topic's records + the repeats that the door recognised (`receipts.duplicates`);
- quarantined = the dlq topic's records;
- a subscription reads lanes: one for each partition of each of its view topics. Of the data partition's records a lane has
  passed s. Each of them went out (v, which is the lane's view offset), was filtered (f), or repeated its key's last state
  (d), so s = v + f + d; the view worker counts the three, and nothing here makes them fit;
- delivered = what the reader acknowledged, counted by the hand-over, record by record;
- filtered = f + what lay before the start + what compaction had replaced before it was read ((acked - start) - delivered);
- duplicate = the door's repeats + d;
- pending = not yet passed (D - s) + in the view and not acknowledged (v - acked).

Summed up, everything cancels but D, the dlq and the door, if and only if s = v + f + d. So the identity can fail: when the
worker or the hand-over miscounts, `Account.balanced` is false.

Several topics (an instance for each of a reader's communes): each lane judges every record, a record must count once. The
lanes of a partition move together; what the slowest has passed, s', counts. The other lanes' verdicts on those records (all
but one each: "in another instance") are taken off `filtered`. A record that moves between two of the reader's own instances
goes out twice, as a deletion in the one and a record in the other; where such second lines exceed what was filtered they
are taken off `delivered`, which counts records, not lines.

An ended grant (refused, revoked, expired) owes nothing: what was pending counts as filtered, by the grant. So does
everything where there is no grant yet, or no subscription at all.

In flight: positions, cursors and receipts are read in one REPEATABLE READ snapshot, the topics' ends after it. A record that
comes in between is in D alone, so it is pending. A hand-over never reaches beyond the positions, and a position never beyond D.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, func, select

from bus.access.decide import Action, Resource, decide, effective, scopes
from bus.control.owners import owner_of
from bus.control.permit import not_found
from bus.errors import Forbidden
from bus.log import topics as names
from bus.log.topics import Topics
from bus.model import Account, Actor, Clock, SubscriptionState
from bus.store.engine import transaction
from bus.store.tables import contract_versions, cursors, receipts, subscriptions, view_positions
from registry.errors import Text

_OWED = (SubscriptionState.ACTIVE, SubscriptionState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Lane:
    """One partition of one of a subscription's view topics. `passed` is an offset in the data topic, the others in
    the view's."""

    partition: int
    passed: int
    view: int
    filtered: int
    duplicates: int
    start: int
    acked: int


@dataclass(frozen=True, slots=True)
class Log:
    """What the topics hold: `data` for each partition of the data topic its end, `letters` the dlq topic's records."""

    data: Sequence[int]
    letters: int
    door_duplicates: int

    @property
    def published(self) -> int:
        return sum(self.data) + self.letters + self.door_duplicates


def account(engine: Engine, topics: Topics, clock: Clock, contract: str) -> list[Account]:
    """One account for each subscription; for a major version without any, one whose `subscription` is None.

    Empty where no version of the contract was ever approved. Raises LogUnavailable, StoreUnavailable.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with transaction(snapshot) as connection:
        found = _read(connection, contract)
    now = clock()
    accounts = []
    for major, (held, door) in sorted(found.items()):
        data, dlq = names.data_topic(contract, major), names.dlq_topic(contract, major)
        ends = topics.end_offsets([data, dlq])
        log = Log(ends[data], sum(ends[dlq]), door)
        if not held:
            accounts.append(balance(contract, None, log, (), delivered=0, owed=False))
        for row, lanes in held:
            state = effective(SubscriptionState(row["state"]), row["expires_at"], now)
            accounts.append(
                balance(contract, row["id"], log, lanes, delivered=row["delivered"] or 0, owed=state in _OWED)
            )
    return accounts


def read(engine: Engine, topics: Topics, clock: Clock, actor: Actor, contract: str) -> list[Account]:
    """The accounts that the actor may see: all of them, or its own agency's subscriptions'. Raises NotFound,
    Forbidden."""
    with transaction(engine) as connection:
        owner = owner_of(connection, contract)
        rows = connection.execute(
            select(subscriptions.c.id, subscriptions.c.agency).where(subscriptions.c.contract == contract)
        )
        readers: dict[str | None, str] = {row.id: row.agency for row in rows}
    if owner is None:
        raise not_found(Text("contract", "hợp đồng dữ liệu"), contract, "contract")
    if not scopes(actor, Action.ACCOUNT_READ):
        raise Forbidden(decide(actor, Action.ACCOUNT_READ, Resource(owner)).reason)
    return [
        one
        for one in account(engine, topics, clock, contract)
        if decide(actor, Action.ACCOUNT_READ, Resource(owner, readers.get(one.subscription))).allowed
    ]


def balance(
    contract: str, subscription: str | None, log: Log, lanes: Sequence[Lane], *, delivered: int, owed: bool
) -> Account:
    """The account by the rules above. Pure. `owed`: the grant lives, so that what it hasn't had is pending."""
    passed_by_all = passed_by_each = repeats_once = repeats_each = 0
    for partition in range(len(log.data)):
        mine = [lane for lane in lanes if lane.partition == partition]
        if mine:
            slowest = min(mine, key=lambda lane: lane.passed)
            passed_by_all += slowest.passed
            repeats_once += slowest.duplicates
            passed_by_each += sum(lane.passed for lane in mine)
            repeats_each += sum(lane.duplicates for lane in mine)
    in_other_instances = (passed_by_each - passed_by_all) - (repeats_each - repeats_once)
    # A hand-over that counted more records than there are offsets is an error: it must show, so it isn't set off.
    replaced = max(0, sum(lane.acked - lane.start for lane in lanes) - delivered)
    filtered = sum(lane.filtered + lane.start for lane in lanes) + replaced - in_other_instances
    pending = sum(log.data) - passed_by_all + sum(lane.view - lane.acked for lane in lanes)
    second_lines = min(delivered, max(0, -filtered))
    delivered, filtered = delivered - second_lines, filtered + second_lines
    if filtered < 0:  # second lines that are still to be read
        pending, filtered = pending + filtered, 0
    if not owed:
        pending, filtered = 0, filtered + pending
    return Account(
        contract=contract,
        subscription=subscription,
        published=log.published,
        delivered=delivered,
        filtered=filtered,
        duplicate=log.door_duplicates + repeats_once,
        quarantined=log.letters,
        pending=pending,
    )


_Held = list[tuple[RowMapping, list[Lane]]]


def _read(connection: Connection, contract: str) -> dict[int, tuple[_Held, int]]:
    """For each major version: its subscriptions with their lanes, and the repeats that the door recognised."""
    majors = connection.scalars(
        select(contract_versions.c.major)
        .where(contract_versions.c.contract == contract, contract_versions.c.schema_id.is_not(None))
        .distinct()
    )
    found: dict[int, tuple[_Held, int]] = {}
    for major in majors.all():
        door = connection.scalar(
            select(func.coalesce(func.sum(receipts.c.duplicates), 0)).where(
                receipts.c.contract == contract, receipts.c.major == major
            )
        )
        rows = connection.execute(
            select(
                subscriptions.c.id,
                subscriptions.c.state,
                subscriptions.c.expires_at,
                cursors.c.start,
                cursors.c.acked,
                cursors.c.delivered,
            )
            .outerjoin(cursors, cursors.c.subscription == subscriptions.c.id)
            .where(subscriptions.c.contract == contract, subscriptions.c.major == major)
            .order_by(subscriptions.c.created_at, subscriptions.c.id)
        ).mappings()
        held = rows.all()
        positions = _positions(connection, {topic for row in held for topic in row["start"] or {}})
        found[major] = ([(row, _lanes(row, positions)) for row in held], int(door or 0))
    return found


def _positions(connection: Connection, topics: set[str]) -> dict[tuple[str, int], Any]:
    rows = connection.execute(select(view_positions).where(view_positions.c.topic.in_(topics)))
    return {(row.topic, row.partition): row for row in rows}


def _lanes(row: RowMapping, positions: Mapping[tuple[str, int], Any]) -> list[Lane]:
    lanes = []
    for topic, starts in (row["start"] or {}).items():
        for partition, start in enumerate(starts):
            stand = positions.get((topic, partition))
            lanes.append(
                Lane(
                    partition=partition,
                    passed=stand.source_offset if stand else 0,
                    view=stand.view_offset if stand else 0,
                    filtered=stand.filtered if stand else 0,
                    duplicates=stand.duplicates if stand else 0,
                    start=start,
                    acked=row["acked"][topic][partition],
                )
            )
    return lanes
