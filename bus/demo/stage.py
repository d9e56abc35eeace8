"""What the demo's story happens on: a bus started as a user would start it, two agencies with their own PostgreSQL, connectors.

Everything runs in processes of its own and ends with this one, however this one ends. No step of the story is told here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from bus.client import Client, ClientCredentials
from bus.embedded import child, ports
from bus.embedded.child import Child
from bus.embedded.folder import write_private
from bus.embedded.postgres import EmbeddedPostgres
from bus.settings import Settings
from registry.errors import Text

BUS_GRACE_S = 40.0  # it stops two servers of its own within
CONNECTOR_GRACE_S = 10.0
LOOK_EVERY_S = 0.003  # short beside what is measured

T = TypeVar("T")


class PromiseBroken(Exception):
    """Something that the bus promises did not hold: the promise, what was found and what was expected."""

    def __init__(self, promise: Text, found: object, expected: object) -> None:
        super().__init__(promise.en)
        self.promise = promise
        self.found = found
        self.expected = expected


def expect(promise: Text, found: object, expected: object) -> None:
    """Raises PromiseBroken where the two differ."""
    if found != expected:
        raise PromiseBroken(promise, found, expected)


@dataclass(frozen=True, slots=True)
class Agency:
    """An agency with its own folder and database. `dsn` holds a secret."""

    code: str
    name: Text
    folder: Path
    server: EmbeddedPostgres
    dsn: str


@dataclass(slots=True)
class Stage:
    """What is running. `children` are those that must not die before the end; closing `stack` ends everything."""

    folder: Path
    stack: ExitStack
    url: str
    registry_url: str
    bus: Child
    children: dict[str, Child] = field(default_factory=dict)

    def client(self, credentials: ClientCredentials) -> Client:
        return self.stack.enter_context(Client(self.url, credentials.client_id, credentials.client_secret))

    def wait_until(self, promise: Text, condition: Callable[[], T | None], within_s: float) -> T:
        """The first answer of `condition` that is neither None nor False.

        Raises PromiseBroken after `within_s`, and as soon as one of the children has died.
        """
        deadline = time.monotonic() + within_s
        while True:
            answer = condition()
            if answer is not None and answer is not False:
                return answer
            for name, process in self.children.items():
                if not process.alive:
                    raise PromiseBroken(promise, f"{name} has ended\n{process.log_tail()}", "still running")
            if time.monotonic() > deadline:
                raise PromiseBroken(promise, f"not within {within_s:.0f} s", "sooner")
            time.sleep(LOOK_EVERY_S)


def start_bus(folder: Path, stack: ExitStack, within_s: float) -> Stage:
    """`lgsp up` on free ports, ready. Raises PromiseBroken with the end of its log."""
    port, registry_port, kafka_port = (ports.free_port() for _ in range(3))
    options = {"--port": port, "--registry-port": registry_port, "--kafka-port": kafka_port}
    arguments = ["up", "--data", str(folder / "bus"), "--json"]
    arguments += [str(part) for option in options.items() for part in option]
    process = start_lgsp("bus", arguments, folder, BUS_GRACE_S)
    stack.callback(process.stop)
    stage = Stage(folder, stack, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{registry_port}", process)
    stage.children["lgsp up"] = process
    ready = Events(folder / "bus.log")
    promise = Text("the bus gets ready", "trục dữ liệu sẵn sàng")
    stage.wait_until(promise, lambda: any(line.get("ready") for line in ready.fresh()), within_s)
    return stage


def start_agency(folder: Path, stack: ExitStack, code: str, name: Text) -> Agency:
    """The agency's own PostgreSQL; its DSN is kept in `folder`/dsn for its connector."""
    folder.mkdir(parents=True, exist_ok=True)
    server = EmbeddedPostgres(folder / "postgres")
    stack.callback(server.stop)
    dsn = server.start()
    write_private(folder / "dsn", dsn)
    return Agency(code, name, folder, server, dsn)


def start_connector(
    stage: Stage, agency: Agency, name: str, credentials: ClientCredentials, definition: Mapping[str, Any]
) -> Events:
    """`lgsp connector run` on a definition written into the agency's folder. Returns what it reports."""
    document = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
    write_private(agency.folder / f"{name}.client.json", json.dumps(document))
    whole = {"bus": {"url": stage.url, "client_file": f"{name}.client.json"}, "dsn": {"file": "dsn"}, **definition}
    file = agency.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(whole, allow_unicode=True, sort_keys=False), encoding="utf-8")
    process = start_lgsp(name, ["connector", "run", str(file), "--json"], agency.folder, CONNECTOR_GRACE_S)
    stage.stack.callback(process.stop)
    stage.children[name] = process
    return Events(agency.folder / f"{name}.log")


def start_lgsp(name: str, arguments: Sequence[str], folder: Path, grace_s: float) -> Child:
    """`lgsp ARGUMENTS` as a process that ends with this one; what it says goes to `folder`/`name`.log."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", "from bus.cli import main; main()", *arguments]
    environment = {"LGSP_CACHE": str(Settings().cache), "PYTHONUNBUFFERED": "1"}
    return child.start(name, command, folder, grace_s=grace_s, env=environment)


class Events:
    """The JSON lines of a log, as they come."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0

    def fresh(self) -> Iterator[Mapping[str, Any]]:
        """The lines since the last call; others than JSON objects are passed over."""
        try:
            with self._log.open("rb") as log:
                log.seek(self._read)
                text = log.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            if line.startswith(b"{"):
                yield json.loads(line)


def descendants() -> list[psutil.Process]:
    """Every process that this one has started, and theirs."""
    return psutil.Process(os.getpid()).children(recursive=True)


def left_running(processes: Sequence[psutil.Process], within_s: float) -> list[str]:
    """Names of those that still run after `within_s`."""
    _, alive = psutil.wait_procs(list(processes), timeout=within_s)
    names = []
    for process in alive:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                names.append(f"{process.name()} ({process.pid})")
        except psutil.NoSuchProcess:
            continue
    return names
