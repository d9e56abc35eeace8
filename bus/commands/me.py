"""`lgsp me`: who the bus takes these credentials for."""

from __future__ import annotations

from bus.commands.connection import URL, As, Url, connect
from bus.commands.output import Json, show

NAME = "me"


def run(url: Url = URL, who: As = None, as_json: Json = False) -> None:
    """Who the bus takes these credentials for: client, agency, roles."""
    with connect(url, who, as_json) as bus:
        show(bus.me(), as_json)
