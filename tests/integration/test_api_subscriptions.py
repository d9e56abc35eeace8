"""Subscriptions over HTTP: every transition, everybody who may not, and what is said then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from bus.control.subscriptions import expire_due
from bus.log import topics as names
from bus.store.tables import cursors, targets
from tests.house import JUSTICE, OTHER, POLICE, Caller, House

STATES = ["requested", "active", "refused", "suspended", "revoked", "expired"]
ALLOWED = {
    "approve": {"requested": "active"},
    "refuse": {"requested": "refused"},
    "suspend": {"active": "suspended"},
    "resume": {"suspended": "active"},
    "renew": {"active": "active", "suspended": "suspended"},
    "revoke": {"requested": "revoked", "active": "revoked", "suspended": "revoked"},
}


@pytest.fixture(scope="module")
def contract(shared_house: House) -> str:
    return shared_house.contract()


def body_of(house: House, transition: str) -> dict[str, Any] | None:
    return {
        "refuse": {"reason": "không đúng mục đích", "legal_basis": house.legal_basis},
        "renew": {"expires_at": (house.clock() + timedelta(days=30)).isoformat()},
    }.get(transition)


def act(house: House, caller: Caller, id: str, transition: str) -> Any:
    return caller.post(f"/v1/subscriptions/{id}/{transition}", body_of(house, transition))


def brought_to(house: House, contract: str, state: str) -> str:
    id = house.subscription(contract, approved=state not in ("requested", "refused"))
    owner = house.client(POLICE, "owner")
    steps = {"refused": "refuse", "suspended": "suspend", "revoked": "revoke"}
    if state in steps:
        assert act(house, owner, id, steps[state]).status_code == 200
    if state == "expired":
        house.clock.ahead += timedelta(days=2)
    return id


def paths(answer: Any) -> list[str]:
    return [one["path"] for one in answer.json()["errors"]]


def test_a_request_becomes_a_grant_when_the_owner_approves(house: House, contract: str) -> None:
    made = house.client(JUSTICE, "subscriber").must("POST", "/v1/subscriptions", house.wish(contract))
    assert made["id"].startswith("sub_")
    assert made["state"] == "requested"
    assert made["from"] == "earliest"
    assert made["agency"] == JUSTICE
    approved = house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{made['id']}/approve")
    assert approved["state"] == "active"
    assert approved["decided_by"] == house.client(POLICE, "owner").id
    with house.runtime.engine.connect() as connection:
        row = connection.execute(select(cursors).where(cursors.c.subscription == made["id"])).one()
    assert row.start == row.acked == {names.view_topic(contract, 1, "names"): [0, 0]}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("transition", ALLOWED)
def test_each_state_allows_exactly_its_transitions(house: House, contract: str, transition: str, state: str) -> None:
    id = brought_to(house, contract, state)
    answer = act(house, house.client(POLICE, "owner"), id, transition)
    expected = ALLOWED[transition].get(state)
    if expected:
        assert (answer.status_code, answer.json()["state"]) == (200, expected)
    else:
        assert (answer.status_code, paths(answer)) == (409, ["state"])
        assert f"found {state}, expected {next(iter(ALLOWED[transition]))}" in answer.json()["detail"]


@pytest.mark.parametrize("transition", ALLOWED)
def test_who_may_not_decide_is_told_403_or_404(house: House, contract: str, transition: str) -> None:
    id = brought_to(house, contract, next(iter(ALLOWED[transition])))
    assert act(house, house.client(OTHER, "owner", "subscriber"), id, transition).status_code == 404
    assert act(house, house.client(POLICE, "publisher"), id, transition).status_code == 404
    assert act(house, house.client(JUSTICE, "auditor"), id, transition).status_code == 403
    if transition != "revoke":
        assert act(house, house.client(JUSTICE, "subscriber"), id, transition).status_code == 403
    assert act(house, house.admin, id, transition).status_code == 200


def test_nobody_approves_their_own_request_whatever_their_roles(house: House, contract: str) -> None:
    everything = house.new_client(POLICE, "subscriber", "owner", "administrator")
    made = everything.must("POST", "/v1/subscriptions", house.wish(contract))
    refused = everything.post(f"/v1/subscriptions/{made['id']}/approve")
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert house.client(POLICE, "owner").post(f"/v1/subscriptions/{made['id']}/approve").status_code == 200


def test_someone_elses_subscription_is_as_if_it_were_not_there(house: House, contract: str) -> None:
    id = house.subscription(contract)
    stranger = house.client(OTHER, "subscriber")
    theirs, nobodys = stranger.get(f"/v1/subscriptions/{id}"), stranger.get("/v1/subscriptions/sub_0")
    assert theirs.status_code == nobodys.status_code == 404
    assert theirs.text.replace(id, "sub_0") == nobodys.text
    assert stranger.get(f"/v1/subscriptions/{id}/history").status_code == 404
    assert id not in str(stranger.must("GET", "/v1/subscriptions", params={"limit": 1000}))


def test_the_list_shows_what_one_gives_and_what_one_receives(house: House, contract: str) -> None:
    id = house.subscription(contract, approved=False)
    for caller in (house.client(JUSTICE, "subscriber"), house.client(POLICE, "owner"), house.client(OTHER, "auditor")):
        mine = caller.must(
            "GET", "/v1/subscriptions", params={"contract": contract, "state": "requested", "limit": 1000}
        )
        assert id in [one["id"] for one in mine["items"]]
    other = house.client(POLICE, "owner").must(
        "GET", "/v1/subscriptions", params={"state": "active", "agency": JUSTICE, "limit": 1000}
    )
    assert id not in [one["id"] for one in other["items"]]


@pytest.mark.parametrize(
    ("changes", "status", "path"),
    [
        ({"contract": "no/such"}, 404, "contract"),
        ({"view": "nothing"}, 404, "view"),
        ({"legal_basis": "lb_none"}, 400, "legal_basis"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 400, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, 400, "expires_at"),
        ({"expires_at": "tomorrow"}, 400, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-14:00"}, 400, "expires_at"),
        ({"from": "0001-01-01T00:00:00+14:00"}, 400, "from"),
        ({"from": "yesterday"}, 400, "from"),
        ({"from": "2999-01-01T00:00:00Z"}, 400, "from"),
        ({"from": "2026-01-01T00:00:00"}, 400, "from"),
        ({"start": "latest"}, 400, "start"),
        ({"purpose": " "}, 400, "purpose"),
        ({"delivery": {"mode": "pigeon"}}, 400, "delivery.mode"),
        ({"delivery": {"mode": "pull", "url": "https://example.com"}}, 400, "delivery.url"),
        ({"view": "local"}, 409, "attributes.communes"),
    ],
    ids=str,
)
def test_a_request_that_cannot_be_granted_names_what_is_wrong(
    house: House, contract: str, changes: dict[str, Any], status: int, path: str
) -> None:
    answer = house.client(JUSTICE, "subscriber").post("/v1/subscriptions", house.wish(contract, **changes))
    assert (answer.status_code, paths(answer)) == (status, [path]), answer.text


def test_a_view_that_is_not_there_is_answered_with_those_that_are(house: House, contract: str) -> None:
    answer = house.client(JUSTICE, "subscriber").post("/v1/subscriptions", house.wish(contract, view="nmaes"))
    assert "full, local, names" in answer.json()["detail"]


def test_a_legal_basis_counts_by_the_day_in_vietnam(house: House, contract: str) -> None:
    today = (house.clock() + timedelta(hours=7)).date()
    old = {"number": "1", "article": "1", "title": "x", "issuer": "x", "valid_from": "2020-01-01"}
    for valid_to, status in ((today, 201), (today - timedelta(days=1), 400)):
        basis = house.admin.must("POST", "/v1/legal-bases", old | {"valid_to": valid_to.isoformat()})["id"]
        wish = house.wish(contract, legal_basis=basis)
        assert house.client(JUSTICE, "subscriber").post("/v1/subscriptions", wish).status_code == status


def test_only_a_subscriber_asks(house: House, contract: str) -> None:
    caller = house.client(JUSTICE, "owner", "publisher", "integrator", "auditor")
    assert caller.post("/v1/subscriptions", house.wish(contract)).status_code == 403


def test_a_refusal_needs_its_reason_and_its_legal_basis(house: House, contract: str) -> None:
    id = house.subscription(contract, approved=False)
    owner, path = house.client(POLICE, "owner"), f"/v1/subscriptions/{id}/refuse"
    assert paths(owner.post(path, {"reason": "x"})) == ["legal_basis"]
    assert paths(owner.post(path, {"legal_basis": house.legal_basis})) == ["reason"]
    assert paths(owner.post(path, {"reason": "x", "legal_basis": "lb_none"})) == ["legal_basis"]
    refused = owner.must("POST", path, {"reason": "ngoài phạm vi", "legal_basis": house.legal_basis})
    assert (refused["state"], refused["reason"]) == ("refused", "ngoài phạm vi")
    history = house.client(JUSTICE, "subscriber").must("GET", f"/v1/subscriptions/{id}/history")["items"]
    assert [one["action"] for one in history] == ["subscription.request", "subscription.refuse"]
    assert history[-1]["detail"]["legal_basis"] == house.legal_basis


def test_a_reader_may_give_up_what_it_receives(house: House, contract: str) -> None:
    id = house.subscription(contract)
    gone = house.client(JUSTICE, "subscriber").must(
        "POST", f"/v1/subscriptions/{id}/revoke", {"reason": "không cần nữa"}
    )
    assert gone["state"] == "revoked"


def test_a_grant_past_its_end_is_expired_at_once_and_the_sweep_writes_it(house: House, contract: str) -> None:
    id = house.subscription(contract)
    house.clock.ahead += timedelta(days=1, seconds=1)
    owner = house.client(POLICE, "owner")
    assert owner.must("GET", f"/v1/subscriptions/{id}")["state"] == "expired"
    listed = owner.must("GET", "/v1/subscriptions", params={"state": "expired", "limit": 1000})["items"]
    assert id in [one["id"] for one in listed]
    active = owner.must("GET", "/v1/subscriptions", params={"state": "active", "limit": 1000})["items"]
    assert id not in [one["id"] for one in active]
    assert id in expire_due(house.runtime.engine, house.clock)
    assert id not in expire_due(house.runtime.engine, house.clock)
    history = owner.must("GET", f"/v1/subscriptions/{id}/history")["items"]
    assert history[-1]["action"] == "subscription.expire"
    assert history[-1]["client"] is None


def test_a_request_that_was_overtaken_by_its_own_end_cannot_be_approved(house: House, contract: str) -> None:
    id = house.subscription(contract, approved=False)
    house.clock.ahead += timedelta(days=2)
    answer = house.client(POLICE, "owner").post(f"/v1/subscriptions/{id}/approve")
    assert (answer.status_code, paths(answer)) == (400, ["expires_at"])


def test_renewing_gives_a_later_end_and_no_earlier_one(house: House, contract: str) -> None:
    id = house.subscription(contract)
    owner, path = house.client(POLICE, "owner"), f"/v1/subscriptions/{id}/renew"
    end = datetime.fromisoformat(owner.must("GET", f"/v1/subscriptions/{id}")["expires_at"])
    assert paths(owner.post(path, {"expires_at": end.isoformat()})) == ["expires_at"]
    later = owner.must("POST", path, {"expires_at": (end + timedelta(days=9)).isoformat()})
    assert datetime.fromisoformat(later["expires_at"]) == end + timedelta(days=9)
    house.clock.ahead += timedelta(days=2)
    assert owner.must("GET", f"/v1/subscriptions/{id}")["state"] == "active"


def test_of_two_decisions_at_once_one_holds_and_the_history_has_each_once(house: House, contract: str) -> None:
    id = house.subscription(contract, approved=False)
    owner = house.client(POLICE, "owner")
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(act, house, owner, id, "approve" if i % 2 else "refuse") for i in range(6)]
        statuses = sorted(one.result().status_code for one in asked)
    assert statuses == [200] + [409] * 5
    history = owner.must("GET", f"/v1/subscriptions/{id}/history")["items"]
    assert len(history) == 2


def test_a_view_cut_by_the_reader_gets_a_topic_for_each_of_its_values(house: House) -> None:
    contract = house.contract()
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {"communes": ["18073", "Xã Đông"]}})
    subscriber = house.client(OTHER, "subscriber")
    made = subscriber.must("POST", "/v1/subscriptions", house.wish(contract, view="local"))
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{made['id']}/approve")
    wanted = {names.view_topic(contract, 1, "local", one): one for one in ("18073", "Xã Đông")}
    with house.runtime.engine.connect() as connection:
        found = connection.execute(
            select(targets.c.topic, targets.c.instance).where(targets.c.contract == contract, targets.c.view == "local")
        )
        assert {row.topic: row.instance for row in found} == wanted
        position = connection.scalar(select(cursors.c.acked).where(cursors.c.subscription == made["id"]))
    assert position == {topic: [0, 0] for topic in wanted}
    for topic in wanted:
        assert house.runtime.topics.partitions(topic) == 2
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{made['id']}/revoke")
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {}})


@pytest.mark.parametrize("start", ["latest", "time"])
def test_a_grant_may_begin_later_than_the_beginning(house: House, contract: str, start: str) -> None:
    said = "latest" if start == "latest" else (datetime.now(UTC) - timedelta(days=1)).isoformat()
    id = house.subscription(contract, **{"from": said})
    with house.runtime.engine.connect() as connection:
        position = connection.scalar(select(cursors.c.start).where(cursors.c.subscription == id))
    assert position == {names.view_topic(contract, 1, "names"): [0, 0]}
