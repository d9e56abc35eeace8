"""The table of keys answers as a dict would, whatever the hashes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bus.log.keytable import ABSENT, DELETED, UNKNOWN, KeyTable, digests, key_hashes, previous

HASHES = st.integers(min_value=0, max_value=2**64 - 1) | st.integers(min_value=0, max_value=40)
VALUES = st.integers(min_value=1, max_value=2**62)


@given(st.lists(st.dictionaries(HASHES, VALUES, max_size=60), max_size=8))
def test_a_table_says_what_was_put_last(batches: list[dict[int, int]]) -> None:
    table, model = KeyTable(slots=8), {}
    for batch in batches:
        batch = {max(key, 1): value for key, value in batch.items()}
        table.put(np.array(list(batch), np.uint64), np.array(list(batch.values()), np.int64))
        model |= batch
    asked = [*model, 2**63 + 11]
    found = table.get(np.array(asked, np.uint64))
    assert found.tolist() == [model.get(key, ABSENT) for key in asked]
    assert len(table) == len(model)


@given(st.lists(st.tuples(st.integers(min_value=1, max_value=12), st.integers(min_value=1, max_value=3)), max_size=80))
def test_each_record_sees_what_its_key_held_just_before(records: list[tuple[int, int]]) -> None:
    table, model = KeyTable(slots=8), {}
    for begin in range(0, len(records), 7):
        batch = records[begin : begin + 7]
        hashes = np.array([key for key, _ in batch], np.uint64)
        values = np.array([value for _, value in batch], np.int64)
        before, last = previous(table, hashes, values)
        expected = []
        for key, value in batch:
            expected.append(model.get(key, ABSENT))
            model[key] = value
        assert before.tolist() == expected
        table.put(hashes[last], values[last])
        assert sorted(hashes[last].tolist()) == sorted({key for key, _ in batch})


def test_a_table_grows_and_forgets_the_absent() -> None:
    table = KeyTable(slots=8)
    hashes = np.arange(1, 50_001, dtype=np.uint64)
    table.put(hashes, np.ones(len(hashes), np.int64))
    table.put(hashes[::2], np.zeros(len(hashes[::2]), np.int64))
    assert len(table) == 25_000
    more = np.arange(100_000, 200_000, dtype=np.uint64)
    table.put(more, np.full(len(more), 7, np.int64))
    assert len(table) == 125_000
    assert table.get(hashes[1::2]).all()
    assert not table.get(hashes[::2]).any()


def test_a_deleted_record_and_an_empty_one_differ() -> None:
    found = digests([None, b"", b"a", b"a"])
    assert found[0] == DELETED
    assert found[1] not in (ABSENT, DELETED, UNKNOWN)
    assert found[2] == found[3] != found[1]


def test_equal_keys_have_equal_hashes() -> None:
    found = key_hashes([b"042", b"043", b"042"])
    assert found[0] == found[2] != found[1]
