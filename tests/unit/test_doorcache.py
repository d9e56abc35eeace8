"""The door takes a record for a repeat only when Kafka acknowledged the same as its key's last."""

import numpy as np

from bus.doorcache import Claim, DoorCache
from bus.log.keytable import digests, key_hashes


def claim(cache: DoorCache, *records: tuple[bytes, bytes | None]) -> Claim:
    with cache.lock:
        return cache.claim(key_hashes([k for k, _ in records]), digests([v for _, v in records]))


def test_the_same_record_again_is_a_repeat_once_it_is_acknowledged() -> None:
    cache = DoorCache(100)
    first = claim(cache, (b"k", b"1"))
    assert claim(cache, (b"k", b"1")).fresh.all(), "not acknowledged yet"
    cache.settle(first)
    assert claim(cache, (b"k", b"1")).fresh.all(), "the second claim is still under way"
    last = claim(cache, (b"k", b"1"))
    cache.settle(last)
    assert not claim(cache, (b"k", b"1")).fresh.any()


def test_within_a_batch_only_an_unchanged_successor_repeats() -> None:
    found = claim(DoorCache(100), (b"k", b"1"), (b"k", b"1"), (b"k", b"2"), (b"k", b"1"), (b"j", b"1"))
    assert found.fresh.tolist() == [True, False, True, True, True]


def test_of_two_claims_on_one_key_the_later_is_what_counts() -> None:
    cache = DoorCache(100)
    older, newer = claim(cache, (b"k", b"1")), claim(cache, (b"k", b"2"))
    cache.settle(newer)
    cache.settle(older)
    assert not claim(cache, (b"k", b"2")).fresh.any()
    assert claim(cache, (b"k", b"1")).fresh.all()


def test_a_failed_append_leaves_its_keys_unknown() -> None:
    cache = DoorCache(100)
    cache.settle(claim(cache, (b"k", b"1")))
    claim(cache, (b"k", b"2"))  # never settled: Kafka may or may not have it
    assert claim(cache, (b"k", b"1")).fresh.all()


def test_a_delete_repeats_too() -> None:
    cache = DoorCache(100)
    cache.settle(claim(cache, (b"k", None)))
    assert not claim(cache, (b"k", None)).fresh.any()
    assert claim(cache, (b"k", b"1")).fresh.all()


def test_a_full_cache_begins_anew_rather_than_growing() -> None:
    cache = DoorCache(10)
    for i in range(50):
        found = claim(cache, *((b"%d-%d" % (i, j), b"v") for j in range(5)))
        assert found.fresh.all()
        cache.settle(found)
    assert cache._digests.size_bytes <= 16 * (1 << 12)
    assert np.asarray(found.hashes).size == 5
