"""Contract versions over HTTP: submission, decisions, the catalogue."""

from __future__ import annotations

import io
import secrets
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bus.log import topics as names
from tests.house import DEFAULT_VIEWS, JUSTICE, OTHER, POLICE, House, contract_yaml


def fresh() -> str:
    return f"test/c{secrets.token_hex(5)}"


def submit(house: House, body: bytes) -> Any:
    return house.client(POLICE, "integrator").ask("POST", "/v1/contracts", content=body)


def paths(answer: Any) -> list[str]:
    return [one["path"] for one in answer.json()["errors"]]


def test_a_submitted_version_does_nothing_until_it_is_approved(house: House) -> None:
    id = fresh()
    answer = submit(house, contract_yaml(id))
    assert answer.status_code == 201
    assert {"id": id, "version": "1.0.0", "state": "submitted"}.items() <= answer.json().items()
    assert house.runtime.topics.partitions(names.data_topic(id, 1)) == 0
    wish = house.client(JUSTICE, "subscriber").post("/v1/subscriptions", house.wish(id))
    assert (wish.status_code, paths(wish)) == (404, ["contract"])
    approved = house.client(POLICE, "owner").must("POST", f"/v1/contracts/{id}/versions/1.0.0/approve")
    assert approved["state"] == "active"
    assert house.runtime.topics.partitions(names.data_topic(id, 1)) == 2
    assert house.runtime.topics.partitions(names.dlq_topic(id, 1)) == 1
    assert house.runtime.topics.partitions(names.view_topic(id, 1, "names")) == 2
    assert house.runtime.topics.partitions(names.view_topic(id, 1, "local")) == 0  # made for each reader's communes
    subjects = house.runtime.registry.subjects()
    for topic in (names.data_topic(id, 1), *(names.view_topic(id, 1, view) for view in ("full", "names", "local"))):
        assert names.subject(topic) in subjects
    assert [t.view for t in house.runtime.catalogue.targets(id, 1)] == ["full", "names"]


def test_approving_twice_at_once_happens_once(house: House) -> None:
    id = house.contract(approved=False)
    owner = house.client(POLICE, "owner")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(owner.post, f"/v1/contracts/{id}/versions/1.0.0/approve") for _ in range(4)]
        assert sorted(one.result().status_code for one in asked) == [200, 409, 409, 409]


def test_a_zip_is_taken_like_the_yaml_alone(house: House) -> None:
    id = fresh()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("thing/contract.yaml", contract_yaml(id))
    assert submit(house, packed.getvalue()).status_code == 201
    shown = house.client(POLICE, "owner").must("GET", f"/v1/contracts/{id}")
    assert shown["document"].encode() == contract_yaml(id)


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"\xff\xfe", b"[]", b"a: [", b"PK\x03\x04 no zip", b"id: x\n", b"a: &a [*a]", b"[" * 100_000],
    ids=str,
)
def test_what_is_no_contract_is_refused_with_its_problems(house: House, body: bytes) -> None:
    answer = submit(house, body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "contract_rejected"
    assert answer.json()["errors"]


def test_all_problems_are_told_at_once_with_their_paths(house: House) -> None:
    views = DEFAULT_VIEWS + "\n      - {name: bad, title: {vi: x, en: x}, fields: [nothing]}"
    answer = submit(house, contract_yaml(fresh(), version="one", views=views))
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) >= 2
    assert any("views" in path or "customProperties" in path for path in paths(answer))
    assert "version" in paths(answer)


@pytest.mark.parametrize("changes", [{"title": r'"a\0b"'}, {"owner": r'"H27\0"'}], ids=str)
def test_nul_in_a_contract_is_refused(house: House, changes: dict[str, Any]) -> None:
    assert submit(house, contract_yaml(fresh(), **changes)).status_code == 422


def test_the_owner_must_be_an_agency(house: House) -> None:
    answer = submit(house, contract_yaml(fresh(), owner="H99.99"))
    assert (answer.status_code, paths(answer)) == (422, ["owner"])


def test_a_contract_cannot_be_taken_over(house: House) -> None:
    id = house.contract()
    answer = submit(house, contract_yaml(id, version="1.1.0", owner=OTHER))
    assert (answer.status_code, paths(answer)) == (422, ["owner"])


def test_two_first_versions_of_different_owners_do_not_both_come_into_force(house: House) -> None:
    id = fresh()
    assert submit(house, contract_yaml(id, owner=POLICE)).status_code == 201
    assert submit(house, contract_yaml(id, version="1.0.1", owner=OTHER)).status_code == 201
    house.client(POLICE, "owner").must("POST", f"/v1/contracts/{id}/versions/1.0.0/approve")
    late = house.client(OTHER, "owner").post(f"/v1/contracts/{id}/versions/1.0.1/approve")
    assert (late.status_code, paths(late)) == (422, ["owner"])


def test_a_version_is_submitted_once(house: House) -> None:
    id = house.contract(approved=False)
    again = submit(house, contract_yaml(id))
    assert (again.status_code, paths(again)) == (409, ["version"])


def test_a_compatible_version_follows_and_the_one_before_becomes_deprecated(house: House) -> None:
    id = house.contract()
    extra = "- {name: note, logicalType: string, classification: ordinary}"
    assert submit(house, contract_yaml(id, version="1.1.0", extra_field=extra)).status_code == 201
    owner = house.client(POLICE, "owner")
    owner.must("POST", f"/v1/contracts/{id}/versions/1.1.0/approve")
    states = {one["version"]: one["state"] for one in owner.must("GET", f"/v1/contracts/{id}/versions")["items"]}
    assert states == {"1.1.0": "active", "1.0.0": "deprecated"}
    assert house.runtime.catalogue.active(id).contract.version == "1.1.0"
    late = submit(house, contract_yaml(id, version="1.0.5"))
    assert (late.status_code, paths(late)) == (422, ["version"])


def test_a_schema_that_breaks_compatibility_is_refused_at_submission_with_the_path(house: House) -> None:
    id = house.contract()
    extra = "- {name: note, logicalType: string, required: true, classification: ordinary}"
    answer = submit(house, contract_yaml(id, version="1.1.0", extra_field=extra))
    assert answer.status_code == 422
    assert paths(answer) == ["v1.avsc:/fields/3"], answer.text
    assert "note" in answer.json()["errors"][0]["message"]
    assert submit(house, contract_yaml(id, version="2.0.0", extra_field=extra)).status_code == 201


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"key": "name"}, "key"),
        ({"partitions": 3}, "topic.partitions"),
        ({"views": "- {name: full, title: {vi: x, en: x}}"}, "views.names"),
        ({"views": DEFAULT_VIEWS.replace(", filter: record.commune in reader.communes", "")}, "views.local.filter"),
        ({"views": DEFAULT_VIEWS.replace("[number, name]", "[name]")}, "views.names.fields"),
    ],
    ids=["key", "partitions", "view gone", "other readers", "key no longer granted"],
)
def test_what_subscribers_rely_on_does_not_change_within_a_major(
    house: House, changes: dict[str, Any], path: str
) -> None:
    id = house.contract()
    answer = submit(house, contract_yaml(id, version="1.1.0", **changes))
    assert answer.status_code == 422
    assert path in paths(answer), answer.text


def test_who_may_decide(house: House) -> None:
    id = house.contract(approved=False)
    path = f"/v1/contracts/{id}/versions/1.0.0/approve"
    assert house.client(POLICE, "publisher").post(path).status_code == 403
    assert house.client(OTHER, "owner").post(path).status_code == 404
    assert house.client(OTHER, "auditor").post(path).status_code == 403
    both = house.new_client(POLICE, "integrator", "owner")
    own = fresh()
    both.must("POST", "/v1/contracts", content=contract_yaml(own))
    assert both.post(f"/v1/contracts/{own}/versions/1.0.0/approve").status_code == 403
    assert house.admin.must("POST", f"/v1/contracts/{own}/versions/1.0.0/approve")["state"] == "active"
    assert (
        house.client(OTHER, "publisher").ask("POST", "/v1/contracts", content=contract_yaml(fresh())).status_code == 403
    )
    assert house.client(OTHER, "owner").ask("POST", "/v1/contracts", content=contract_yaml(fresh())).status_code == 403


def test_a_refused_version_says_why_and_stays_refused(house: House) -> None:
    id = house.contract(approved=False)
    owner, path = house.client(POLICE, "owner"), f"/v1/contracts/{id}/versions/1.0.0"
    assert owner.post(f"{path}/refuse").status_code == 400
    refused = owner.must("POST", f"{path}/refuse", {"reason": "thiếu căn cứ"})
    assert (refused["state"], refused["reason"]) == ("refused", "thiếu căn cứ")
    conflict = owner.post(f"{path}/approve")
    assert conflict.status_code == 409
    assert "found refused, expected submitted" in conflict.json()["detail"]


def test_what_is_not_approved_is_seen_by_those_concerned_only(house: House) -> None:
    id = house.contract(approved=False)
    for caller in (house.client(POLICE, "owner"), house.client(POLICE, "integrator"), house.admin):
        assert caller.get(f"/v1/contracts/{id}").status_code == 200
    assert house.client(OTHER, "owner").get(f"/v1/contracts/{id}").status_code == 404
    assert house.client(OTHER, "owner").get(f"/v1/contracts/{id}/versions").status_code == 404


def test_search_minds_neither_case_nor_diacritics(house: House) -> None:
    id = house.contract(title="Đất đai và hộ tịch")
    for q in ("dat dai", "ĐẤT", "hộ", "tịch đất", id):
        found = house.client(OTHER, "subscriber").must("GET", "/v1/contracts", params={"q": q, "limit": 1000})["items"]
        assert id in [one["id"] for one in found], q
    found = house.admin.must("GET", "/v1/contracts", params={"q": "đất rừng", "limit": 1000})["items"]
    assert id not in [one["id"] for one in found]


def test_the_list_pages_by_id(house: House) -> None:
    for _ in range(3):
        house.contract(approved=False)
    seen, after = [], ""
    while after is not None:
        page = house.admin.must("GET", "/v1/contracts", params={"limit": 2, "after": after})
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
    assert len(seen) >= 3
    assert seen == sorted(set(seen))


def test_a_contract_shows_its_fields_and_views(house: House) -> None:
    id = house.contract()
    reader = house.client(JUSTICE, "subscriber")
    shown = reader.must("GET", f"/v1/contracts/{id}")
    assert shown["key"] == "number"
    assert {one["name"]: one["classification"] for one in shown["fields"]} == {
        "number": "personal",
        "name": "personal",
        "commune": "ordinary",
    }
    views = {one["name"]: one for one in reader.must("GET", f"/v1/contracts/{id}/views")["views"]}
    assert views["full"]["fields"] is None
    assert [one["name"] for one in views["names"]["fields"]] == ["number", "name"]
    assert views["local"]["reader_attribute"] == "communes"
    assert [one["name"] for one in views["names"]["avro"]["fields"]] == ["number", "name"]
    assert reader.get(f"/v1/contracts/{id}", params={"version": "9.9.9"}).status_code == 404
    assert reader.get("/v1/contracts/no/such").status_code == 404


def test_deprecated_takes_no_new_subscriptions_and_retired_waits_for_the_old_ones(house: House) -> None:
    id = house.contract()
    grant = house.subscription(id)
    owner, path = house.client(POLICE, "owner"), f"/v1/contracts/{id}/versions/1.0.0"
    assert owner.must("POST", f"{path}/deprecate", {"reason": "v2 comes"})["state"] == "deprecated"
    assert house.client(JUSTICE, "subscriber").post("/v1/subscriptions", house.wish(id)).status_code == 409
    used = owner.post(f"{path}/retire")
    assert (used.status_code, paths(used)) == (409, ["subscriptions"])
    owner.must("POST", f"/v1/subscriptions/{grant}/revoke")
    assert owner.must("POST", f"{path}/retire")["state"] == "retired"
    assert house.client(JUSTICE, "subscriber").post("/v1/subscriptions", house.wish(id)).status_code == 404
    assert owner.post(f"{path}/deprecate").status_code == 409
