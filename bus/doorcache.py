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

from bus.log.keytable import UNKNOWN, Hashes, KeyTable, Values, previous


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
        before, last = previous(self._digests, hashes, digests)
        fresh = (before != digests) | (before == UNKNOWN)
        changed = np.unique(hashes[fresh])
        self._digests.put(changed, np.full(len(changed), UNKNOWN, np.int64))
        self._tickets.put(changed, np.full(len(changed), self._ticket, np.int64))
        kept = np.isin(hashes[last], changed)
        return Claim(self._ticket, fresh, hashes[last][kept], digests[last][kept])

    def settle(self, claim: Claim) -> None:
        """Kafka acknowledged the claim's records: they are what the log last says of their keys, unless a later claim came."""
        with self.lock:
            ours = self._tickets.get(claim.hashes) == claim.ticket
            self._digests.put(claim.hashes[ours], claim.digests[ours])
