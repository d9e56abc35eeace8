"""The journal as an actor may read it: an auditor all of it, an agency its own entries. Writing it is
`audit.journal`'s."""

from __future__ import annotations

from sqlalchemy import Engine

from bus.access.decide import Action, Resource, Scope, decide, scopes
from bus.audit import journal
from bus.errors import Forbidden
from bus.model import Actor
from bus.store.engine import transaction


def page(
    engine: Engine,
    actor: Actor,
    *,
    limit: int,
    after: int = 0,
    agency: str | None = None,
    object: str | None = None,
    action: str | None = None,
) -> list[journal.Entry]:
    """Entries with an id above `after`, oldest first. Raises Forbidden where another agency's are asked for."""
    if Scope.ANY not in scopes(actor, Action.JOURNAL_READ):
        agency = agency or actor.agency
        decision = decide(actor, Action.JOURNAL_READ, Resource(owner=agency))
        if not decision.allowed:
            raise Forbidden(decision.reason)
    with transaction(engine) as connection:
        return journal.read(connection, limit=limit, after=after, agency=agency, object=object, action=action)
