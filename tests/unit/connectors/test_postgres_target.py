"""Filling a real table: types, last record per key, deletion, and the cursor in the same transaction."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from bus.client import ArrowPage
from connectors.base import SystemUnreachable
from connectors.postgres import SystemUnusable, database_errors
from connectors.postgres_target import Target

VALUE = pa.struct(
    [
        ("number", pa.string()),
        ("name", pa.string()),
        ("born", pa.date32()),
        ("at", pa.timestamp("ms", "UTC")),
        ("sex", pa.dictionary(pa.int32(), pa.string())),
        ("father", pa.struct([("name", pa.string()), ("born", pa.date32())])),
        ("children", pa.list_(pa.string())),
        ("fee", pa.decimal128(12, 2)),
        ("count", pa.int32()),
        ("photo", pa.binary()),
        ("alive", pa.bool_()),
    ]
)
EMPTY = dict.fromkeys(VALUE.names)
FULL = {
    "number": "042",
    "name": 'Nguyễn Thị "Bình"\t\\',
    "born": datetime.date(1990, 5, 1),
    "at": datetime.datetime(2025, 7, 1, 1, 2, 3, 4000, tzinfo=datetime.UTC),
    "sex": "female",
    "father": {"name": "Hà", "born": datetime.date(1960, 1, 1)},
    "children": ["Cường", "Dũng"],
    "fee": Decimal("12.30"),
    "count": 7,
    "photo": b"\x00\xff",
    "alive": True,
}


@pytest.fixture
def db(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        yield connection


@contextmanager
def target(dsn: str, subscription: str = "sub", table: str = "citizens", **changed: Any) -> Iterator[Target]:
    with Target.opened(
        dsn, subscription, table, **({"key": "number", "columns": None, "create": True} | changed)
    ) as opened:
        yield opened


def page(number: int, *records: tuple[str, dict[str, Any] | None], value: pa.DataType = VALUE) -> ArrowPage:
    cursors = [f"{number}.{index}" for index in range(len(records))]
    values = [None if one is None else {**dict.fromkeys(value.names), **one} for _, one in records]
    plain = pa.struct([(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in value])
    table = pa.table(
        {
            "cursor": pa.array(cursors, pa.string()),
            "key": pa.array([key for key, _ in records], pa.string()),
            "op": pa.array(["delete" if one is None else "upsert" for _, one in records], pa.string()),
            "value": pa.array(values, plain),
            "version": pa.array(["1.0.0"] * len(records), pa.string()),
            "published_at": pa.array([0] * len(records), pa.timestamp("ms", "UTC")),
        }
    )
    return ArrowPage(table, cursors[-1] if cursors else None)


def test_the_table_is_made_with_types_of_the_view_and_takes_every_value(
    db: psycopg.Connection, postgres_dsn: str
) -> None:
    with target(postgres_dsn) as opened:
        opened.apply(page(1, ("042", FULL), ("043", {"number": "043"})))
    types = dict(
        db.execute(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'citizens'"
        ).fetchall()
    )
    assert types == {
        "number": "text",
        "name": "text",
        "born": "date",
        "at": "timestamp with time zone",
        "sex": "text",
        "father": "jsonb",
        "children": "jsonb",
        "fee": "numeric",
        "count": "integer",
        "photo": "bytea",
        "alive": "boolean",
    }
    with db.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        first, second = cursor.execute("SELECT * FROM citizens ORDER BY number").fetchall()
    assert first == FULL | {"father": {"name": "Hà", "born": "1960-01-01"}}
    assert second == EMPTY | {"number": "043"}


def test_the_last_record_of_a_key_wins(db: psycopg.Connection, postgres_dsn: str) -> None:
    def named(key: str, name: str) -> tuple[str, dict[str, Any]]:
        return key, {"number": key, "name": name}

    with target(postgres_dsn) as opened:
        facts = opened.apply(
            page(1, named("a", "1"), named("b", "1"), named("a", "2"), ("b", None), ("c", None), named("c", "1"))
        )
        assert facts == {"records": 6, "upserts": 2, "deletes": 1, "delivered": 6}
        opened.apply(page(2, ("a", None), named("a", "3"), named("d", "1"), ("d", None)))
    assert db.execute("SELECT number, name FROM citizens ORDER BY 1").fetchall() == [("a", "3"), ("c", "1")]


def test_the_cursor_is_committed_with_the_records_or_not_at_all(db: psycopg.Connection, postgres_dsn: str) -> None:
    with target(postgres_dsn) as opened:
        opened.apply(page(1, ("a", {"number": "a"})))
    db.execute("ALTER TABLE citizens ADD CHECK (name <> 'bad')")
    with target(postgres_dsn) as opened:
        assert (opened.cursor, opened.delivered) == ("1.0", 1)
        with pytest.raises(SystemUnusable) as caught, database_errors():
            opened.apply(page(2, ("b", {"number": "b", "name": "good"}), ("c", {"number": "c", "name": "bad"})))
        assert "bad" not in str(caught.value.detail)
    with target(postgres_dsn) as opened:
        assert (opened.cursor, opened.delivered) == ("1.0", 1)
    assert db.execute("SELECT number FROM citizens").fetchall() == [("a",)]


def test_the_same_page_twice_is_the_same_table(db: psycopg.Connection, postgres_dsn: str) -> None:
    with target(postgres_dsn) as opened:
        for _ in range(2):
            opened.apply(page(1, ("a", {"number": "a"}), ("b", {"number": "b"}), ("a", None)))
    assert db.execute("SELECT number FROM citizens").fetchall() == [("b",)]


def test_an_empty_page_makes_the_table_and_moves_nothing(db: psycopg.Connection, postgres_dsn: str) -> None:
    with target(postgres_dsn) as opened:
        assert opened.apply(page(1)) == {}
        assert opened.cursor is None
    assert db.execute("SELECT count(*) FROM citizens").fetchone() == (0,)


def test_a_view_without_the_key_is_kept_by_its_hash(db: psycopg.Connection, postgres_dsn: str) -> None:
    value = pa.struct([("sex", pa.string())])
    with target(postgres_dsn, key=None) as opened:
        opened.apply(page(1, ("hash1", {"sex": "male"}), ("hash2", {"sex": "female"}), value=value))
        opened.apply(page(2, ("hash1", None), value=value))
    assert db.execute("SELECT lgsp_key, sex FROM citizens").fetchall() == [("hash2", "female")]


def test_fields_go_to_the_columns_and_types_of_a_table_that_is_there(db: psycopg.Connection, postgres_dsn: str) -> None:
    db.execute(
        "CREATE SCHEMA so; CREATE TABLE so.cong_dan (id serial, so_dd varchar(12) UNIQUE, nam_sinh text, ghi_chu text)"
    )
    columns = {"number": "so_dd", "born": "nam_sinh"}
    with target(postgres_dsn, table="so.cong_dan", columns=columns, create=False) as opened:
        opened.apply(page(1, ("042", FULL)))
        db.execute("UPDATE so.cong_dan SET ghi_chu = 'ours'")
        opened.apply(page(2, ("042", FULL | {"born": datetime.date(1991, 1, 1)})))
    assert db.execute("SELECT so_dd, nam_sinh, ghi_chu FROM so.cong_dan").fetchall() == [("042", "1991-01-01", "ours")]
    assert db.execute("SELECT cursor FROM so.lgsp_cursors").fetchall() == [("2.0",)]


def test_a_field_that_a_new_version_brings_becomes_a_column(db: psycopg.Connection, postgres_dsn: str) -> None:
    with target(postgres_dsn) as opened:
        opened.apply(page(1, ("a", {"number": "a"}), value=pa.struct([("number", pa.string())])))
        wider = pa.struct([("number", pa.string()), ("email", pa.string())])
        opened.apply(page(2, ("b", {"number": "b", "email": "b@x"}), value=wider))
    assert db.execute("SELECT number, email FROM citizens ORDER BY 1").fetchall() == [("a", None), ("b", "b@x")]


@pytest.mark.parametrize(
    ("table", "changed", "path", "code"),
    [
        (None, {"create": False}, "table", "table_unknown"),
        ("(number text)", {"create": False, "columns": {"number": "number"}}, "key", "key_not_unique"),
        ("(number text PRIMARY KEY)", {"create": False}, "columns.name", "column_unknown"),
        (None, {"columns": {"nothing": "x"}}, "columns.nothing", "field_unknown"),
        (None, {"key": "nothing"}, "key", "key_unknown"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(
    db: psycopg.Connection, postgres_dsn: str, table: str | None, changed: dict[str, Any], path: str, code: str
) -> None:
    if table:
        db.execute(f"CREATE TABLE citizens {table}")
    with target(postgres_dsn, **changed) as opened, pytest.raises(SystemUnusable) as caught:
        opened.apply(page(1, ("042", FULL)))
    assert (caught.value.problems[0].path, caught.value.problems[0].code) == (path, code)


def test_a_subscription_fills_one_target_at_a_time(db: psycopg.Connection, postgres_dsn: str) -> None:
    with target(postgres_dsn), target(postgres_dsn, "other"):
        with pytest.raises(SystemUnreachable) as caught, target(postgres_dsn):
            pass
        assert caught.value.problems[0].path == "subscription"
    with target(postgres_dsn):
        pass
