"""A table that a sink fills: made when asked, merged into page by page, with the cursor in the same transaction.

One ADBC connection does it all, since the staging table is temporary and so belongs to its session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import adbc_driver_postgresql.dbapi
import polars as pl
from psycopg import sql

from bus.client import ArrowPage
from connectors.base import SystemUnreachable
from connectors.postgres import database_errors, unusable
from registry.errors import Problem, Text

STAGE = "lgsp_stage"
KEY = "lgsp_key"
OP = "lgsp_op"


@dataclass(frozen=True, slots=True)
class Merge:
    """For one shape of records: where each field goes, and the two statements."""

    shape: pl.Schema
    fields: Mapping[str, str]  # field → column
    upsert: str
    delete: str


class Target:
    """Belongs to one subscription and one process at a time. `cursor` and `delivered` are what is committed here."""

    def __init__(
        self,
        connection: Any,
        subscription: str,
        table: str,
        key: str | None,
        columns: Mapping[str, str] | None,
        create: bool,
    ) -> None:
        self._connection = connection
        self._subscription = subscription
        self._name = table
        self._key = key
        self._columns = columns
        self._create = create
        self._merge: Merge | None = None
        self.cursor: str | None = None
        self.delivered = 0

    @classmethod
    @contextmanager
    def opened(
        cls,
        dsn: str,
        subscription: str,
        table: str,
        *,
        key: str | None,
        columns: Mapping[str, str] | None,
        create: bool,
    ) -> Iterator[Target]:
        """Raises SystemUnreachable (also when another sink has this subscription), SystemUnusable."""
        with database_errors():
            connection = adbc_driver_postgresql.dbapi.connect(dsn, autocommit=False)
        try:
            target = cls(connection, subscription, table, key, columns, create)
            with database_errors():
                target._begin()
            yield target
        finally:
            connection.close()

    def facts(self) -> dict[str, Any]:
        with database_errors():
            exists = self._one(sql.SQL("SELECT to_regclass({})::text").format(sql.Literal(self._regclass())))
        return {"exists": exists is not None, "delivered": self.delivered, "started": self.cursor is not None}

    def apply(self, page: ArrowPage) -> dict[str, int]:
        """Merge a page: the last record of each key wins. Raises ADBC's errors, SystemUnusable."""
        frame = pl.from_arrow(page.table)
        assert isinstance(frame, pl.DataFrame)
        merge = self._merge_for(frame)
        if page.cursor is None or frame.is_empty():
            return {}
        last = frame.unique("key", keep="last", maintain_order=True)
        staged = _staged(last, merge.fields)
        delivered = self.delivered + len(frame)
        with self._connection.cursor() as cursor:
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(STAGE)).as_string())
            cursor.adbc_ingest(
                STAGE, staged.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append", temporary=True
            )
            cursor.execute(merge.upsert)
            cursor.execute(merge.delete)
            cursor.execute(self._cursor_statement(page.cursor, delivered))
        self._connection.commit()
        self.cursor, self.delivered = page.cursor, delivered
        deletes = int((last["op"] == "delete").sum())
        return {"records": len(frame), "upserts": len(last) - deletes, "deletes": deletes, "delivered": delivered}

    def _begin(self) -> None:
        self._run("SET application_name = 'lgsp sink'")
        self._run("SET synchronous_commit = on")  # acknowledged to the bus means on disk here
        lock = sql.SQL("SELECT pg_try_advisory_lock(hashtextextended({}, 0))").format(
            sql.Literal(f"lgsp sink {self._subscription}")
        )
        if not self._one(lock):
            text = Text(
                f"another sink is filling from subscription {self._subscription}",
                f"một kết nối khác đang nhận dữ liệu của đăng ký {self._subscription}",
            )
            raise SystemUnreachable(text, [Problem("subscription", "in_use", text)])
        self._run(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (subscription text PRIMARY KEY, cursor text NOT NULL,"
                " delivered bigint NOT NULL, updated_at timestamptz NOT NULL)"
            ).format(self._cursors())
        )
        found = self._rows(
            sql.SQL("SELECT cursor, delivered FROM {} WHERE subscription = {}").format(
                self._cursors(), sql.Literal(self._subscription)
            )
        )
        self._connection.commit()
        if found:
            self.cursor, self.delivered = found[0]["cursor"], found[0]["delivered"]

    def _merge_for(self, frame: pl.DataFrame) -> Merge:
        """The statements for these fields; the table is made, or widened, when that is asked for."""
        value = frame.schema["value"]
        assert isinstance(value, pl.Struct)
        shape = pl.Schema({field.name: field.dtype for field in value.fields})
        if self._merge is None or self._merge.shape != shape:
            self._merge = self._prepare(shape)
        return self._merge

    def _prepare(self, shape: pl.Schema) -> Merge:
        fields = {name: name for name in shape} if self._columns is None else dict(self._columns)
        for field in fields:
            if field not in shape:
                text = Text(f"the view has no field {field}", f"khung nhìn không có trường {field}")
                raise unusable(f"columns.{field}", "field_unknown", text)
        if self._key is not None and self._key not in fields:
            text = Text("not among the fields that are written", "không có trong các trường được ghi")
            raise unusable("key", "key_unknown", text)
        key_column = KEY if self._key is None else fields[self._key]
        if self._create:
            self._make(shape, fields, key_column)
        types = self._types()
        if not types:
            text = Text("there is no such table; create it, or set create_table", "không có bảng này")
            raise unusable("table", "table_unknown", text)
        named = [("key", key_column), *((f"columns.{field}", column) for field, column in fields.items())]
        for path, column in named:
            if column not in types:
                text = Text(f"the table has no column {column}", f"bảng không có cột {column}")
                raise unusable(path, "column_unknown", text)
        if not self._unique(key_column):
            text = Text(f"column {key_column} has no unique index", f"cột {key_column} không có chỉ mục duy nhất")
            raise unusable("key", "key_not_unique", text)
        self._stage(shape, fields)
        self._connection.commit()
        upsert, delete = _statements(self._table(), fields, types, key_column, self._key)
        return Merge(shape, fields, upsert, delete)

    def _make(self, shape: pl.Schema, fields: Mapping[str, str], key_column: str) -> None:
        columns = {column: _postgres_type(shape[field]) for field, column in fields.items()}
        columns = {key_column: columns.get(key_column, "text")} | columns
        parts = [
            sql.SQL("{} {}{}").format(
                sql.Identifier(name), sql.SQL(kind), sql.SQL(" PRIMARY KEY" if name == key_column else "")
            )
            for name, kind in columns.items()
        ]
        existing = self._types()
        if not existing:
            self._run(sql.SQL("CREATE TABLE {} ({})").format(self._table(), sql.SQL(", ").join(parts)))
            return
        for name, kind in columns.items():
            if name not in existing:
                added = sql.SQL("ALTER TABLE {} ADD COLUMN {} {}")
                self._run(added.format(self._table(), sql.Identifier(name), sql.SQL(kind)))

    def _stage(self, shape: pl.Schema, fields: Mapping[str, str]) -> None:
        """An empty staging table with the types that records come in."""
        self._run(sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(sql.Identifier(STAGE)))
        empty = pl.DataFrame(
            schema={"op": pl.String, "key": pl.String, "value": pl.Struct({name: shape[name] for name in shape})}
        )
        with self._connection.cursor() as cursor:
            staged = _staged(empty, fields).to_arrow(compat_level=pl.CompatLevel.oldest())
            cursor.adbc_ingest(STAGE, staged, mode="create", temporary=True)

    def _cursor_statement(self, cursor: str, delivered: int) -> str:
        statement = sql.SQL(
            "INSERT INTO {} AS c VALUES ({}, {}, {}, now()) ON CONFLICT (subscription) DO UPDATE"
            " SET cursor = EXCLUDED.cursor, delivered = EXCLUDED.delivered, updated_at = EXCLUDED.updated_at"
        )
        return statement.format(
            self._cursors(), sql.Literal(self._subscription), sql.Literal(cursor), sql.Literal(delivered)
        ).as_string()

    def _types(self) -> dict[str, str]:
        found = self._rows(
            sql.SQL(
                "SELECT attname::text AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
                " WHERE attrelid = to_regclass({}) AND attnum > 0 AND NOT attisdropped"
            ).format(sql.Literal(self._regclass()))
        )
        return {one["name"]: one["type"] for one in found}

    def _unique(self, column: str) -> bool:
        return bool(
            self._one(
                sql.SQL(
                    "SELECT count(*) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
                    " AND a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass({}) AND i.indisunique"
                    " AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = {}"
                ).format(sql.Literal(self._regclass()), sql.Literal(column))
            )
        )

    def _regclass(self) -> str:
        return self._table().as_string()

    def _table(self) -> sql.Identifier:
        parts = self._name.split(".")
        return sql.Identifier(*parts)

    def _cursors(self) -> sql.Identifier:
        parts = [*self._name.split(".")[:-1], "lgsp_cursors"]
        return sql.Identifier(*parts)

    def _run(self, statement: str | sql.Composable) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement if isinstance(statement, str) else statement.as_string())

    def _rows(self, query: sql.Composable) -> list[dict[str, Any]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query.as_string())
            rows: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return rows

    def _one(self, query: sql.Composable) -> Any:
        return next(iter(self._rows(query)[0].values()))


def _statements(
    table: sql.Identifier, fields: Mapping[str, str], types: Mapping[str, str], key_column: str, key: str | None
) -> tuple[str, str]:
    """Upsert and delete from the staging table."""
    values = {column: sql.Identifier(field) for field, column in fields.items()}
    if key is None:
        values = {key_column: sql.Identifier(KEY)} | values
    others = [column for column in values if column != key_column]
    sets = [sql.SQL("{0} = EXCLUDED.{0}").format(sql.Identifier(column)) for column in others]
    upsert = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE {} = 'upsert' ON CONFLICT ({}) DO {}").format(
        table,
        sql.SQL(", ").join(sql.Identifier(column) for column in values),
        sql.SQL(", ").join(sql.SQL("{}::{}").format(value, sql.SQL(types[column])) for column, value in values.items()),
        sql.Identifier(STAGE),
        sql.Identifier(OP),
        sql.Identifier(key_column),
        sql.SQL("UPDATE SET {}").format(sql.SQL(", ").join(sets)) if sets else sql.SQL("NOTHING"),
    )
    delete = sql.SQL("DELETE FROM {} AS t USING {} AS s WHERE s.{} = 'delete' AND t.{} = s.{}::{}").format(
        table,
        sql.Identifier(STAGE),
        sql.Identifier(OP),
        sql.Identifier(key_column),
        sql.Identifier(KEY),
        sql.SQL(types[key_column]),
    )
    return upsert.as_string(), delete.as_string()


def _staged(records: pl.DataFrame, fields: Mapping[str, str]) -> pl.DataFrame:
    """Records as columns of types that COPY takes; nested values as JSON text."""
    value = records.schema["value"]
    assert isinstance(value, pl.Struct)
    types = pl.Schema({field.name: field.dtype for field in value.fields})
    return records.select(
        pl.col("op").cast(pl.String).alias(OP),
        pl.col("key").cast(pl.String).alias(KEY),
        *(_stageable(pl.col("value").struct.field(name), name, types[name]) for name in fields),
    )


def _stageable(column: pl.Expr, name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, (pl.Struct, pl.List, pl.Array)):
        document = pl.struct(column.alias("v")).struct.json_encode()  # {"v":…}
        return pl.when(column.is_null()).then(None).otherwise(document.str.slice(5).str.head(-1)).alias(name)
    if isinstance(dtype, (pl.Enum, pl.Categorical, pl.Null)):
        return column.cast(pl.String).alias(name)
    if dtype.is_unsigned_integer():
        return column.cast(pl.Int64).alias(name)
    if isinstance(dtype, pl.Datetime):
        return column.dt.cast_time_unit("us").alias(name)
    return column.alias(name)


def _postgres_type(dtype: pl.DataType) -> str:
    """The column type for a field that comes as `dtype`."""
    if isinstance(dtype, (pl.Struct, pl.List, pl.Array)):
        return "jsonb"
    if isinstance(dtype, pl.Datetime):
        return "timestamptz" if dtype.time_zone else "timestamp"
    if isinstance(dtype, pl.Decimal):
        return f"numeric({dtype.precision or 38},{dtype.scale})"
    simple: dict[type[pl.DataType], str] = {
        pl.Boolean: "boolean",
        pl.Int8: "smallint",
        pl.Int16: "smallint",
        pl.Int32: "integer",
        pl.Float32: "real",
        pl.Float64: "double precision",
        pl.Date: "date",
        pl.Time: "time",
        pl.Binary: "bytea",
    }
    if type(dtype) in simple:
        return simple[type(dtype)]
    return "bigint" if dtype.is_integer() else "text"
