"""Who may do what to which thing, as one pure function over one table. Not how a refusal is shown: that is the API's.

Deny by default: an action that a role isn't given here, nobody with only that role may do. A refusal is a value with its
reason. `visible` says whether the actor may know that the thing exists; the API answers 404 where it may not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bus.model import Actor, Role, SubscriptionState
from registry.errors import Text


class Action(StrEnum):
    """What can be asked, as `<noun>.<verb>`. The verb `read` of a noun decides whether the noun is visible."""

    AGENCY_READ = "agency.read"
    AGENCY_CREATE = "agency.create"
    AGENCY_CHANGE = "agency.change"
    CLIENT_READ = "client.read"
    CLIENT_CREATE = "client.create"
    CLIENT_DISABLE = "client.disable"
    LEGAL_BASIS_READ = "legal_basis.read"
    LEGAL_BASIS_CREATE = "legal_basis.create"
    CONTRACT_READ = "contract.read"
    CONTRACT_SUBMIT = "contract.submit"
    CONTRACT_APPROVE = "contract.approve"
    CONTRACT_REFUSE = "contract.refuse"
    CONTRACT_DEPRECATE = "contract.deprecate"
    CONTRACT_RETIRE = "contract.retire"
    SUBMISSION_READ = "submission.read"  # a contract version that isn't approved yet, or was refused
    SUBSCRIPTION_READ = "subscription.read"
    SUBSCRIPTION_REQUEST = "subscription.request"
    SUBSCRIPTION_APPROVE = "subscription.approve"
    SUBSCRIPTION_REFUSE = "subscription.refuse"
    SUBSCRIPTION_SUSPEND = "subscription.suspend"
    SUBSCRIPTION_RESUME = "subscription.resume"
    SUBSCRIPTION_RENEW = "subscription.renew"
    SUBSCRIPTION_REVOKE = "subscription.revoke"
    RECORDS_READ = "records.read"  # pull and acknowledge
    RECORDS_PUBLISH = "records.publish"
    QUARANTINE_READ = "quarantine.read"
    QUARANTINE_READ_KEY = "quarantine.read_key"
    QUARANTINE_RESOLVE = "quarantine.resolve"  # discard, replay, correct
    ACCOUNT_READ = "account.read"
    JOURNAL_READ = "journal.read"
    REGISTRY_READ = "registry.read"
    REGISTRY_WRITE = "registry.write"  # past the contracts, so for nobody but an administrator


class Scope(StrEnum):
    """Over which things a role holds an action."""

    ANY = "any"
    OWN = "own"  # the actor's agency answers for the thing
    RECEIVED = "received"  # the actor's agency asked for it or receives it
    AUTHORED = "authored"  # the actor's client made it


@dataclass(frozen=True, slots=True)
class Resource:
    """What the decision is about: the agency that answers for it, the agency that receives it, the client that made
    it."""

    owner: str | None = None
    reader: str | None = None
    author: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    allowed: bool
    reason: Text
    visible: bool


_EVERYONE: Mapping[Role, tuple[Scope, ...]] = dict.fromkeys(Role, (Scope.ANY,))
_ANY, _OWN, _RECEIVED, _AUTHORED = (Scope.ANY,), (Scope.OWN,), (Scope.RECEIVED,), (Scope.AUTHORED,)
_OWNER_DECIDES: Mapping[Role, tuple[Scope, ...]] = {Role.ADMINISTRATOR: _ANY, Role.OWNER: _OWN}

RIGHTS: Mapping[Action, Mapping[Role, tuple[Scope, ...]]] = {
    Action.AGENCY_READ: _EVERYONE,
    Action.AGENCY_CREATE: {Role.ADMINISTRATOR: _ANY},
    Action.AGENCY_CHANGE: {Role.ADMINISTRATOR: _ANY},
    Action.CLIENT_READ: {Role.ADMINISTRATOR: _ANY, Role.AUDITOR: _ANY, Role.OWNER: _OWN},
    Action.CLIENT_CREATE: {Role.ADMINISTRATOR: _ANY},
    Action.CLIENT_DISABLE: _OWNER_DECIDES,
    Action.LEGAL_BASIS_READ: _EVERYONE,
    Action.LEGAL_BASIS_CREATE: {Role.ADMINISTRATOR: _ANY, Role.OWNER: _ANY, Role.INTEGRATOR: _ANY},
    Action.CONTRACT_READ: _EVERYONE,
    Action.CONTRACT_SUBMIT: {Role.ADMINISTRATOR: _ANY, Role.INTEGRATOR: _ANY, Role.OWNER: _OWN},
    Action.CONTRACT_APPROVE: _OWNER_DECIDES,
    Action.CONTRACT_REFUSE: _OWNER_DECIDES,
    Action.CONTRACT_DEPRECATE: _OWNER_DECIDES,
    Action.CONTRACT_RETIRE: _OWNER_DECIDES,
    Action.SUBMISSION_READ: {
        Role.ADMINISTRATOR: _ANY,
        Role.AUDITOR: _ANY,
        Role.OWNER: _OWN,
        Role.INTEGRATOR: (Scope.OWN, Scope.AUTHORED),
        Role.PUBLISHER: _OWN,
    },
    Action.SUBSCRIPTION_READ: {
        Role.ADMINISTRATOR: _ANY,
        Role.AUDITOR: _ANY,
        Role.OWNER: (Scope.OWN, Scope.RECEIVED),
        Role.SUBSCRIBER: _RECEIVED,
    },
    Action.SUBSCRIPTION_REQUEST: {Role.SUBSCRIBER: _RECEIVED},
    Action.SUBSCRIPTION_APPROVE: _OWNER_DECIDES,
    Action.SUBSCRIPTION_REFUSE: _OWNER_DECIDES,
    Action.SUBSCRIPTION_SUSPEND: _OWNER_DECIDES,
    Action.SUBSCRIPTION_RESUME: _OWNER_DECIDES,
    Action.SUBSCRIPTION_RENEW: _OWNER_DECIDES,
    # Whoever receives may also give up.
    Action.SUBSCRIPTION_REVOKE: {
        Role.ADMINISTRATOR: _ANY,
        Role.OWNER: (Scope.OWN, Scope.RECEIVED),
        Role.SUBSCRIBER: _RECEIVED,
    },
    Action.RECORDS_READ: {Role.SUBSCRIBER: _RECEIVED},
    Action.RECORDS_PUBLISH: {Role.PUBLISHER: _OWN},
    Action.QUARANTINE_READ: {
        Role.ADMINISTRATOR: _ANY,
        Role.AUDITOR: _ANY,
        Role.OWNER: _OWN,
        Role.PUBLISHER: _OWN,
    },
    # A key is a person's number: the auditor sees that a record was wrong and why, not whose it is.
    Action.QUARANTINE_READ_KEY: {Role.ADMINISTRATOR: _ANY, Role.OWNER: _OWN, Role.PUBLISHER: _OWN},
    Action.QUARANTINE_RESOLVE: {Role.OWNER: _OWN, Role.PUBLISHER: _OWN},
    Action.ACCOUNT_READ: {
        Role.ADMINISTRATOR: _ANY,
        Role.AUDITOR: _ANY,
        Role.OWNER: _OWN,
        Role.PUBLISHER: _OWN,
        Role.SUBSCRIBER: _RECEIVED,
    },
    Action.JOURNAL_READ: {
        Role.ADMINISTRATOR: _ANY,
        Role.AUDITOR: _ANY,
        Role.OWNER: _OWN,
        Role.PUBLISHER: _OWN,
        Role.SUBSCRIBER: _OWN,
        Role.INTEGRATOR: _OWN,
    },
    Action.REGISTRY_READ: _EVERYONE,
    Action.REGISTRY_WRITE: {Role.ADMINISTRATOR: _ANY},
}

# Two clients see every one of these: who asked doesn't decide, whatever the roles.
FOUR_EYES = frozenset({Action.CONTRACT_APPROVE, Action.SUBSCRIPTION_APPROVE})

_ALLOWED = Text("allowed", "được phép")
_FOUR_EYES_REASON = Text(
    "the client that asked may not approve; another client must",
    "bên đề nghị không được tự phê duyệt; phải do một tài khoản khác phê duyệt",
)


def decide(actor: Actor, action: Action, resource: Resource) -> Decision:
    """Whether `actor` may do `action` to `resource`. Pure; raises nothing."""
    rights = RIGHTS.get(action, {})
    held = any(_covers(scope, actor, resource) for role in actor.roles if role in rights for scope in rights[role])
    if held and action in FOUR_EYES and resource.author == actor.client_id:
        return Decision(False, _FOUR_EYES_REASON, visible=True)
    if held:
        return Decision(True, _ALLOWED, visible=True)
    return Decision(False, _refusal(action), visible=_visible(actor, action, resource))


def scopes(actor: Actor, action: Action) -> frozenset[Scope]:
    """Over which things the actor's roles hold `action`: what a list may show. Empty: over none."""
    rights = RIGHTS.get(action, {})
    return frozenset(scope for role in actor.roles for scope in rights.get(role, ()))


def alive(state: SubscriptionState, expires_at: datetime, now: datetime) -> Decision:
    """Whether a grant in `state` holds at `now`: it is active and hasn't come to its end, written down yet or not."""
    found = effective(state, expires_at, now)
    if found is SubscriptionState.ACTIVE:
        return Decision(True, _ALLOWED, visible=True)
    return Decision(
        False,
        Text(f"the subscription is {found.value}, not active", f"đăng ký khai thác đang ở trạng thái {found.value}"),
        visible=True,
    )


def effective(state: SubscriptionState, expires_at: datetime, now: datetime) -> SubscriptionState:
    """The state that counts: a grant past its end is expired at once, whether the sweep has written it or not."""
    if state in (SubscriptionState.ACTIVE, SubscriptionState.SUSPENDED) and expires_at <= now:
        return SubscriptionState.EXPIRED
    return state


def _covers(scope: Scope, actor: Actor, resource: Resource) -> bool:
    match scope:
        case Scope.ANY:
            return True
        case Scope.OWN:
            return resource.owner is not None and resource.owner == actor.agency
        case Scope.RECEIVED:
            return resource.reader is not None and resource.reader == actor.agency
        case Scope.AUTHORED:
            return resource.author is not None and resource.author == actor.client_id


def _visible(actor: Actor, action: Action, resource: Resource) -> bool:
    """A thing is visible to whoever may read things of its noun; what has no `read` (records) isn't."""
    try:
        read = Action(action.value.partition(".")[0] + ".read")
    except ValueError:
        return False
    return read is not action and decide(actor, read, resource).allowed


def _refusal(action: Action) -> Text:
    rights = RIGHTS.get(action, {})
    roles = ", ".join(
        role.value if Scope.ANY in scopes else f"{role.value} ({'/'.join(scopes)})" for role, scopes in rights.items()
    )
    return Text(f"{action.value} is for: {roles or 'nobody'}", f"{action.value} dành cho: {roles or 'không ai'}")


def matrix() -> str:
    """The whole table of rights as Markdown, for people who don't read code (`docs/reference/roles.md`)."""
    lines = [
        "# Roles",
        "",
        "Who may do what. A cell says over which things: `any`; `own` (the client's agency answers for it); `received`",
        "(its agency asked for it or receives it); `authored` (this client made it). An empty cell is a refusal. Where",
        "someone may not even know that a thing exists, the answer is 404. `*`: never the client that asked.",
        "",
        "This page is printed from `bus/access/decide.py`; a test holds the two together.",
        "",
        "| action | " + " | ".join(Role) + " |",
        "|---" * (len(Role) + 1) + "|",
    ]
    for action in Action:
        rights = RIGHTS.get(action, {})
        cells = " | ".join(", ".join(rights.get(role, ())) for role in Role)
        lines.append(f"| `{action.value}`{' *' if action in FOUR_EYES else ''} | {cells} |")
    return "\n".join(lines) + "\n"
