"""The loop of every source that can only be asked: a snapshot by pages, then what changed, then what is gone.

It knows no system: a `Reader` reads, the bus's client sends, `State` remembers. Everything is decided per key: the rows
of one key are read together, sent together, and compared with what was last sent of them, so that two rows with one key
are seen by the bus in one batch and the innocent one is sent again when the other has been corrected.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import orjson
import polars as pl

from bus.client import NDJSON, Client
from bus.model import Op, Receipt
from connectors.base import Report
from connectors.state import ROWS, State

# Frames: "light" is row, key, version; "full" has `line` too, the record as one line of JSON with its line feed.
LIGHT = {"row": pl.String, "key": pl.String, "version": pl.Int64}
FULL = LIGHT | {"line": pl.String}
HASH_SEED = 1
SETTLE_KEYS_MAX = 5_000  # read and sent at once when many rows change; bounds memory
MARK_SAVED_EVERY_S = 10.0  # an older mark only means that more is looked at again after a restart

Read = Callable[[Sequence[str], Sequence[str]], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class SourcePage:
    """Whole keys only. `next` is where to go on, opaque to all but the reader; None on the last page."""

    rows: pl.DataFrame
    next: str | None


class Reader(Protocol):
    """A table of some system. Called by one thread at a time. Raises SystemUnusable, SystemUnreachable."""

    def mark(self) -> str:
        """A point in the source's own time: whatever isn't visible yet will count as changed since it."""

    def page(self, position: str | None, limit: int) -> SourcePage:
        """The next full rows in key order, about `limit` of them."""

    def changed(self, since: str, overlap: bool) -> pl.DataFrame:
        """Light rows changed since a mark; with `overlap` also some that were seen before."""

    def scan(self) -> pl.DataFrame:
        """All rows, light."""

    def read(self, keys: Sequence[str], rows: Sequence[str]) -> pl.DataFrame:
        """Full rows of these keys, and those of `rows` (primary keys) that have no key."""

    def deletions(self) -> int | None:
        """A number that grows when rows are deleted; None where the system has none."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds, sizes in records and bytes."""

    poll_s: float
    rejected_s: float
    scan_s: float
    page_records: int
    batch_bytes_max: int
    in_flight: int


def run(
    reader: Reader,
    client: Client,
    contract: str,
    state: State,
    pace: Pace,
    stop: threading.Event,
    report: Report,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Snapshot where it isn't done, then changes until `stop` (may run again). Raises what reader and client raise."""
    outlet = Outlet(client, contract, state, pace.batch_bytes_max, report)
    if not state.progress.snapshot_done:
        _snapshot(reader, outlet, state, pace, stop, report)
    if not stop.is_set():
        _changes(reader, outlet, state, pace, stop, report, monotonic)


class Outlet:
    """Sends whole keys to the bus, in as few batches as their size allows."""

    def __init__(self, client: Client, contract: str, state: State, batch_bytes_max: int, report: Report) -> None:
        self._client = client
        self._contract = contract
        self._instance = state.progress.instance
        self._batch_bytes_max = batch_bytes_max
        self._report = report

    def send(self, rows: pl.DataFrame, label: str) -> list[int]:
        """Publish full rows in their order. Returns the indices of those that the bus rejected."""
        rejected: list[int] = []
        for start, length in _slices(rows, self._batch_bytes_max):
            body = _body(rows["line"].slice(start, length))
            receipt = self._publish(body, Op.UPSERT, f"{label}/{start}", length)
            rejected += [start + one.index for one in receipt.rejected]
        return rejected

    def delete(self, keys: Sequence[str], label: str) -> None:
        self._publish(b"\n".join(orjson.dumps(key) for key in keys), Op.DELETE, label, len(keys))

    def _publish(self, body: bytes, op: Op, label: str, records: int) -> Receipt:
        # The label is in the idempotency key because the same content may come again later and must count then;
        # the same batch sent again after a crash has the same label and must not.
        seed = hashlib.blake2b(f"{self._instance}/{label}/{op}".encode(), digest_size=32).digest()
        key = hashlib.blake2b(body, digest_size=16, key=seed).hexdigest()
        receipt = self._client.publish(self._contract, body, media_type=NDJSON, op=op, idempotency_key=key)
        facts = {"op": op.value, "records": records, "receipt": receipt.id, "accepted": receipt.accepted}
        classes = Counter(one.error_class.value for one in receipt.rejected)
        self._report("published", facts | {"duplicates": receipt.duplicates, "rejected": dict(classes)})
        return receipt


def _snapshot(reader: Reader, outlet: Outlet, state: State, pace: Pace, stop: threading.Event, report: Report) -> None:
    """Pages in key order; the next one is read while the last ones are on their way to the bus."""
    if state.progress.mark is None:  # taken before the first page is read, so that no change falls between
        state.commit(replace(state.progress, mark=reader.mark()), pl.DataFrame(schema=ROWS))
    report("snapshot_started", {"resumed": state.progress.page is not None, **state.count()})
    label = f"snapshot {state.progress.snapshot}"
    with ThreadPoolExecutor(1, "read") as reading, ThreadPoolExecutor(pace.in_flight, "send") as sending:
        sent: deque[tuple[SourcePage, Future[list[int]]]] = deque()
        position, more = state.progress.page, True
        read = reading.submit(reader.page, position, pace.page_records)
        while more and not stop.is_set():
            page = read.result()
            more = page.next is not None
            if more:
                read = reading.submit(reader.page, page.next, pace.page_records)
            sent.append((page, sending.submit(outlet.send, page.rows, f"{label} from {position}")))
            position = page.next
            while sent and (len(sent) >= pace.in_flight or not more):
                page, future = sent.popleft()
                rejected = future.result()
                _remember(lambda *asked: reading.submit(reader.read, *asked).result(), outlet, state, page, rejected)
    report("snapshot_done" if state.progress.snapshot_done else "snapshot_stopped", state.count())


def _remember(read: Read, outlet: Outlet, state: State, page: SourcePage, rejected: list[int]) -> None:
    keys, rows = _names(page.rows)
    known = state.known(keys, page.rows["row"].to_list())
    # Rows that had another key when they were sent last: that key may be gone. Settled before the page is remembered,
    # since afterwards nothing would remind of it.
    settle(read, outlet, state, _other_keys(known, keys), [])
    fresh = _sent(page.rows, rejected, known)
    progress = replace(state.progress, page=page.next, snapshot_done=page.next is None)
    state.commit(progress, fresh, keys if len(known) else (), rows if len(known) else ())


def _changes(
    reader: Reader,
    outlet: Outlet,
    state: State,
    pace: Pace,
    stop: threading.Event,
    report: Report,
    monotonic: Callable[[], float],
) -> None:
    """Every cycle what changed; at times the refused keys again, and a look at all rows for what no mark can tell."""
    mark, saved_at = state.progress.mark or reader.mark(), monotonic()
    deletions = reader.deletions()
    next_scan = next_rejected = monotonic()
    overlap = True
    report("following", state.count())
    while not stop.is_set():
        began = monotonic()
        next_mark, deletions_before, deletions = reader.mark(), deletions, reader.deletions()
        light = reader.changed(mark, overlap)
        settle(reader.read, outlet, state, *_touched(light, state.known([], light["row"].to_list())))
        mark, overlap = next_mark, False
        if began >= next_scan or deletions != deletions_before:
            settle(reader.read, outlet, state, *_different(reader.scan(), state.versions()))
            # A look at a big table takes long: never more than a twentieth of the time is spent on it.
            next_scan = monotonic() + max(pace.scan_s, 20 * (monotonic() - began))
        if began >= next_rejected:
            settle(reader.read, outlet, state, *state.rejected())
            next_rejected = monotonic() + pace.rejected_s
        if monotonic() - saved_at >= MARK_SAVED_EVERY_S:
            state.commit(replace(state.progress, mark=mark), pl.DataFrame(schema=ROWS))
            saved_at = monotonic()
        stop.wait(max(0.0, pace.poll_s - (monotonic() - began)))


def settle(read: Read, outlet: Outlet, state: State, keys: Sequence[str], rows: Sequence[str]) -> None:
    """Bring the bus to what the source holds now of these keys, and of these rows without a key."""
    for start in range(0, len(keys), SETTLE_KEYS_MAX):
        _settle(read, outlet, state, keys[start : start + SETTLE_KEYS_MAX], [])
    for start in range(0, len(rows), SETTLE_KEYS_MAX):
        _settle(read, outlet, state, [], rows[start : start + SETTLE_KEYS_MAX])


def _settle(read: Read, outlet: Outlet, state: State, keys: Sequence[str], rows: Sequence[str]) -> None:
    while True:  # until every row that is read had, when it was sent last, one of the keys that are read
        full = read(keys, rows)
        known = state.known(keys, [*full["row"].to_list(), *rows])
        others = _other_keys(known, keys)
        if not others:
            break
        keys = [*keys, *others]
    now, before = _contents(full.with_columns(_HASH)), _contents(known)
    changed = full.filter(_GROUP.is_in([group for group, content in now.items() if before.get(group) != content]))
    accepted = known.filter(pl.col("accepted") & pl.col("key").is_not_null())["key"].unique(maintain_order=True)
    gone = [key for key in accepted.to_list() if key not in now]
    label = f"batch {state.progress.batch}"
    rejected = outlet.send(changed, label) if len(changed) else []
    if gone:
        outlet.delete(gone, label)
    fresh = pl.concat([_sent(changed, rejected, known), _unchanged(full, changed, known)])
    if len(changed) or gone or not fresh.sort("row").equals(known.sort("row")):
        batch = state.progress.batch + (1 if len(changed) or gone else 0)
        state.commit(replace(state.progress, batch=batch), fresh, keys, rows)


_HASH = pl.col("line").hash(HASH_SEED).reinterpret(signed=True).alias("hash")
# Rows without a key stand for themselves; no key of a source contains NUL.
_GROUP = pl.coalesce(pl.col("key"), pl.concat_str(pl.lit("\0"), pl.col("row")))


def _sent(rows: pl.DataFrame, rejected: list[int], known: pl.DataFrame) -> pl.DataFrame:
    """What to remember of full rows after the bus's answer; a key that it once accepted stays accepted."""
    refused = pl.Series("refused", rejected, dtype=pl.UInt32)
    ever = known.filter("accepted")["key"].drop_nulls().implode()
    return (
        rows.with_row_index("index")
        .with_columns(_HASH, refused=pl.col("index").is_in(refused.implode()), group=_GROUP)
        .with_columns(
            accepted=(~pl.col("refused")).any().over("group") | pl.col("key").is_in(ever).fill_null(False),
            rejected=pl.col("refused").any().over("group"),
        )
        .select(list(ROWS))
    )


def _unchanged(full: pl.DataFrame, changed: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """Rows whose content is what was sent, with the versions they have now."""
    rest = full.join(changed, on="row", how="anti")
    return rest.join(known.drop("key", "version"), on="row", how="inner").select(list(ROWS))


def _contents(rows: pl.DataFrame) -> dict[str, set[tuple[str, int]]]:
    contents: dict[str, set[tuple[str, int]]] = {}
    for group, row, content in rows.select(_GROUP.alias("group"), "row", "hash").iter_rows():
        contents.setdefault(group, set()).add((row, content))
    return contents


def _touched(light: pl.DataFrame, known: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Keys and keyless rows that light rows point at, leaving out rows of a version that was sent."""
    moved = light.join(known.select("row", "version"), on=["row", "version"], how="anti")
    before = known.join(moved, on="row", how="semi")
    return _names(pl.concat([moved.select("row", "key"), before.select("row", "key")]))


def _different(light: pl.DataFrame, known: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The same for all rows of the source against all that were sent: also what is gone."""
    keys, rows = _touched(light, known)
    gone_keys, gone_rows = _names(known.join(light, on="row", how="anti"))
    return list(dict.fromkeys([*keys, *gone_keys])), list(dict.fromkeys([*rows, *gone_rows]))


def _names(rows: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The keys among rows, and the rows that have none."""
    without = pl.col("key").is_null()
    keys = rows.filter(~without)["key"].unique(maintain_order=True)
    return keys.to_list(), rows.filter(without)["row"].unique(maintain_order=True).to_list()


def _other_keys(known: pl.DataFrame, keys: Sequence[str]) -> list[str]:
    found = set(known["key"].drop_nulls().to_list())
    return sorted(found - set(keys))


def _body(lines: pl.Series) -> bytes:
    """The lines one after the other: the very bytes of an Arrow column, several times faster than joining them."""
    column = lines.to_arrow(compat_level=pl.CompatLevel.oldest())  # large_string: validity, offsets, bytes
    _, offsets, content = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return bytes(memoryview(content)[ends[0] : ends[-1]])


def _slices(rows: pl.DataFrame, bytes_max: int) -> list[tuple[int, int]]:
    """(start, length) of batches under `bytes_max`, cut between keys only; a key bigger than that goes alone."""
    sizes = rows["line"].str.len_bytes()
    if int(sizes.sum() or 0) <= bytes_max:
        return [(0, len(rows))] if len(rows) else []
    slices: list[tuple[int, int]] = []
    start = size = 0
    for group_start, length, group_bytes in _runs(rows, sizes):
        if size and size + group_bytes > bytes_max:
            slices.append((start, group_start - start))
            start, size = group_start, 0
        size += group_bytes
        end = group_start + length
    return [*slices, (start, end - start)]


def _runs(rows: pl.DataFrame, sizes: pl.Series) -> Iterator[tuple[int, int, int]]:
    """(start, length, bytes) of neighbours with the same key."""
    groups = rows.select(_GROUP.rle_id().alias("run"), sizes.alias("size")).group_by("run", maintain_order=True)
    start = 0
    for _, length, size in groups.agg(pl.len(), pl.col("size").sum()).iter_rows():
        yield start, length, size
        start += length
