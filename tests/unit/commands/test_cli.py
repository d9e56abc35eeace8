"""The command line as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bus.cli import assemble
from bus.commands.output import Exit


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, typer.models.CommandInfo]]:
    for command in group.registered_commands:
        assert command.callback is not None
        yield f"{before}{command.name or command.callback.__name__}", command
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{before}{inner.name} ")


ALL = dict(commands(assemble()))


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_json_and_says_what_it_does(name: str) -> None:
    ran = CliRunner().invoke(assemble(), [*name.split(), "--help"], env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    assert "--json" in ran.output
    callback = ALL[name].callback
    assert callback is not None
    assert callback.__doc__


def test_nothing_heavy_is_imported_to_show_help() -> None:
    code = (
        "import sys; from bus.cli import assemble; assemble(); "
        "print([m for m in ('pyarrow', 'polars', 'httpx', 'fastapi', 'sqlalchemy', 'numpy', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_without_credentials_it_says_how_to_give_them() -> None:
    ran = CliRunner().invoke(assemble(), ["me", "--json"], env={"LGSP_CLIENT_ID": "", "LGSP_CLIENT_SECRET": ""})
    assert ran.exit_code == Exit.USAGE
    assert json.loads(ran.stdout)["code"] == "credentials_missing"


def test_a_bus_that_is_not_there_is_code_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.commands.connection.INSIST_S", 0.2)
    environment = {"LGSP_CLIENT_ID": "cl_x", "LGSP_CLIENT_SECRET": "not-to-be-seen"}
    ran = CliRunner().invoke(assemble(), ["me", "--json", "--url", "http://127.0.0.1:9"], env=environment)
    assert ran.exit_code == Exit.UNAVAILABLE
    document = json.loads(ran.stdout)
    assert document["retriable"] is True
    assert "not-to-be-seen" not in ran.output


def test_a_wrong_setting_is_named_without_its_value() -> None:
    ran = CliRunner().invoke(assemble(), ["doctor", "--json"], env={"LGSP_PORT": "s3cret-port"})
    assert ran.exit_code == Exit.USAGE
    assert json.loads(ran.stdout)["errors"][0]["path"] == "LGSP_PORT"
    assert "s3cret" not in ran.output


def test_an_unknown_role_of_up_is_told_before_anything_starts(tmp_path: Path) -> None:
    ran = CliRunner().invoke(assemble(), ["up", "--roles", "kitchen", "--data", str(tmp_path / "d"), "--json"])
    assert ran.exit_code == Exit.INVALID
    assert "kitchen" in json.loads(ran.stdout)["detail"]
    assert not (tmp_path / "d").exists()


def test_doctor_tells_its_findings_as_json(tmp_path: Path) -> None:
    ran = CliRunner().invoke(assemble(), ["doctor", "--json", "--data", str(tmp_path)])
    document = json.loads(ran.stdout)
    assert ran.exit_code == (Exit.OK if document["ok"] else Exit.FAILED)
    assert {"name", "ok", "found", "mend"} == set(document["findings"][0])


def test_a_file_of_unknown_kind_is_refused_before_the_bus_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "residents.csv"
    file.write_text("a,b")
    ran = CliRunner().invoke(assemble(), ["publish", "population/resident", str(file), "--json"])
    assert ran.exit_code == Exit.INVALID
    assert "residents.csv" in json.loads(ran.stdout)["detail"]


def test_the_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert CliRunner().invoke(assemble(), ["--version"]).stdout.strip() == version("lgsp")
