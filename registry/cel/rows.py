"""CEL row by row with cel-python, for what has no form by columns, and as the reference for what has."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import celpy
import polars as pl
from celpy import celtypes
from celpy.evaluation import CELEvalError

from registry.cel import functions
from registry.cel.scope import Scope
from registry.cel.tree import Tree, paths

_environment = celpy.Environment()


def evaluate_rows(tree: Tree, scope: Scope, frame: pl.DataFrame) -> pl.Series:
    """The answer for each row of `frame`; null where there is none, or where it is neither true nor false."""
    program = _environment.program(tree, functions=functions.ROWS)
    read = sorted({path[0] for path in paths(tree, "record") if path})
    whole = any(not path for path in paths(tree, "record"))
    columns = frame.columns if whole else [name for name in read if name in frame.columns]
    codes = celtypes.MapType(
        {
            celtypes.StringType(name): celtypes.ListType([celtypes.StringType(value) for value in values])
            for name, values in scope.codes.items()
        }
    )
    context = {"codes": codes, "today": functions.day(scope.today)}
    answers: list[bool | None] = []
    for row in frame.select(columns).to_dicts() if columns else [{}] * frame.height:
        try:
            answer = program.evaluate({**context, "record": to_cel(row)})
        except CELEvalError:
            answer = None
        answers.append(bool(answer) if isinstance(answer, celtypes.BoolType | bool) else None)
    return pl.Series(answers, dtype=pl.Boolean)


def to_cel(value: Any) -> Any:
    """A Python value as cel-python's. A null field of a record is a field that isn't there."""
    if value is None:
        return None
    return _CONVERT.get(type(value), celtypes.StringType)(value)


def _map(value: dict[str, Any]) -> Any:
    return celtypes.MapType({celtypes.StringType(k): to_cel(v) for k, v in value.items() if v is not None})


def _moment(value: datetime.datetime) -> Any:
    moment = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
    return celtypes.TimestampType(moment.isoformat())


_CONVERT: dict[type, Callable[[Any], Any]] = {
    bool: celtypes.BoolType,
    int: celtypes.IntType,
    float: celtypes.DoubleType,
    str: celtypes.StringType,
    bytes: celtypes.BytesType,
    dict: _map,
    list: lambda value: celtypes.ListType([to_cel(item) for item in value]),
    datetime.date: functions.day,
    datetime.datetime: _moment,
}
