"""What the log last said of each key: an open-addressing table from 64-bit key hashes to 64-bit values, worked by columns.

16 bytes a slot; look up and put at 10 to 20 million keys a second. Two keys fall together only when all 64 bits of their hashes do.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Hashes = npt.NDArray[np.uint64]
Values = npt.NDArray[np.int64]

ABSENT = 0
DELETED = 1
UNKNOWN = 2
_SEEDS = [secrets.randbits(63) for _ in range(2)]  # nobody can prepare keys that fall together


def key_hashes(keys: Sequence[bytes] | pl.Series) -> Hashes:
    """64-bit hashes of the keys, of use in this process only."""
    return _column(keys).hash(_SEEDS[0]).to_numpy()


def digests(values: Sequence[bytes | None] | pl.Series) -> Values:
    """What stands for a record's content: DELETED for None, else 64 bits of its hash; never ABSENT or UNKNOWN."""
    column = _column(values)
    hashed = column.hash(_SEEDS[1]).to_numpy().view(np.int64).copy()
    hashed[(hashed >= ABSENT) & (hashed <= UNKNOWN)] = 3
    hashed[column.is_null().to_numpy()] = DELETED
    return hashed


def _column(values: Sequence[bytes | None] | pl.Series) -> pl.Series:
    return values if isinstance(values, pl.Series) else pl.Series(values, dtype=pl.Binary)


class KeyTable:
    """Hash 0 marks a free slot, so a key whose hash is 0 is stored as 1; the value 0 means absent."""

    def __init__(self, slots: int = 1 << 12) -> None:
        self._keys: Hashes = np.zeros(slots, np.uint64)
        self._values: Values = np.zeros(slots, np.int64)
        self._used = 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self._values))

    @property
    def size_bytes(self) -> int:
        return self._keys.nbytes + self._values.nbytes

    def get(self, hashes: Hashes) -> Values:
        """One value per hash, 0 where absent. `hashes` may repeat."""
        found: Values = np.zeros(len(hashes), np.int64)
        mask = np.uint64(len(self._keys) - 1)
        wanted = np.maximum(hashes, np.uint64(1))
        todo = np.arange(len(hashes))
        slots = wanted & mask
        while todo.size:
            held = self._keys[slots]
            hit = held == wanted
            found[todo[hit]] = self._values[slots[hit]]
            going = ~hit & (held != 0)
            todo, wanted = todo[going], wanted[going]
            slots = (slots[going] + np.uint64(1)) & mask
        return found

    def put(self, hashes: Hashes, values: Values) -> None:
        """Set a value per hash. `hashes` must not repeat."""
        self._make_room(len(hashes))
        mask = np.uint64(len(self._keys) - 1)
        wanted = np.maximum(hashes, np.uint64(1))
        slots = wanted & mask
        while wanted.size:
            free = self._keys[slots] == 0
            self._keys[slots[free]] = wanted[free]  # of several for one slot the last stays; the others go on
            won = self._keys[slots] == wanted
            self._used += int(np.count_nonzero(free & won))
            self._values[slots[won]] = values[won]
            wanted, values = wanted[~won], values[~won]
            slots = (slots[~won] + np.uint64(1)) & mask

    def _make_room(self, more: int) -> None:
        if (self._used + more) * 5 <= len(self._keys) * 3:
            return
        live = self._values != ABSENT
        keys, values = self._keys[live], self._values[live]
        slots = len(self._keys)
        while (len(keys) + more) * 5 > slots * 2:
            slots *= 2
        self._keys = np.zeros(slots, np.uint64)
        self._values = np.zeros(slots, np.int64)
        self._used = 0
        if len(keys):
            self.put(keys, values)


def previous(table: KeyTable, hashes: Hashes, values: Values) -> tuple[Values, npt.NDArray[np.intp]]:
    """For each record of a batch the value that its key had just before it, and the index of each key's last record.

    `hashes` may repeat: a key's second record in the batch sees the first one's value. The table isn't changed.
    """
    if not len(hashes):
        return np.zeros(0, np.int64), np.zeros(0, np.intp)
    order = np.argsort(hashes, kind="stable")
    sorted_hashes, sorted_values = hashes[order], values[order]
    first = np.empty(len(order), np.bool_)
    first[0] = True
    first[1:] = sorted_hashes[1:] != sorted_hashes[:-1]
    last = np.empty(len(order), np.bool_)
    last[-1] = True
    last[:-1] = first[1:]
    before = np.empty(len(order), np.int64)
    before[1:] = sorted_values[:-1]
    before[first] = table.get(sorted_hashes[first])
    result = np.empty(len(order), np.int64)
    result[order] = before
    return result, order[last]
