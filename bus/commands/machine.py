"""The settings of a command that runs on this machine: the environment's, with the command line's in front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bus.commands.output import Exit, Trouble, told
from registry.errors import Problem, Text

if TYPE_CHECKING:
    from bus.settings import Settings


def read_settings(given: Mapping[str, Any], as_json: bool) -> Settings:
    """Settings with what was `given` on the command line (None: not given). A wrong one ends the process.

    What is told names the setting, never its value, which may be a password.
    """
    from pydantic import ValidationError

    from bus.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problems = tuple(
            Problem(
                f"LGSP_{'_'.join(map(str, one['loc'])).upper()}",
                one["type"],
                _expected(one["type"], one.get("ctx", {})),
            )
            for one in error.errors(include_input=False, include_url=False)
        )
    detail = ", ".join(one.path for one in problems)
    raise told(Trouble(Exit.USAGE, 400, "setting_invalid", detail, False, problems), as_json)


def _expected(kind: str, context: Mapping[str, Any]) -> Text:
    """Pydantic's finding in both languages, without what was found."""
    limits = {
        "less_than_equal": ("at most", "tối đa", "le"),
        "greater_than_equal": ("at least", "tối thiểu", "ge"),
        "greater_than": ("more than", "lớn hơn", "gt"),
    }
    if kind in limits:
        en, vi, name = limits[kind]
        return Text(f"expected {en} {context[name]}", f"cần {vi} {context[name]}")
    if kind.startswith(("int_", "float_")) or kind == "finite_number":
        return Text("expected a number", "cần một số")
    return Text(f"not valid ({kind})", f"không hợp lệ ({kind})")
