"""`lgsp up`: run the bus on this machine. What begins in which order is `bus.serve`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from bus.commands.machine import read_settings
from bus.commands.output import Json, troubles_told

NAME = "up"


def run(
    data: Annotated[Path | None, typer.Option("--data", help="Folder that keeps everything. [LGSP_DATA]")] = None,
    port: Annotated[int | None, typer.Option("--port", help="HTTP: control plane and gateway. [LGSP_PORT]")] = None,
    registry_port: Annotated[
        int | None, typer.Option("--registry-port", help="Schema registry. [LGSP_REGISTRY_PORT]")
    ] = None,
    kafka_port: Annotated[int | None, typer.Option("--kafka-port", help="Kafka for clients. [LGSP_KAFKA_PORT]")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on. [LGSP_HOST]")] = None,
    roles: Annotated[
        str, typer.Option("--roles", help="What this process does, by commas.")
    ] = "api,registry,worker,connectors",
    as_json: Json = False,
) -> None:
    """Run the bus: everything it needs on this machine, or on your Kafka and PostgreSQL.

    Prints one line when ready and stops on Ctrl-C or SIGTERM. With LGSP_KAFKA_BOOTSTRAP or LGSP_DATABASE_URL set, those are used
    and nothing is started in their place. The first start writes an administrator's credentials to DATA/admin.json.
    """
    import warnings

    from bus.serve import up

    given = {"data": data, "port": port, "registry_port": registry_port, "kafka_port": kafka_port, "host": host}
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(
        logging.ERROR
    )  # it warns of SCRAM without TLS at each connection, on loopback too
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", DeprecationWarning)
    settings = read_settings(given, as_json)
    with troubles_told(as_json), ExitStack() as stack:
        progress = None if as_json else stack.enter_context(_Downloads())
        asked = frozenset(role.strip() for role in roles.split(",") if role.strip())
        raise typer.Exit(up(settings, roles=asked, as_json=as_json, progress=progress))


class _Downloads:
    """A bar for what is fetched at the first start; nothing is shown where nothing is fetched."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Callable[[int, int, str], None]:
        return self._show

    def _show(self, done: int, total: int, what: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        if self._bar is None:
            console = Console(stderr=True)
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=console)
            self._task = self._bar.add_task(what, total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, description=what)
        if done >= total:
            self._bar.stop()

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
