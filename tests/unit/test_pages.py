"""The printed pages of the reference say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.settings import Settings
from tests.pages import pages, settings_page

PAGES = pages()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_page_is_what_the_code_says(path: Path) -> None:
    assert path.read_text() == PAGES[path], "run make docs"


def test_every_setting_is_on_its_page_once() -> None:
    page = settings_page()
    for name in Settings.model_fields:
        assert page.count(f"`LGSP_{name.upper()}`") == 1
