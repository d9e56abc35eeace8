"""materialise(): from the data topic to the topics of the views, exactly once in effect.

One worker owns a contract. It reads the data topic in batches; per batch it tells repeats from news by each key's last digest,
decodes once, and per view filters, selects, masks and encodes; a record that leaves a view's filter becomes a tombstone there. What
is out is written to the database after Kafka's acknowledgement, with the source position, in one transaction for all views.

After a crash it goes on from the last positions in the database. What the view topics hold beyond them was written by the batch that
the crash cut: the outputs are made again, since they depend on nothing but the data topic, and those that are there are recognised
and left out. Each batch's last record also carries its source position (`lgsp-source`), for readers, and for the case that the
database lost the positions.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl
from sqlalchemy import Connection, Engine

from bus.catalogue import ActiveContract, ActiveView, Catalogue, decode, empty
from bus.errors import LogUnavailable, Text
from bus.log.connection import KafkaConnection
from bus.log.keytable import ABSENT, DELETED, KeyTable, digests, key_hashes, previous
from bus.log.position import source_header
from bus.log.reader import Follower, Records, scan
from bus.log.topics import Topics
from bus.log.writer import Append, Writer
from bus.model import Clock
from bus.outlets import Outlet, find_tail, load_outlets, save
from bus.settings import Settings
from bus.store.engine import held
from monitoring import metrics
from registry.codec import framing

logger = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]
PRESENT = 1


@dataclass(frozen=True, slots=True)
class Plant:
    """What a worker needs."""

    engine: Engine
    connection: KafkaConnection
    topics: Topics
    writer: Writer
    catalogue: Catalogue
    clock: Clock
    settings: Settings


@dataclass(slots=True)
class Stage:
    """One view at work: its outlets, and for views with a filter which outlet each key is in.

    Where a record may be in several instances at once each outlet is a stage of its own.
    """

    active: ActiveView
    outlets: list[Outlet]
    members: KeyTable | None
    codes: dict[str, int]  # instance -> what `members` holds for a key that is in it


@dataclass(slots=True)
class Line:
    """Outlets that stand at one source position, and what must be known of each key there."""

    contract: ActiveContract
    outlets: list[Outlet]
    source: dict[int, int]
    contents: KeyTable = field(default_factory=KeyTable)
    stages: list[Stage] = field(default_factory=list)


def materialise(plant: Plant, contract: str, changed: threading.Event, stop: threading.Event) -> None:
    """Work on one contract until `stop`, or until `changed` says that views or instances came or went.

    Outlets that lag, since their instance was granted just now, are brought to where the others stand before all go on together.
    Where another process works on it, this one waits a little and returns. Raises Unavailable errors; the caller starts again,
    and nothing is lost or done twice.
    """
    with held(plant.engine, f"views:{contract}") as holder:
        if holder is None:
            stop.wait(1.0)
        else:
            _work(plant, holder, contract, changed, stop)


def _work(plant: Plant, holder: Connection, contract: str, changed: threading.Event, stop: threading.Event) -> None:
    changed.clear()
    active = plant.catalogue.active(contract)
    partitions = plant.topics.partitions(active.data_topic)
    outlets = load_outlets(plant.engine, active.contract.id, active.contract.major, partitions)
    _recover(plant, holder, contract, outlets)
    groups: dict[tuple[int, ...], list[Outlet]] = defaultdict(list)
    for outlet in outlets:
        groups[tuple(outlet.source)].append(outlet)
    front = [max((o.source[p] for o in outlets), default=0) for p in range(partitions)]
    for source in sorted(groups):
        if list(source) != front:
            lagging = make_line(plant, active, groups[source])
            if not run(plant, holder, lagging, stop, until=dict(enumerate(front))):
                return
    if outlets and not stop.is_set():
        run(plant, holder, make_line(plant, active, outlets), stop, changed=changed)
    else:
        changed.wait(1.0)


def _recover(plant: Plant, holder: Connection, contract: str, outlets: Sequence[Outlet]) -> None:
    """Find out what each view topic holds beyond the stored position; see the module's text."""
    topics = [outlet.topic for outlet in outlets]
    begins, ends = plant.topics.start_offsets(topics), plant.topics.end_offsets(topics)
    for outlet in outlets:
        if outlet.view != ends[outlet.topic]:
            find_tail(plant.connection, outlet, begins[outlet.topic], ends[outlet.topic])
            found = [p for p, source in enumerate(outlet.source) if source != outlet.stored_source[p]]
            save(holder, contract, [outlet], found)
            logger.info("%s: %d records written before a crash are recognised", outlet.topic, outlet.tail_records)


def make_line(plant: Plant, active: ActiveContract, outlets: Sequence[Outlet]) -> Line:
    """Rebuild from the topics what must be known of each key at the outlets' position."""
    line = Line(active, list(outlets), dict(enumerate(outlets[0].source)))
    begin = plant.topics.start_offsets([active.data_topic])
    at = {active.data_topic: [max(b, line.source[p]) for p, b in enumerate(begin[active.data_topic])]}
    for records in scan(plant.connection, begin, at):
        _last_contents(line.contents, records)
    by_view: dict[str, list[Outlet]] = defaultdict(list)
    for outlet in outlets:
        by_view[outlet.view_name].append(outlet)
    for name, members in by_view.items():
        if name in active.views:  # a view that the newest version no longer has gets nothing more
            line.stages += _stages(plant, active, active.views[name], members)
    return line


def _last_contents(table: KeyTable, records: Records) -> None:
    hashes, contents = key_hashes(records.keys), digests(records.values)
    _, last = previous(table, hashes, contents)
    table.put(hashes[last], contents[last])


def _stages(plant: Plant, contract: ActiveContract, active: ActiveView, outlets: Sequence[Outlet]) -> list[Stage]:
    view = active.view
    if not view.filtered:
        return [Stage(active, [outlet], None, {}) for outlet in outlets]
    many = view.reader_attribute is not None and view.instances(empty(contract.codec)).dtype == pl.List(pl.String)
    groups = [[outlet] for outlet in outlets] if many else [list(outlets)]
    stages = []
    for group in groups:
        stage = Stage(active, group, KeyTable(), {o.instance or "": PRESENT + i for i, o in enumerate(group)})
        for outlet in group:
            _members(plant, stage, outlet)
        stages.append(stage)
    return stages


def _members(plant: Plant, stage: Stage, outlet: Outlet) -> None:
    """Read the outlet's topic up to its position: the keys that are in it."""
    assert stage.members is not None
    code = stage.codes[outlet.instance or ""]
    begin = plant.topics.start_offsets([outlet.topic])
    end = {outlet.topic: [max(b, v) for b, v in zip(begin[outlet.topic], outlet.view, strict=True)]}
    for records in scan(plant.connection, begin, end):
        hashes = key_hashes(records.keys)
        inside = np.fromiter((value is not None for value in records.values), np.bool_, len(records))
        _, last = previous(stage.members, hashes, inside.astype(np.int64))
        held = stage.members.get(hashes[last])
        now = np.where(inside[last], code, np.where(held == code, ABSENT, held))
        stage.members.put(hashes[last], now)


def run(
    plant: Plant,
    holder: Connection,
    line: Line,
    stop: threading.Event,
    *,
    until: dict[int, int] | None = None,
    changed: threading.Event | None = None,
) -> bool:
    """Batch after batch, to `until` or for ever; whether it got there. False where the line is outdated, or at `stop`."""
    follower = Follower(plant.connection, line.contract.data_topic, line.source)
    try:
        while not stop.is_set():
            if changed is not None and changed.is_set():
                changed.clear()
                if _is_outdated(plant, line):
                    return False
            if until is not None and all(line.source[p] >= offset for p, offset in until.items()):
                return True
            records = follower.read(plant.settings.view_batch_records, plant.settings.view_poll_ms / 1000)
            if until is not None:
                records = records.below(until)
            if len(records) and _is_newer(plant, line, records):
                return False
            if len(records):
                step(plant, holder, line, records)
        return False
    finally:
        follower.close()


def _is_newer(plant: Plant, line: Line, records: Records) -> bool:
    """Whether records of a version came that is younger than the line: its views may show more than the line's do."""
    seen = {value[1:5] for value in records.values if value}
    unknown = {int.from_bytes(one, "big") for one in seen} - set(line.contract.versions)
    if not unknown:
        return False
    plant.catalogue.forget()
    return not unknown.isdisjoint(plant.catalogue.active(line.contract.contract.id).versions)


def _is_outdated(plant: Plant, line: Line) -> bool:
    """Whether a view, an instance or a version came or went since the line was made."""
    contract = line.contract.contract
    now = plant.catalogue.active(contract.id)
    topics = {target.topic for target in plant.catalogue.targets(contract.id, contract.major)}
    return now.contract.version != contract.version or topics != {outlet.topic for outlet in line.outlets}


def step(plant: Plant, holder: Connection | Engine, line: Line, records: Records) -> None:
    """One batch through all views; returns when everything is acknowledged and the positions are stored, by `holder`."""
    partitions = np.asarray(records.partitions)
    offsets = np.asarray(records.offsets)
    hashes, contents = key_hashes(records.keys), digests(records.values)
    before, last = previous(line.contents, hashes, contents)
    fresh = (before != contents) & ~((contents == DELETED) & (before == ABSENT))
    rows = np.flatnonzero(fresh)
    live = rows[contents[rows] != DELETED]
    active = line.contract
    values = [records.values[i] for i in live.tolist()]
    frame = decode(plant.catalogue, values, active.schema_id, active.codec)
    keys = pl.Series(records.keys, dtype=pl.Binary).gather(rows).cast(pl.String)
    source = {int(p): int(offsets[partitions == p][-1]) + 1 for p in np.unique(partitions)}
    appends: list[tuple[Outlet, int, int, Append | None]] = []
    for stage in line.stages:
        appends += _through(plant, stage, records, frame, keys, rows, live, partitions, source)
    for outlet, partition, records_out, append in appends:
        _acknowledge(plant, outlet, partition, records_out, append)
    line.contents.put(hashes[last], contents[last])
    repeats = np.bincount(partitions[~fresh], minlength=max(source) + 1)
    _advance(line, source, repeats)
    save(holder, line.contract.contract.id, line.outlets, list(source))
    _count(line, records, int(repeats.sum()), plant.clock)


def _through(
    plant: Plant,
    stage: Stage,
    records: Records,
    frame: pl.DataFrame,
    keys: pl.Series,
    rows: npt.NDArray[np.intp],
    live: npt.NDArray[np.intp],
    partitions: npt.NDArray[np.int_],
    source: dict[int, int],
) -> list[tuple[Outlet, int, int, Append | None]]:
    """One view: which of the rows go out to which outlet as what, in order."""
    view = stage.active.view
    view_keys = view.keys(keys)
    inside = _codes(stage, frame)  # per live record the code of the instance it is in, 0 for none
    now = np.zeros(len(rows), np.int64)
    is_live = np.isin(rows, live, assume_unique=True)
    now[is_live] = inside
    if stage.members is None:
        was = np.full(len(rows), PRESENT)
    else:
        key_column = view_keys.cast(pl.Binary)
        hashes = key_hashes(key_column)
        was, last = previous(stage.members, hashes, now)
        stage.members.put(hashes[last], now[last])
    bodies = _bodies(stage, records, frame, live, inside)
    number = np.cumsum(is_live) - 1  # row -> its place among the live records
    key_bytes = view_keys.cast(pl.Binary).to_list()
    appends = []
    for outlet in stage.outlets:
        code = stage.codes.get(outlet.instance or "", PRESENT)
        gone = (was == code) & (now != code)
        out = np.flatnonzero((now == code) | gone)
        where = partitions[rows[out]]
        for partition, after in source.items():
            chosen = out[where == partition].tolist()
            if chosen:
                appends.append(
                    _emit(
                        plant,
                        outlet,
                        partition,
                        after,
                        [key_bytes[i] for i in chosen],
                        [None if gone[i] else bodies[number[i]] for i in chosen],
                        [records.timestamps[rows[i]] for i in chosen],
                    )
                )
    return appends


def _codes(stage: Stage, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
    view = stage.active.view
    kept = view.keep(frame).to_numpy()
    if view.reader_attribute is None:
        return kept.astype(np.int64)
    instances = view.instances(frame)
    if instances.dtype == pl.List(pl.String):
        (name,) = stage.codes
        inside = instances.list.contains(name).fill_null(False).to_numpy().astype(np.int64)
    else:
        inside = (
            instances.replace_strict(stage.codes, default=ABSENT, return_dtype=pl.Int64).fill_null(ABSENT).to_numpy()
        )
    return np.where(kept, inside, ABSENT)


def _bodies(
    stage: Stage,
    records: Records,
    frame: pl.DataFrame,
    live: npt.NDArray[np.intp],
    inside: npt.NDArray[np.int64],
) -> list[bytes | None]:
    """Framed bytes per live record; None for those that no outlet takes."""
    view = stage.active.view
    if view.passthrough:
        return [records.values[i] for i in live.tolist()]
    wanted = inside != ABSENT
    if wanted.all():
        return list(framing.add(stage.active.codec.encode(view.project(frame)), stage.active.schema_id).to_pylist())
    bodies: list[bytes | None] = [None] * len(live)
    some = view.project(frame.filter(pl.Series(wanted)))
    encoded = framing.add(stage.active.codec.encode(some), stage.active.schema_id).to_pylist()
    for place, body in zip(np.flatnonzero(wanted).tolist(), encoded, strict=True):
        bodies[place] = body
    return bodies


def _emit(
    plant: Plant,
    outlet: Outlet,
    partition: int,
    after: int,
    keys: list[bytes],
    values: list[bytes | None],
    timestamps: list[int],
) -> tuple[Outlet, int, int, Append | None]:
    """Append what isn't in the topic yet. A view's record has the time at which its source was published."""
    known = outlet.recognise(partition, keys, values)
    total = len(keys)
    if known == total:
        return outlet, partition, total, None
    append = plant.writer.append(
        outlet.topic,
        keys[known:],
        values[known:],
        partition=partition,
        last_headers=[source_header(partition, after)],
        timestamps=timestamps[known:],
    )
    return outlet, partition, total, append


def _acknowledge(plant: Plant, outlet: Outlet, partition: int, records_out: int, append: Append | None) -> None:
    if append is not None:
        positions = append.wait(plant.writer.timeout_s)
        if positions[partition][1] != outlet.view[partition] + records_out:
            raise LogUnavailable(
                Text(
                    f"{outlet.topic}: another worker writes here; this one begins anew",
                    f"{outlet.topic}: tiến trình khác đang ghi; tiến trình này bắt đầu lại",
                )
            )
    outlet.view[partition] += records_out
    outlet.sent[partition] += records_out


def _advance(line: Line, source: dict[int, int], repeats: npt.NDArray[np.int_]) -> None:
    """Move all outlets on; what the source held and neither went out nor repeated was filtered (or compacted away)."""
    for partition, after in source.items():
        passed = after - line.source[partition]
        for outlet in line.outlets:
            outlet.filtered[partition] += passed - int(repeats[partition]) - outlet.sent[partition]
            outlet.duplicates[partition] += int(repeats[partition])
            outlet.sent[partition] = 0
            outlet.source[partition] = after
        line.source[partition] = after


def _count(line: Line, records: Records, repeats: int, clock: Clock) -> None:
    contract = line.contract.contract.id
    metrics.MATERIALISED.labels(contract).inc(len(records))
    metrics.REPEATS.labels(contract).inc(repeats)
    metrics.VIEW_DELAY.labels(contract).set(max(0.0, clock().timestamp() - records.timestamps[-1] / 1000))
