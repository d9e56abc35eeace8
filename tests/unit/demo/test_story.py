"""How the demo ends: with 0, with what didn't hold, or before it began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bus.demo import steps, story
from bus.demo.stage import PromiseBroken
from bus.errors import InvalidRequest
from registry.errors import Text

PROMISE = Text("every record arrives", "mọi bản ghi đều đến nơi")


def breaking(*_: Any) -> Any:
    raise PromiseBroken(PROMISE, 1, 2)


def test_a_broken_promise_ends_with_1_and_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "start", breaking)
    assert story.run(data=tmp_path / "new") == 1
    shown = capsys.readouterr().out
    for part in ("every record arrives", "mọi bản ghi đều đến nơi", "found: 1", "expected: 2"):
        assert part in shown
    assert "Everything held" not in shown


def test_for_a_program_there_is_one_json_object_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(steps, "start", breaking)
    assert story.run(data=tmp_path / "new", as_json=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["broken"] == {
        "promise": {"en": PROMISE.en, "vi": PROMISE.vi},
        "found": "1",
        "expected": "2",
    }


def test_ctrl_c_ends_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "start", interrupted)
    assert story.run(data=tmp_path / "new") == 130


def test_a_folder_of_its_own_goes_unless_it_is_to_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(steps, "start", breaking)
    story.run()
    assert list(tmp_path.iterdir()) == []
    story.run(keep=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_done_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("here")
    with pytest.raises(InvalidRequest, match="holds something already"):
        story.run(data=tmp_path)
    with pytest.raises(InvalidRequest, match="--records: found 10"):
        story.run(10, data=tmp_path / "new")
