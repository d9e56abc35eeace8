"""The police's resident register: a table in their own PostgreSQL, filled from a seed, and what its clerks do to it.

It knows nothing of the bus. What the rows hold is made by `bus.demo.people`, `columns` and `defects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
import psycopg
from psycopg import sql

from bus.demo.columns import NESTED, communes, resident_columns
from bus.demo.defects import spoil
from bus.demo.people import make_people
from registry.errors import ErrorClass

COPY_ROWS = 20_000  # a slice on its way into the database, about 20 MB
COPIES = 2

TYPES: dict[type[pl.DataType], str] = {pl.Int64: "bigint", pl.Boolean: "boolean", pl.Date: "date"}


@dataclass(frozen=True, slots=True)
class Register:
    """What make_register made. `wrong` has the ids of all rows that can't pass, both of a duplicate among them."""

    residents: int
    wrong: Mapping[ErrorClass, tuple[int, ...]]

    @property
    def rejected(self) -> int:
        return sum(map(len, self.wrong.values()))


def make_register(
    dsn: str,
    residents: int = 50_000,
    seed: int = 42,
    bad_share: float = 0.01,
    *,
    today: date,
    progress: Callable[[int], None] | None = None,
) -> Register:
    """Make the tables `resident_register` and `register_truth` anew, the same rows for the same arguments.

    `today` is the day on which ages and validity are right. `progress` is told how many rows are in. Raises
    psycopg.Error, and ValueError where `residents` are too few for `bad_share`.
    """
    rng = np.random.default_rng(seed)
    people = make_people(rng, residents, today)
    spoiled = spoil(rng, resident_columns(rng, people, today), bad_share, today)
    tables = {"register_truth": spoiled.truth, "resident_register": spoiled.register}
    with psycopg.connect(dsn) as connection:
        for table, frame in tables.items():
            _create(connection, table, frame)
    _copy(dsn, "register_truth", spoiled.truth, None)
    _copy(dsn, "resident_register", spoiled.register, progress)
    with psycopg.connect(dsn) as connection:
        for table in tables:
            connection.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(sql.Identifier(table)))
        connection.execute("CREATE INDEX ON resident_register (identity_number)")
        connection.execute("CREATE INDEX ON resident_register (updated_at)")
    wrong = dict(spoiled.truth.group_by("error_class").agg("id").iter_rows())
    return Register(residents, {each: tuple(wrong.get(each.value, ())) for each in ErrorClass})


def move_resident(dsn: str, resident: int, commune: str) -> None:
    """The resident moves to another commune of Hà Tĩnh. Raises LookupError where either isn't there."""
    if commune not in dict(communes()):
        raise LookupError(f"Hà Tĩnh has no commune {commune}")
    _change(
        dsn,
        "permanent_commune = %(commune)s, current_commune = %(commune)s",
        {"resident": resident, "commune": commune},
    )


def rename_resident(dsn: str, resident: int, full_name: str) -> None:
    """The resident takes another name. Raises LookupError where there is no such resident."""
    _change(dsn, "full_name = %(full_name)s", {"resident": resident, "full_name": full_name})


def delete_resident(dsn: str, resident: int) -> None:
    """The resident leaves the register. Raises LookupError where there is no such resident."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        deleted = connection.execute("DELETE FROM resident_register WHERE id = %s", [resident])
        if deleted.rowcount != 1:
            raise LookupError(f"the register has no resident {resident}")


def correct(dsn: str, resident: int) -> tuple[int, ...]:
    """Put right what is wrong about the resident; of a duplicate both rows count as corrected. Returns the ids.

    Raises LookupError where nothing is wrong about the resident.
    """
    with psycopg.connect(dsn) as connection:
        wrong = connection.execute(
            "DELETE FROM register_truth WHERE together = (SELECT together FROM register_truth WHERE id = %s) "
            'RETURNING id, "column", right_value',
            [resident],
        ).fetchall()
        for row, column, right_value in wrong:
            connection.execute(
                sql.SQL("UPDATE resident_register SET {} = %s, updated_at = clock_timestamp() WHERE id = %s").format(
                    sql.Identifier(column)
                ),
                [right_value, row],
            )
    if not wrong:
        raise LookupError(f"nothing is wrong about resident {resident}")
    return tuple(row for row, _, _ in wrong)


def _change(dsn: str, assignments: str, values: Mapping[str, object]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        changed = connection.execute(
            f"UPDATE resident_register SET {assignments}, updated_at = clock_timestamp() WHERE id = %(resident)s",  # noqa: S608
            values,
        )
        if changed.rowcount != 1:
            raise LookupError(f"the register has no resident {values['resident']}")


def _create(connection: psycopg.Connection, table: str, frame: pl.DataFrame) -> None:
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(_type(name, frame[name].dtype))) for name in frame.columns
    )
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table)))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), columns))


def _type(name: str, dtype: pl.DataType) -> str:
    if name in NESTED:
        return "jsonb"
    if dtype.base_type() is pl.Datetime:
        return "timestamptz(3)"  # the contract says milliseconds
    return TYPES.get(dtype.base_type(), "text")


def _copy(dsn: str, table: str, frame: pl.DataFrame, progress: Callable[[int], None] | None) -> None:
    """COPY slice by slice, several at once: what takes the time is PostgreSQL's own parsing of JSON."""
    done = 0
    with ThreadPoolExecutor(COPIES) as pool:
        for rows in pool.map(lambda part: _copy_slice(dsn, table, part), frame.iter_slices(COPY_ROWS)):
            done += rows
            if progress is not None:
                progress(done)


def _copy_slice(dsn: str, table: str, part: pl.DataFrame) -> int:
    """In the text format; made-up values hold no tab, backslash or line break, so nothing needs escaping."""
    text = part.write_csv(include_header=False, separator="\t", quote_style="never", null_value="\\N")
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET LOCAL timezone = 'UTC'")
        cursor.execute("SET LOCAL synchronous_commit = off")
        with cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
            copy.write(text)
    return len(part)
