"""Contract versions from submission to retirement. What a contract says is `registry.contract`'s; who may is `access.decide`'s.

    submitted ── approve ──► active ── deprecate ──► deprecated ── retire ──► retired
        └────── refuse ───► refused      └────────────── retire ──────────────────┘

Approval makes the contract real: its subjects, its topics, a target for each view without instances. All of that is idempotent,
so an approval that a crash cut short is simply done again.
"""

from __future__ import annotations

import io
import unicodedata
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, RowMapping, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError

from bus.access.decide import Action, Resource, decide
from bus.audit import journal
from bus.control.continuity import (
    IN_FORCE,
    continuity,
    incompatibilities,
    load,
    numbers,
    ownership,
    partition_problems,
    view_of,
)
from bus.control.permit import not_found, permit
from bus.errors import Conflict, ContractRejected, NotFound
from bus.log import topics as names
from bus.log.topics import Topics
from bus.model import Actor, Clock, ContractState, SubscriptionState
from bus.store.engine import transaction
from bus.store.events import CONTRACTS, notify
from bus.store.tables import contract_versions, subscriptions, targets
from registry.contract import Contract
from registry.errors import ContractInvalid, Problem, SchemaIncompatible, Text
from registry.store import RegistryStore

_EXPECTED = {
    Action.CONTRACT_APPROVE: (ContractState.SUBMITTED,),
    Action.CONTRACT_REFUSE: (ContractState.SUBMITTED,),
    Action.CONTRACT_DEPRECATE: (ContractState.ACTIVE,),
    Action.CONTRACT_RETIRE: IN_FORCE,
}


@dataclass(frozen=True, slots=True)
class ContractVersion:
    """One version of a contract and what was decided on it."""

    id: str
    version: str
    major: int
    state: ContractState
    owner: str
    title: Text
    submitted_by: str
    submitted_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    reason: str | None


def submit(
    engine: Engine, registry: RegistryStore, topics: Topics, actor: Actor, body: bytes, source: str | None = None
) -> ContractVersion:
    """A new version, from a contract's YAML or a zip of it with its files. It does nothing until it is approved.

    Raises ContractRejected with every problem of the document, of its schemas beside the registered ones, and of what
    may not
    change within one major; Conflict where the version is there already; Forbidden.
    """
    contract, files = _read(body)
    permit(actor, Action.CONTRACT_SUBMIT, Resource(owner=contract.owner, author=actor.client_id), missing(contract.id))
    with transaction(engine) as connection:
        problems = [*ownership(connection, contract), *continuity(connection, contract)]
    problems += incompatibilities(registry, contract)
    problems += partition_problems(topics, contract)
    if problems:
        raise _rejected(problems)
    try:
        with transaction(engine) as connection:
            row = connection.execute(
                insert(contract_versions)
                .values(
                    contract=contract.id,
                    version=contract.version,
                    major=contract.major,
                    state=ContractState.SUBMITTED,
                    owner=contract.owner,
                    title_vi=contract.title.vi[:300],
                    title_en=contract.title.en[:300],
                    files=files,
                    submitted_by=actor.client_id,
                )
                .returning(contract_versions)
            ).mappings()
            submitted = _version(row.one())
            journal.record(connection, actor, Action.CONTRACT_SUBMIT, _object(submitted), source=source)
    except IntegrityError as error:
        message = Text(
            f"version {contract.version} of {contract.id} is there already; a change needs a new version",
            f"phiên bản {contract.version} của {contract.id} đã tồn tại; thay đổi cần phiên bản mới",
        )
        raise Conflict(message, [Problem("version", "taken", message)]) from error
    return submitted


def approve(
    engine: Engine,
    registry: RegistryStore,
    topics: Topics,
    clock: Clock,
    actor: Actor,
    id: str,
    version: str,
    source: str | None = None,
) -> ContractVersion:
    """Bring a submitted version into force; the version of the same major that it follows becomes deprecated.

    Raises ContractRejected where a schema no longer fits what was registered since; Conflict; Forbidden (the author may
    not);
    LogUnavailable.
    """
    with transaction(engine) as connection:
        row = _for_decision(connection, actor, Action.CONTRACT_APPROVE, id, version)
        contract = load(row["files"])
        if problems := [*ownership(connection, contract), *continuity(connection, contract)]:
            raise _rejected(problems)
        schema_id = _register(registry, contract)
        _make_topics(connection, topics, contract)
        connection.execute(
            update(contract_versions)
            .where(
                contract_versions.c.contract == id,
                contract_versions.c.major == contract.major,
                contract_versions.c.state == ContractState.ACTIVE,
            )
            .values(state=ContractState.DEPRECATED)
        )
        return _decided(
            connection, clock, actor, Action.CONTRACT_APPROVE, row, ContractState.ACTIVE, source, schema_id=schema_id
        )


def refuse(
    engine: Engine, clock: Clock, actor: Actor, id: str, version: str, reason: str, source: str | None = None
) -> ContractVersion:
    """Raises NotFound, Conflict, Forbidden."""
    with transaction(engine) as connection:
        row = _for_decision(connection, actor, Action.CONTRACT_REFUSE, id, version)
        return _decided(
            connection, clock, actor, Action.CONTRACT_REFUSE, row, ContractState.REFUSED, source, reason=reason
        )


def deprecate(
    engine: Engine, clock: Clock, actor: Actor, id: str, version: str, reason: str | None, source: str | None = None
) -> ContractVersion:
    """Records go on; nobody can subscribe anew where no version is active. Raises NotFound, Conflict, Forbidden."""
    with transaction(engine) as connection:
        row = _for_decision(connection, actor, Action.CONTRACT_DEPRECATE, id, version)
        return _decided(
            connection, clock, actor, Action.CONTRACT_DEPRECATE, row, ContractState.DEPRECATED, source, reason=reason
        )


def retire(
    engine: Engine, clock: Clock, actor: Actor, id: str, version: str, reason: str | None, source: str | None = None
) -> ContractVersion:
    """Nothing is published under it any more. Raises Conflict while a subscription lives on this version alone."""
    with transaction(engine) as connection:
        row = _for_decision(connection, actor, Action.CONTRACT_RETIRE, id, version)
        _refuse_while_used(connection, row)
        return _decided(
            connection, clock, actor, Action.CONTRACT_RETIRE, row, ContractState.RETIRED, source, reason=reason
        )


def page(engine: Engine, actor: Actor, *, limit: int, after: str = "", q: str = "") -> list[ContractVersion]:
    """The newest version that the actor may see of each contract, by id, those above `after`.

    `q` asks for all of its words in the id or in a title, whatever their case and their diacritics: "cu tru" finds "Cư
    trú".
    """
    permit(actor, Action.CONTRACT_READ, Resource(), missing(""))
    query = select(*_COLUMNS).where(contract_versions.c.contract > after).order_by(contract_versions.c.contract)
    with transaction(engine) as connection:
        rows = [_version(row) for row in connection.execute(query).mappings()]
    newest: dict[str, ContractVersion] = {}
    for one in rows:
        if _may_see(actor, one) and (one.id not in newest or _rank(one) > _rank(newest[one.id])):
            newest[one.id] = one
    words = folded(q).split()
    found = [
        one
        for one in newest.values()
        if all(word in folded(f"{one.id} {one.title.vi} {one.title.en}") for word in words)
    ]
    return found[:limit]


def versions(engine: Engine, actor: Actor, id: str) -> list[ContractVersion]:
    """Every version that the actor may see, newest first. Raises NotFound where that is none."""
    permit(actor, Action.CONTRACT_READ, Resource(), missing(id))
    with transaction(engine) as connection:
        rows = connection.execute(select(*_COLUMNS).where(contract_versions.c.contract == id)).mappings().all()
    found = [one for one in map(_version, rows) if _may_see(actor, one)]
    if not found:
        raise missing(id)
    return sorted(found, key=lambda one: numbers(one.version), reverse=True)


def get(engine: Engine, actor: Actor, id: str, version: str | None = None) -> tuple[ContractVersion, Contract]:
    """One version with what it says: the one asked for, else the newest in force, else the newest. Raises NotFound."""
    found = versions(engine, actor, id)
    chosen = next((one for one in found if one.version == version), None) if version else max(found, key=_rank)
    if chosen is None:
        raise missing(f"{id} {version}")
    with transaction(engine) as connection:
        files = connection.scalar(
            select(contract_versions.c.files).where(
                contract_versions.c.contract == id, contract_versions.c.version == chosen.version
            )
        )
    assert files is not None
    return chosen, load(bytes(files))


def folded(text: str) -> str:
    """Text for comparing: lower case, without diacritics; đ counts as d."""
    bare = unicodedata.normalize("NFD", text.lower().replace("đ", "d"))
    return "".join(letter for letter in bare if not unicodedata.combining(letter))


def missing(id: str) -> NotFound:
    return not_found(Text("contract", "hợp đồng dữ liệu"), id, "contract")


def _read(body: bytes) -> tuple[Contract, bytes]:
    """The contract of what was sent, and the zip to keep. Raises ContractRejected."""
    if not body.startswith(b"PK\x03\x04"):
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(zipfile.ZipInfo("contract.yaml"), body)
        body = made.getvalue()
    try:
        contract = load(body)
    except ContractInvalid as error:
        raise ContractRejected(error.message, error.problems) from error
    if "\0" in f"{contract.title.vi}{contract.title.en}{contract.owner}":
        message = Text("NUL has no place in a title or a code", "tiêu đề và mã không được chứa ký tự NUL")
        raise _rejected([Problem("name", "nul", message)])
    return contract, body


def _register(registry: RegistryStore, contract: Contract) -> int:
    """Register the data schema and each view's; the id of the data schema."""
    try:
        schema_id = registry.register(names.subject(names.data_topic(contract.id, contract.major)), contract.schema).id
        for name in contract.views:
            subject = names.subject(names.view_topic(contract.id, contract.major, name))
            registry.register(subject, view_of(contract, name).schema)
    except SchemaIncompatible as error:
        raise ContractRejected(error.message, error.problems) from error
    return schema_id


def _make_topics(connection: Connection, topics: Topics, contract: Contract) -> None:
    data = names.data_topic(contract.id, contract.major)
    partitions = topics.ensure(data, contract.topic, partitions=topics.partitions(data) or None)
    topics.ensure_dlq(names.dlq_topic(contract.id, contract.major))
    for name in contract.views:
        if view_of(contract, name).reader_attribute is None:
            topic = names.view_topic(contract.id, contract.major, name)
            topics.ensure(topic, contract.topic, partitions=partitions)
            connection.execute(
                upsert(targets)
                .values(topic=topic, contract=contract.id, major=contract.major, view=name, instance=None)
                .on_conflict_do_nothing()
            )


def _for_decision(connection: Connection, actor: Actor, action: Action, id: str, version: str) -> RowMapping:
    """The version's row, locked, after asking whether the actor may and the state allows. Of one contract, one at a
    time."""
    connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(id, 0))))
    row = (
        connection.execute(
            select(contract_versions)
            .where(contract_versions.c.contract == id, contract_versions.c.version == version)
            .with_for_update()
        )
        .mappings()
        .one_or_none()
    )
    gone = missing(f"{id} {version}")
    if row is None:
        raise gone
    found = _version(row)
    if not _may_see(actor, found):
        raise gone
    permit(actor, action, Resource(owner=row["owner"], author=row["submitted_by"]), gone)
    expected = _EXPECTED[action]
    if found.state not in expected:
        said = " / ".join(expected)
        message = Text(
            f"{id} {version}: found {found.state.value}, expected {said}",
            f"{id} {version}: đang là {found.state.value}, cần {said}",
        )
        raise Conflict(message, [Problem("state", "wrong_state", message)])
    return row


def _decided(
    connection: Connection,
    clock: Clock,
    actor: Actor,
    action: Action,
    row: RowMapping,
    state: ContractState,
    source: str | None,
    *,
    reason: str | None = None,
    schema_id: int | None = None,
) -> ContractVersion:
    values: dict[str, object] = {
        "state": state,
        "decided_by": actor.client_id,
        "decided_at": clock(),
        "reason": reason,
    }
    if schema_id is not None:
        values["schema_id"] = schema_id
    changed = connection.execute(
        update(contract_versions)
        .where(contract_versions.c.contract == row["contract"], contract_versions.c.version == row["version"])
        .values(**values)
        .returning(contract_versions)
    ).mappings()
    after = _version(changed.one())
    detail = {"state": state.value} | ({"reason": reason} if reason else {})
    journal.record(connection, actor, action, _object(after), detail=detail, source=source)
    notify(connection, CONTRACTS, after.id)
    return after


def _refuse_while_used(connection: Connection, row: RowMapping) -> None:
    others = connection.scalar(
        select(func.count())
        .select_from(contract_versions)
        .where(
            contract_versions.c.contract == row["contract"],
            contract_versions.c.major == row["major"],
            contract_versions.c.version != row["version"],
            contract_versions.c.state.in_(IN_FORCE),
        )
    )
    if others:
        return
    living = connection.scalar(
        select(func.count())
        .select_from(subscriptions)
        .where(
            subscriptions.c.contract == row["contract"],
            subscriptions.c.major == row["major"],
            subscriptions.c.state.in_((SubscriptionState.ACTIVE, SubscriptionState.SUSPENDED)),
        )
    )
    if living:
        message = Text(
            f"{living} subscription(s) live on this version; revoke them first",
            f"còn {living} đăng ký khai thác dùng phiên bản này; hãy thu hồi trước",
        )
        raise Conflict(message, [Problem("subscriptions", "in_use", message)])


def _may_see(actor: Actor, one: ContractVersion) -> bool:
    if one.state in (ContractState.SUBMITTED, ContractState.REFUSED):
        return decide(actor, Action.SUBMISSION_READ, Resource(owner=one.owner, author=one.submitted_by)).allowed
    return True


def _rank(one: ContractVersion) -> tuple[bool, tuple[int, ...]]:
    return one.state in IN_FORCE, numbers(one.version)


def _rejected(problems: Sequence[Problem]) -> ContractRejected:
    one = problems[0]
    return ContractRejected(
        Text(
            f"the contract has {len(problems)} problem(s), the first: {one.path}: {one.message.en}",
            f"hợp đồng có {len(problems)} lỗi, lỗi đầu tiên: {one.path}: {one.message.vi}",
        ),
        problems,
    )


def _object(one: ContractVersion) -> str:
    return f"contract:{one.id}@{one.version}"


_COLUMNS = [column for column in contract_versions.c if column.name != "files"]


def _version(row: RowMapping) -> ContractVersion:
    return ContractVersion(
        id=row["contract"],
        version=row["version"],
        major=row["major"],
        state=ContractState(row["state"]),
        owner=row["owner"],
        title=Text(row["title_en"], row["title_vi"]),
        submitted_by=row["submitted_by"],
        submitted_at=row["created_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
    )
