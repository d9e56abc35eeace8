"""The nouns of the bus, frozen. Read this file first; contracts, views and rules are nouns of `registry`.

An offset is always the *next* one to read. Times are aware datetimes in UTC. A position is a mapping from topic and partition to
an offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from registry.errors import ErrorClass, Text


class Role(StrEnum):
    ADMINISTRATOR = "administrator"
    OWNER = "owner"
    PUBLISHER = "publisher"
    SUBSCRIBER = "subscriber"
    INTEGRATOR = "integrator"
    AUDITOR = "auditor"


class Op(StrEnum):
    UPSERT = "upsert"
    DELETE = "delete"


class DeliveryMode(StrEnum):
    PULL = "pull"
    PUSH = "push"
    KAFKA = "kafka"


class SubscriptionState(StrEnum):
    REQUESTED = "requested"
    ACTIVE = "active"
    REFUSED = "refused"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ContractState(StrEnum):
    SUBMITTED = "submitted"
    ACTIVE = "active"
    REFUSED = "refused"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


class QuarantineState(StrEnum):
    OPEN = "open"
    CORRECTED = "corrected"  # a valid record of the same key arrived
    REPLAYED = "replayed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Agency:
    """`attributes` are what a view's filter may ask of its reader, e.g. `{"communes": ["18073"]}`."""

    code: str
    name: Text
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: a client of an agency, as its token says."""

    client_id: str
    agency: str
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Subscription:
    """A grant and the request it came from. `start` is "earliest", "latest" or an ISO time."""

    id: str
    contract: str
    view: str
    agency: str
    purpose: str
    legal_basis: str
    state: SubscriptionState
    delivery: DeliveryMode
    start: str
    requested_by: str
    requested_at: datetime
    expires_at: datetime
    procedure: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One topic that a view is materialised as; `instance` is None where the view asks nothing of its reader."""

    contract: str
    major: int
    view: str
    instance: str | None
    topic: str


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one record of a batch went to quarantine. `index` counts from 0 in the batch as it was sent."""

    index: int
    key: str | None
    error_class: ErrorClass
    path: str
    code: str
    message: Text


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a batch. accepted + duplicates + len(rejected) is the number of records that came."""

    id: str
    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """published = delivered + filtered + duplicate + quarantined + pending, for one contract and one subscription.

    `filtered` counts what the view's filter or the grant's dates kept back and what a newer state of the same key replaced
    before it was read.
    """

    contract: str
    subscription: str | None
    published: int
    delivered: int
    filtered: int
    duplicate: int
    quarantined: int
    pending: int

    @property
    def balanced(self) -> bool:
        return self.published == self.delivered + self.filtered + self.duplicate + self.quarantined + self.pending


Json = dict[str, Any]
Clock = Callable[[], datetime]  # aware, UTC; passed, never asked for inside
