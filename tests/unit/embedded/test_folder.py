from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bus.embedded.folder import DataFolder, secrets_at
from bus.errors import DataFolderInUse, DataFolderVersion, EmbeddedError


def test_a_second_opener_is_told_which_process_holds_the_folder(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path / "data"):
        with pytest.raises(DataFolderInUse) as refused:
            DataFolder.open(tmp_path / "data")
        assert str(os.getpid()) in refused.value.detail.en
        assert str(os.getpid()) in refused.value.detail.vi
        assert str(tmp_path / "data") in refused.value.detail.en


def test_another_process_is_refused_too_and_admitted_after_the_holder_ended(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from bus.embedded.folder import DataFolder\n"
    program += "DataFolder.open(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", program, str(tmp_path / "data")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(DataFolderInUse, match=str(holder.pid)):
            DataFolder.open(tmp_path / "data")
        holder.kill()
        holder.wait()
        DataFolder.open(tmp_path / "data").close()


def test_a_closed_folder_opens_again_with_the_same_secrets(tmp_path: Path) -> None:
    with DataFolder.open(tmp_path) as folder:
        first = folder.secret("views")
        assert folder.secret("tokens") != first
    with DataFolder.open(tmp_path) as folder:
        assert folder.secret("views") == first
    assert len(bytes.fromhex(first)) == 32


def test_secrets_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    secrets_at(tmp_path / "secrets.json", ["one"])
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_a_new_folder_says_which_versions_wrote_it_and_nobody_else_may_enter(tmp_path: Path) -> None:
    DataFolder.open(tmp_path / "data").close()
    version = json.loads((tmp_path / "data" / "version").read_text())
    assert version == {"format": 1, "kafka": "4.3.1", "postgresql": "18"}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "found",
    [
        {"format": 2, "kafka": "4.3.1", "postgresql": "18"},
        {"format": 1, "kafka": "4.4.0", "postgresql": "18"},
        {"format": 1, "kafka": "4.3.1", "postgresql": "17"},
    ],
)
def test_a_folder_of_another_version_is_named_and_left_alone(tmp_path: Path, found: dict[str, object]) -> None:
    (tmp_path / "version").write_text(json.dumps(found))
    with pytest.raises(DataFolderVersion) as refused:
        DataFolder.open(tmp_path)
    assert str(found["kafka"]) in refused.value.detail.en
    assert str(found["postgresql"]) in refused.value.detail.vi
    assert "--data" in refused.value.detail.en
    assert json.loads((tmp_path / "version").read_text()) == found
    (tmp_path / "version").unlink()
    DataFolder.open(tmp_path).close()  # the refusal let the lock go


def test_an_older_kafka_s_folder_is_opened_and_marked(tmp_path: Path) -> None:
    (tmp_path / "version").write_text(json.dumps({"format": 1, "kafka": "4.2.0", "postgresql": "18"}))
    DataFolder.open(tmp_path).close()
    assert json.loads((tmp_path / "version").read_text())["kafka"] == "4.3.1"


@pytest.mark.parametrize("text", ["", "null", "[]", '{"format": 1}', '{"format": 1, "kafka": "x", "postgresql": "18"}'])
def test_an_unreadable_version_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "version").write_text(text)
    with pytest.raises(DataFolderVersion):
        DataFolder.open(tmp_path)


def test_servers_data_without_a_version_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    with pytest.raises(DataFolderVersion):
        DataFolder.open(tmp_path)


def test_a_file_in_the_folder_s_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(EmbeddedError) as refused:
        DataFolder.open(tmp_path / "data")
    assert str(tmp_path / "data") in refused.value.detail.en


def test_a_lost_secret_that_data_rests_on_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError) as refused:
        secrets_at(tmp_path / "secrets.json", ["password"], make=False)
    assert str(tmp_path / "secrets.json") in refused.value.detail.vi
    assert not (tmp_path / "secrets.json").exists()


@pytest.mark.parametrize("text", ["", "null", "[1]", "{"])
def test_a_damaged_secrets_file_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "secrets.json").write_text(text)
    with pytest.raises(EmbeddedError):
        secrets_at(tmp_path / "secrets.json", ["password"])
    assert (tmp_path / "secrets.json").read_text() == text
