"""Subjects, their versions and compatibility levels, in PostgreSQL; several processes may use one database at once.

Every act is one transaction. Registering takes the subject's lock, so of two processes that register for one subject
the second sees what the first did; one schema has one id, because its identity is unique in the database. A schema by
its id never changes and is kept in memory; everything else is read anew.

Not here: HTTP (`registry.api`), what is compatible (`registry.compatibility`), contracts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, ScalarSelect, Select, delete, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert

from registry.compatibility import DEFAULT_LEVEL, Level, compared, pair_problems
from registry.errors import (
    AlreadyDeleted,
    NotYetDeleted,
    Problem,
    SchemaIncompatible,
    SchemaUnknown,
    SubjectInvalid,
    SubjectUnknown,
    Text,
    VersionUnknown,
)
from registry.schema import Schema, parse
from registry.tables import GLOBAL, METADATA, config, schemas, versions

SCHEMAS_KEPT_MAX = 2_000  # parsed schemas in memory; a wide record's takes about 100 kB
SUBJECT_CHARACTERS_MAX = 500  # a topic's name has 249 at most, a record's full name rarely more
_INTEGER_MAX = 2**31 - 1
_LOCK_SPACE = 0x4C475350  # sets the locks of subjects apart from other advisory locks in the database

Source = Schema | str | bytes | Mapping[str, Any] | Sequence[Any]
"""A schema, or what `registry.schema.parse` makes one of."""

Shown = Literal["live", "deleted", "all"]
"""Which versions count: those not deleted, those softly deleted, or both."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One version of a subject. `id` is the schema's, the same in every subject that has the schema."""

    subject: str
    version: int
    id: int
    schema: Schema
    deleted: bool = False


class RegistryStore:
    """The registry's state. Every method is one transaction and may be called from any thread.

    Raises SubjectUnknown, VersionUnknown, SchemaUnknown where nothing is found, and SQLAlchemy's errors where the
    database doesn't answer.
    """

    def __init__(self, engine: Engine) -> None:
        # A lock is of use only when what comes after it sees what was committed before it.
        self._engine = engine.execution_options(isolation_level="READ COMMITTED")
        self._kept: dict[int, Schema] = {}
        self._subjects_of: dict[int, frozenset[str]] = {}
        self._keeping = threading.Lock()

    def register(self, subject: str, source: Source) -> Registered:
        """Make the schema the subject's newest version. Where a live version has it already, that one is the answer.

        Raises SchemaInvalid, SubjectInvalid, and SchemaIncompatible with the paths where the level forbids it.
        """
        return self.register_all({subject: source})[0]

    def register_all(self, sources: Mapping[str, Source]) -> tuple[Registered, ...]:
        """The same for several subjects, all or none: a contract's records and each of its views, in the order given.

        Raises as `register` does, for the first subject that is refused.
        """
        parsed = {subject: _as_schema(source) for subject, source in sources.items()}
        for subject in parsed:
            check_subject(subject)
        with self._engine.connect() as connection:
            there = {subject: self._find(connection, subject, schema, "live") for subject, schema in parsed.items()}
        found = {subject: one for subject, one in there.items() if one is not None}
        if len(found) < len(parsed):
            with self._locked(*parsed) as connection:
                # In one order everywhere, or two that register the same schemas could wait for each other.
                in_order = sorted(parsed.values(), key=lambda schema: schema.identity)
                ids = {schema.identity: _schema_id(connection, schema) for schema in in_order}
                found = {
                    subject: self._register(connection, subject, schema, ids[schema.identity])
                    for subject, schema in parsed.items()
                }
        for one in found.values():
            self._keep(one.id, one.schema)
        return tuple(found[subject] for subject in parsed)

    def _register(self, connection: Connection, subject: str, schema: Schema, schema_id: int) -> Registered:
        """The steps within the subject's lock."""
        if (there := self._find(connection, subject, schema, "live")) is not None:
            return there
        level = _level(connection, subject)
        live = _rows(connection, _versions(subject, "live"))
        for index in compared(level, len(live)):
            earlier = self._parsed(connection, [live[index].schema_id])[live[index].schema_id]
            if problems := pair_problems(level, schema, earlier):
                raise _incompatible(subject, live[index].version, level, problems)
        newest = select(func.coalesce(func.max(versions.c.version), 0)).where(versions.c.subject == subject)
        version = int(connection.scalar(newest) or 0) + 1
        connection.execute(insert(versions).values(subject=subject, version=version, schema_id=schema_id))
        return Registered(subject, version, schema_id, schema)

    def lookup(self, subject: str, source: Source, shown: Shown = "live") -> Registered:
        """The newest version of the subject that has this very schema."""
        schema = _as_schema(source)
        with self._engine.connect() as connection:
            if (there := self._find(connection, subject, schema, shown)) is not None:
                return there
            _require_subject(connection, subject, shown)
        raise SchemaUnknown(Text("Schema not found", "Không tìm thấy lược đồ"))

    def schema_by_id(self, schema_id: int) -> Schema:
        """The schema with this id, from memory where it was asked for before; also of versions deleted since."""
        schema = self._kept.get(schema_id)
        if schema is None and 0 < schema_id <= _INTEGER_MAX:
            with self._engine.connect() as connection:
                schema = self._parsed(connection, [schema_id]).get(schema_id)
        if schema is None:
            raise SchemaUnknown(Text(f"Schema {schema_id} not found", f"Không tìm thấy lược đồ {schema_id}"))
        return schema

    def subjects(self, prefix: str = "", shown: Shown = "live") -> tuple[str, ...]:
        """Names in alphabetical order."""
        query = select(versions.c.subject).distinct().where(_shown(shown)).order_by(versions.c.subject)
        if prefix:
            query = query.where(versions.c.subject.startswith(prefix, autoescape=True))
        with self._engine.connect() as connection:
            names = list(connection.scalars(query))
            if shown == "deleted":  # softly deleted as a whole
                live = set(connection.scalars(select(versions.c.subject).distinct().where(_shown("live"))))
                names = [name for name in names if name not in live]
        return tuple(names)

    def versions(self, subject: str, shown: Shown = "live") -> tuple[int, ...]:
        """Numbers, oldest first."""
        with self._engine.connect() as connection:
            found = tuple(row.version for row in _rows(connection, _versions(subject, shown)))
        if not found:
            raise _no_subject(subject)
        return found

    def version(self, subject: str, version: int, shown: Shown = "live") -> Registered:
        """One version of a subject."""
        with self._engine.connect() as connection:
            query = _versions(subject, shown).where(versions.c.version == version)
            rows = _rows(connection, query) if 0 < version <= _INTEGER_MAX else []
            if not rows:
                _require_subject(connection, subject, shown)
                raise _no_version(version)
            return self._registered(connection, rows[0])

    def latest(self, subject: str, shown: Shown = "live") -> Registered:
        """The newest version."""
        with self._engine.connect() as connection:
            rows = _rows(
                connection, _versions(subject, shown).order_by(None).order_by(versions.c.version.desc()).limit(1)
            )
            if not rows:
                raise _no_subject(subject)
            return self._registered(connection, rows[0])

    def uses(self, schema_id: int, shown: Shown = "live") -> tuple[tuple[str, int], ...]:
        """(subject, version) of every version with this schema."""
        if not 0 < schema_id <= _INTEGER_MAX:
            return ()
        query = select(versions.c.subject, versions.c.version).where(versions.c.schema_id == schema_id, _shown(shown))
        with self._engine.connect() as connection:
            rows = _rows(connection, query.order_by(versions.c.subject, versions.c.version))
        return tuple((row.subject, row.version) for row in rows)

    def subjects_of(self, schema_id: int, *, fresh: bool = False) -> frozenset[str]:
        """Subjects that have or had the schema; unless `fresh`, as known when last asked (they hardly ever shrink)."""
        known = None if fresh else self._subjects_of.get(schema_id)
        if known is None:
            known = frozenset(subject for subject, _ in self.uses(schema_id, "all"))
            if known:
                with self._keeping:
                    if len(self._subjects_of) >= SCHEMAS_KEPT_MAX:
                        self._subjects_of.pop(next(iter(self._subjects_of)))
                    self._subjects_of[schema_id] = known
        return known

    def problems(
        self, subject: str, schema: Schema, version: int | Literal["latest"] | None = None
    ) -> tuple[Problem, ...]:
        """What the subject's level has against this schema: beside one version, or (None) as registering would say.

        A subject without versions has nothing against it. Raises VersionUnknown for a number that isn't there.
        """
        with self._engine.connect() as connection:
            level = _level(connection, subject)
            live = _rows(connection, _versions(subject, "live"))
            if version == "latest":
                live = live[-1:]
            elif version is not None:
                live = [row for row in live if row.version == version]
                if not live:
                    raise _no_version(version)
            chosen = [live[index].schema_id for index in compared(level, len(live))]
            parsed = self._parsed(connection, chosen)
        for schema_id in chosen:
            if problems := pair_problems(level, schema, parsed[schema_id]):
                return problems
        return ()

    def delete_version(self, subject: str, version: int, *, permanent: bool = False) -> int:
        """Delete softly, or for good what was softly deleted before. Raises AlreadyDeleted, NotYetDeleted."""
        with self._locked(subject) as connection:
            rows = [row for row in _rows(connection, _versions(subject, "all")) if row.version == version]
            if not rows:
                _require_subject(connection, subject, "all")
                raise _no_version(version)
            _check_deletion(subject, version, rows, permanent)
            _delete(connection, subject, [version], permanent)
        return version

    def delete_subject(self, subject: str, *, permanent: bool = False) -> tuple[int, ...]:
        """Delete every version and the subject's level; the numbers deleted. Raises AlreadyDeleted, NotYetDeleted."""
        with self._locked(subject) as connection:
            rows = _rows(connection, _versions(subject, "all"))
            if not rows:
                raise _no_subject(subject)
            live = [row for row in rows if not row.deleted]
            _check_deletion(subject, None, rows if permanent else (live or rows), permanent)
            gone = tuple(row.version for row in (rows if permanent else live))
            _delete(connection, subject, gone, permanent)
            connection.execute(delete(config).where(config.c.subject == subject))
        return gone

    def level(self, subject: str | None) -> Level | None:
        """The level set for the subject, or (None) for all that have none of their own; None where none is set."""
        with self._engine.connect() as connection:
            found = connection.scalar(select(config.c.level).where(config.c.subject == (subject or GLOBAL)))
        return Level(found) if found else None

    def effective_level(self, subject: str) -> Level:
        """The level that registering under the subject obeys."""
        with self._engine.connect() as connection:
            return _level(connection, subject)

    def set_level(self, subject: str | None, level: Level) -> None:
        """Set the level of one subject, or (None) of all that have none of their own. Raises SubjectInvalid."""
        if subject is not None:
            check_subject(subject)
        given = insert(config).values(subject=subject or GLOBAL, level=level.value)
        with self._engine.begin() as connection:
            connection.execute(given.on_conflict_do_update(index_elements=["subject"], set_={"level": level.value}))

    def clear_level(self, subject: str | None) -> Level | None:
        """Take the level away, and say which it was."""
        gone = delete(config).where(config.c.subject == (subject or GLOBAL)).returning(config.c.level)
        with self._engine.begin() as connection:
            found = connection.scalar(gone)
        return Level(found) if found else None

    def ping(self) -> None:
        """Ask the database for nothing; raises SQLAlchemy's errors where it doesn't answer."""
        with self._engine.connect() as connection:
            connection.execute(select(literal(1)))

    @contextmanager
    def _locked(self, *subjects: str) -> Iterator[Connection]:
        """A transaction that is alone with the subjects, whichever processes there are."""
        with self._engine.begin() as connection:
            for subject in sorted(subjects):  # in one order everywhere: nobody waits in a circle
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(subject, _LOCK_SPACE))))
            yield connection

    def _find(self, connection: Connection, subject: str, schema: Schema, shown: Shown) -> Registered | None:
        query = _versions(subject, shown).where(versions.c.schema_id == _id_of(schema))
        rows = _rows(connection, query.order_by(None).order_by(versions.c.version.desc()).limit(1))
        return self._registered(connection, rows[0]) if rows else None

    def _registered(self, connection: Connection, row: Any) -> Registered:
        schema = self._parsed(connection, [row.schema_id])[row.schema_id]
        return Registered(row.subject, row.version, row.schema_id, schema, row.deleted)

    def _parsed(self, connection: Connection, ids: Iterable[int]) -> dict[int, Schema]:
        found = {each: self._kept.get(each) for each in ids}
        missing = [each for each, schema in found.items() if schema is None]
        if missing:
            query = select(schemas.c.id, schemas.c.text).where(schemas.c.id.in_(missing))
            found |= {row.id: self._keep(row.id, parse(row.text)) for row in connection.execute(query)}
        return {each: schema for each, schema in found.items() if schema is not None}

    def _keep(self, schema_id: int, schema: Schema) -> Schema:
        with self._keeping:
            if len(self._kept) >= SCHEMAS_KEPT_MAX:
                self._kept.pop(next(iter(self._kept)))
            return self._kept.setdefault(schema_id, schema)


def _as_schema(source: Source) -> Schema:
    return source if isinstance(source, Schema) else parse(source)


def _shown(shown: Shown) -> Any:
    return {"live": versions.c.deleted.is_(False), "deleted": versions.c.deleted.is_(True), "all": literal(True)}[shown]


def _versions(subject: str, shown: Shown) -> Select[Any]:
    columns = (versions.c.subject, versions.c.version, versions.c.schema_id, versions.c.deleted)
    return select(*columns).where(versions.c.subject == subject, _shown(shown)).order_by(versions.c.version)


def _rows(connection: Connection, query: Select[Any]) -> Sequence[Any]:
    return connection.execute(query).all()


def _id_of(schema: Schema) -> ScalarSelect[Any]:
    return select(schemas.c.id).where(schemas.c.fingerprint == schema.identity).scalar_subquery()


def _schema_id(connection: Connection, schema: Schema) -> int:
    """The schema's one id. Two that insert at once: the second waits for the first and then finds its row."""
    known = connection.scalar(select(_id_of(schema)))
    if known is None:
        row = insert(schemas).values(fingerprint=schema.identity, text=schema.text)
        known = connection.scalar(row.on_conflict_do_nothing().returning(schemas.c.id))
    if known is None:
        known = connection.scalar(select(_id_of(schema)))
    assert known is not None
    return int(known)


def _level(connection: Connection, subject: str) -> Level:
    names = select(config.c.subject, config.c.level).where(config.c.subject.in_([subject, GLOBAL]))
    found = {row.subject: Level(row.level) for row in connection.execute(names)}
    return found.get(subject) or found.get(GLOBAL) or DEFAULT_LEVEL


def _delete(connection: Connection, subject: str, numbers: Sequence[int], permanent: bool) -> None:
    mine = (versions.c.subject == subject, versions.c.version.in_(numbers))
    connection.execute(
        delete(versions).where(*mine) if permanent else update(versions).where(*mine).values(deleted=True)
    )


def _check_deletion(subject: str, version: int | None, rows: Sequence[Any], permanent: bool) -> None:
    what = f"Subject '{subject}'" + ("" if version is None else f" version {version}")
    if permanent and not all(row.deleted for row in rows):
        en = f"{what} was not deleted first before being permanently deleted"
        raise NotYetDeleted(Text(en, f"{what} phải được xóa mềm trước khi xóa hẳn"), version)
    if not permanent and all(row.deleted for row in rows):
        en = f"{what} was soft deleted. Set permanent=true to delete permanently"
        raise AlreadyDeleted(Text(en, f"{what} đã được xóa mềm. Đặt permanent=true để xóa hẳn"), version)


def check_subject(subject: str) -> None:
    """Any name a person can write, but Confluent's contexts (`:.context:subject`). Raises SubjectInvalid."""
    if not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX or not subject.isprintable() or subject.startswith(":."):
        shown = subject[:100]
        raise SubjectInvalid(
            Text(
                f"The specified subject {shown!r} is not valid: 1 to {SUBJECT_CHARACTERS_MAX} printable characters, "
                "not starting with ':.'",
                f"Tên subject {shown!r} không hợp lệ: 1 đến {SUBJECT_CHARACTERS_MAX} ký tự in được, "
                "không bắt đầu bằng ':.'",
            )
        )


def _require_subject(connection: Connection, subject: str, shown: Shown) -> None:
    if not _rows(connection, _versions(subject, shown).limit(1)):
        raise _no_subject(subject)


def _no_subject(subject: str) -> SubjectUnknown:
    return SubjectUnknown(Text(f"Subject '{subject}' not found.", f"Không tìm thấy subject '{subject}'."))


def _no_version(version: int) -> VersionUnknown:
    return VersionUnknown(Text(f"Version {version} not found.", f"Không tìm thấy phiên bản {version}."))


def _incompatible(subject: str, version: int, level: Level, problems: Sequence[Problem]) -> SchemaIncompatible:
    en = "; ".join(f"{one.path} {one.code}: {one.message.en}" for one in problems)
    vi = "; ".join(f"{one.path} {one.code}: {one.message.vi}" for one in problems)
    return SchemaIncompatible(
        Text(
            f"Schema being registered is incompatible with version {version} of subject '{subject}' ({level}): {en}",
            f"Lược đồ không tương thích với phiên bản {version} của subject '{subject}' ({level}): {vi}",
        ),
        problems,
    )


__all__ = ["METADATA", "Registered", "RegistryStore", "Shown", "schemas", "versions"]
