"""The account's arithmetic: the identity holds for every history that can be, and fails when somebody miscounts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.control.account import Lane, Log, balance


def lane(
    passed: int = 0,
    view: int = 0,
    filtered: int = 0,
    duplicates: int = 0,
    start: int = 0,
    acked: int = 0,
    partition: int = 0,
) -> Lane:
    return Lane(partition, passed, view, filtered, duplicates, start, acked)


def test_one_view_counts_what_went_out_what_was_filtered_and_what_is_to_come() -> None:
    log = Log(data=[10], letters=2, door_duplicates=3)
    found = balance(
        "a/b", "sub", log, [lane(passed=8, view=5, filtered=2, duplicates=1, acked=4)], delivered=3, owed=True
    )
    assert (found.published, found.delivered, found.filtered, found.duplicate, found.quarantined, found.pending) == (
        15,
        3,
        3,  # two by the filter, one replaced by compaction before it was read
        4,  # three at the door, one by the view worker
        2,
        3,  # two not yet passed, one not yet acknowledged
    )
    assert found.balanced


def test_what_lay_before_the_start_is_filtered() -> None:
    found = balance(
        "a/b", "sub", Log([10], 0, 0), [lane(passed=10, view=10, start=10, acked=10)], delivered=0, owed=True
    )
    assert (found.filtered, found.pending, found.balanced) == (10, 0, True)


def test_a_start_beyond_what_the_worker_has_passed_balances_too() -> None:
    found = balance("a/b", "sub", Log([10], 0, 0), [lane(passed=8, view=8, start=10, acked=10)], delivered=0, owed=True)
    assert (found.filtered, found.pending, found.balanced) == (10, 0, True)


def test_an_ended_grant_owes_nothing() -> None:
    lanes = [lane(passed=8, view=8, acked=4)]
    found = balance("a/b", "sub", Log([10], 0, 0), lanes, delivered=4, owed=False)
    assert (found.delivered, found.filtered, found.pending, found.balanced) == (4, 6, 0, True)


def test_with_no_subscription_everything_accepted_is_filtered() -> None:
    found = balance("a/b", None, Log([4, 6], 1, 2), (), delivered=0, owed=False)
    assert (found.published, found.filtered, found.duplicate, found.quarantined, found.balanced) == (13, 10, 2, 1, True)


def test_a_record_counts_once_for_a_reader_of_several_instances() -> None:
    lanes = [
        lane(passed=10, view=6, filtered=3, duplicates=1, acked=6),
        lane(passed=10, view=2, filtered=7, duplicates=1, acked=1),
    ]
    found = balance("a/b", "sub", Log([10], 0, 0), lanes, delivered=7, owed=True)
    # Nine that are no repeats: six in the one, two in the other, one in neither.
    assert (found.delivered, found.filtered, found.duplicate, found.pending) == (7, 1, 1, 1)
    assert found.balanced


def test_a_move_between_two_of_the_readers_own_instances_is_one_record() -> None:
    lanes = [lane(passed=2, view=2, acked=2), lane(passed=2, view=1, filtered=1, acked=1)]
    found = balance("a/b", "sub", Log([2], 0, 0), lanes, delivered=3, owed=True)
    assert (found.delivered, found.filtered, found.pending, found.balanced) == (2, 0, 0, True)


def test_a_worker_that_lost_a_record_shows() -> None:
    found = balance(
        "a/b", "sub", Log([10], 0, 0), [lane(passed=10, view=8, filtered=1, acked=8)], delivered=8, owed=True
    )
    assert not found.balanced


def test_a_hand_over_that_counted_a_record_twice_shows() -> None:
    found = balance("a/b", "sub", Log([10], 0, 0), [lane(passed=10, view=10, acked=10)], delivered=11, owed=True)
    assert not found.balanced


@st.composite
def histories(draw: st.DrawFn) -> tuple[Log, list[Lane], int]:
    """A data topic of some partitions, and lanes that the worker, the hand-over and compaction have moved on."""
    data = draw(st.lists(st.integers(0, 50), min_size=1, max_size=3))
    topics = draw(st.integers(1, 3))
    lanes, delivered = [], 0
    for partition, end in enumerate(data):
        for _ in range(topics):
            passed = draw(st.integers(0, end))
            view = draw(st.integers(0, passed))
            filtered = draw(st.integers(0, passed - view))
            start = draw(st.integers(0, view))
            acked = draw(st.integers(start, view))
            delivered += draw(st.integers(0, acked - start))
            lanes.append(lane(passed, view, filtered, passed - view - filtered, start, acked, partition))
    return Log(data, draw(st.integers(0, 9)), draw(st.integers(0, 9))), lanes, delivered


@given(histories(), st.booleans())
def test_it_balances_whatever_happened(history: tuple[Log, list[Lane], int], owed: bool) -> None:
    log, lanes, delivered = history
    found = balance("a/b", "sub", log, lanes, delivered=delivered, owed=owed)
    assert found.balanced
    assert min(found.delivered, found.filtered, found.duplicate, found.quarantined) >= 0
