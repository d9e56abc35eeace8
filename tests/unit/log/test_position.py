"""A cursor means one position, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import BadCursor
from bus.log.position import Cursor, advance, parse_cursor, parse_source, runs_of, source_header

PLACES = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2), st.lists(st.booleans(), min_size=1, max_size=8))


@given(st.lists(PLACES, max_size=6), st.integers(0, 60))
def test_advancing_counts_records_and_skips_what_compaction_took(
    places: list[tuple[str, int, list[bool]]], n: int
) -> None:
    base = {"a": [0, 0, 0], "b": [0, 0, 0]}
    following = {(topic, p): 0 for topic in base for p in range(3)}
    records = []
    for topic, partition, kept in sorted(places, key=lambda place: place[:2]):
        for there in kept:
            if there:
                records.append((topic, partition, following[topic, partition]))
            following[topic, partition] += 1
    runs = runs_of([r[0] for r in records], [r[1] for r in records], [r[2] for r in records])
    found = advance(base, runs, n)
    expected = {topic: list(offsets) for topic, offsets in base.items()}
    for topic, partition, offset in records[:n]:
        expected[topic][partition] = offset + 1
    assert found == expected
    assert base == {"a": [0, 0, 0], "b": [0, 0, 0]}


def test_a_cursor_is_read_as_it_was_written() -> None:
    assert parse_cursor(str(Cursor(42, 17))) == Cursor(42, 17)


@pytest.mark.parametrize("text", ["", "42", "42.", ".1", "-1.2", "1.2.3", "9" * 30 + ".1", "٤.١", "1.2\n"])
def test_anything_else_is_refused_with_its_path(text: str) -> None:
    with pytest.raises(BadCursor) as refused:
        parse_cursor(text)
    assert refused.value.problems[0].path == "cursor"


def test_a_source_header_carries_partition_and_offset() -> None:
    name, value = source_header(3, 12_345)
    assert name == "lgsp-source"
    assert parse_source(value) == (3, 12_345)
