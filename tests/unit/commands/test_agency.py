"""Attributes as the command line has them."""

from __future__ import annotations

import pytest
import typer

from bus.commands.agency import parse_attributes


def test_values_by_commas_and_names_said_twice_add_up() -> None:
    assert parse_attributes(["communes=18073,18076", "communes=18079", "level=2"]) == {
        "communes": ["18073", "18076", "18079"],
        "level": ["2"],
    }


@pytest.mark.parametrize("said", ["communes", "=1", "communes="])
def test_anything_else_is_wrong_usage(said: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_attributes([said])
