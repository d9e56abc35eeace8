"""`lgsp doctor`: what is wrong on this machine, and how to mend it. What is looked at is `bus.doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bus.commands.machine import read_settings
from bus.commands.output import Exit, Json, language, show
from registry.errors import Text

if TYPE_CHECKING:
    from bus.doctor import Finding

NAME = "doctor"


def run(
    data: Annotated[Path | None, typer.Option("--data", help="The folder that `lgsp up` is given. [LGSP_DATA]")] = None,
    as_json: Json = False,
) -> None:
    """Say what is wrong on this machine and how to mend it; look only, change nothing. Exit code 1 where something is."""
    from bus.doctor import examine

    found = examine(read_settings({"data": data}, as_json))
    wrong = [one for one in found if not one.ok]
    spoken = language()
    if as_json:
        rows = [
            {
                "name": one.name,
                "ok": one.ok,
                "found": one.found.said_in(spoken),
                "mend": one.mend.said_in(spoken) if one.mend else None,
            }
            for one in found
        ]
        show({"ok": not wrong, "findings": rows}, as_json)
    else:
        _print(found)
        said = (
            Text(f"{len(wrong)} to mend", f"{len(wrong)} mục cần khắc phục")
            if wrong
            else Text("All is well.", "Mọi thứ đều ổn.")
        )
        print(said.said_in(spoken))
    raise typer.Exit(Exit.FAILED if wrong else Exit.OK)


def _print(found: list[Finding]) -> None:
    from rich.console import Console
    from rich.text import Text as Styled

    console = Console()
    for one in found:
        mark = ("✓ ", "green") if one.ok else ("✗ ", "bold red")
        console.print(Styled.assemble(mark, (f"{one.name:<20}", "bold"), one.found.said_in(language())), soft_wrap=True)
        if one.mend is not None:
            console.print(Styled(f"  → {one.mend.said_in(language())}", style="yellow"), soft_wrap=True)
