"""What an expression may name, and the error that says what is wrong with one."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from registry.errors import Text


class CelInvalid(Exception):
    """Not CEL, or CEL that asks for what isn't there. `code` ends a Problem's code."""

    def __init__(self, code: str, message: Text) -> None:
        super().__init__(message.en)
        self.code = code
        self.message = message


class NotByColumns(Exception):
    """Valid CEL that has no Polars form."""


@dataclass(frozen=True)
class Scope:
    """`record.<field>`, `codes.<list>` and `today` (a date in Asia/Ho_Chi_Minh)."""

    fields: pl.Schema
    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    today: datetime.date = datetime.date(2000, 1, 1)
