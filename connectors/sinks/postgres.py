"""A PostgreSQL table as a sink: pages of Arrow, staged by COPY, then merged in one transaction with the cursor.

The cursor lives beside the data, in `lgsp_cursors`: what is committed there has had its effect, exactly once, whatever
the bus believes. The bus is told afterwards; after a crash the sink reads on from its own cursor.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql
from pydantic import Field

from bus.client import ApiError, ArrowPage, Client, Retry
from bus.errors import GrantEnded
from connectors.base import DefinitionBase, Model, Reference, Report
from connectors.postgres import database_errors, dsn_of
from connectors.postgres_target import Target
from registry.errors import Text

GRANT_CHECK_FIRST_S, GRANT_CHECK_MAX_S = 1.0, 60.0
STOP_SEEN_WITHIN_S = 0.2


class Pulling(Model):
    max: int = Field(default=10_000, ge=1, le=10_000)  # the bus hands over at most so many at once
    wait_ms: int = Field(default=10_000, ge=0, le=30_000)  # a long poll; new records end it at once


class Definition(DefinitionBase):
    """`columns` maps the view's fields to columns; without it every field goes to the column of its name.

    `key` is the field that holds the record's key; a view that doesn't grant it has its keyed hash, kept in a column
    `lgsp_key` when `key` isn't given.
    """

    dsn: str | Reference
    subscription: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    table: str = Field(pattern=r"^[^.\x00]{1,63}(\.[^.\x00]{1,63})?$")
    key: str | None = None
    columns: Mapping[str, str] | None = None
    create_table: bool = False
    when_grant_ends: Literal["exit", "wait"] = "exit"
    polling: Pulling = Pulling()


def build(definition: Definition, report: Report) -> PostgresSink:
    return PostgresSink(definition, dsn_of(definition, definition.dsn), report)


@dataclass(frozen=True, slots=True)
class PostgresSink:
    definition: Definition
    dsn: str
    report: Report

    def check(self) -> dict[str, Any]:
        """Look at target and subscription. Raises SystemUnusable, SystemUnreachable, ApiError, BusUnreachable."""
        definition = self.definition
        with self._target() as target, definition.client(Retry(for_s=2.0)) as client:
            state = client.subscription(definition.subscription).get("state")
            return {"table": definition.table, **target.facts(), "subscription": state}

    def status(self) -> dict[str, Any]:
        """What is committed at the target: records delivered, and since when nothing came. Raises SystemUnreachable."""
        parts = [*self.definition.table.split(".")[:-1], "lgsp_cursors"]
        cursors = sql.Identifier(*parts)
        with database_errors(), psycopg.connect(self.dsn, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass(%s)", [cursors.as_string()]).fetchone() == (None,):
                return {"delivered": 0, "updated_at": None}
            query = sql.SQL("SELECT delivered, updated_at FROM {} WHERE subscription = %s").format(cursors)
            found = connection.execute(query, [self.definition.subscription]).fetchone()
        delivered, updated_at = found or (0, None)
        return {"delivered": delivered, "updated_at": updated_at.isoformat() if updated_at else None}

    def run(self, stop: threading.Event) -> None:
        """Raises GrantEnded where the definition says to exit then, and what the bus and the database say."""
        retry = Retry(
            for_s=None, stop=stop, on_wait=lambda why, s: self.report("waiting", {"reason": why, "s": round(s, 2)})
        )
        wait_s = GRANT_CHECK_FIRST_S
        with self._target() as target, self.definition.client(retry) as client:
            while not stop.is_set():
                delivered = target.delivered
                try:
                    _follow(client, target, self.definition, stop, self.report)
                except ApiError as error:
                    if error.code != GrantEnded.code:
                        raise
                    if self.definition.when_grant_ends == "exit":
                        detail = Text(
                            f"subscription {self.definition.subscription} is not active; stopped",
                            f"đăng ký khai thác {self.definition.subscription} không còn hiệu lực; đã dừng",
                        )
                        raise GrantEnded(detail) from error
                    wait_s = GRANT_CHECK_FIRST_S if target.delivered > delivered else min(GRANT_CHECK_MAX_S, wait_s * 2)
                    self.report("grant_ended", {"again_in_s": wait_s})
                    stop.wait(wait_s)

    def _target(self) -> Any:
        definition = self.definition
        return Target.opened(
            self.dsn,
            definition.subscription,
            definition.table,
            key=definition.key,
            columns=definition.columns,
            create=definition.create_table,
        )


def _follow(client: Client, target: Target, definition: Definition, stop: threading.Event, report: Report) -> None:
    """Apply page after page, each in one transaction, while the next one is being pulled."""
    cursor = target.cursor
    if cursor is not None:  # committed here, but perhaps never told
        client.ack(definition.subscription, cursor)

    def pull(after: str | None) -> ArrowPage:
        pulling = definition.polling
        return client.pull_arrow(definition.subscription, max_records=pulling.max, wait_ms=pulling.wait_ms, after=after)

    pages: queue.Queue[ArrowPage | BaseException] = queue.Queue(maxsize=1)
    ended = threading.Event()
    # A daemon: a long poll is never worth waiting for when we stop.
    threading.Thread(target=_pull_ahead, args=(pull, cursor, pages, ended), daemon=True, name="pull").start()
    report("following", {"delivered": target.delivered})
    try:
        while not stop.is_set():
            try:
                page = pages.get(timeout=STOP_SEEN_WITHIN_S)
            except queue.Empty:
                continue
            if isinstance(page, BaseException):
                raise page
            with database_errors():
                facts = target.apply(page)
            if page.cursor is not None and page.table.num_rows:
                client.ack(definition.subscription, page.cursor)
                report("applied", facts)
    finally:
        ended.set()


def _pull_ahead(
    pull: Callable[[str | None], ArrowPage],
    cursor: str | None,
    pages: queue.Queue[ArrowPage | BaseException],
    ended: threading.Event,
) -> None:
    while not ended.is_set():
        try:
            page: ArrowPage | BaseException = pull(cursor)
        except BaseException as error:  # noqa: BLE001 -- raised again where the pages are used
            page = error
        while not ended.is_set():
            try:
                pages.put(page, timeout=STOP_SEEN_WITHIN_S)
                break
            except queue.Full:
                continue
        if isinstance(page, BaseException):
            return
        cursor = page.cursor if page.table.num_rows else cursor
