"""The table of rights, as people read it, and the rules that no table shows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bus.access.decide import FOUR_EYES, RIGHTS, Action, Resource, Scope, alive, decide, effective, matrix
from bus.model import Actor, Role, SubscriptionState

ROLES_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "roles.md"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def actor(*roles: Role, agency: str = "H27.01", client: str = "cl_a") -> Actor:
    return Actor(client, agency, frozenset(roles))


def test_the_committed_page_of_roles_says_what_the_code_does() -> None:
    # To print it anew: python -c "from bus.access.decide import matrix; print(matrix(), end='')" > docs/reference/roles.md
    assert ROLES_PAGE.read_text(encoding="utf-8") == matrix()


@pytest.mark.parametrize("action", Action)
def test_without_a_role_nothing_is_allowed_nor_visible(action: Action) -> None:
    decision = decide(actor(), action, Resource(owner="H27.01", reader="H27.01", author="cl_a"))
    assert not decision.allowed
    assert not decision.visible


@pytest.mark.parametrize("action", Action)
def test_every_action_is_in_the_table(action: Action) -> None:
    assert RIGHTS[action]


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_a_role_reaches_exactly_as_far_as_the_table_says(action: Action, role: Role) -> None:
    resources = {
        Scope.OWN: Resource(owner="H27.01", reader="H27.99", author="cl_z"),
        Scope.RECEIVED: Resource(owner="H27.99", reader="H27.01", author="cl_z"),
        Scope.AUTHORED: Resource(owner="H27.99", reader="H27.99", author="cl_a"),
    }
    scopes = RIGHTS[action].get(role, ())
    stranger = decide(actor(role), action, Resource(owner="H27.99", reader="H27.99", author="cl_z"))
    assert stranger.allowed == (Scope.ANY in scopes)
    for scope, resource in resources.items():
        expected = bool({Scope.ANY, scope} & set(scopes))
        if action in FOUR_EYES and resource.author == "cl_a":
            expected = False
        assert decide(actor(role), action, resource).allowed == expected


@pytest.mark.parametrize("action", sorted(FOUR_EYES))
def test_nobody_approves_what_they_asked_for_themselves(action: Action) -> None:
    everything = actor(*Role)
    own = Resource(owner="H27.01", reader="H27.01", author="cl_a")
    assert not decide(everything, action, own).allowed
    assert decide(everything, action, Resource(owner="H27.01", reader="H27.01", author="cl_b")).allowed


def test_a_thing_with_no_agency_belongs_to_nobody() -> None:
    assert not decide(actor(Role.OWNER), Action.SUBSCRIPTION_APPROVE, Resource()).allowed


def test_what_is_someone_elses_is_not_even_visible_but_what_one_may_read_is() -> None:
    mine = Resource(owner="H27.99", reader="H27.01", author="cl_a")
    theirs = Resource(owner="H27.99", reader="H27.98", author="cl_z")
    subscriber = actor(Role.SUBSCRIBER)
    assert decide(subscriber, Action.SUBSCRIPTION_APPROVE, mine).visible
    assert not decide(subscriber, Action.SUBSCRIPTION_APPROVE, theirs).visible


@pytest.mark.parametrize("state", SubscriptionState)
def test_only_an_active_grant_before_its_end_is_alive(state: SubscriptionState) -> None:
    later, second = NOW + timedelta(days=1), timedelta(seconds=1)
    assert alive(state, later, NOW).allowed == (state is SubscriptionState.ACTIVE)
    assert not alive(state, NOW, NOW).allowed
    assert not alive(state, NOW - second, NOW).allowed


def test_a_grant_past_its_end_is_expired_although_nobody_has_written_it() -> None:
    assert effective(SubscriptionState.ACTIVE, NOW, NOW) is SubscriptionState.EXPIRED
    assert effective(SubscriptionState.SUSPENDED, NOW, NOW) is SubscriptionState.EXPIRED
    assert effective(SubscriptionState.REVOKED, NOW, NOW) is SubscriptionState.REVOKED
