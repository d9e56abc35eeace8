"""`lgsp connector`: answers for people and programs, and the exit codes of every lgsp command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from bus.commands.output import Exit
from connectors.cli import app
from connectors.state import ROWS, State
from tests.unit.connectors.test_runner import UNREACHABLE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "police.yaml").write_text(yaml.safe_dump(UNREACHABLE))
    (tmp_path / "wrong.yaml").write_text("kind: source\nsystem: postgres\n")
    return tmp_path


def test_a_folders_connectors_are_listed_also_the_wrong_ones(folder: Path) -> None:
    result = CliRunner().invoke(app, ["list", str(folder), "--json"])
    assert result.exit_code == Exit.OK
    police, wrong = json.loads(result.stdout)
    assert police == {"connector": "police", "kind": "source", "system": "postgres"}
    assert (wrong["connector"], wrong["code"]) == ("wrong", "definition_invalid")
    assert "contract" in wrong["problem"]


def test_status_says_how_far_a_source_has_come(folder: Path) -> None:
    with State.opened(folder / "state" / "police.sqlite") as state:
        row = pl.DataFrame([("1", "a", 1, 1, True, False)], schema=ROWS, orient="row")
        state.commit(replace(state.progress, snapshot_done=True), row)
        result = CliRunner().invoke(app, ["status", str(folder), "--json"])  # beside the running connector
    assert json.loads(result.stdout)[0]["status"] == {"snapshot": "done", "rows": 1, "rejected": 0, "batches": 0}


@pytest.mark.parametrize(
    ("name", "code", "exit_code"),
    [
        ("police", "system_unreachable", Exit.UNAVAILABLE),
        ("wrong", "definition_invalid", Exit.INVALID),
        ("none", "definition_invalid", Exit.INVALID),
    ],
)
def test_a_check_that_fails_says_why(folder: Path, name: str, code: str, exit_code: Exit) -> None:
    result = CliRunner().invoke(app, ["check", str(folder / f"{name}.yaml"), "--json"])
    assert (json.loads(result.stdout)["code"], result.exit_code) == (code, exit_code)


def test_a_run_that_cannot_start_ends_with_the_reason(folder: Path) -> None:
    result = CliRunner().invoke(app, ["run", str(folder / "wrong.yaml"), "--json"])
    assert result.exit_code == Exit.INVALID
    assert {one["path"] for one in json.loads(result.stdout)["errors"]} >= {"bus", "dsn", "contract", "table", "key"}


def test_what_can_be_connected_is_told(folder: Path) -> None:
    result = CliRunner().invoke(app, ["systems", "--json"])
    assert json.loads(result.stdout) == {"source": ["postgres"], "sink": ["postgres"]}
