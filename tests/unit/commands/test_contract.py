"""`lgsp contract lint` needs no bus, and a folder is packed the same way every time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bus.cli import assemble
from bus.commands.contract import packed
from bus.commands.output import Exit
from registry.contract import load_zip

RESIDENT = Path(__file__).parents[3] / "contracts" / "population" / "resident"


def test_a_sound_contract_lints_without_a_bus() -> None:
    ran = CliRunner().invoke(assemble(), ["contract", "lint", str(RESIDENT), "--json"])
    assert ran.exit_code == Exit.OK, ran.output
    assert json.loads(ran.stdout)["id"] == "population/resident"


def test_every_problem_is_told_with_its_path(tmp_path: Path) -> None:
    for file in RESIDENT.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "contract.yaml"
    fields = "[identity_number, full_name, birth_date, birth_date_precision, sex]"
    text = path.read_text().replace(fields, "[identity_number, shoe_size]", 1)
    path.write_text(text.replace("classification: personal", "classification: secret", 1))
    ran = CliRunner().invoke(assemble(), ["contract", "lint", str(tmp_path), "--json"])
    assert ran.exit_code == Exit.FAILED
    document = json.loads(ran.stdout)
    paths = [one["path"] for one in document["errors"]]
    assert any(path.endswith("classification") for path in paths)
    assert any("shoe_size" in one["message"] for one in document["errors"])


@pytest.mark.parametrize("times", [1, 2])
def test_a_folder_is_packed_with_all_its_files(times: int, tmp_path: Path) -> None:
    content = packed(RESIDENT)
    assert content == packed(RESIDENT)
    assert load_zip(content).id == "population/resident"
    path = tmp_path / f"{times}.zip"
    path.write_bytes(content)
    assert packed(path) == content
