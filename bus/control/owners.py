"""Which agency answers for a contract, and what of a list an actor may see. For the modules of this room."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, ScalarSelect, and_, false, func, or_, select, true

from bus.access.decide import Action, Scope, scopes
from bus.model import Actor, ContractState
from bus.store.tables import contract_versions

# A version that was never approved says nothing: else whoever submits one could take a contract over.
_APPROVED_ONCE = (ContractState.ACTIVE, ContractState.DEPRECATED, ContractState.RETIRED)


def owner_of(connection: Connection, contract: str) -> str | None:
    """The agency that answers for the contract; None while no version of it was ever approved."""
    return connection.scalar(
        select(contract_versions.c.owner)
        .where(contract_versions.c.contract == contract, contract_versions.c.state.in_(_APPROVED_ONCE))
        .limit(1)
    )


def hold_in_force(connection: Connection, contract: str, major: int) -> bool:
    """Whether a version of this major is in force; until the transaction ends nobody changes that."""
    connection.execute(select(func.pg_advisory_xact_lock_shared(func.hashtextextended(contract, 0))))
    found = select(contract_versions.c.version).where(
        contract_versions.c.contract == contract,
        contract_versions.c.major == major,
        contract_versions.c.state.in_((ContractState.ACTIVE, ContractState.DEPRECATED)),
    )
    return connection.scalar(found.limit(1)) is not None


def owner_expression(contract: ColumnElement[str]) -> ScalarSelect[str]:
    """The same inside a query."""
    return (
        select(contract_versions.c.owner)
        .where(contract_versions.c.contract == contract, contract_versions.c.state.in_(_APPROVED_ONCE))
        .limit(1)
        .scalar_subquery()
    )


def visible(
    actor: Actor,
    action: Action,
    *,
    contract: ColumnElement[str],
    reader: ColumnElement[str] | None = None,
    author: ColumnElement[str] | None = None,
) -> ColumnElement[bool]:
    """The condition on a query's rows that `decide` would put on each of them."""
    held = scopes(actor, action)
    if Scope.ANY in held:
        return true()
    conditions: list[ColumnElement[bool]] = []
    if Scope.OWN in held:
        conditions.append(owner_expression(contract) == actor.agency)
    if Scope.RECEIVED in held and reader is not None:
        conditions.append(reader == actor.agency)
    if Scope.AUTHORED in held and author is not None:
        conditions.append(author == actor.client_id)
    return or_(*conditions) if conditions else and_(false())
