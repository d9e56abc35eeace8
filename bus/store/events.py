"""Word from one process to all others through the database: NOTIFY in the transaction that changed something, LISTEN here.

A notice says only that something changed; whoever hears it looks again. A lost connection counts as a notice on every channel.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
from psycopg import sql
from sqlalchemy import Connection, func, select

logger = logging.getLogger(__name__)

CONTRACTS = "lgsp_contracts"
GRANTS = "lgsp_grants"
APPENDED = "lgsp_appended"
CHANNELS = (CONTRACTS, GRANTS, APPENDED)
PAYLOAD_BYTES_MAX = 7_900  # PostgreSQL's own limit is 8,000

Heard = Callable[[str], None]


def notify(connection: Connection, channel: str, payload: str = "") -> None:
    """Tell every listener, when the transaction commits."""
    connection.execute(select(func.pg_notify(channel, payload[:PAYLOAD_BYTES_MAX])))


class Listener:
    """One connection that listens, in a thread of its own, and calls those who asked, on that thread: they must be quick."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._hearers: dict[str, list[Heard]] = {channel: [] for channel in CHANNELS}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-events", daemon=True)
        self._ready = threading.Event()

    def on(self, channel: str, heard: Heard) -> None:
        """Call `heard(payload)` on every notice; an empty payload also when notices may have been missed."""
        self._hearers[channel].append(heard)

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(5.0)

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=5) as connection:
                    for channel in CHANNELS:
                        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                    self._ready.set()
                    self._tell_all()
                    while not self._closed.is_set():
                        for notice in connection.notifies(timeout=0.5):
                            self._tell(notice.channel, notice.payload)
            except psycopg.OperationalError:
                logger.warning("the database does not answer; listening again soon")
                self._closed.wait(0.5)

    def _tell_all(self) -> None:
        for channel in CHANNELS:
            self._tell(channel, "")

    def _tell(self, channel: str, payload: str) -> None:
        for heard in self._hearers.get(channel, ()):
            heard(payload)
