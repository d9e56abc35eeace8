"""`lgsp demo`: the main job, told from beginning to end. The story is `bus.demo.story`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bus.commands.output import Json, troubles_told

NAME = "demo"


def run(
    records: Annotated[int, typer.Option("--records", min=1_000, help="Residents in the police's register.")] = 50_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed makes the same residents.")] = 42,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder to work in. [a new one, removed at the end]")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder when all is done.")] = False,
    as_json: Json = False,
) -> None:
    """Two agencies, 50,000 residents: published, granted, delivered, corrected, revoked, and accounted for."""
    from bus.demo.story import run as tell

    with troubles_told(as_json):
        raise typer.Exit(tell(records, seed, data, as_json, keep))
