"""One at a time for each name: of two requests with one idempotency key, the second waits and is answered as the first was.

Holds within this process. Between processes the database's unique key decides, after the fact. Not here: the receipts.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Turns:
    """Safe for threads; remembers only names that someone holds or waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[Hashable, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: Hashable) -> Iterator[None]:
        """Hold `name`'s turn, after whoever came before."""
        with self._lock:
            turn, count = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = turn, count + 1
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, count = self._held[name]
                if count == 1:
                    del self._held[name]
                else:
                    self._held[name] = turn, count - 1

    def __len__(self) -> int:
        return len(self._held)
