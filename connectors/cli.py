"""`lgsp connector …`: run, check, list and look at connectors.

Exit codes: 0 done, 1 a defect of ours, 2 wrong usage, 3 the definition is not valid, 4 the bus or the system can't be
reached (try again), 5 refused by the bus or not usable as it is, 6 the subscription is not active any more.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from bus.client import ApiError
from bus.errors import GrantEnded
from connectors import runner
from connectors.base import ConnectorError, DefinitionInvalid, build, load, systems

app = typer.Typer(help="Connect an agency's systems to the bus.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="the connector's definition (YAML)")]
Folder = Annotated[Path, typer.Argument(help="a folder of definitions", file_okay=False, exists=True)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs, one document a line")]


@app.command()
def run(file: File, as_json: AsJson = False) -> None:
    """Run one connector until it is stopped; failures that pass are waited out."""
    stop = runner.stop_on_signals() if threading.current_thread() is threading.main_thread() else threading.Event()
    report = runner.lines(sys.stdout, as_json=as_json)(file.stem)
    with _exit_codes(as_json):
        runner.supervise(file, stop, report, again=runner.retriable)


@app.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Read the definition and look at both ends, moving nothing."""
    with _exit_codes(as_json):
        definition = load(file)
        facts = build(definition, _silent).check()
        _show({"connector": definition.name, "kind": definition.kind, "system": definition.system, **facts}, as_json)


@app.command("list")
def list_(folder: Folder, as_json: AsJson = False) -> None:
    """The connectors of a folder, also those whose definition is not valid."""
    for path in runner.definitions(folder):
        try:
            definition = load(path)
            facts = {"connector": definition.name, "kind": definition.kind, "system": definition.system}
        except DefinitionInvalid as error:
            facts = {"connector": path.stem, "problem": error.detail.en, "problem_vi": error.detail.vi}
        _show(facts, as_json)


@app.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """How far each connector of a folder has come."""
    for path in runner.definitions(folder):
        try:
            definition = load(path)
            facts: dict[str, Any] = {"connector": definition.name, "kind": definition.kind}
            facts |= build(definition, _silent).status()
        except ConnectorError as error:
            facts = {"connector": path.stem, "problem": error.detail.en, "problem_vi": error.detail.vi}
        _show(facts, as_json)


@app.command("systems")
def systems_(as_json: AsJson = False) -> None:
    """What can be connected."""
    _show({kind: ", ".join(names) for kind, names in systems().items()} if not as_json else systems(), as_json)


@contextmanager
def _exit_codes(as_json: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        facts = {"error": type(error).__name__, **runner.describe(error)}
        if as_json:
            typer.echo(orjson.dumps(facts).decode())
        else:
            typer.echo(facts["detail"], err=True)
            if facts.get("detail_vi", facts["detail"]) != facts["detail"]:
                typer.echo(facts["detail_vi"], err=True)
        raise typer.Exit(_exit_code(error)) from error


def _exit_code(error: Exception) -> int:
    if isinstance(error, GrantEnded):
        return 6
    if isinstance(error, DefinitionInvalid):
        return 3
    if runner.retriable(error):
        return 4
    return 5 if isinstance(error, (ApiError, ConnectorError)) else 1


def _silent(_event: str, _facts: dict[str, Any]) -> None:
    """For connectors that are only looked at."""


def _show(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(facts).decode())
    else:
        typer.echo("  ".join(f"{name} {value}" for name, value in facts.items()))
