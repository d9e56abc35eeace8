"""What a source remembers is on disk before it goes on, belongs to one process, and is never mixed up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from connectors.state import ROWS, State, StateUnusable


def rows(*given: tuple[str, str | None, int, int, bool, bool]) -> pl.DataFrame:
    return pl.DataFrame(given, schema=ROWS, orient="row")


A, B, C = ("1", "ka", 1, 11, True, False), ("2", "ka", 1, 12, True, True), ("3", None, 1, 13, False, True)


def test_what_was_committed_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.sqlite"
    with State.opened(path) as state:
        instance = state.progress.instance
        state.commit(replace(state.progress, page="p", mark="m", batch=4), rows(A, B, C))
    with State.opened(path) as state:
        assert (state.progress.page, state.progress.mark, state.progress.batch) == ("p", "m", 4)
        assert state.progress.instance == instance
        assert state.known(["ka"], ["3"]).sort("row").rows() == [A, B, C]
        assert state.count() == {"rows": 3, "rejected": 2}
        assert state.rejected() == (["ka"], ["3"])


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    script = (
        "import os, sys; from pathlib import Path; from dataclasses import replace\n"
        "from connectors.state import State; from tests.unit.connectors.test_state import A, rows\n"
        "opened = State.opened(Path(sys.argv[1])); state = opened.__enter__()\n"
        "state.commit(replace(state.progress, batch=1), rows(A))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -9
    with State.opened(path) as state:
        assert (state.progress.batch, state.known(["ka"], []).rows()) == (1, [A])


def test_keys_are_replaced_as_a_whole(tmp_path: Path) -> None:
    with State.opened(tmp_path / "s.sqlite") as state:
        state.commit(state.progress, rows(A, B, C))
        now = ("4", "ka", 2, 14, True, False)
        state.commit(state.progress, rows(now), forget_keys=["ka"], forget_rows=["3"])
        assert state.versions().rows() == [now[:3]]


def test_known_is_asked_by_key_and_by_row(tmp_path: Path) -> None:
    with State.opened(tmp_path / "s.sqlite") as state:
        state.commit(state.progress, rows(A, B, C))
        assert state.known(["ka"], []).sort("row").rows() == [A, B]
        assert state.known([], ["3", "1"]).sort("row").rows() == [A, C]
        assert state.known([], []).rows() == []


def test_another_table_or_contract_begins_anew_another_shape_keeps_what_was_sent(tmp_path: Path) -> None:
    with State.opened(tmp_path / "s.sqlite") as state:
        assert state.begin("table", "columns") == "new"
        state.commit(replace(state.progress, snapshot_done=True, mark="m"), rows(A))
        first = state.progress.snapshot
        assert state.begin("table", "columns") == "same"
        assert state.progress.snapshot_done
        assert state.begin("table", "more columns") == "reshaped"
        assert (state.progress.snapshot_done, state.progress.mark) == (False, None)
        assert state.progress.snapshot > first  # or its batches would be taken for those of the first snapshot
        assert state.count()["rows"] == 1
        assert state.begin("another table", "columns") == "moved"
        assert state.count()["rows"] == 0


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with State.opened(path), pytest.raises(StateUnusable) as caught, State.opened(path):
        pass
    assert "in use" in caught.value.detail.en or "using it" in caught.value.detail.en


def test_looking_does_not_disturb(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    assert State.peek(path)["snapshot"] == "not started"
    with State.opened(path) as state:
        state.commit(replace(state.progress, snapshot_done=True), rows(A, B))
        assert State.peek(path) == {"snapshot": "done", "rows": 2, "rejected": 1, "batches": 0}


@pytest.mark.parametrize("what", ["text", "other version"])
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    path = tmp_path / "s.sqlite"
    if what == "text":
        path.write_text("not a database, by any measure " * 100)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    with pytest.raises(StateUnusable), State.opened(path):
        pass
    assert path.read_bytes()[100:] == before[100:]  # SQLite's header notes the journal mode
