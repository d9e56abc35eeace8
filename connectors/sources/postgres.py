"""A PostgreSQL table as a source: keyset pages, then changes by a watermark column, all read by ADBC.

PostgreSQL itself writes each record as a line of JSON (`row_to_json`): measured faster than turning columns into lines
here, every type comes out as the bus expects it, and a bad value travels as it is and is quarantined there. How often
and in what order things are asked is `connectors.polling`'s business.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import polars as pl
import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import Field

from bus.client import Retry
from connectors import polling
from connectors.base import DefinitionBase, Model, Reference, Report
from connectors.polling import FULL, LIGHT, Pace, SourcePage
from connectors.postgres import database_errors, dsn_of, unusable
from connectors.state import State
from registry.errors import Text

Value = str | int | float | bool | None


class Expression(Model):
    """A field computed by the database, from the table's columns. It must not fail on any row."""

    sql: str


class Polling(Model):
    every_ms: int = Field(default=200, ge=10, le=3_600_000)
    overlap_s: float = Field(default=10.0, ge=0, le=86_400)  # how far clocks of writers and open transactions may lag
    scan_every_s: float = Field(default=30.0, ge=0.1, le=86_400)  # deletions, and changes that don't move the watermark
    rejected_every_s: float = Field(default=1.0, ge=0.1, le=86_400)


class Batch(Model):
    records: int = Field(default=10_000, ge=1, le=100_000)  # the bus takes up to 100,000 in one request
    bytes_max: int = Field(default=32 * 2**20, ge=1_000, le=64 * 2**20)  # and at most 64 MB
    in_flight: int = Field(default=2, ge=1, le=8)


class Definition(DefinitionBase):
    """`columns` maps contract fields to columns or expressions; without it every column is a field of its own name."""

    dsn: str | Reference
    contract: str = Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$")
    table: str
    key: str  # the contract's key field
    primary_key: tuple[str, ...] | None = None  # where the table (or view) declares none
    watermark: str | None = None  # a date or time column that every change moves forward
    columns: Mapping[str, str | Expression] | None = None
    state: Path | None = None
    polling: Polling = Polling()
    batch: Batch = Batch()

    @property
    def state_path(self) -> Path:
        return self.beside(self.state or Path("state") / f"{self.name}.sqlite")


def build(definition: Definition, report: Report) -> PostgresSource:
    return PostgresSource(definition, dsn_of(definition, definition.dsn), report)


@dataclass(frozen=True, slots=True)
class PostgresSource:
    definition: Definition
    dsn: str
    report: Report

    def check(self) -> dict[str, Any]:
        """Look at the table and at the bus. Raises SystemUnusable, SystemUnreachable, ApiError, BusUnreachable."""
        with Table.opened(self.dsn, self.definition) as table, self.definition.client(Retry(for_s=2.0)) as client:
            return {"table": self.definition.table, **table.facts(), "agency": client.me().get("agency")}

    def status(self) -> dict[str, Any]:
        """How far the source has come, from its state file, also while it runs. Raises StateUnusable."""
        return State.peek(self.definition.state_path)

    def run(self, stop: threading.Event) -> None:
        definition, report = self.definition, self.report
        pace = Pace(
            poll_s=definition.polling.every_ms / 1_000,
            rejected_s=definition.polling.rejected_every_s,
            scan_s=definition.polling.scan_every_s,
            page_records=definition.batch.records,
            batch_bytes_max=definition.batch.bytes_max,
            in_flight=definition.batch.in_flight,
        )
        retry = Retry(
            for_s=None, stop=stop, on_wait=lambda why, s: report("waiting", {"reason": why, "s": round(s, 2)})
        )
        scope = json.dumps([definition.bus.url, definition.contract, definition.table])
        with (
            definition.client(retry) as client,
            State.opened(definition.state_path) as state,
            Table.opened(self.dsn, definition) as table,
        ):
            shape = json.dumps([definition.key, table.primary_key, table.fields_text])
            report("state", {"is": state.begin(scope, shape)})
            polling.run(table, client, definition.contract, state, pace, stop, report)


class Table:
    """One table or view, read through one ADBC connection; a `connectors.polling.Reader`."""

    def __init__(self, connection: Any, catalogue: Catalogue, definition: Definition) -> None:
        self._connection = connection
        self._catalogue = catalogue
        self._overlap_s = definition.polling.overlap_s
        self._limits = (definition.key, definition.watermark)
        self.primary_key = definition.primary_key or catalogue.primary_key
        fields = _fields(catalogue, definition)
        self.fields_text = fields.as_string()
        self._unique = catalogue.is_unique(definition.columns, definition.key)
        self._key = sql.SQL("v.{}").format(sql.Identifier(definition.key))
        parts = [sql.SQL("t.{}").format(sql.Identifier(column)) for column in self.primary_key]
        self._order = sql.SQL(", ").join(parts)
        self._row = (
            sql.SQL("{}::text").format(parts[0])
            if len(parts) == 1
            else sql.SQL("jsonb_build_array({})::text").format(self._order)
        )
        self._watermark = sql.SQL("t.{}").format(sql.Identifier(definition.watermark)) if definition.watermark else None
        version = (
            sql.SQL("t.xmin::text::bigint")
            if catalogue.has_xmin
            else sql.SQL("coalesce((extract(epoch FROM {}) * 1000000)::bigint, 0)").format(self._watermark or sql.NULL)
        )
        self._from = sql.SQL("FROM {} AS t CROSS JOIN LATERAL (SELECT {}) AS v").format(catalogue.name, fields)
        self._light = sql.SQL("SELECT {} AS row, {}::text AS key, {} AS version ").format(self._row, self._key, version)

    @classmethod
    @contextmanager
    def opened(cls, dsn: str, definition: Definition) -> Iterator[Table]:
        """Raises SystemUnreachable, SystemUnusable when the table hasn't what the definition names."""
        with database_errors():
            catalogue = Catalogue.read(dsn, definition)
            connection = adbc_driver_postgresql.dbapi.connect(dsn, autocommit=True)
        table = None
        try:
            table = cls(connection, catalogue, definition)
            for setting in (
                "TimeZone = 'UTC'",
                "default_transaction_read_only = on",
                "application_name = 'lgsp source'",
            ):
                table._execute(sql.SQL("SET " + setting))
            table._query(table._light + table._from + sql.SQL(" WHERE false"))  # the mapping's SQL is understood
            yield table
        finally:
            connection.close()

    def facts(self) -> dict[str, Any]:
        count = self._query(sql.SQL("SELECT count(*) AS n FROM {}").format(self._catalogue.name))["n"][0]
        indexed = self._catalogue.indexed
        return {
            "rows": count,
            "primary_key": list(self.primary_key),
            "without_index": [one for one in self._limits if one is not None and one not in indexed],
        }

    def mark(self) -> str:
        """Its clock, its oldest open transaction, and the transaction number below which everything is visible."""
        found = self._query(
            sql.SQL(
                "SELECT least(now(), (SELECT min(xact_start) FROM pg_stat_activity WHERE backend_xid IS NOT NULL))"
                "::text AS at, pg_snapshot_xmin(pg_current_snapshot())::xid::text AS xid"
            )
        )
        return json.dumps(found.row(0, named=True))

    def page(self, position: str | None, limit: int) -> SourcePage:
        """`position` is JSON: {"key": last whole key}, or {"row": last row} among rows without a key, at the end."""
        at: dict[str, str | None] = json.loads(position) if position else {"key": None}
        if "row" in at:
            return self._keyless_page(at["row"], limit)
        after = (
            sql.SQL("{} > {}").format(self._key, sql.Literal(at["key"])) if at["key"] is not None else sql.SQL("true")
        )
        limit += 0 if self._unique else 1  # one more to see where the last key ends
        rows = self._full(sql.SQL("{} IS NOT NULL AND {}").format(self._key, after), self._key, limit)
        if len(rows) < limit:
            return SourcePage(rows, json.dumps({"row": None}))
        last: str = rows["key"][-1]
        if not self._unique:  # the last key may go on in the next page: there it is read again as a whole
            whole = rows.filter(pl.col("key") != last)
            if len(whole):
                return SourcePage(whole, json.dumps({"key": whole["key"][-1]}))
            rows = self.read([last], [])
        return SourcePage(rows, json.dumps({"key": last}))

    def changed(self, since: str, overlap: bool) -> pl.DataFrame:
        if self._watermark is None:
            return pl.DataFrame(schema=LIGHT)
        mark = json.loads(since)
        low = sql.SQL("(({}::timestamptz - make_interval(secs => {})) AT TIME ZONE {})::{}").format(
            sql.Literal(mark["at"]),
            sql.Literal(self._overlap_s),
            sql.Literal(self._catalogue.zone),
            sql.SQL(self._catalogue.watermark_type),
        )
        if self._catalogue.watermark_type == "timestamp with time zone":
            low = sql.SQL("({}::timestamptz - make_interval(secs => {}))").format(
                sql.Literal(mark["at"]), sql.Literal(self._overlap_s)
            )
        where = sql.SQL(" WHERE {} >= {}").format(self._watermark, low)
        if self._catalogue.has_xmin and not overlap:
            # Whatever a transaction below the mark's number wrote was visible when the mark was taken. A negative age
            # means that the number is from another server: then the time alone decides.
            where += sql.SQL(" AND (age({0}::xid) < 0 OR age(t.xmin) <= age({0}::xid))").format(
                sql.Literal(mark["xid"])
            )
        return self._query(self._light + self._from + where).cast(pl.Schema(LIGHT))

    def scan(self) -> pl.DataFrame:
        return self._query(self._light + self._from).cast(pl.Schema(LIGHT))

    def read(self, keys: Sequence[str], rows: Sequence[str]) -> pl.DataFrame:
        wanted = []
        if keys:
            wanted.append(sql.SQL("{} = ANY({})").format(self._key, sql.Literal(list(keys))))
        if rows:
            keyless = sql.SQL("({} IS NULL AND {} = ANY({}))")
            wanted.append(keyless.format(self._key, self._row, sql.Literal(list(rows))))
        if not wanted:
            return pl.DataFrame(schema=FULL)
        return self._full(sql.SQL(" OR ").join(wanted), self._key, None)

    def deletions(self) -> int | None:
        found = self._query(
            sql.SQL("SELECT n_tup_del AS n FROM pg_stat_user_tables WHERE relid = {}").format(
                sql.Literal(self._catalogue.oid)
            )
        )
        return int(found["n"][0]) if len(found) else None

    def close(self) -> None:
        self._connection.close()

    def _keyless_page(self, after: str | None, limit: int) -> SourcePage:
        where = sql.SQL("{} IS NULL").format(self._key)
        if after is not None:
            where += sql.SQL(" AND {} > {}").format(self._row, sql.Literal(after))
        rows = self._full(where, self._row, limit)
        return SourcePage(rows, json.dumps({"row": rows["row"][-1]}) if len(rows) == limit else None)

    def _full(self, where: sql.Composable, order: sql.Composable, limit: int | None) -> pl.DataFrame:
        """Full rows. The lines are written outside of the sorted part, for the rows that are wanted only."""
        inner = sql.SQL("{}, v {} WHERE {} ORDER BY {}, {}").format(
            sql.SQL(self._light.as_string().rstrip()), self._from, where, order, self._order
        )
        if limit is not None:
            inner += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        query = sql.SQL("SELECT s.row, s.key, s.version, row_to_json(s.v)::text || chr(10) AS line FROM ({}) AS s")
        return self._query(query.format(inner)).cast(pl.Schema(FULL))

    def _query(self, query: sql.Composable) -> pl.DataFrame:
        with database_errors(), self._connection.cursor() as cursor:
            cursor.execute(query.as_string())
            frame = pl.from_arrow(cursor.fetch_arrow_table())
        assert isinstance(frame, pl.DataFrame)
        return frame

    def _execute(self, statement: sql.Composable) -> None:
        with database_errors(), self._connection.cursor() as cursor:
            cursor.execute(statement.as_string())


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What PostgreSQL says about the table."""

    oid: int
    name: sql.Identifier
    columns: tuple[str, ...]
    primary_key: tuple[str, ...]
    indexed: frozenset[str]  # columns that lead an index
    unique: frozenset[str]  # columns that are unique alone
    has_xmin: bool
    watermark_type: str
    zone: str  # of writers who don't set their own, for watermarks without a zone

    @classmethod
    def read(cls, dsn: str, definition: Definition) -> Catalogue:
        """Raises psycopg.Error, SystemUnusable."""
        with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
            found = connection.execute(
                "SELECT c.oid::bigint AS oid, n.nspname, c.relname, c.relkind::text AS relkind,"
                " (SELECT reset_val FROM pg_settings WHERE name = 'TimeZone') AS zone"
                " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
                [definition.table],
            ).fetchone()
            if found is None:
                raise unusable("table", "table_unknown", Text("there is no such table", "không có bảng này"))
            types = {
                one["attname"]: one["type"]
                for one in connection.execute(
                    "SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute"
                    " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                    [found["oid"]],
                )
            }
            indexes = connection.execute(
                "SELECT i.indisprimary, i.indisunique AND i.indpred IS NULL AS indisunique, array_agg(a.attname::text"
                " ORDER BY k.n) AS columns FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, n),"
                " pg_attribute a WHERE i.indrelid = %s AND a.attrelid = i.indrelid AND a.attnum = k.attnum"
                " AND k.n <= i.indnkeyatts AND i.indisvalid"
                " GROUP BY i.indexrelid, i.indisprimary, i.indisunique, i.indpred",
                [found["oid"]],
            ).fetchall()
        catalogue = cls(
            oid=found["oid"],
            name=sql.Identifier(found["nspname"], found["relname"]),
            columns=tuple(types),
            primary_key=next((tuple(one["columns"]) for one in indexes if one["indisprimary"]), ()),
            indexed=frozenset(one["columns"][0] for one in indexes),
            unique=frozenset(one["columns"][0] for one in indexes if one["indisunique"] and len(one["columns"]) == 1),
            has_xmin=found["relkind"] in ("r", "p", "m"),
            watermark_type=types.get(definition.watermark or "", ""),
            zone=found["zone"],
        )
        catalogue._demand(definition)
        return catalogue

    def is_unique(self, columns: Mapping[str, str | Expression] | None, field: str) -> bool:
        column = field if columns is None else columns[field]
        return isinstance(column, str) and column in self.unique

    def _demand(self, definition: Definition) -> None:
        named = {f"columns.{field}": one for field, one in (definition.columns or {}).items() if isinstance(one, str)}
        named |= {f"primary_key.{n}": one for n, one in enumerate(definition.primary_key or ())}
        named |= {"watermark": definition.watermark} if definition.watermark else {}
        for path, column in named.items():
            if column not in self.columns:
                text = Text(f"the table has no column {column}", f"bảng không có cột {column}")
                raise unusable(path, "column_unknown", text)
        if definition.key not in (self.columns if definition.columns is None else definition.columns):
            raise unusable("key", "key_unknown", Text("not among the fields", "không có trong các trường"))
        if not (definition.primary_key or self.primary_key):
            text = Text(
                "the table has no primary key; name the columns that identify a row", "bảng không có khóa chính"
            )
            raise unusable("primary_key", "primary_key_missing", text)
        if definition.watermark and not self.watermark_type.startswith(("timestamp", "date")):
            text = Text(f"found {self.watermark_type}, expected a date or time", "cần kiểu ngày hoặc thời gian")
            raise unusable("watermark", "watermark_type", text)
        if not definition.watermark and not self.has_xmin:
            text = Text(
                "a view needs one: its rows have no version", "khung nhìn cần cột này vì dòng không có phiên bản"
            )
            raise unusable("watermark", "watermark_missing", text)


def _fields(catalogue: Catalogue, definition: Definition) -> sql.Composed:
    """The contract's fields as a SELECT list; names inside expressions are the table's columns."""
    mapping: Mapping[str, str | Expression] = definition.columns or {column: column for column in catalogue.columns}
    return sql.SQL(", ").join(
        sql.SQL("({}) AS {}").format(sql.SQL(one.sql), sql.Identifier(field))
        if isinstance(one, Expression)
        else sql.SQL("t.{} AS {}").format(sql.Identifier(one), sql.Identifier(field))
        for field, one in mapping.items()
    )
