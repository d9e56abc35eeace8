"""Several registry processes with several threads each against one database: ids and versions stay what they must be."""

from __future__ import annotations

import json
import multiprocessing
import random
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import create_engine

from registry.compatibility import Level
from registry.errors import AlreadyDeleted, SchemaIncompatible, VersionUnknown
from registry.store import METADATA, RegistryStore
from tests.servers import sqlalchemy_url

PROCESSES, THREADS = 2, 6
SUBJECTS = [f"subject-{index}" for index in range(4)]
SCHEMAS = [json.dumps({"type": "record", "name": f"R{index}", "fields": []}) for index in range(12)]
Answer = tuple[str, str, int, int]


@pytest.fixture
def url(postgres_dsn: str) -> Iterator[str]:
    url = sqlalchemy_url(postgres_dsn)
    engine = create_engine(url)
    METADATA.create_all(engine)
    yield url
    engine.dispose()


def in_processes(work, url: str) -> list[list[Answer]]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, [url] * PROCESSES, range(PROCESSES)))


def register_everything(url: str, seed: int) -> list[Answer]:
    """Each thread registers every schema under every subject, in an order of its own."""
    engine = create_engine(url, pool_size=THREADS)
    store = RegistryStore(engine)

    def run(thread: int) -> list[Answer]:
        pairs = [(subject, schema) for subject in SUBJECTS for schema in SCHEMAS]
        random.Random(seed * THREADS + thread).shuffle(pairs)
        answers = []
        for subject, schema in pairs:
            registered = store.register(subject, schema)
            answers.append((subject, schema, registered.id, registered.version))
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for each in pool.map(run, range(THREADS)) for answer in each]
    engine.dispose()
    return answers


def test_one_schema_has_one_id_and_one_version_whoever_registers_it(url: str) -> None:
    engine = create_engine(url)
    store = RegistryStore(engine)
    store.set_level(None, Level.NONE)
    ids, versions = defaultdict(set), defaultdict(set)
    for answers in in_processes(register_everything, url):
        for subject, schema, schema_id, version in answers:
            ids[schema].add(schema_id)
            versions[subject, schema].add(version)
    assert all(len(each) == 1 for each in ids.values()), "two ids for one schema"
    assert len(set.union(*ids.values())) == len(SCHEMAS), "one id for two schemas"
    assert all(len(each) == 1 for each in versions.values()), "one schema is two versions of a subject"
    for subject in SUBJECTS:
        assert store.versions(subject) == tuple(range(1, len(SCHEMAS) + 1))
        assert {store.version(subject, each).schema.text for each in store.versions(subject)} == set(SCHEMAS)
    engine.dispose()


def register_rivals(url: str, seed: int) -> list[Answer]:
    """Each thread registers, under many subjects, a schema that none of the others' can follow."""
    engine = create_engine(url, pool_size=THREADS)
    store = RegistryStore(engine)

    def run(thread: int) -> list[Answer]:
        mine = json.dumps({"type": "fixed", "name": "F", "size": 1 + seed * THREADS + thread})
        answers = []
        for index in range(20):
            try:
                registered = store.register(f"rival-{index}", mine)
            except SchemaIncompatible:
                continue
            answers.append((f"rival-{index}", mine, registered.id, registered.version))
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for each in pool.map(run, range(THREADS)) for answer in each]
    engine.dispose()
    return answers


def test_of_rivals_that_register_at_once_exactly_one_is_taken(url: str) -> None:
    won = [answer for answers in in_processes(register_rivals, url) for answer in answers]
    assert sorted(subject for subject, *_ in won) == sorted(f"rival-{index}" for index in range(20))
    assert {version for *_, version in won} == {1}


def register_in_any_order(url: str, seed: int) -> list[Answer]:
    """Each thread registers all subjects at once, with schemas and subjects in an order of its own."""
    engine = create_engine(url, pool_size=THREADS)
    store = RegistryStore(engine)

    def run(thread: int) -> list[Answer]:
        answers = []
        order = random.Random(seed * THREADS + thread)
        for round_ in range(10):
            schemas = [schema.replace("R", f"Round{round_}R") for schema in SCHEMAS[: len(SUBJECTS)]]
            order.shuffle(schemas)
            pairs = dict(zip(order.sample(SUBJECTS, len(SUBJECTS)), schemas, strict=True))
            registered = store.register_all(pairs)
            answers += [(one.subject, one.schema.text, one.id, one.version) for one in registered]
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for each in pool.map(run, range(THREADS)) for answer in each]
    engine.dispose()
    return answers


def test_registering_several_subjects_at_once_never_waits_in_a_circle(url: str) -> None:
    engine = create_engine(url)
    RegistryStore(engine).set_level(None, Level.NONE)
    engine.dispose()
    given = [answer for answers in in_processes(register_in_any_order, url) for answer in answers]
    assert len(given) == PROCESSES * THREADS * 10 * len(SUBJECTS)
    assert len({(schema, schema_id) for _, schema, schema_id, _ in given}) == 10 * len(SUBJECTS)
    assert len({(subject, version) for subject, _, _, version in given}) == len(
        {(subject, schema) for subject, schema, _, _ in given}
    )


def delete_and_register(url: str, seed: int) -> list[Answer]:
    engine = create_engine(url, pool_size=THREADS)
    store = RegistryStore(engine)

    def run(thread: int) -> list[Answer]:
        answers = []
        for _ in range(15):
            registered = store.register("restless", SCHEMAS[0])
            answers.append(("restless", SCHEMAS[0], registered.id, registered.version))
            if thread % 2:
                with suppress(AlreadyDeleted, VersionUnknown):  # somebody else was faster
                    store.delete_version("restless", registered.version)
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        answers = [answer for each in pool.map(run, range(THREADS)) for answer in each]
    engine.dispose()
    return answers


def test_deleting_and_registering_at_once_never_gives_a_number_twice_nor_two_live_versions(url: str) -> None:
    given = [answer for answers in in_processes(delete_and_register, url) for answer in answers]
    assert len({schema_id for _, _, schema_id, _ in given}) == 1
    engine = create_engine(url)
    store = RegistryStore(engine)
    numbers = store.versions("restless", "all")
    assert numbers == tuple(range(1, len(numbers) + 1))
    deleted = store.versions("restless", "deleted")
    assert len(numbers) - len(deleted) <= 1
    assert {version for *_, version in given} == set(numbers)
    engine.dispose()
