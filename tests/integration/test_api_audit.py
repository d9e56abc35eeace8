"""The account at any moment, quarantine's list, and the journal, over HTTP with the view workers at work."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from bus.runtime import Workers
from tests.house import JUSTICE, OTHER, POLICE, Caller, House

PARTS = ("delivered", "filtered", "duplicate", "quarantined", "pending")


@pytest.fixture(scope="module", autouse=True)
def workers(shared_house: House) -> Iterator[None]:
    started = Workers(shared_house.runtime)
    shared_house.runtime.listener.start()
    started.start()
    yield
    started.close()


def thing(number: int, name: str = "An", commune: str = "18073") -> dict[str, Any]:
    return {"number": f"{number:06d}", "name": name, "commune": commune}


def publish(house: House, contract: str, things: list[Any]) -> Any:
    answer = house.client(POLICE, "publisher").post(f"/v1/publish/{contract}", things)
    assert answer.status_code in (200, 207, 422), answer.text
    return answer.json()


def accounts(caller: Caller, contract: str) -> dict[str | None, dict[str, Any]]:
    """The account for each subscription, each of which must add up."""
    found = caller.must("GET", "/v1/audit/account", params={"contract": contract})["items"]
    for one in found:
        assert one["balanced"], one
        assert one["published"] == sum(one[part] for part in PARTS), one
        assert min(one[part] for part in PARTS) >= 0, one
    return {one["subscription"]: one for one in found}


def parts(account: dict[str, Any]) -> tuple[int, ...]:
    return tuple(account[part] for part in ("published", *PARTS))


def pull(caller: Caller, subscription: str, records_max: int = 1000) -> int:
    """Pull and acknowledge what there is; how many records came."""
    asked = {"max": records_max, "wait_ms": 100}
    answer = caller.get(f"/v1/subscriptions/{subscription}/records", params=asked)
    assert answer.status_code == 200, answer.text
    lines = [orjson.loads(line) for line in answer.content.splitlines()]
    if lines:
        caller.must("POST", f"/v1/subscriptions/{subscription}/ack", {"cursor": lines[-1]["cursor"]})
    return len(lines)


def settle(house: House, contract: str, *subscriptions: tuple[Caller, str]) -> dict[str | None, dict[str, Any]]:
    """Pull until nothing is pending."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for caller, subscription in subscriptions:
            pull(caller, subscription)
        found = accounts(house.admin, contract)
        if all(found[subscription]["pending"] == 0 for _, subscription in subscriptions):
            return found
    raise AssertionError(f"still pending: {found}")


def test_every_record_is_in_one_place(house: House) -> None:
    contract, reader = house.contract(), house.client(JUSTICE, "subscriber")
    before = accounts(house.admin, contract)
    assert parts(before[None]) == (0, 0, 0, 0, 0, 0)
    publish(house, contract, [thing(1), thing(2), thing(1), {"number": "3"}])
    assert parts(accounts(house.admin, contract)[None]) == (4, 0, 2, 1, 1, 0)
    id = house.subscription(contract)
    assert accounts(house.admin, contract)[id]["pending"] >= 2 - 0
    assert parts(settle(house, contract, (reader, id))[id]) == (4, 2, 0, 1, 1, 0)
    house.runtime.door.caches.clear()  # as after a restart: now it is the view worker that recognises the repeat
    publish(house, contract, [thing(1), thing(2, name="Bình")])
    assert parts(settle(house, contract, (reader, id))[id]) == (6, 3, 0, 2, 1, 0)
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{id}/revoke")
    publish(house, contract, [thing(9)])
    assert parts(accounts(house.admin, contract)[id]) == (7, 3, 1, 2, 1, 0)


def test_a_late_grant_counts_what_came_before_it_as_filtered(house: House) -> None:
    contract, reader = house.contract(), house.client(JUSTICE, "subscriber")
    early = house.subscription(contract)
    publish(house, contract, [thing(number) for number in range(10)])
    settle(house, contract, (reader, early))
    late = house.subscription(contract, **{"from": "latest"})
    publish(house, contract, [thing(10)])
    assert parts(settle(house, contract, (reader, early), (reader, late))[late]) == (11, 1, 10, 0, 0, 0)


def test_a_new_instance_from_the_latest_brings_nothing_that_was_there(house: House) -> None:
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {"communes": ["18073", "18076"]}})
    contract, reader = house.contract(), house.client(OTHER, "subscriber")
    publish(house, contract, [thing(number) for number in range(10)])
    wish = house.wish(contract, view="local", **{"from": "latest"})
    id = reader.must("POST", "/v1/subscriptions", wish)["id"]
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{id}/approve")
    publish(house, contract, [thing(10), thing(11, commune="18079")])
    assert parts(settle(house, contract, (reader, id))[id]) == (12, 1, 11, 0, 0, 0)
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{id}/revoke")
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {}})


def test_a_suspended_grant_keeps_what_is_pending_and_a_requested_one_is_owed_nothing(house: House) -> None:
    contract = house.contract()
    asked, granted = house.subscription(contract, approved=False), house.subscription(contract)
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{granted}/suspend")
    publish(house, contract, [thing(1), thing(2)])
    found = accounts(house.admin, contract)
    assert (found[granted]["pending"], found[asked]["pending"], found[asked]["filtered"]) == (2, 0, 2)


def test_it_balances_at_every_moment_for_every_kind_of_reader(house: House) -> None:
    communes = ["18073", "18076", "18079"]
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {"communes": communes[:2]}})
    contract = house.contract()
    one, two = house.client(JUSTICE, "subscriber"), house.client(OTHER, "subscriber")
    names = house.subscription(contract)
    local = two.must("POST", "/v1/subscriptions", house.wish(contract, view="local"))["id"]
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{local}/approve")
    draw = random.Random(7)
    enough = threading.Event()

    def disturb() -> int:
        batches = 0
        while batches < 10 or not enough.is_set():
            things = [thing(draw.randrange(40), draw.choice("AB"), draw.choice(communes)) for _ in range(20)]
            publish(house, contract, [*things, {"number": "x"}])
            batches += 1
            if draw.random() < 0.3:
                house.runtime.door.caches.clear()
        return batches

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(disturb)
        try:
            for _ in range(15):
                accounts(house.admin, contract)
                pull(one, names, 7)
                pull(two, local, 7)
        finally:
            enough.set()
        batches = publishing.result()
    found = settle(house, contract, (one, names), (two, local))
    assert found[names]["published"] == found[local]["published"] == batches * 21
    assert found[names]["duplicate"] == found[local]["duplicate"]
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{local}/revoke")
    house.admin.must("PATCH", f"/v1/agencies/{OTHER}", {"attributes": {}})


def test_who_sees_which_account(house: House) -> None:
    contract = house.contract()
    mine = house.subscription(contract)
    other = house.client(OTHER, "subscriber").must("POST", "/v1/subscriptions", house.wish(contract))["id"]
    assert set(accounts(house.client(POLICE, "owner"), contract)) == {mine, other}
    assert set(accounts(house.client(OTHER, "auditor"), contract)) == {mine, other}
    assert set(accounts(house.client(JUSTICE, "subscriber"), contract)) == {mine}
    assert house.client(OTHER, "integrator").get("/v1/audit/account", params={"contract": contract}).status_code == 403
    assert house.admin.get("/v1/audit/account", params={"contract": "no/such"}).status_code == 404


def test_quarantine_tells_what_is_wrong_to_those_who_answer_for_it(house: House) -> None:
    contract = house.contract()
    rejected = publish(house, contract, [{"number": "000777", "name": "Secret Name"}, thing(1)])["rejected"]
    assert len(rejected) == 1
    owner, auditor = house.client(POLICE, "owner"), house.client(JUSTICE, "auditor")
    where = {"contract": contract}
    (entry,) = owner.must("GET", "/v1/quarantine", params=where)["items"]
    assert entry["class"] == rejected[0]["class"] == "missing"
    assert (entry["path"], entry["state"], entry["key"]) == ("commune", "open", "000777")
    assert "Secret Name" not in str(entry)
    assert owner.must("GET", f"/v1/quarantine/{entry['id']}") == entry
    vietnamese = owner.must("GET", f"/v1/quarantine/{entry['id']}", headers={"Accept-Language": "vi"})
    assert vietnamese["message"] != entry["message"]
    (seen,) = auditor.must("GET", "/v1/quarantine", params=where)["items"]
    assert (seen["id"], seen["key"]) == (entry["id"], None)
    for stranger in (house.client(OTHER, "owner", "publisher"), house.client(JUSTICE, "subscriber")):
        assert stranger.must("GET", "/v1/quarantine", params=where)["items"] == []
        assert stranger.get(f"/v1/quarantine/{entry['id']}").status_code == 404
        assert stranger.post(f"/v1/quarantine/{entry['id']}/discard", {"reason": "x"}).status_code == 404
    assert owner.must("GET", "/v1/quarantine", params=where | {"class": "stale"})["items"] == []
    assert owner.get("/v1/quarantine", params={"class": "ugly"}).status_code == 400
    assert auditor.post(f"/v1/quarantine/{entry['id']}/discard", {"reason": "x"}).status_code == 403


def test_a_discarded_record_keeps_its_reason_and_stays_discarded(house: House) -> None:
    contract = house.contract()
    publish(house, contract, [{"number": "1"}, {"number": "2"}])
    owner = house.client(POLICE, "owner")
    page = owner.must("GET", "/v1/quarantine", params={"contract": contract, "limit": 1})
    assert page["next"] == str(page["items"][0]["id"])
    rest = owner.must("GET", "/v1/quarantine", params={"contract": contract, "after": page["next"]})
    assert len(rest["items"]) == 1
    path = f"/v1/quarantine/{page['items'][0]['id']}/discard"
    assert owner.post(path, {}).status_code == 400
    done = owner.must("POST", path, {"reason": "bản ghi thử"})
    assert (done["state"], done["reason"], done["closed_by"]) == ("discarded", "bản ghi thử", owner.id)
    assert owner.post(path, {"reason": "x"}).status_code == 409
    open_ones = owner.must("GET", "/v1/quarantine", params={"contract": contract, "state": "open"})["items"]
    assert [one["id"] for one in open_ones] == [rest["items"][0]["id"]]


def test_the_journal_has_who_did_what_from_where_and_no_payload(house: House) -> None:
    contract = house.contract()
    publish(house, contract, [thing(5, name="Secret Name"), {"number": "000666", "name": "Secret Name"}])
    id = house.subscription(contract)
    entries = house.client(JUSTICE, "auditor").must("GET", "/v1/audit/journal", params={"object": f"subscription:{id}"})
    asked, approved = entries["items"]
    assert asked["action"] == "subscription.request"
    assert asked["agency"] == JUSTICE
    assert asked["client"] == house.client(JUSTICE, "subscriber").id
    assert asked["source"] == "127.0.0.1"
    assert approved["action"] == "subscription.approve"
    with house.runtime.engine.connect() as connection:
        everything = connection.exec_driver_sql("select string_agg(journal::text, ' ') from journal").scalar()
    assert "Secret Name" not in everything
    assert "000666" not in everything


def test_an_agency_reads_its_own_entries_only(house: House) -> None:
    contract = house.contract()
    house.subscription(contract)
    own = house.client(JUSTICE, "subscriber").must("GET", "/v1/audit/journal", params={"limit": 1000})["items"]
    assert own
    assert {one["agency"] for one in own} == {JUSTICE}
    theirs = house.client(JUSTICE, "subscriber").get("/v1/audit/journal", params={"agency": POLICE})
    assert theirs.status_code == 403
    chosen = house.admin.must("GET", "/v1/audit/journal", params={"agency": POLICE, "action": "contract.approve"})
    assert {(one["agency"], one["action"]) for one in chosen["items"]} == {(POLICE, "contract.approve")}


def test_the_journal_pages_oldest_first(house: House) -> None:
    first = house.admin.must("GET", "/v1/audit/journal", params={"limit": 3})
    second = house.admin.must("GET", "/v1/audit/journal", params={"limit": 3, "after": first["next"]})
    ids = [one["id"] for one in first["items"] + second["items"]]
    assert ids == sorted(set(ids))
    assert len(ids) == 6
