"""The contracts that are in force, compiled, in memory; forgotten when the database says that something changed."""

from __future__ import annotations

import secrets as random_secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from bus.errors import NotFound, Problem, Text
from bus.log import topics as names
from bus.model import ContractState, Target
from bus.store.engine import transaction
from bus.store.tables import contract_versions, secrets, targets
from registry import contract as contracts
from registry.codec import Codec, codec_for, framing
from registry.codec.resolve import resolve
from registry.contract import Contract
from registry.errors import CodecError
from registry.rules import Rules, compile_rules
from registry.store import RegistryStore
from registry.view import View, compile_view

IN_FORCE = (ContractState.ACTIVE, ContractState.DEPRECATED)  # a deprecated contract still carries records


@dataclass(frozen=True, slots=True)
class ActiveView:
    """A view ready to work: `codec` writes its records under `schema_id`."""

    view: View
    codec: Codec
    schema_id: int


@dataclass(frozen=True, slots=True)
class ActiveContract:
    """The newest version in force of one contract. `versions` maps the schema ids of data and view topics to contract versions."""

    contract: Contract
    schema_id: int
    codec: Codec
    rules: Rules
    views: Mapping[str, ActiveView]
    versions: Mapping[int, str]

    @property
    def data_topic(self) -> str:
        return names.data_topic(self.contract.id, self.contract.major)

    @property
    def dlq_topic(self) -> str:
        return names.dlq_topic(self.contract.id, self.contract.major)


class Catalogue:
    """Reads through the database once per contract and change. Safe for threads."""

    def __init__(self, engine: Engine, registry: RegistryStore) -> None:
        self._engine = engine
        self._registry = registry
        self._active: dict[str, ActiveContract] = {}
        self._codecs: dict[int, Codec] = {}
        self._lock = threading.RLock()

    def forget(self, _notice: str = "") -> None:
        """Look again at the next question; the listener on `lgsp_contracts` calls this."""
        with self._lock:
            self._active.clear()

    def active(self, contract: str) -> ActiveContract:
        """Raises NotFound where no version of the contract is in force."""
        with self._lock:
            if contract not in self._active:
                with transaction(self._engine) as connection:
                    self._active[contract] = self._load(connection, contract)
            return self._active[contract]

    def all_active(self) -> list[ActiveContract]:
        """Every contract with a version in force."""
        query = select(contract_versions.c.contract).where(contract_versions.c.state.in_(IN_FORCE)).distinct()
        with transaction(self._engine) as connection:
            ids = list(connection.scalars(query))
        return [self.active(contract) for contract in ids]

    def targets(self, contract: str, major: int) -> list[Target]:
        """Every topic that views of the contract are materialised as."""
        query = (
            select(targets).where(targets.c.contract == contract, targets.c.major == major).order_by(targets.c.topic)
        )
        with transaction(self._engine) as connection:
            return [
                Target(row.contract, row.major, row.view, row.instance, row.topic) for row in connection.execute(query)
            ]

    def codec(self, schema_id: int) -> Codec:
        """The codec of any registered schema. Raises SchemaUnknown: what the registry doesn't know fails closed."""
        codec = self._codecs.get(schema_id)
        if codec is None:
            codec = self._codecs[schema_id] = codec_for(self._registry.schema_by_id(schema_id))
        return codec

    def _load(self, connection: Connection, contract: str) -> ActiveContract:
        query = (
            select(contract_versions.c.version, contract_versions.c.major, contract_versions.c.files)
            .where(contract_versions.c.contract == contract, contract_versions.c.state.in_(IN_FORCE))
            .order_by(contract_versions.c.decided_at)
        )
        rows = connection.execute(query).all()
        if not rows:
            message = Text(f"no contract {contract} is in force", f"không có hợp đồng {contract} đang hiệu lực")
            raise NotFound(message, [Problem("contract", "not_found", message)])
        loaded = [contracts.load_zip(row.files) for row in rows]
        newest = max(loaded, key=lambda c: tuple(int(part) for part in c.version.split(".")))
        versions: dict[int, str] = {}
        for one in loaded:
            if one.major == newest.major:
                versions |= self._schema_ids(connection, one)
        schema_id = self._registry.lookup(
            names.subject(names.data_topic(newest.id, newest.major)), newest.schema.text
        ).id
        views: dict[str, ActiveView] = {}
        for name in newest.views:
            view = compile_view(newest, name, view_secret(connection, newest.id, name))
            subject = names.subject(names.view_topic(newest.id, newest.major, name))
            views[name] = ActiveView(view, codec_for(view.schema), self._registry.lookup(subject, view.schema.text).id)
        return ActiveContract(newest, schema_id, self.codec(schema_id), compile_rules(newest), views, versions)

    def _schema_ids(self, connection: Connection, contract: Contract) -> dict[int, str]:
        data = names.subject(names.data_topic(contract.id, contract.major))
        ids = {self._registry.lookup(data, contract.schema.text).id: contract.version}
        for name in contract.views:
            view = compile_view(contract, name, view_secret(connection, contract.id, name))
            subject = names.subject(names.view_topic(contract.id, contract.major, name))
            ids[self._registry.lookup(subject, view.schema.text).id] = contract.version
        return ids


def view_secret(connection: Connection, contract: str, view: str) -> bytes:
    """The key of a view's hashes, made at the first question and then the same for every process."""
    name = f"view:{contract}:{view}"
    connection.execute(insert(secrets).values(name=name, value=random_secrets.token_bytes(32)).on_conflict_do_nothing())
    value: bytes = connection.scalars(select(secrets.c.value).where(secrets.c.name == name)).one()
    return value


def decode(catalogue: Catalogue, values: Sequence[bytes | None], schema_id: int, codec: Codec) -> pl.DataFrame:
    """The records by columns of the schema `schema_id`, in their order; those of older versions are lifted to it.

    Raises CodecError for bytes that are no framed record, SchemaUnknown for an id that the registry doesn't hold.
    """
    groups, bad = framing.strip(pa.array(values, pa.binary()))
    if bad:
        raise CodecError(Text("found bytes without a schema id", "dữ liệu không có mã lược đồ"), bad[0])
    parts: list[pl.DataFrame] = []
    order: list[npt.NDArray[np.intp]] = []
    for group in groups:
        bodies = group.bodies
        if group.schema_id != schema_id:
            bodies = resolve(bodies, catalogue.codec(group.schema_id).schema, codec.schema)
        parts.append(codec.decode(bodies))
        order.append(group.rows.to_numpy())
    if not parts:
        return empty(codec)
    if len(parts) == 1:
        return parts[0]
    return pl.concat(parts)[np.argsort(np.concatenate(order), kind="stable")]


def empty(codec: Codec) -> pl.DataFrame:
    """No records, in the codec's columns."""
    return codec.decode(pa.array([], pa.binary()))
