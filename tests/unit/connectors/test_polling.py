"""The pure steps of the source's loop."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from connectors import polling
from connectors.polling import FULL, LIGHT
from connectors.state import ROWS


def full(*given: tuple[str, str | None, str]) -> pl.DataFrame:
    return pl.DataFrame([(row, key, 1, line + "\n") for row, key, line in given], schema=FULL, orient="row")


KEYS = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c"]), st.text(max_size=12)), max_size=20)


@given(KEYS, st.integers(1, 60))
def test_batches_hold_every_row_in_order_and_never_cut_a_key(rows: list[tuple[str | None, str]], most: int) -> None:
    ordered = sorted(rows, key=lambda one: (one[0] is None, one[0] or ""))
    frame = full(*((str(n), key, text) for n, (key, text) in enumerate(ordered)))
    slices = polling._slices(frame, most)
    assert [n for start, length in slices for n in range(start, start + length)] == list(range(len(frame)))
    for start, length in slices:
        part = frame.slice(start, length)
        assert length > 0
        groups = part["key"].fill_null(pl.Series("r", [f"\0{row}" for row in part["row"]]))
        assert part["line"].str.len_bytes().sum() <= most or groups.n_unique() == 1
    for (start, _), (_, _) in zip(slices[1:], slices, strict=False):
        before, after = frame["key"][start - 1], frame["key"][start]
        assert before != after or before is None


@given(st.lists(st.text(max_size=20), max_size=12), st.integers(0, 12), st.integers(0, 12))
def test_a_body_is_the_lines_of_its_slice(texts: list[str], start: int, length: int) -> None:
    lines = pl.Series([text + "\n" for text in texts], dtype=pl.String)
    part = lines.slice(start, length)
    assert polling._body(part) == "".join(part.to_list()).encode()


def test_a_key_with_one_rejected_row_is_remembered_as_rejected_and_as_accepted_when_it_once_was() -> None:
    rows = full(("1", "a", "x"), ("2", "a", "y"), ("3", "b", "z"), ("4", "c", "z"), ("5", None, "n"))
    known = pl.DataFrame([("1", "c", 1, 5, True, False)], schema=ROWS, orient="row")
    sent = polling._sent(rows, [1, 3, 4], known)
    assert {one["row"]: (one["accepted"], one["rejected"]) for one in sent.iter_rows(named=True)} == {
        "1": (True, True),
        "2": (True, True),
        "3": (True, False),
        "4": (True, True),  # the bus still has its earlier record
        "5": (False, True),
    }


def test_only_rows_of_another_version_are_touched_with_the_keys_they_had() -> None:
    light = pl.DataFrame([("1", "a", 1), ("2", "new", 2), ("3", None, 9)], schema=LIGHT, orient="row")
    known = pl.DataFrame([("1", "a", 1, 0, True, False), ("2", "old", 1, 0, True, False)], schema=ROWS, orient="row")
    keys, rows = polling._touched(light, known)
    assert (set(keys), rows) == ({"new", "old"}, ["3"])


def test_a_look_at_everything_also_finds_what_is_gone() -> None:
    light = pl.DataFrame([("1", "a", 1)], schema=LIGHT, orient="row")
    known = pl.DataFrame(
        [("1", "a", 1, 0, True, False), ("2", "gone", 1, 0, True, False), ("3", None, 1, 0, False, True)],
        schema=ROWS,
        orient="row",
    )
    assert polling._different(light, known) == (["gone"], ["3"])
