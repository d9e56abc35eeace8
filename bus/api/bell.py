"""The bell that wakes readers who wait: rung from the database's notices, heard on the event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict

ALL = ""


class Bell:
    """Readers wait for news of one contract. A ring between looking and waiting isn't missed: `tolls` counts them."""

    def __init__(self) -> None:
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tolls: dict[str, int] = defaultdict(int)
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def tolls(self, contract: str) -> int:
        """How often the bell rang for the contract; take it before looking for records. Call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        return self._tolls[contract] + self._tolls[ALL]

    async def wait(self, contract: str, tolls: int, timeout_s: float) -> bool:
        """Until the bell rings for the contract, at most `timeout_s`; False when nothing rang since `tolls` was taken."""
        if self.tolls(contract) != tolls:
            return True
        event = asyncio.Event()
        self._waiting[contract].add(event)
        try:
            await asyncio.wait_for(event.wait(), timeout_s)
        except TimeoutError:
            return False
        finally:
            self._waiting[contract].discard(event)
        return True

    def ring(self, contract: str = ALL) -> None:
        """From any thread; without a contract for everybody."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._ring, contract)

    def _ring(self, contract: str) -> None:
        self._tolls[contract] += 1
        for name in list(self._waiting) if contract == ALL else [contract]:
            for event in self._waiting[name]:
                event.set()

    def close(self) -> None:
        """The server is about to stop: whoever waits is answered with what there is."""
        self.closed = True
        self.ring(ALL)
