"""A view shows what it lists and depends on nothing else of the record; a hostile contract or expression is told, not obeyed."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry import cel
from registry.codec import codec_for
from registry.codec.frame import frame_schema
from registry.contract import load
from registry.errors import ContractInvalid
from registry.view import View, compile_view
from tests.unit.registry.contracts import contract, document, files

BOUNDED = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
Draw = Callable[[st.SearchStrategy[Any]], Any]
CONTRACT = contract()
SCHEMA = frame_schema(CONTRACT.schema.definition)
VIEWS = [compile_view(CONTRACT, name, b"0123456789abcdef") for name in CONTRACT.views]

_texts = st.text(st.characters(codec="utf-8"), max_size=6)
_maybe = lambda values: st.one_of(st.none(), values)  # noqa: E731
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(min_size=1, max_size=6),
    "name": _texts,
    "commune": _maybe(st.sampled_from(["18073", "18754", ""])),
    "born": _maybe(st.dates()),
    "rank": _maybe(st.integers(-(2**31), 2**31 - 1)),
    "score": _maybe(st.floats(allow_nan=False)),
    "alive": _maybe(st.booleans()),
    "sex": _maybe(st.sampled_from(["male", "female"])),
    "seen": _maybe(st.just(datetime.datetime(2025, 7, 1, tzinfo=datetime.UTC))),
    "mother": _maybe(st.fixed_dictionaries({"name": _maybe(_texts)})),
    "tags": _maybe(st.lists(_texts, max_size=3)),
    "jobs": _maybe(st.lists(st.fixed_dictionaries({"title": _texts, "since": _maybe(st.dates())}), max_size=2)),
}
RECORDS = st.fixed_dictionaries(FIELDS)


def frame_of(records: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(records, schema=SCHEMA)


@given(records=st.lists(RECORDS, max_size=6), view=st.sampled_from(VIEWS))
@BOUNDED
def test_a_views_frame_is_its_schemas_and_survives_its_bytes(records: list[dict[str, Any]], view: View) -> None:
    frame = frame_of(records)
    out, codec = view.project(frame), codec_for(view.schema)
    assert out.schema == codec.frame_schema == view.frame_schema
    decoded, bad = codec.decode_exact(codec.encode(out))
    assert bad == []
    assert decoded.equals(out)
    assert len(view.keep(frame)) == len(view.keys(frame["id"])) == frame.height


@given(data=st.data(), one=RECORDS, view=st.sampled_from([v for v in VIEWS if not v.passthrough]))
@BOUNDED
def test_fields_that_a_view_does_not_list_change_nothing_of_what_it_shows(
    data: st.DataObject, one: dict[str, Any], view: View
) -> None:
    shown = {field.source.split(".")[0] for field in CONTRACT.views[view.name].fields or ()}
    name = data.draw(st.sampled_from([n for n in FIELDS if n not in shown]))
    other = {**one, name: data.draw(FIELDS[name])}
    codec = codec_for(view.schema)
    before, after = (codec.encode(view.project(frame_of([record]))) for record in (one, other))
    assert before.equals(after)


@given(one=RECORDS)
@BOUNDED
def test_the_filter_of_a_view_is_true_or_lets_nothing_through(one: dict[str, Any]) -> None:
    view = next(v for v in VIEWS if v.name == "local")
    assert view.keep(frame_of([one])).to_list() == [one["alive"] is True]
    assert view.instances(frame_of([one])).to_list() == [one["commune"]]


_json = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=8),
        st.sampled_from(["string", "object", "array", "id"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [*([path] if path else []), *(place for key, item in inner for place in _places(item, (*path, key)))]


@given(data=st.data())
@BOUNDED
def test_whatever_a_contract_says_it_loads_or_is_told_what_is_wrong(data: st.DataObject) -> None:
    found = document()
    for _ in range(data.draw(st.integers(1, 3))):
        *above, last = data.draw(st.sampled_from(_places(found)))
        holder: Any = found
        for key in above:
            holder = holder[key]
        match data.draw(st.sampled_from(["replace", "remove"])):
            case "replace":
                holder[last] = data.draw(_json)
            case _:
                del holder[last]
    try:
        loaded = load(files(found))
    except ContractInvalid as error:
        if not error.problems:
            raise
        return
    for name in loaded.views:
        compile_view(loaded, name, b"0123456789abcdef")


TOKENS = [
    *(
        "record",
        ".",
        "id",
        "rank",
        "tags",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'a'",
        "1",
        "-",
        "+",
        "&&",
        "||",
        "!",
        "?",
        ":",
    ),
    *(
        "==",
        "<",
        "in",
        "has",
        "size",
        "matches",
        "null",
        "true",
        "codes",
        "communes",
        "today",
        "all",
        "map",
        ",",
        " ",
        "\\",
    ),
    *('"', "é", "\n", "0x", "u", "1.5", "substring", "date", "mst", "timestamp", "b'x'", r"r'\d'", "''", "type", "dyn"),
]


@given(tokens=st.lists(st.sampled_from(TOKENS), max_size=14))
@settings(max_examples=1500, deadline=None)
def test_whatever_an_expression_says_it_compiles_or_is_told_what_is_wrong(tokens: list[str]) -> None:
    scope = cel.Scope(SCHEMA, {"communes": ["a"]})
    frame = frame_of([])
    for text in ("".join(tokens), " ".join(tokens)):
        try:
            tree = cel.parse(text)
            expression = cel.compile_columns(tree, scope)
        except cel.CelInvalid:
            continue
        if expression is not None:
            frame.select(expression.alias("answer"))
        cel.evaluate_rows(tree, scope, frame_of([dict.fromkeys(SCHEMA)]))
