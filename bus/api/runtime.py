"""How a route gets the runtime. What that is made of is decided in `bus.runtime`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from bus.runtime import Runtime


def runtime(request: Request) -> Runtime:
    """The runtime that the application was created with."""
    given: Runtime = request.app.state.runtime
    return given


Bus = Annotated[Runtime, Depends(runtime)]
