"""The functions that expressions may call, each in both forms side by side: over columns and over one value.

CEL's own: size, matches (RE2), startsWith, endsWith, contains, int, double, string. From the strings extension: substring.
Ours, for what registers of people and firms need: year, years_between, date, is_date, mst. A function of null, or of a value that it
isn't defined for, gives no answer.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import celpy
import polars as pl
import re2
from celpy import celtypes
from celpy.evaluation import CELEvalError
from stdnum.vn import mst as stdnum_mst

from registry.cel.scope import CelInvalid, NotByColumns
from registry.errors import Text

INT, DOUBLE, STRING, BOOL, DATE = pl.Int64(), pl.Float64(), pl.String(), pl.Boolean(), pl.Date()


class Typed(NamedTuple):
    """A Polars expression, its type, and its value where it is a constant."""

    expr: pl.Expr
    dtype: pl.DataType
    constant: Any = None


def _want(name: str, found: list[Typed], *expected: tuple[pl.DataType, ...]) -> None:
    fits = len(found) == len(expected) and all(
        any(value.dtype == dtype for dtype in dtypes) for value, dtypes in zip(found, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(" or ".join(str(dtype) for dtype in dtypes) for dtypes in expected)
        raise CelInvalid("type", Text(f"{name}() takes ({wanted})", f"{name}() nhận tham số ({wanted})"))


def _size(args: list[Typed]) -> Typed:
    if len(args) == 1 and isinstance(args[0].dtype, pl.List):
        return Typed(args[0].expr.list.len().cast(INT), INT)
    _want("size", args, (STRING,))
    return Typed(args[0].expr.str.len_chars().cast(INT), INT)


_QUIET = re2.Options()
_QUIET.log_errors = False  # the caller hears of it, not standard error
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": r"\t\n\f\r "}


def ascii_pattern(pattern: str) -> str:
    r"""An RE2 pattern for Polars' engine, where \d, \w, \s would mean more than ASCII. Raises NotByColumns on what differs."""
    try:
        re2.compile(pattern, options=_QUIET)
    except re2.error:
        raise CelInvalid(
            "pattern", Text("matches() has a pattern that isn't RE2", "mẫu của matches() không đúng RE2")
        ) from None
    out, inside, index = [], False, 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\" and index + 1 < len(pattern):
            letter = pattern[index + 1]
            if letter in _CLASSES:
                out.append(_CLASSES[letter] if inside else f"[{_CLASSES[letter]}]")
            elif letter in "DWS" and not inside:
                out.append(f"[^{_CLASSES[letter.lower()]}]")
            elif letter in "DWSbBQECAzpPx0123456789":
                raise NotByColumns
            else:
                out.append(char + letter)
            index += 2
            continue
        if inside and (char == "[" or pattern[index : index + 2] in ("&&", "--", "~~")):
            raise NotByColumns
        if char == "[" and not inside:
            inside = True
            out.append(char)
            for lead in ("^", "]"):
                if pattern[index + 1 : index + 2] == lead:
                    out.append("\\]" if lead == "]" else lead)
                    index += 1
        else:
            if char == "]" and inside:
                inside = False
            elif char == "(" and pattern[index + 1 : index + 2] == "?" and not inside:
                raise NotByColumns  # flags and names: leave them to RE2
            elif char == "$" and not inside:
                char = r"\z"  # RE2's $ is the very end
            out.append(char)
        index += 1
    return "".join(out)


def _matches(args: list[Typed]) -> Typed:
    _want("matches", args, (STRING,), (STRING,))
    if not isinstance(args[1].constant, str):
        raise NotByColumns
    pattern = ascii_pattern(args[1].constant)
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:  # RE2 takes a lone { or } for itself
        raise NotByColumns from None
    return Typed(args[0].expr.str.contains(pattern), BOOL)


def _starts(args: list[Typed]) -> Typed:
    _want("startsWith", args, (STRING,), (STRING,))
    return Typed(args[0].expr.str.starts_with(args[1].expr), BOOL)


def _ends(args: list[Typed]) -> Typed:
    _want("endsWith", args, (STRING,), (STRING,))
    return Typed(args[0].expr.str.ends_with(args[1].expr), BOOL)


def _contains(args: list[Typed]) -> Typed:
    _want("contains", args, (STRING,), (STRING,))
    return Typed(args[0].expr.str.contains(args[1].expr, literal=True), BOOL)


def _substring(args: list[Typed]) -> Typed:
    _want("substring", args, (STRING,), (INT,), *([(INT,)] if len(args) > 2 else []))
    text, start = args[0].expr, args[1].expr
    size = text.str.len_chars().cast(INT)
    if len(args) > 2 and isinstance(first := args[1].constant, int) and isinstance(after := args[2].constant, int):
        if not 0 <= first <= after:
            return Typed(pl.lit(None, dtype=STRING), STRING)
        return Typed(pl.when(size >= after).then(text.str.slice(first, after - first)), STRING)
    end = args[2].expr if len(args) > 2 else size
    inside = (start >= 0) & (start <= end) & (end <= size)
    return Typed(pl.when(inside).then(text.str.slice(start, (end - start).clip(0))), STRING)


_INTEGER = r"^-?[0-9]{1,18}$"


def _int(args: list[Typed]) -> Typed:
    if len(args) == 1 and args[0].dtype == INT:
        return args[0]
    _want("int", args, (STRING,))
    return Typed(args[0].expr.str.extract(r"\A(-?[0-9]{1,18})\z").cast(INT, strict=False), INT)


def _double(args: list[Typed]) -> Typed:
    _want("double", args, (INT, DOUBLE))
    return Typed(args[0].expr.cast(DOUBLE), DOUBLE)


def _string(args: list[Typed]) -> Typed:
    _want("string", args, (INT, STRING))
    return Typed(args[0].expr.cast(STRING), STRING)


def _year(args: list[Typed]) -> Typed:
    _want("year", args, (STRING, DATE))
    if args[0].dtype == DATE:
        return Typed(args[0].expr.dt.year().cast(INT), INT)
    head = args[0].expr.str.slice(0, 4)
    shaped = args[0].expr.str.contains(r"\A[0-9]{4}(-|\z)")
    return Typed(pl.when(shaped).then(head.cast(INT, strict=False)), INT)


def _years_between(args: list[Typed]) -> Typed:
    _want("years_between", args, (DATE,), (DATE,))
    first, last = args[0].expr, args[1].expr

    def day(date: pl.Expr) -> pl.Expr:
        return date.dt.month().cast(INT) * 100 + date.dt.day().cast(INT)

    years = last.dt.year().cast(INT) - first.dt.year().cast(INT)
    return Typed(years - (day(last) < day(first)).cast(INT), INT)


def _date(args: list[Typed]) -> Typed:
    _want("date", args, (STRING,))
    text = args[0].expr
    shaped = text.str.contains(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z") & ~text.str.starts_with("0000")
    return Typed(pl.when(shaped).then(text.str.to_date("%Y-%m-%d", strict=False)), DATE)


def _is_date(args: list[Typed]) -> Typed:
    _want("is_date", args, (STRING,))
    return Typed(pl.when(args[0].expr.is_not_null()).then(_date(args).expr.is_not_null()), BOOL)


_WEIGHTS = (31, 29, 23, 19, 17, 13, 7, 5, 3)


def _mst(args: list[Typed]) -> Typed:
    """Tax code: 10 digits, or 10-3; the tenth is 10 − (Σ weight × digit mod 11). As stdnum.vn.mst, but with no other
    separators: a register holds one written form."""
    _want("mst", args, (STRING,))
    text = args[0].expr
    shaped = text.str.contains(r"\A[0-9]{10}(-[0-9]{3})?\z")
    digits = [text.str.slice(i, 1).cast(INT, strict=False) for i in range(10)]
    total = sum((w * d for w, d in zip(_WEIGHTS, digits, strict=False)), pl.lit(0, dtype=INT))
    serial = text.str.slice(2, 7) != "0000000"
    branch = text.str.slice(10, 4) != "-000"
    return Typed(shaped & (~shaped | (serial & branch & (10 - total % 11 == digits[9]))), BOOL)


COLUMNS: dict[str, Callable[[list[Typed]], Typed]] = {
    "size": _size,
    "matches": _matches,
    "startsWith": _starts,
    "endsWith": _ends,
    "contains": _contains,
    "substring": _substring,
    "int": _int,
    "double": _double,
    "string": _string,
    "year": _year,
    "years_between": _years_between,
    "date": _date,
    "is_date": _is_date,
    "mst": _mst,
}
ROW_ONLY = frozenset({"map", "filter", "exists_one", "timestamp", "duration", "getFullYear", "getMonth", "getDate"})


# Over one value. An answer that doesn't exist is an error of CEL, which `&&` and `||` absorb.


def _one(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        for arg in args:
            if isinstance(arg, CELEvalError):
                return arg
        try:
            return function(*args)
        except (ValueError, TypeError, AttributeError, OverflowError, CELEvalError):
            return CELEvalError("no answer", ValueError, ())

    return call


def _row_substring(text: str, start: int, end: int | None = None) -> Any:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise ValueError
    return celtypes.StringType(str(text)[start:end])


def _row_int(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(_INTEGER[1:-1], value, re.ASCII):
        raise ValueError
    if not isinstance(value, str | celtypes.IntType):
        raise TypeError
    return celtypes.IntType(int(value))


def _row_year(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return celtypes.IntType(value.year)
    if not re.match(r"[0-9]{4}(-|\Z)", value, re.ASCII):
        raise ValueError
    return celtypes.IntType(int(value[:4]))


def _row_years_between(first: datetime.datetime, last: datetime.datetime) -> Any:
    return celtypes.IntType(last.year - first.year - ((last.month, last.day) < (first.month, first.day)))


def _row_date(text: str) -> Any:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text, re.ASCII):
        raise ValueError
    return day(datetime.date.fromisoformat(str(text)))


def _row_is_date(text: str) -> Any:
    try:
        _row_date(text)
    except ValueError:
        return celtypes.BoolType(False)
    return celtypes.BoolType(True)


def day(value: datetime.date) -> Any:
    """A date as cel-python knows it: midnight in UTC."""
    return celtypes.TimestampType(value.year, value.month, value.day, tzinfo=datetime.UTC)


def _row_mst(text: str) -> Any:
    shaped = re.fullmatch(r"[0-9]{10}(-[0-9]{3})?", text, re.ASCII) is not None
    return celtypes.BoolType(shaped and stdnum_mst.is_valid(str(text)))


def _row_matches(text: str, pattern: str) -> Any:
    return celtypes.BoolType(re2.search(str(pattern), str(text)) is not None)


def _row_divide(left: Any, right: Any) -> Any:
    """Nothing is divided by zero; cel-python would say infinity, whatever the sign."""
    if not right:
        raise ValueError
    return left / right


ROWS: dict[str, celpy.CELFunction] = {
    "_/_": _one(_row_divide),
    "matches": _one(_row_matches),
    "startsWith": _one(lambda text, start: celtypes.BoolType(str(text).startswith(start))),
    "endsWith": _one(lambda text, end: celtypes.BoolType(str(text).endswith(end))),
    "contains": _one(lambda text, part: celtypes.BoolType(part in text)),
    "substring": _one(_row_substring),
    "int": _one(_row_int),
    "double": _one(lambda value: celtypes.DoubleType(value)),
    "string": _one(lambda value: celtypes.StringType(str(value))),
    "year": _one(_row_year),
    "years_between": _one(_row_years_between),
    "date": _one(_row_date),
    "is_date": _one(_row_is_date),
    "mst": _one(_row_mst),
}
