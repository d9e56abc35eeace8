"""The store against a real PostgreSQL: ids, versions, levels, deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine

from registry.compatibility import Level
from registry.errors import (
    AlreadyDeleted,
    NotYetDeleted,
    SchemaIncompatible,
    SchemaInvalid,
    SchemaUnknown,
    SubjectInvalid,
    SubjectUnknown,
    VersionUnknown,
)
from registry.schema import parse
from registry.store import METADATA, RegistryStore
from tests.servers import sqlalchemy_url

SUBJECT = "data.population.resident.v1-value"


@pytest.fixture
def store(postgres_dsn: str) -> Iterator[RegistryStore]:
    engine = create_engine(sqlalchemy_url(postgres_dsn))
    METADATA.create_all(engine)
    yield RegistryStore(engine)
    engine.dispose()


def record(*fields: dict[str, Any], **more: Any) -> str:
    return json.dumps({"type": "record", "name": "Resident", "fields": list(fields), **more})


ONE = record({"name": "id", "type": "string"})
TWO = record({"name": "id", "type": "string"}, {"name": "name", "type": ["null", "string"], "default": None})
BROKEN = record({"name": "id", "type": "int"})


def test_registering_again_changes_nothing(store: RegistryStore) -> None:
    first = store.register(SUBJECT, ONE)
    assert (first.version, first.id > 0) == (1, True)
    assert store.register(SUBJECT, ONE) == first
    assert store.versions(SUBJECT) == (1,)


def test_one_schema_has_one_id_whatever_its_spacing_and_subject(store: RegistryStore) -> None:
    first = store.register(SUBJECT, ONE)
    spaced = json.dumps(json.loads(ONE), indent=4)
    assert store.register("other", spaced).id == first.id
    assert store.uses(first.id) == ((SUBJECT, 1), ("other", 1))


@pytest.mark.parametrize(
    "differing",
    [
        record({"name": "id", "type": "string", "doc": "what it is"}),
        record({"name": "id", "type": "string", "default": ""}),
        record({"name": "id", "type": "string", "aliases": ["key"]}),
        record({"name": "id", "type": {"type": "string", "logicalType": "uuid"}}),
        record({"name": "id", "type": {"type": "string", "avro.java.string": "String"}}),
        record({"name": "id", "type": "string"}, doc="a resident"),
    ],
)
def test_documentation_defaults_aliases_and_logical_types_make_another_schema(
    store: RegistryStore, differing: str
) -> None:
    first = store.register(SUBJECT, ONE)
    second = store.register(SUBJECT, differing)
    assert second.id != first.id
    assert second.version == 2
    assert parse(differing).canonical == parse(ONE).canonical


def test_a_version_that_breaks_readers_is_refused_with_the_path_and_nothing_is_kept(store: RegistryStore) -> None:
    store.register(SUBJECT, ONE)
    with pytest.raises(SchemaIncompatible) as raised:
        store.register(SUBJECT, BROKEN)
    assert [(one.path, one.code) for one in raised.value.problems] == [("/fields/0/type", "TYPE_MISMATCH")]
    assert "/fields/0/type" in raised.value.message.en
    assert store.versions(SUBJECT) == (1,)
    with pytest.raises(SchemaUnknown):
        store.lookup(SUBJECT, BROKEN)


def test_the_subjects_level_goes_before_the_global_one(store: RegistryStore) -> None:
    store.register(SUBJECT, ONE)
    assert store.effective_level(SUBJECT) is Level.BACKWARD
    store.set_level(None, Level.NONE)
    assert store.effective_level(SUBJECT) is Level.NONE
    store.set_level(SUBJECT, Level.FULL)
    with pytest.raises(SchemaIncompatible):
        store.register(SUBJECT, BROKEN)
    assert store.clear_level(SUBJECT) is Level.FULL
    assert store.clear_level(SUBJECT) is None
    assert store.register(SUBJECT, BROKEN).version == 2


def test_transitive_levels_ask_every_live_version(store: RegistryStore) -> None:
    store.set_level(SUBJECT, Level.NONE)
    store.register(SUBJECT, record({"name": "x", "type": "int", "default": 0}))
    store.register(SUBJECT, record())
    text = record({"name": "x", "type": "string", "default": ""})
    store.set_level(SUBJECT, Level.BACKWARD_TRANSITIVE)
    assert store.problems(SUBJECT, parse(text))
    with pytest.raises(SchemaIncompatible, match="version 1 "):
        store.register(SUBJECT, text)
    store.delete_version(SUBJECT, 1)
    assert store.problems(SUBJECT, parse(text)) == ()
    assert store.register(SUBJECT, text).version == 3


def test_a_schema_by_its_id_is_what_was_given_even_after_deletion(store: RegistryStore) -> None:
    registered = store.register(SUBJECT, ONE)
    store.delete_subject(SUBJECT)
    store.delete_subject(SUBJECT, permanent=True)
    assert store.schema_by_id(registered.id).text == ONE
    with pytest.raises(SchemaUnknown):
        store.schema_by_id(registered.id + 1)
    with pytest.raises(SchemaUnknown):
        store.schema_by_id(2**40)


def test_soft_deletion_hides_and_permanent_deletion_removes(store: RegistryStore) -> None:
    store.register(SUBJECT, ONE)
    store.register(SUBJECT, TWO)
    with pytest.raises(NotYetDeleted):
        store.delete_version(SUBJECT, 1, permanent=True)
    assert store.delete_version(SUBJECT, 1) == 1
    with pytest.raises(AlreadyDeleted):
        store.delete_version(SUBJECT, 1)
    assert store.versions(SUBJECT) == (2,)
    assert store.versions(SUBJECT, "all") == (1, 2)
    with pytest.raises(VersionUnknown):
        store.version(SUBJECT, 1)
    assert store.version(SUBJECT, 1, "all").deleted
    assert store.delete_version(SUBJECT, 1, permanent=True) == 1
    with pytest.raises(VersionUnknown):
        store.version(SUBJECT, 1, "all")


def test_numbers_are_not_used_again_while_a_softly_deleted_version_has_them(store: RegistryStore) -> None:
    store.register(SUBJECT, ONE)
    assert store.delete_subject(SUBJECT) == (1,)
    with pytest.raises(AlreadyDeleted):
        store.delete_subject(SUBJECT)
    assert store.subjects() == ()
    assert store.subjects(shown="deleted") == (SUBJECT,)
    again = store.register(SUBJECT, ONE)
    assert again.version == 2
    assert store.latest(SUBJECT) == again


def test_what_is_not_there_is_said_so(store: RegistryStore) -> None:
    with pytest.raises(SubjectUnknown):
        store.versions("nothing")
    with pytest.raises(SubjectUnknown):
        store.latest("nothing")
    with pytest.raises(SubjectUnknown):
        store.lookup("nothing", ONE)
    with pytest.raises(SubjectUnknown):
        store.delete_subject("nothing")
    store.register(SUBJECT, ONE)
    with pytest.raises(VersionUnknown):
        store.version(SUBJECT, 2)
    with pytest.raises(VersionUnknown):
        store.version(SUBJECT, 2**40)
    with pytest.raises(SchemaUnknown):
        store.lookup(SUBJECT, TWO)


@pytest.mark.parametrize("subject", ["", "a\x00b", "a\nb", "x" * 501, ":.context:a", "\ud800"])
def test_a_subject_that_nobody_could_write_is_refused(store: RegistryStore, subject: str) -> None:
    with pytest.raises(SubjectInvalid):
        store.register(subject, ONE)


@pytest.mark.parametrize("subject", ["a/b", "công dân", "100%", "a b", "%2F", "'; drop table x", "_", "a_b"])
def test_any_other_name_is_a_subject(store: RegistryStore, subject: str) -> None:
    store.register("aXb", ONE)
    assert store.register(subject, ONE).subject == subject
    assert store.subjects(prefix=subject) == (subject,)


def test_several_subjects_are_registered_all_or_none(store: RegistryStore) -> None:
    view = record({"name": "id", "type": "string"}, doc="a view")
    first = store.register_all({SUBJECT: ONE, "view": view})
    assert [(one.subject, one.version) for one in first] == [(SUBJECT, 1), ("view", 1)]
    with pytest.raises(SchemaIncompatible, match="'view'"):
        store.register_all({SUBJECT: TWO, "another": ONE, "view": BROKEN})
    assert store.subjects() == (SUBJECT, "view")
    assert store.versions(SUBJECT) == (1,)
    second = store.register_all({SUBJECT: TWO, "view": view, "another": TWO})
    assert [one.version for one in second] == [2, 1, 1]
    assert second[0].id == second[2].id
    assert store.register_all({}) == ()


def test_an_invalid_schema_leaves_no_trace(store: RegistryStore) -> None:
    with pytest.raises(SchemaInvalid):
        store.register(SUBJECT, '{"type": "record"}')
    assert store.subjects() == ()
