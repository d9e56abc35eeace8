"""An expression answers the same by columns and row by row, whatever the records hold and whatever is null in them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from registry import cel

BOUNDED = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
Draw = Callable[[st.SearchStrategy[Any]], Any]

ITEM = pl.Struct({"code": pl.String(), "size": pl.Int64()})
FIELDS = pl.Schema(
    {
        "name": pl.String(),
        "digits": pl.String(),
        "day": pl.Date(),
        "number": pl.Int64(),
        "small": pl.Int32(),
        "ratio": pl.Float64(),
        "flag": pl.Boolean(),
        "person": pl.Struct({"name": pl.String(), "age": pl.Int64()}),
        "items": pl.List(ITEM),
        "tags": pl.List(pl.String()),
    }
)
SCOPE = cel.Scope(FIELDS, {"communes": ["18073", "18100", "A"]}, datetime.date(2025, 7, 1))

_texts = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        ["", "A", "18073", "042199001234", "1957", "1957-03", "1957-03-21", "2024-02-30", "0100233488", "-7"]
    ),
    st.text("0123456789-", max_size=13),
)
_ints = st.one_of(st.integers(-20, 20), st.sampled_from([2**63 - 1, -(2**63), 10**12]))
_days = st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1))


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.none())


_items = st.fixed_dictionaries({"code": _maybe(_texts), "size": _maybe(_ints)})
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "name": _maybe(_texts),
            "digits": _maybe(_texts),
            "day": _maybe(_days),
            "number": _maybe(_ints),
            "small": _maybe(st.integers(-(2**31), 2**31 - 1)),
            "ratio": _maybe(st.floats(-1000, 1000)),
            "flag": _maybe(st.booleans()),
            "person": _maybe(st.fixed_dictionaries({"name": _maybe(_texts), "age": _maybe(_ints)})),
            "items": _maybe(st.lists(_items, max_size=3)),
            "tags": _maybe(st.lists(_texts, max_size=3)),
        }
    ),
    min_size=1,
    max_size=6,
)


@st.composite
def expressions(draw: Draw, depth: int = 3) -> str:
    """Well-typed conditions."""
    return _bool(draw, depth, None)


def _bool(draw: Draw, depth: int, item: str | None) -> str:
    pick = draw(st.sampled_from(["compare", "text", "in", "has"] + (["logic"] * 3 + ["macro"] if depth else [])))
    if pick == "logic":
        form = draw(st.sampled_from(["{} && {}", "{} || {}", "!({})", "({} ? {} : {})"]))
        return "(" + form.format(*(_bool(draw, depth - 1, item) for _ in range(form.count("{}")))) + ")"
    if pick == "macro" and item is None:
        name = draw(st.sampled_from(["all", "exists"]))
        return f"record.items.{name}(i, {_bool(draw, depth - 1, 'i')})"
    if pick == "compare":
        kind = draw(st.sampled_from([_string, _int, _date, _double] if item is None else [_string, _int]))
        sign = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
        return f"{kind(draw, depth, item)} {sign} {kind(draw, depth, item)}"
    if pick == "text":
        call = draw(
            st.sampled_from(
                ["matches('^[0-9]{2,}$')", "matches('\\\\d')", "startsWith('1')", "endsWith('3')", "contains('9')"]
            )
        )
        return f"{_string(draw, depth, item)}.{call}"
    if pick == "in":
        lists = ["['', 'A', '1957']"] + (["codes.communes"] if item is None else [])
        return f"{_string(draw, depth, item)} in {draw(st.sampled_from(lists))}"
    paths = ["name", "day", "person", "person.name", "items", "flag"] if item is None else ["code", "size"]
    path = f"{'record' if item is None else item}.{draw(st.sampled_from(paths))}"
    return (
        draw(st.sampled_from([f"has({path})", f"{path} == null", f"null != {path}"]))
        if item is None
        else f"has({path})"
    )


def _string(draw: Draw, depth: int, item: str | None) -> str:
    fields = ["record.name", "record.digits", "record.person.name"] if item is None else [f"{item}.code"]
    field = draw(st.sampled_from(fields))
    forms = [field, field, "'A'", f"{field}.substring({draw(st.integers(-1, 4))}, {draw(st.integers(0, 6))})"]
    forms += [f"({field} + 'x')", f"string({_int(draw, 0, item)})"]
    return str(draw(st.sampled_from(forms)))


def _int(draw: Draw, depth: int, item: str | None) -> str:
    fields = ["record.number", "record.small", "record.person.age"] if item is None else [f"{item}.size"]
    text = "record.digits" if item is None else f"{item}.code"
    forms = [*fields, str(draw(st.integers(-5, 5))), f"size({text})", f"int({text})", f"year({text})"]
    if item is None:
        forms += ["year(record.day)", "years_between(record.day, today)", "size(record.items)"]
    one = draw(st.sampled_from(forms))
    if depth and draw(st.booleans()):
        return f"({one} {draw(st.sampled_from(['+', '-', '*', '/', '%']))} ({draw(st.sampled_from(forms))}))"
    return str(one)


def _date(draw: Draw, depth: int, item: str | None) -> str:
    return str(draw(st.sampled_from(["record.day", "today", "date(record.digits)", "date('2000-02-29')"])))


def _double(draw: Draw, depth: int, item: str | None) -> str:
    one = draw(st.sampled_from(["record.ratio", "1.5", "double(record.small)"]))
    return f"({one} {draw(st.sampled_from(['+', '-', '*', '/']))} record.ratio)" if draw(st.booleans()) else str(one)


@given(text=expressions(), records=RECORDS)
@BOUNDED
def test_both_ways_of_evaluating_agree(text: str, records: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame(records, schema=FIELDS)
    tree = cel.parse(text)
    expression = cel.compile_columns(tree, SCOPE)
    event("by columns" if expression is not None else "row by row")
    if expression is None:
        return
    answers = frame.select(expression.alias("answer"))["answer"]
    if len(answers) == 1 < frame.height:  # an expression without a field
        answers = answers.extend_constant(answers[0], frame.height - 1)
    assert answers.to_list() == cel.evaluate_rows(tree, SCOPE, frame).to_list()


@given(number=st.from_regex(r"[0-9]{10}(-[0-9]{3})?", fullmatch=True), other=_texts)
@BOUNDED
def test_tax_codes_agree_with_stdnum(number: str, other: str) -> None:
    frame = pl.DataFrame({"name": [number, other, None]}, schema={"name": pl.String})
    tree = cel.parse("mst(record.name)")
    scope = cel.Scope(frame.schema)
    expression = cel.compile_columns(tree, scope)
    assert expression is not None
    assert frame.select(a=expression)["a"].to_list() == cel.evaluate_rows(tree, scope, frame).to_list()


@given(pattern=st.text("ab01.*+?|()[]^$\\dwsDWS-{},é", max_size=8), text=st.text("ab01 é٣\n", max_size=4))
@BOUNDED
def test_a_pattern_means_the_same_to_both_engines(pattern: str, text: str) -> None:
    quoted = pattern.replace("\\", "\\\\").replace("'", "\\'")
    frame = pl.DataFrame({"name": [text]})
    scope = cel.Scope(frame.schema)
    try:
        tree = cel.parse(f"record.name.matches('{quoted}')")
        expression = cel.compile_columns(tree, scope)
    except cel.CelInvalid:
        return
    if expression is not None:
        assert frame.select(a=expression)["a"].to_list() == cel.evaluate_rows(tree, scope, frame).to_list()
