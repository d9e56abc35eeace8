"""Sending a quarantined record again: as it came (replay, when a rule or a code list was mended) or with a corrected value.

The record goes through the same door as any other. Where it is still wrong, nothing changes and the answer says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from bus.catalogue import ActiveContract, Catalogue
from bus.control import quarantine
from bus.control.quarantine import Entry
from bus.errors import Conflict, NotFound, Problem, Text
from bus.log import topics as names
from bus.log.reader import Readers
from bus.model import Actor, Clock, Op, QuarantineState
from bus.publish import NDJSON, Batch, Door, publish
from bus.store.engine import transaction


@dataclass(frozen=True, slots=True)
class Replayer:
    """What sending again needs."""

    door: Door
    readers: Readers
    catalogue: Catalogue
    clock: Clock

    def __call__(self, actor: Actor, id: int, value: dict[str, Any] | None, *, source: str | None = None) -> Entry:
        """Publish the record of entry `id`, or `value` in its place, and close the entry.

        Raises NotFound, Forbidden, Conflict where the entry is closed or the record is still rejected (with the rejection as
        the problem), LogUnavailable, StoreUnavailable.
        """
        with transaction(self.door.engine) as connection:
            entry = quarantine.open_entry(connection, actor, id)
        active = self.catalogue.active(entry.contract)
        original, op = self._letter(entry)
        batch = Batch(original if value is None else orjson.dumps(value), NDJSON, op, dry_run=True)
        self._demand_accepted(actor, active, batch)
        publish(self.door, actor, active, Batch(batch.body, NDJSON, op))
        return self._close(actor, entry, value is not None, source)

    def _letter(self, entry: Entry) -> tuple[bytes, Op]:
        topic = names.dlq_topic(entry.contract, entry.major)
        records = self.readers.read({topic: [entry.offset]}, {topic: [entry.offset + 1]}, 1, with_headers=True)
        if not records or records.offsets[0] != entry.offset:
            raise NotFound(
                Text(
                    "the record's bytes are no longer kept; correct it at its source",
                    "dữ liệu gốc của bản ghi không còn được lưu; hãy đính chính tại gốc",
                )
            )
        headers = dict(records.headers[0] or [])
        return records.values[0] or b"", Op(headers.get("lgsp-op", b"upsert").decode())

    def _demand_accepted(self, actor: Actor, active: ActiveContract, batch: Batch) -> None:
        rejected = publish(self.door, actor, active, batch).rejected
        if rejected:
            raise Conflict(
                Text("the record is still rejected", "bản ghi vẫn chưa đạt"),
                [Problem(r.path, r.code, r.message) for r in rejected],
            )

    def _close(self, actor: Actor, entry: Entry, corrected: bool, source: str | None) -> Entry:
        state = QuarantineState.CORRECTED if corrected else QuarantineState.REPLAYED
        action = "quarantine.correct" if corrected else "quarantine.replay"
        with transaction(self.door.engine) as connection:
            return quarantine.close(connection, self.clock, actor, entry, state, action, source=source)
