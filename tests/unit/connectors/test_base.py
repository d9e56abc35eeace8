"""What a definition may say, and how a wrong one is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from bus.client import Retry
from connectors.base import DefinitionInvalid, build, load, systems

SOURCE: dict[str, Any] = {
    "kind": "source",
    "system": "postgres",
    "bus": {"url": "http://127.0.0.1:8080", "client_id": "cl", "client_secret": {"env": "TEST_SECRET"}},
    "dsn": "postgresql:///register",
    "contract": "population/resident",
    "table": "resident",
    "key": "identity_number",
}


def write(folder: Path, document: Any, name: str = "police.yaml") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(DefinitionInvalid) as caught:
        load(path)
    assert caught.value.detail.vi != caught.value.detail.en
    return [one.path for one in caught.value.problems]


def silent(*_: Any) -> None:
    pass


def test_a_definition_is_named_after_its_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, SOURCE)).name == "police"


def test_every_mistake_is_named_with_its_path_at_once(tmp_path: Path) -> None:
    wrong = SOURCE | {"bus": {"url": "ftp://x"}, "contract": "Resident", "tabel": "x", "polling": {"every_ms": 1}}
    assert problems(write(tmp_path, wrong)) == ["bus.url", "contract", "polling.every_ms", "tabel"]


def test_values_of_a_wrong_definition_are_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(DefinitionInvalid) as caught:
        load(write(tmp_path, SOURCE | {"contract": "hunter2 !"}))
    assert "hunter2" not in str([caught.value.detail, caught.value.problems])


@pytest.mark.parametrize(
    ("text", "path"),
    [("kind: [", "line 1"), ("- a", ""), ("kind: pump", "kind"), ("kind: source\nsystem: oracle", "system")],
)
def test_what_is_no_definition_at_all_is_said_where(tmp_path: Path, text: str, path: str) -> None:
    assert problems(write(tmp_path, text)) == [path]


def test_a_definition_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == [""]


def test_secrets_come_from_the_environment_or_from_files_beside_the_definition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SECRET", "s")
    write(tmp_path, "postgresql://u:p@h/d\n", "dsn")
    path = write(tmp_path, SOURCE | {"dsn": {"file": "dsn"}})
    definition = load(path)
    build(definition, silent)
    definition.client(Retry()).close()
    write(tmp_path, json.dumps({"client_id": "a", "client_secret": "b"}), "client.json")
    bus = {"url": "http://127.0.0.1:8080", "client_file": "client.json"}
    load(write(tmp_path, SOURCE | {"bus": bus})).client(Retry()).close()


def test_a_missing_secret_is_named_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_SECRET", raising=False)
    definition = load(write(tmp_path, SOURCE | {"dsn": {"file": "dsn"}}))
    with pytest.raises(DefinitionInvalid) as caught:
        build(definition, silent)
    assert caught.value.problems[0].path == "dsn"
    with pytest.raises(DefinitionInvalid) as caught:
        definition.client(Retry())
    assert caught.value.problems[0].path == "bus.client_secret"
    assert "TEST_SECRET" in caught.value.problems[0].message.vi


def test_a_password_in_a_definition_is_refused_and_not_repeated(tmp_path: Path) -> None:
    definition = load(write(tmp_path, SOURCE | {"dsn": "postgresql://u:hunter2@h/d"}))
    with pytest.raises(DefinitionInvalid) as caught:
        build(definition, silent)
    assert caught.value.problems[0].code == "secret_in_definition"
    assert "hunter2" not in str([caught.value.detail, caught.value.problems])


def test_credentials_are_given_in_one_way_only(tmp_path: Path) -> None:
    for bus in ({}, {"client_id": "a"}, {"client_file": "x", "client_id": "a", "client_secret": {"env": "E"}}):
        wrong = SOURCE | {"bus": {"url": "http://h"} | bus}
        assert problems(write(tmp_path, wrong)) == ["bus"]


def test_what_can_be_connected_is_what_there_are_modules_for() -> None:
    assert systems() == {"source": ["postgres"], "sink": ["postgres"]}
