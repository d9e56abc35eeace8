"""A refusal of `access.decide` as the exception that callers are told: 403 where the thing may be known, 404 where
not."""

from __future__ import annotations

from bus.access.decide import Action, Resource, decide
from bus.errors import Forbidden, NotFound
from bus.model import Actor
from registry.errors import Problem, Text


def permit(actor: Actor, action: Action, resource: Resource, missing: NotFound) -> None:
    """Return where `actor` may; raises Forbidden, or `missing` where the actor may not know that the thing is there."""
    decision = decide(actor, action, resource)
    if decision.allowed:
        return
    if decision.visible:
        raise Forbidden(decision.reason)
    raise missing


def not_found(noun: Text, id: str, path: str) -> NotFound:
    """The one answer for what isn't there and for what isn't yours: word for word the same."""
    message = Text(f"no {noun.en} {id}", f"không có {noun.vi} {id}")
    return NotFound(message, [Problem(path, "not_found", message)])
