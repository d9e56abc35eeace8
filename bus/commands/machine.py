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
            Problem(f"LGSP_{'_'.join(map(str, one['loc'])).upper()}", one["type"], Text(one["msg"], one["msg"]))
            for one in error.errors(include_input=False, include_url=False)
        )
    detail = ", ".join(one.path for one in problems)
    raise told(Trouble(Exit.USAGE, 400, "setting_invalid", detail, False, problems), as_json)
