"""What a source remembers between two runs, in one SQLite file: how far it has come, and what it last sent of each row.

One transaction after each acknowledged batch, on disk before the next one begins (WAL, synchronous=FULL): after kill -9
the worst that happens is that the last batches are sent again, under the same idempotency keys. No record's values are
in here, only keys, hashes and positions.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl

from connectors.base import ConnectorError
from registry.errors import Problem, Text

VERSION = 1
READ_ROWS = 20_000  # at once as Python's objects, which take ten times the room of columns


class StateUnusable(ConnectorError):
    code = "state_unusable"
    status = 409


ROWS: dict[str, type[pl.DataType]] = {
    "row": pl.String,
    "key": pl.String,
    "version": pl.Int64,
    "hash": pl.Int64,
    "accepted": pl.Boolean,
    "rejected": pl.Boolean,
}

_TABLES = """
CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 1), scope TEXT, shape TEXT, document TEXT NOT NULL);
CREATE TABLE rows (
  row TEXT PRIMARY KEY,       -- the source's primary key, as text
  key TEXT,                   -- the contract's key; NULL where the row has none
  version INTEGER NOT NULL,   -- changes whenever the row does
  hash INTEGER NOT NULL,      -- of what was sent
  accepted INTEGER NOT NULL,  -- the bus holds a record of this key from us
  rejected INTEGER NOT NULL   -- the bus refused this row or another one of its key
) WITHOUT ROWID;
CREATE INDEX rows_key ON rows (key);
CREATE INDEX rows_rejected ON rows (key) WHERE rejected;
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source has come.

    `page` is where the snapshot goes on (None: at its start) until `snapshot_done`; `mark` is from where changes count.
    `snapshot` numbers the snapshots and `batch` what is sent after them: together with `instance` they make idempotency
    keys that no later batch repeats.
    """

    instance: str
    snapshot: int = 0
    batch: int = 0
    snapshot_done: bool = False
    page: str | None = None
    mark: str | None = None


class State:
    """Belongs to the thread that opened it. Raises sqlite3.Error; a file of another version is a ValueError."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            found = self._db.execute("PRAGMA user_version").fetchone()[0]
            if found not in (0, VERSION):
                raise ValueError(f"state file of version {found}, expected {VERSION}")
            if found == 0:
                self._create()
        except BaseException:
            self._db.close()
            raise
        self.progress = self._load()

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[State]:
        """For the one process that writes. Raises StateUnusable: of another version, not ours, or in use."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # The lock is a second database held open exclusively: released when its process dies, on every system.
        with closing(sqlite3.connect(path.with_name(path.name + ".lock"), timeout=0, isolation_level=None)) as lock:
            try:
                lock.execute("BEGIN EXCLUSIVE")
                state = cls(path)
            except (sqlite3.Error, ValueError, TypeError) as error:
                raise _unusable(path, error) from error
            try:
                yield state
            finally:
                state.close()

    @staticmethod
    def peek(path: Path) -> dict[str, Any]:
        """Facts for a person, read beside a running connector. Raises StateUnusable."""
        if not path.exists():
            return {"snapshot": "not started", "rows": 0, "rejected": 0}
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                document = json.loads(db.execute("SELECT document FROM progress").fetchone()[0])
                rows, rejected = db.execute("SELECT count(*), coalesce(sum(rejected), 0) FROM rows").fetchone()
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise _unusable(path, error) from error
        snapshot = "done" if document["snapshot_done"] else "under way"
        return {"snapshot": snapshot, "rows": rows, "rejected": rejected, "batches": document["batch"]}

    def close(self) -> None:
        self._db.close()

    def begin(self, scope: str, shape: str) -> str:
        """Say what this state is about. Returns "new", "same", "reshaped" (snapshot anew) or "moved" (all forgotten).

        `scope` is where records come from and go to, `shape` how they are made. After a new shape everything is
        compared with what was sent, so that deletions in between are still seen.
        """
        before = self._db.execute("SELECT scope, shape FROM progress").fetchone()
        if before == (scope, shape):
            return "same"
        fresh = before == (None, None)
        moved = not fresh and before[0] != scope
        with self._transaction():
            if moved:
                self._db.execute("DELETE FROM rows")
            self._db.execute("UPDATE progress SET scope = ?, shape = ?", (scope, shape))
            self._save(
                replace(self.progress, snapshot=self.progress.snapshot + 1, snapshot_done=False, page=None, mark=None)
            )
        return "new" if fresh else "moved" if moved else "reshaped"

    def commit(
        self, progress: Progress, rows: pl.DataFrame, forget_keys: Sequence[str] = (), forget_rows: Sequence[str] = ()
    ) -> None:
        """In one transaction: forget what was known of these keys and rows, remember `rows`, move on to `progress`."""
        with self._transaction():
            if forget_keys:
                self._db.execute(
                    "DELETE FROM rows WHERE key IN (SELECT value FROM json_each(?))", (_list(forget_keys),)
                )
            if forget_rows:
                self._db.execute(
                    "DELETE FROM rows WHERE row IN (SELECT value FROM json_each(?))", (_list(forget_rows),)
                )
            self._db.executemany(
                "INSERT OR REPLACE INTO rows (row, key, version, hash, accepted, rejected) VALUES (?, ?, ?, ?, ?, ?)",
                rows.select(list(ROWS)).iter_rows(),
            )
            self._save(progress)

    def count(self) -> dict[str, int]:
        total, rejected = self._db.execute("SELECT count(*), coalesce(sum(rejected), 0) FROM rows").fetchone()
        return {"rows": total, "rejected": rejected}

    def versions(self) -> pl.DataFrame:
        """Row, key and version of everything that was sent."""
        light = ("row", "key", "version")
        return self._frame("SELECT row, key, version FROM rows", (), {name: ROWS[name] for name in light})

    def known(self, keys: Sequence[str], rows: Sequence[str]) -> pl.DataFrame:
        """What was sent of these keys, and of these rows whatever key they had."""
        return self._frame(
            "SELECT row, key, version, hash, accepted, rejected FROM rows WHERE key IN (SELECT value FROM json_each(?))"
            " UNION SELECT row, key, version, hash, accepted, rejected FROM rows"
            " WHERE row IN (SELECT value FROM json_each(?))",
            (_list(keys), _list(rows)),
        )

    def rejected(self) -> tuple[list[str], list[str]]:
        """Keys the bus refused, and the rows without a key."""
        found = self._db.execute("SELECT DISTINCT key, CASE WHEN key IS NULL THEN row END FROM rows WHERE rejected")
        pairs = found.fetchall()
        return [key for key, _ in pairs if key is not None], [row for _, row in pairs if row is not None]

    def _create(self) -> None:
        self._db.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={VERSION};COMMIT;")
        with self._transaction():
            self._db.execute(
                "INSERT INTO progress (id, document) VALUES (1, ?)", (json.dumps(asdict(Progress(uuid4().hex))),)
            )

    def _load(self) -> Progress:
        return Progress(**json.loads(self._db.execute("SELECT document FROM progress").fetchone()[0]))

    def _save(self, progress: Progress) -> None:
        self._db.execute("UPDATE progress SET document = ?", (json.dumps(asdict(progress)),))
        self.progress = progress

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        before = self.progress if hasattr(self, "progress") else None
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            if before is not None:
                self.progress = before
            raise

    def _frame(
        self, query: str, parameters: Iterable[Any] = (), schema: dict[str, type[pl.DataType]] = ROWS
    ) -> pl.DataFrame:
        stored = {name: pl.Int64 if dtype is pl.Boolean else dtype for name, dtype in schema.items()}
        parts = [pl.DataFrame(schema=stored)]
        with closing(self._db.execute(query, tuple(parameters))) as found:
            while rows := found.fetchmany(READ_ROWS):
                parts.append(pl.DataFrame(rows, schema=stored, orient="row"))
        return pl.concat(parts).cast(pl.Schema(schema))


def _unusable(path: Path, error: Exception) -> StateUnusable:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        what = Text("another connector is using it", "đang được một kết nối khác sử dụng")
    else:
        what = Text(f"not a state file of version {VERSION}", f"không phải tệp trạng thái phiên bản {VERSION}")
    return StateUnusable(Text(f"{path.name}: {what.en}", f"{path.name}: {what.vi}"), [Problem("state", "state", what)])


def _list(values: Sequence[str]) -> str:
    return json.dumps(list(values))
