"""What the door remembers of the records that it let in, so that a poller's repeats don't fill the log.

It is right only where this process is the only door to the contract's topic, so it's off elsewhere; the exact answer is the view
worker's in any case. A key that is under way is unknown until Kafka acknowledged it: of two requests at once neither may take the
other's record for settled.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bus.log.keytable import DELETED, UNKNOWN, Hashes, KeyTable, Values


@dataclass(frozen=True, slots=True)
class Claim:
    """`fresh` marks the records of the batch to append; `hashes` and `digests` are each key's last."""

    ticket: int
    fresh: npt.NDArray[np.bool_]
    hashes: Hashes
    digests: Values


class DoorCache:
    """One contract's memory, bounded: when it's full it begins anew. Hold `lock` from `claim` until the records are in the queue."""

    def __init__(self, records_max: int) -> None:
        self.lock = threading.Lock()
        self._records_max = records_max
        self._ticket = 0
        self._begin()

    def _begin(self) -> None:
        self._digests = KeyTable()
        self._tickets = KeyTable()
        self._count = 0

    def claim(self, hashes: Hashes, digests: Values) -> Claim:
        """Tell repeats from fresh records, in the batch's order, and mark the fresh ones' keys as under way."""
        if self._count + len(hashes) > self._records_max:
            self._begin()
        self._count += len(hashes)
        self._ticket += 1
        fresh, last = fresh_records(self._digests, hashes, digests)
        changed, inverse = np.unique(hashes[fresh], return_index=True)
        del inverse
        self._digests.put(changed, np.full(len(changed), UNKNOWN, np.int64))
        self._tickets.put(changed, np.full(len(changed), self._ticket, np.int64))
        kept = np.isin(hashes[last], changed)
        return Claim(self._ticket, fresh, hashes[last][kept], digests[last][kept])

    def settle(self, claim: Claim) -> None:
        """Kafka acknowledged the claim's records: they are what the log last says of their keys, unless a later claim came."""
        with self.lock:
            ours = self._tickets.get(claim.hashes) == claim.ticket
            self._digests.put(claim.hashes[ours], claim.digests[ours])


def fresh_records(
    table: KeyTable, hashes: Hashes, digests: Values
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    """Which records of a batch say something new, and the index of each key's last record. The table isn't changed.

    A record repeats when it says what its key's previous record said, in the batch or else in the table.
    """
    if not len(hashes):
        return np.zeros(0, np.bool_), np.zeros(0, np.int64)
    order = np.argsort(hashes, kind="stable")
    sorted_hashes, sorted_digests = hashes[order], digests[order]
    first = np.empty(len(order), np.bool_)
    first[0] = True
    first[1:] = sorted_hashes[1:] != sorted_hashes[:-1]
    before = np.empty(len(order), np.int64)
    before[1:] = sorted_digests[:-1]
    before[first] = table.get(sorted_hashes[first])
    fresh = np.empty(len(order), np.bool_)
    fresh[order] = (before != sorted_digests) | (before == UNKNOWN)
    last = np.empty(len(order), np.bool_)
    last[-1] = True
    last[:-1] = first[1:]
    return fresh, order[last]


DELETED_DIGEST = DELETED
