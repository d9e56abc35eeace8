"""publish(): how a batch of records enters the bus. One straight function; its steps are below it and don't call each other.

What comes back is durable: accepted records are in the data topic with Kafka's acknowledgement, rejected ones in the dead letter
with their bytes and the reason, before the receipt is written and the answer given.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from bus.audit import journal
from bus.catalogue import ActiveContract
from bus.doorcache import Claim, DoorCache
from bus.errors import Conflict, Problem, Text, UnsupportedMediaType
from bus.letters import append_letters, close_corrected, index_letters
from bus.log.keytable import digests, key_hashes
from bus.log.writer import Append, Writer
from bus.model import Actor, Clock, Op, Receipt, Rejection
from bus.settings import Settings
from bus.store.engine import transaction
from bus.store.tables import receipts
from bus.turns import Turns
from monitoring import metrics
from registry.codec import framing
from registry.errors import ErrorClass
from registry.parse import (
    Limits,
    Parsed,
    parse_arrow,
    parse_avro_container,
    parse_json_array,
    parse_keys,
    parse_ndjson,
)

JSON = "application/json"
NDJSON = "application/x-ndjson"
AVRO = "application/avro"
ARROW = "application/vnd.apache.arrow.stream"
TYPES = (JSON, NDJSON, AVRO, ARROW)


@dataclass(frozen=True, slots=True)
class Door:
    """What publishing needs. `caches` is None where other processes publish too."""

    engine: Engine
    writer: Writer
    clock: Clock
    settings: Settings
    caches: dict[str, DoorCache] | None
    turns: Turns = field(default_factory=Turns)  # of idempotency keys


@dataclass(frozen=True, slots=True)
class Batch:
    """A request to publish, as it came. `media_type` is without parameters, in lower case."""

    body: bytes
    media_type: str
    op: Op = Op.UPSERT
    idempotency_key: str | None = None
    dry_run: bool = False


def publish(door: Door, actor: Actor, active: ActiveContract, batch: Batch) -> Receipt:
    """Check, append, account; see the module. The caller has decided that `actor` may publish here.

    Raises registry.errors.BodyInvalid for a body that can't be cut into records, TooLarge, Conflict for an idempotency key used
    with another body, LogUnavailable or StoreUnavailable when nothing may count as accepted: sending the same again is safe then.
    """
    if not batch.idempotency_key:
        return _publish(door, actor, active, batch)
    with door.turns.of((actor.client_id, active.contract.id, batch.idempotency_key)):
        return _earlier_receipt(door, actor, active, batch) or _publish(door, actor, active, batch)


def _publish(door: Door, actor: Actor, active: ActiveContract, batch: Batch) -> Receipt:
    parsed = _parse(door, active, batch)
    rejections, kept = _judge(door, active, parsed, batch.op)
    keys, values = _encode(active, parsed.frame.filter(kept), batch.op)
    rejections, keys, values = _refuse_oversize(door, parsed, rejections, kept, keys, values)
    if batch.dry_run:
        return Receipt("", len(keys), 0, tuple(rejections))
    receipt_id = f"rcp_{secrets.token_hex(12)}"
    append, claim, duplicates = _append(door, active, keys, values)
    letters = append_letters(
        door.writer,
        active,
        rejections,
        parsed.originals,
        publisher=actor.client_id,
        receipt=receipt_id,
        op=batch.op,
    )
    positions = append.wait(door.writer.timeout_s)
    letters.wait(door.writer.timeout_s)
    if door.caches is not None:
        door.caches[active.data_topic].settle(claim)
    receipt = Receipt(receipt_id, len(keys) - duplicates, duplicates, tuple(rejections))
    try:
        _record(door, actor, active, batch, receipt, keys, positions, letters.offsets)
    except IntegrityError:
        # The same idempotency key at the same moment, by another process; the records it repeated are silent for subscribers.
        if batch.idempotency_key and (earlier := _earlier_receipt(door, actor, active, batch)):
            return earlier
        raise
    _count(active, receipt)
    return receipt


def _earlier_receipt(door: Door, actor: Actor, active: ActiveContract, batch: Batch) -> Receipt | None:
    query = select(receipts).where(
        receipts.c.client == actor.client_id,
        receipts.c.contract == active.contract.id,
        receipts.c.idempotency_key == batch.idempotency_key,
    )
    with transaction(door.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != hashlib.sha256(batch.body).digest() or row.op != batch.op:
        message = Text(
            "this idempotency key was used with another body", "khóa chống lặp này đã được dùng với nội dung khác"
        )
        raise Conflict(message, [Problem("Idempotency-Key", "idempotency_key_reused", message)])
    rejected = tuple(
        Rejection(r["index"], r["key"], ErrorClass(r["class"]), r["path"], r["code"], Text(r["en"], r["vi"]))
        for r in row.rejected
    )
    return Receipt(row.id, row.accepted, row.duplicates, rejected)


def _parse(door: Door, active: ActiveContract, batch: Batch) -> Parsed:
    limits = Limits(door.settings.publish_records_max, door.settings.record_bytes_max)
    contract = active.contract
    if batch.op is Op.DELETE and batch.media_type in (JSON, NDJSON):
        return parse_keys(batch.body, contract, array=batch.media_type == JSON, limits=limits)
    parsers = {JSON: parse_json_array, NDJSON: parse_ndjson, AVRO: parse_avro_container, ARROW: parse_arrow}
    if batch.op is Op.DELETE or batch.media_type not in parsers:
        taken = ", ".join((JSON, NDJSON) if batch.op is Op.DELETE else parsers)
        found = batch.media_type or "none"
        message = Text(
            f"Content-Type: found {found}, expected one of {taken}", f"Content-Type: có {found}, cần một trong {taken}"
        )
        raise UnsupportedMediaType(message, [Problem("Content-Type", "unsupported_media_type", message)])
    return parsers[batch.media_type](batch.body, contract, limits)


def _judge(door: Door, active: ActiveContract, parsed: Parsed, op: Op) -> tuple[list[Rejection], pl.Series]:
    """The first thing that is wrong with each record, by index; and which rows of the frame are left."""
    found = {
        p.index: Rejection(p.index, p.key, p.error_class, p.path, p.code, p.message) for p in reversed(parsed.rejected)
    }
    if op is Op.DELETE or parsed.frame.is_empty():
        return sorted(found.values(), key=lambda r: r.index), pl.repeat(True, parsed.frame.height, eager=True)
    failures = active.rules.check(parsed.frame, door.clock().date()).unique("index", keep="first", maintain_order=True)
    keys = parsed.frame[active.contract.key]
    for row, rule, error_class, path in failures.select("index", "rule", "error_class", "path").iter_rows():
        index = parsed.index[row]
        found[index] = Rejection(index, keys[row], ErrorClass(error_class), path, rule, active.rules.message(rule))
    kept = ~pl.int_range(parsed.frame.height, dtype=pl.UInt32, eager=True).is_in(failures["index"].implode())
    return sorted(found.values(), key=lambda r: r.index), kept


def _encode(active: ActiveContract, frame: pl.DataFrame, op: Op) -> tuple[list[bytes], list[bytes | None]]:
    keys = frame[active.contract.key].cast(pl.Binary).to_list()
    if op is Op.DELETE:
        return keys, [None] * len(keys)
    return keys, framing.add(active.codec.encode(frame), active.schema_id).to_pylist()


def _refuse_oversize(
    door: Door,
    parsed: Parsed,
    rejections: list[Rejection],
    kept: pl.Series,
    keys: list[bytes],
    values: list[bytes | None],
) -> tuple[list[Rejection], list[bytes], list[bytes | None]]:
    most = door.settings.record_bytes_max
    over = [i for i, value in enumerate(values) if value is not None and len(value) > most]
    if not over:
        return rejections, keys, values
    index = parsed.index.filter(kept)
    for i in over:
        size = len(values[i] or b"")
        message = Text(f"found a record of {size} bytes, at most {most}", f"bản ghi có {size} byte, tối đa {most} byte")
        rejections.append(Rejection(index[i], keys[i].decode(), ErrorClass.OUTLIER, "", "record_too_large", message))
    left = [i for i in range(len(keys)) if i not in set(over)]
    return sorted(rejections, key=lambda r: r.index), [keys[i] for i in left], [values[i] for i in left]


def _append(
    door: Door, active: ActiveContract, keys: list[bytes], values: list[bytes | None]
) -> tuple[Append, Claim, int]:
    """Put the fresh records in the log's queue, in order; what repeats within the batch or in the cache is left out."""
    cache = _cache(door, active.data_topic, len(keys))
    hashes, contents = key_hashes(keys), digests(values)
    with cache.lock:
        claim = cache.claim(hashes, contents)
        if claim.fresh.all():
            return door.writer.append(active.data_topic, keys, values), claim, 0
        fresh = claim.fresh.nonzero()[0].tolist()
        append = door.writer.append(active.data_topic, [keys[i] for i in fresh], [values[i] for i in fresh])
    return append, claim, len(keys) - len(fresh)


def _cache(door: Door, topic: str, records: int) -> DoorCache:
    """The topic's memory, made at its first batch; one for this batch alone where there are other doors."""
    if door.caches is None:
        return DoorCache(records)
    cache = door.caches.get(topic)
    return cache or door.caches.setdefault(topic, DoorCache(door.settings.door_cache_records))


def _record(
    door: Door,
    actor: Actor,
    active: ActiveContract,
    batch: Batch,
    receipt: Receipt,
    keys: list[bytes],
    positions: dict[int, list[int]],
    letters: list[int],
) -> None:
    contract, major = active.contract.id, active.contract.major
    with transaction(door.engine) as connection:
        connection.execute(
            insert(receipts).values(
                id=receipt.id,
                contract=contract,
                major=major,
                client=actor.client_id,
                op=batch.op,
                idempotency_key=batch.idempotency_key,
                body_sha256=hashlib.sha256(batch.body).digest(),
                accepted=receipt.accepted,
                duplicates=receipt.duplicates,
                rejected=[_row(r) for r in receipt.rejected],
                positions={str(p): span for p, span in positions.items()},
            )
        )
        index_letters(connection, active, receipt.rejected, letters, publisher=actor.client_id, receipt=receipt.id)
        close_corrected(connection, active, keys, actor)
        journal.record(
            connection,
            actor,
            "publish",
            contract,
            "accepted" if not receipt.rejected else "partly" if keys else "rejected",
            {
                "receipt": receipt.id,
                "op": batch.op,
                "accepted": receipt.accepted,
                "duplicates": receipt.duplicates,
                "rejected": len(receipt.rejected),
                "positions": {str(p): span for p, span in positions.items()},
            },
        )


def _row(rejection: Rejection) -> dict[str, Any]:
    return {
        "index": rejection.index,
        "key": rejection.key,
        "class": rejection.error_class,
        "path": rejection.path,
        "code": rejection.code,
        "en": rejection.message.en,
        "vi": rejection.message.vi,
    }


def _count(active: ActiveContract, receipt: Receipt) -> None:
    contract = active.contract.id
    metrics.PUBLISHED.labels(contract, "accepted").inc(receipt.accepted)
    metrics.PUBLISHED.labels(contract, "duplicate").inc(receipt.duplicates)
    for rejection in receipt.rejected:
        metrics.QUARANTINED.labels(contract, rejection.error_class).inc()
