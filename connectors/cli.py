"""`lgsp connector …`: run, check and look at connectors. Answers and exit codes are those of every `lgsp` command.

Kept light: what is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from bus.commands.output import Column, Json, show, told, troubles_told
from registry.errors import Text

app = typer.Typer(help="Connect an agency's systems to the bus.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The connector's definition (YAML).", dir_okay=False)]
Folder = Annotated[Path, typer.Argument(help="A folder of definitions.", file_okay=False, exists=True)]

_NAME = Column("connector", Text("Connector", "Kết nối"))
_KIND = Column("kind", Text("Kind", "Loại"))
_PROBLEM = Column("problem", Text("Problem", "Lỗi"))


@app.command()
def run(file: File, as_json: Json = False) -> None:
    """Run one connector until it is stopped (Ctrl-C, SIGTERM). What passes is waited out; one line says each step."""
    from connectors import runner

    report = runner.lines(sys.stdout, as_json=as_json)(file.stem)
    with _troubles(as_json), runner.stop_on_signals() as stop:
        runner.supervise(file, stop, report, again=runner.retriable)


@app.command()
def check(file: File, as_json: Json = False) -> None:
    """Read the definition and look at both ends, moving nothing."""
    from connectors.base import build, load

    with _troubles(as_json):
        definition = load(file)
        facts = build(definition, _silent).check()
        show({"connector": definition.name, "kind": definition.kind, "system": definition.system, **facts}, as_json)


@app.command("list")
def list_(folder: Folder, as_json: Json = False) -> None:
    """The connectors of a folder, also those whose definition is not valid."""
    from connectors import runner

    found = [_read(path, {}) for path in runner.definitions(folder)]
    show(found, as_json, [_NAME, _KIND, Column("system", Text("System", "Hệ thống")), _PROBLEM])


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """How far each connector of a folder has come, by what it has written down; it may be running meanwhile."""
    from connectors import runner
    from connectors.base import build

    found = [_read(path, {"status": lambda one: build(one, _silent).status()}) for path in runner.definitions(folder)]
    show(found, as_json, [_NAME, _KIND, Column("status", Text("Status", "Tình trạng")), _PROBLEM])


@app.command("systems")
def systems_(as_json: Json = False) -> None:
    """What can be connected."""
    from connectors.base import systems

    show(systems(), as_json)


def _read(path: Path, more: dict[str, Any]) -> dict[str, Any]:
    from bus.commands.output import language
    from connectors.base import ConnectorError, load

    facts: dict[str, Any] = {"connector": path.stem}
    try:
        definition = load(path)
        facts |= {"connector": definition.name, "kind": definition.kind, "system": definition.system}
        return facts | {name: ask(definition) for name, ask in more.items()}
    except ConnectorError as error:
        problems = "; ".join(f"{one.path}: {one.message.said_in(language())}" for one in error.problems)
        return facts | {"problem": problems or error.detail.said_in(language()), "code": error.code}


@contextmanager
def _troubles(as_json: bool) -> Iterator[None]:
    from bus.client import ApiError
    from bus.commands.connection import trouble_of_answer

    with troubles_told(as_json):
        try:
            yield
        except ApiError as error:
            raise told(trouble_of_answer(error), as_json) from error


def _silent(_event: str, _facts: dict[str, Any]) -> None:
    """For connectors that are only looked at."""
