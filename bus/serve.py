"""`lgsp up`: the servers it starts itself, the roles of this process, and the order in which all of it begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from bus.api.app import create_app
from bus.api.registry_access import authorize_with
from bus.control.clients import first_administrator
from bus.control.subscriptions import expire_due
from bus.embedded import child, ports
from bus.embedded.folder import DataFolder, write_private
from bus.embedded.frugal import be_frugal
from bus.embedded.kafka import EmbeddedKafka
from bus.embedded.postgres import EmbeddedPostgres
from bus.errors import InvalidRequest, LgspError, Text
from bus.runtime import Runtime, Workers, build
from bus.settings import Settings
from bus.store.events import APPENDED, GRANTS
from registry.api import create_app as create_registry_app

logger = logging.getLogger(__name__)

ROLES = frozenset({"api", "registry", "worker", "connectors"})
TICK_S = 1.0
# Connectors after 50,000 records, at rest: 176 MB with these and no slower, 317 MB without.
SMALL_AT_REST = {
    "POLARS_MAX_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TRIM_THRESHOLD_": "1000000",
}
DRAIN_S = 5  # what requests under way may still take
Progress = Callable[[int, int, str], None]


class Server(Protocol):
    """An embedded server: started again on the same port when it died."""

    port: int

    @property
    def alive(self) -> bool: ...

    def stop(self) -> None: ...


@dataclass(slots=True)
class Embedded:
    """The servers that this process started, and how to start each again."""

    servers: list[tuple[str, Server, Callable[[], object]]] = field(default_factory=list)

    def revive(self) -> None:
        """Start again whatever died. A failure is logged; the next tick tries again."""
        for name, server, start in self.servers:
            if not server.alive:
                logger.warning("%s has died; starting it again", name)
                try:
                    start()
                    logger.warning("%s is back", name)
                except LgspError as error:
                    logger.error("%s did not start again: %s", name, error.code)
                except OSError as error:  # a full disk has no room for a pid either
                    logger.error("%s did not start again: %s", name, error.strerror)

    def stop(self) -> None:
        for _, server, _ in reversed(self.servers):
            server.stop()


def up(
    settings: Settings,
    *,
    roles: frozenset[str] = ROLES,
    as_json: bool = False,
    progress: Progress | None = None,
) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code 0. Prints one line when ready.

    Raises EmbeddedError and its kin when a server or a port can't be had, StoreUnavailable, LogUnavailable, InvalidRequest for
    an unknown role.
    """
    _check_roles(roles)
    be_frugal()
    with DataFolder.open(settings.data) as folder, contextlib.ExitStack() as stack:
        if "api" in roles:
            ports.claim(settings.port, "--port", settings.host)
        if "registry" in roles:
            ports.claim(settings.registry_port, "--registry-port", settings.host)
        embedded = Embedded()
        stack.callback(embedded.stop)
        settings, only_door = start_servers(settings, folder.path, embedded, progress)
        runtime = build(settings, only_door=only_door and roles >= ROLES)
        stack.callback(runtime.close)
        credentials = first_administrator(runtime.engine, runtime.clock)
        if credentials is not None:
            write_private(folder.path / "admin.json", json.dumps(credentials._asdict()) + "\n")
        if "worker" in roles:
            workers = Workers(runtime)
            workers.start()
            stack.callback(workers.close)
        if "connectors" in roles:
            stack.callback(_start_connectors(folder.path, embedded))
        asyncio.run(_serve(runtime, roles, embedded, lambda: _say_ready(settings, roles, folder.path, as_json)))
    return 0


def start_servers(
    settings: Settings, data: Path, embedded: Embedded, progress: Progress | None
) -> tuple[Settings, bool]:
    """Start what the settings don't name, both at once; returns settings that name everything, and whether Kafka is our own."""
    found: dict[str, object] = {}
    with ThreadPoolExecutor(2) as pool:
        kafka = postgres = None
        if settings.kafka_bootstrap is None:
            broker = EmbeddedKafka(data / "kafka", settings.cache, settings.kafka_port)
            embedded.servers.append(("kafka", broker, broker.start))
            kafka = pool.submit(broker.start, progress)
        if settings.database_url is None:
            database = EmbeddedPostgres(data / "postgres")
            embedded.servers.append(("postgresql", database, database.start))
            postgres = pool.submit(database.start)
        if postgres is not None:
            dsn = postgres.result()
            database.port = int(
                dsn.rsplit(":", 1)[1].partition("/")[0]
            )  # the same again should it have to be restarted
            found["database_url"] = SecretStr(dsn)
        if kafka is not None:
            address = kafka.result()
            broker.port = int(address.bootstrap.rsplit(":", 1)[1])
            found |= {
                "kafka_bootstrap": address.bootstrap,
                "kafka_username": address.username,
                "kafka_password": SecretStr(address.password),
            }
    return settings.model_copy(update=found), kafka is not None


async def _serve(runtime: Runtime, roles: frozenset[str], embedded: Embedded, ready: Callable[[], None]) -> None:
    settings = runtime.settings
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    servers: list[_Uvicorn] = []
    bells = []
    if "api" in roles:
        app = create_app(runtime)
        bells.append(app.state.bell)
        runtime.listener.on(APPENDED, app.state.bell.ring)
        runtime.listener.on(GRANTS, lambda _: app.state.bell.ring())
        servers.append(_uvicorn(app, settings.host, settings.port))
    if "registry" in roles:
        registry = create_registry_app(runtime.registry, authorize_with(runtime.tokens))
        servers.append(_uvicorn(registry, settings.host, settings.registry_port))
    await asyncio.to_thread(runtime.listener.start)
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    while not all(server.started for server in servers) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.01)
    over = threading.Event()
    watch = threading.Thread(target=_watch, args=(runtime, embedded, over), name="watch")
    watch.start()
    if not any(task.done() for task in tasks):
        ready()
        await stop.wait()
    over.set()
    for bell in bells:
        bell.close()
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*tasks)
    await asyncio.to_thread(watch.join)


def _watch(runtime: Runtime, embedded: Embedded, over: threading.Event) -> None:
    """Once a second: what died starts again, what is over ends."""
    while not over.wait(TICK_S):
        embedded.revive()
        try:
            expire_due(runtime.engine, runtime.clock)
        except LgspError as error:
            logger.warning("grants that are over can't be written down now: %s", error.code)


class _Uvicorn(uvicorn.Server):
    """Signals are ours: the servers stop before the embedded ones do."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn(app: FastAPI, host: str, port: int) -> _Uvicorn:
    return _Uvicorn(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
            h11_max_incomplete_event_size=64 * 1024,
        )
    )


def _start_connectors(data: Path, embedded: Embedded) -> Callable[[], None]:
    """One process for all connectors that are defined under DIR/connectors; none where there are none."""
    folder = data / "connectors"
    if not folder.is_dir() or not any(folder.glob("*.y*ml")):
        return lambda: None
    command = [sys.executable, "-m", "connectors.runner", str(folder)]
    # Definitions may name variables that hold their secrets; the bus's own are not for them.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LGSP_")}

    def start() -> child.Child:
        return child.start("connectors", command, folder, env=SMALL_AT_REST | environment)

    running = _Connectors(start(), start)
    embedded.servers.append(("connectors", running, running.start))
    return running.stop


class _Connectors:
    port = 0

    def __init__(self, running: child.Child, again: Callable[[], child.Child]) -> None:
        self._running = running
        self._again = again

    @property
    def alive(self) -> bool:
        return self._running.alive

    def start(self) -> None:
        self._running = self._again()

    def stop(self) -> None:
        self._running.stop()


def _say_ready(settings: Settings, roles: frozenset[str], data: Path, as_json: bool) -> None:
    facts = {
        "api": f"http://{settings.host}:{settings.port}" if "api" in roles else None,
        "registry": f"http://{settings.host}:{settings.registry_port}" if "registry" in roles else None,
        "kafka": settings.kafka_bootstrap,
        "data": str(data),
    }
    if as_json:
        print(json.dumps({"ready": True, **facts}), flush=True)
        return
    where = " · ".join(f"{name} {place}" for name, place in facts.items() if place)
    print(f"lgsp is ready · {where}", flush=True)


def _check_roles(roles: frozenset[str]) -> None:
    unknown = sorted(roles - ROLES)
    if unknown or not roles:
        raise InvalidRequest(
            Text(
                f"--roles: found {', '.join(unknown) or 'none'}, expected some of {', '.join(sorted(ROLES))}",
                f"--roles: có {', '.join(unknown) or 'không có vai trò nào'}, cần trong {', '.join(sorted(ROLES))}",
            )
        )
