"""A figure: what was measured, several times, beside its yardstick."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """`values` in `unit`; `yardstick` in the same unit, named by `beside`; empty where a figure has none (memory at rest).

    The ratio says how many times the yardstick's speed was reached (rates), or how many times its time was taken (times).
    """

    name: str
    unit: str
    values: tuple[float, ...]
    beside: str = ""
    yardstick: tuple[float, ...] = ()

    @property
    def ratio(self) -> float | None:
        return median(self.values) / median(self.yardstick) if self.yardstick else None

    def document(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio}


def show(figures: Sequence[Figure], machine: str) -> None:
    """The figures as a table for a person."""
    table = Table(title=machine, title_justify="left")
    for column in ("figure", "min", "median", "max", "yardstick (median)", "ratio"):
        table.add_column(column, justify="left" if column in ("figure", "yardstick (median)") else "right")
    for figure in figures:
        stick = f"{figure.beside}: {_number(median(figure.yardstick))}" if figure.yardstick else "—"
        table.add_row(
            f"{figure.name}, {figure.unit}",
            _number(min(figure.values)),
            _number(median(figure.values)),
            _number(max(figure.values)),
            stick,
            "—" if figure.ratio is None else f"{figure.ratio:.2f}",
        )
    Console().print(table)


def written(figures: Sequence[Figure], machine: str) -> str:
    """The figures as JSON for a program."""
    return json.dumps({"machine": machine, "figures": [figure.document() for figure in figures]}, indent=1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"
