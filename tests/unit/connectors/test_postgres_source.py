"""Reading a real table: pages of whole keys, changes that commit late, what the definition names and the table hasn't."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors.base import SystemUnreachable
from connectors.postgres import SystemUnusable
from connectors.sources.postgres import Definition, Table

COLUMNS = {
    "number": "so_dinh_danh",
    "name": "ho_ten",
    "born": "ngay_sinh",
    "father": "cha",
    "code": {"sql": "upper(ma)"},
}


@pytest.fixture
def db(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE cong_dan (id int PRIMARY KEY, so_dinh_danh text, ho_ten text, ngay_sinh date, cha jsonb,"
            " ma text, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        yield connection


def definition(**changed: Any) -> Definition:
    given = {
        "name": "police",
        "kind": "source",
        "system": "postgres",
        "path": Path("police.yaml"),
        "bus": {"url": "http://127.0.0.1:1", "client_file": "c.json"},
        "dsn": "postgresql:///",
        "contract": "population/resident",
        "table": "cong_dan",
        "key": "number",
        "watermark": "updated_at",
        "columns": COLUMNS,
    }
    return Definition.model_validate(given | changed)


@contextmanager
def table(db: psycopg.Connection, **changed: Any) -> Iterator[Table]:
    with Table.opened(db.info.dsn + f" password={db.info.password}", definition(**changed)) as opened:
        yield opened


def insert(db: psycopg.Connection, *rows: tuple[int, str | None]) -> None:
    with db.cursor() as cursor:
        cursor.executemany("INSERT INTO cong_dan (id, so_dinh_danh) VALUES (%s, %s)", rows)


def all_pages(opened: Table, limit: int) -> list[list[tuple[str | None, str]]]:
    pages, position = [], None
    while True:
        page = opened.page(position, limit)
        pages.append([(key, row) for row, key in page.rows.select("row", "key").rows()])
        if page.next is None:
            return pages
        position = page.next


def test_a_row_becomes_one_line_of_json_with_the_contracts_names(db: psycopg.Connection) -> None:
    db.execute(
        "INSERT INTO cong_dan VALUES (1, '042', 'Nguyễn Thị \"Bình\"', '1990-05-01', '{\"name\": \"Hà\"}', 'ab')"
    )
    with table(db) as opened:
        line = opened.page(None, 10).rows["line"][0]
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    assert json.loads(line) == {
        "number": "042",
        "name": 'Nguyễn Thị "Bình"',
        "born": "1990-05-01",
        "father": {"name": "Hà"},
        "code": "AB",
    }


def test_bad_values_travel_as_they_are(db: psycopg.Connection) -> None:
    db.execute("ALTER TABLE cong_dan ADD x float8 DEFAULT 'NaN', ADD y timestamptz DEFAULT 'infinity'")
    db.execute("INSERT INTO cong_dan (id, ho_ten) VALUES (1, E'hai\\ndòng')")
    with table(db, columns={"number": "so_dinh_danh", "name": "ho_ten", "x": "x", "y": "y"}) as opened:
        pages = [opened.page(None, 10), opened.page('{"row": null}', 10)]
    lines = [line for page in pages for line in page.rows["line"]]
    assert [json.loads(line) for line in lines] == [{"number": None, "name": "hai\ndòng", "x": "NaN", "y": "infinity"}]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 100])
def test_pages_hold_every_row_once_and_never_cut_a_key(db: psycopg.Connection, limit: int) -> None:
    rows = [(1, "b"), (2, "a"), (3, "b"), (4, None), (5, "c"), (6, "b"), (7, None), (8, "d"), (9, "a")]
    insert(db, *rows)
    with table(db) as opened:
        pages = all_pages(opened, limit)
    read = [one for page in pages for one in page]
    assert sorted(read, key=str) == sorted(((key, str(row)) for row, key in rows), key=str)
    for key in "abcd":
        assert sum(any(one == key for one, _ in page) for page in pages) == 1


def test_keys_that_are_numbers_and_rows_with_two_part_identities_are_read_too(db: psycopg.Connection) -> None:
    db.execute("CREATE TABLE pairs (a int, b text, n bigint, PRIMARY KEY (a, b))")
    db.execute("INSERT INTO pairs SELECT g % 3, g::text, g FROM generate_series(1, 25) g")
    with table(db, table="pairs", key="n", columns={"n": "n"}, watermark=None) as opened:
        pages = all_pages(opened, 4)
        assert [int(key or 0) for page in pages for key, _ in page] == list(range(1, 26))
        read = opened.read(["7", "11"], [])
        assert read.select("row", "key").rows() == [('[1, "7"]', "7"), ('[2, "11"]', "11")]


def test_rows_are_read_by_key_and_keyless_ones_by_themselves(db: psycopg.Connection) -> None:
    insert(db, (1, "a"), (2, "a"), (3, None), (4, None), (5, "it's"))
    with table(db) as opened:
        assert opened.read(["a", "it's"], ["3", "1"])["row"].to_list() == ["1", "2", "5", "3"]
        assert len(opened.read([], [])) == 0


def test_changes_since_a_mark_are_seen_once_even_when_they_commit_late(db: psycopg.Connection) -> None:
    insert(db, (1, "a"), (2, "b"))
    with table(db) as opened, psycopg.connect(db.info.dsn, password=db.info.password) as slow:
        slow.execute("UPDATE cong_dan SET ho_ten = 'x', updated_at = now() WHERE id = 1")  # not committed yet
        mark = opened.mark()
        assert "1" not in opened.changed(mark, overlap=False)["row"]
        insert(db, (3, "c"))
        slow.commit()
        found = opened.changed(mark, overlap=False)["row"].to_list()
        assert {"1", "3"} <= set(found)
        assert opened.changed(opened.mark(), overlap=False)["row"].to_list() == []
        assert set(opened.changed(opened.mark(), overlap=True)["row"]) == {"1", "2", "3"}


def test_the_version_of_a_row_changes_with_every_update(db: psycopg.Connection) -> None:
    insert(db, (1, "a"), (2, "b"))
    with table(db) as opened:
        before = dict(opened.scan().select("row", "version").rows())
        db.execute("UPDATE cong_dan SET ho_ten = 'silently' WHERE id = 1")
        after = dict(opened.scan().select("row", "version").rows())
    assert before["1"] != after["1"]
    assert before["2"] == after["2"]


@pytest.mark.parametrize("kind", ["timestamp", "date", "timestamptz"])
def test_watermarks_of_every_kind_are_compared_in_the_databases_own_zone(db: psycopg.Connection, kind: str) -> None:
    name = db.info.dbname
    db.execute(f"ALTER DATABASE \"{name}\" SET TimeZone = 'Asia/Ho_Chi_Minh'")
    with psycopg.connect(db.info.dsn, password=db.info.password, autocommit=True) as writer:
        writer.execute(f"CREATE TABLE w (id int PRIMARY KEY, at {kind} NOT NULL DEFAULT now())")
        with table(db, table="w", key="id", columns={"id": "id"}, watermark="at") as opened:
            mark = opened.mark()
            writer.execute("INSERT INTO w VALUES (1)")
            assert opened.changed(mark, overlap=False)["row"].to_list() == ["1"]
            if kind != "date":
                writer.execute("INSERT INTO w VALUES (2, now() - interval '1 hour')")
                assert opened.changed(mark, overlap=False)["row"].to_list() == ["1"]


def test_a_view_is_read_by_its_watermark(db: psycopg.Connection) -> None:
    insert(db, (1, "a"))
    db.execute("CREATE VIEW adults AS SELECT * FROM cong_dan")
    with table(db, table="adults", primary_key=["id"]) as opened:
        mark = opened.mark()
        db.execute("UPDATE cong_dan SET updated_at = clock_timestamp()")
        assert opened.changed(mark, overlap=False)["row"].to_list() == ["1"]


@pytest.mark.parametrize(
    ("changed", "path", "code"),
    [
        ({"table": "nothing"}, "table", "table_unknown"),
        ({"key": "nothing"}, "key", "key_unknown"),
        ({"columns": {"number": "nothing"}}, "columns.number", "column_unknown"),
        ({"watermark": "nothing"}, "watermark", "column_unknown"),
        ({"watermark": "ho_ten"}, "watermark", "watermark_type"),
        ({"primary_key": ["nothing"]}, "primary_key.0", "column_unknown"),
        ({"columns": {"number": {"sql": "nothing(so_dinh_danh)"}}}, "dsn", "postgresql_42883"),
    ],
)
def test_what_the_table_has_not_is_named_by_its_path(
    db: psycopg.Connection, changed: dict[str, Any], path: str, code: str
) -> None:
    with pytest.raises(SystemUnusable) as caught, table(db, **changed):
        pass
    assert (caught.value.problems[0].path, caught.value.problems[0].code) == (path, code)


def test_a_table_without_a_primary_key_needs_one_named(db: psycopg.Connection) -> None:
    db.execute("CREATE TABLE heap (number text)")
    with pytest.raises(SystemUnusable) as caught, table(db, table="heap", columns=None, watermark=None):
        pass
    assert caught.value.problems[0].code == "primary_key_missing"
    with table(db, table="heap", columns=None, watermark=None, primary_key=["number"]) as opened:
        assert opened.facts() == {"rows": 0, "primary_key": ["number"], "without_index": ["number"]}


def test_a_database_that_is_down_can_be_tried_again(db: psycopg.Connection) -> None:
    with pytest.raises(SystemUnreachable), Table.opened("postgresql://127.0.0.1:1/x", definition()):
        pass


def test_a_connection_that_is_cut_can_be_tried_again_and_values_are_in_no_message(db: psycopg.Connection) -> None:
    insert(db, (1, "a"))
    with table(db) as opened:
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lgsp source'")
        with pytest.raises(SystemUnreachable) as caught:
            opened.read(["hunter2"], [])
    assert "hunter2" not in str([caught.value.detail, caught.value.problems])


def test_the_source_is_never_written(db: psycopg.Connection) -> None:
    with table(db) as opened:
        found = opened._query(_setting())
    assert found["s"].to_list() == ["on"]


def _setting() -> Any:
    from psycopg import sql

    return sql.SQL("SELECT current_setting('default_transaction_read_only') AS s")
