"""Is this process ready to serve: each dependency asked at once, none waited for longer than the limit.

Liveness needs no code: a process that answers at all is alive. What the checks are is the caller's business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
import anyio.to_thread

from monitoring.metrics import READY

Check = Callable[[], None]  # raises where the dependency doesn't answer

TIMEOUT_S = 2.0  # a probe that hangs is a probe that failed; orchestrators wait from 1 s up
THREADS_MAX = 8  # checks that hang keep their thread until their own time limit


@dataclass(frozen=True, slots=True)
class Found:
    """`detail` names the kind of failure only: its message may hold addresses."""

    ok: bool
    took_ms: float
    detail: str | None = None


async def probe(
    checks: Mapping[str, Check], limiter: anyio.CapacityLimiter, timeout_s: float = TIMEOUT_S
) -> dict[str, Found]:
    """What each check found, in the order given. Raises nothing.

    `limiter` is shared by all probes of a process, THREADS_MAX wide: while that many checks hang, others fail by
    waiting.
    """
    found: dict[str, Found] = {}

    async def ask(name: str, check: Check) -> None:
        began = time.perf_counter()
        detail: str | None = "timeout"
        with anyio.move_on_after(timeout_s):
            try:
                await anyio.to_thread.run_sync(check, abandon_on_cancel=True, limiter=limiter)
                detail = None
            except Exception as error:  # noqa: BLE001 - whatever it is, the dependency doesn't answer
                detail = type(error).__name__
        READY.labels(name).set(detail is None)
        found[name] = Found(detail is None, round((time.perf_counter() - began) * 1000, 1), detail)

    async with anyio.create_task_group() as group:
        for name, check in checks.items():
            group.start_soon(ask, name, check)
    return {name: found[name] for name in checks}
