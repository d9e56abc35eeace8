"""Is this process ready to serve: each dependency asked at once, none waited for longer than the limit.

Liveness needs no code: a process that answers at all is alive. What the checks are is the caller's business.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from monitoring.metrics import READY

Check = Callable[[], None]  # raises where the dependency doesn't answer

TIMEOUT_S = 2.0  # a probe that hangs is a probe that failed; orchestrators wait from 1 s up


@dataclass(frozen=True, slots=True)
class Found:
    """`detail` names the kind of failure only: its message may hold addresses."""

    ok: bool
    took_ms: float
    detail: str | None = None


class Probe:
    """Asks the checks, each in a thread of its own. A check that still hangs isn't asked again beside itself: whoever
    comes
    meanwhile waits for the same answer. One for each process."""

    def __init__(self, checks: Mapping[str, Check], timeout_s: float = TIMEOUT_S) -> None:
        self._checks = dict(checks)
        self._timeout_s = timeout_s
        self._asked: dict[str, Future[None]] = {}

    async def ask(self) -> dict[str, Found]:
        """What each check found, in the order given. Raises nothing. Call it on one event loop only."""
        found = await asyncio.gather(*(self._ask(name) for name in self._checks))
        return dict(zip(self._checks, found, strict=True))

    async def _ask(self, name: str) -> Found:
        began = time.perf_counter()
        asked = self._asked.get(name)
        if asked is None or asked.done():
            asked = self._asked[name] = _in_thread(name, self._checks[name])
        detail: str | None = None
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(asked)), self._timeout_s)
        except TimeoutError:
            detail = "timeout"
        except Exception as error:  # noqa: BLE001 - whatever it is, the dependency doesn't answer
            detail = type(error).__name__
        READY.labels(name).set(detail is None)
        return Found(detail is None, round((time.perf_counter() - began) * 1000, 1), detail)


def _in_thread(name: str, check: Check) -> Future[None]:
    """A daemon's thread: a check that hangs doesn't keep the process from ending."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            check()
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name=f"probe:{name}", daemon=True).start()
    return done
