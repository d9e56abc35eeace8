"""`lgsp`: its commands put together. What each does is in `bus.commands`, a file per noun; other packages add theirs by the entry
point group `lgsp.commands` (an entry named `connector` becomes `lgsp connector`).

Kept light: a module that takes long to import is imported by the command that needs it, so that `lgsp --help` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from bus.commands import (
    agency,
    audit,
    client,
    contract,
    demo,
    doctor,
    legal_basis,
    me,
    publish,
    pull,
    quarantine,
    registry,
    subscription,
    up,
)
from bus.commands.output import Exit, say
from registry.errors import Text

PLUGINS = "lgsp.commands"


def main() -> None:
    """The entry point of `lgsp`. A defect of ours ends with its traceback, which names places and no values, and Exit.BROKEN."""
    try:
        assemble()()
    except Exception:  # noqa: BLE001 (the last place where anything can be told)
        traceback.print_exc()
        sys.exit(Exit.BROKEN)


def assemble() -> typer.Typer:
    """The whole command line, plug-ins too. One that can't be imported is named on stderr and left out."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="A data bus between agencies: publish records under a contract, receive what was granted.",
    )
    app.callback()(_options)
    for single in (up, demo, doctor, me, publish, pull):
        app.command(single.NAME)(single.run)
    for noun in (agency, client, legal_basis, contract, subscription, quarantine, audit, registry):
        app.add_typer(noun.app, name=noun.NAME)
    for plugin in entry_points(group=PLUGINS):
        try:
            app.add_typer(plugin.load(), name=plugin.name)
        except ImportError as error:
            say(
                Text(
                    f"lgsp {plugin.name} can't be loaded ({error.name})",
                    f"không nạp được lgsp {plugin.name} ({error.name})",
                )
            )
    return app


def _options(
    shown: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=lambda wanted: _version(wanted), help="Print the version."),
    ] = False,
) -> None:
    pass


def _version(wanted: bool) -> None:
    if wanted:
        print(version("lgsp"))
        raise typer.Exit
