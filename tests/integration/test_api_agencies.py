"""Agencies and clients over HTTP."""

from __future__ import annotations

import pytest

from tests.house import JUSTICE, POLICE, House


@pytest.mark.parametrize("code", ["H27", "H27.01.5A", "000.00.01.H27"])
def test_codes_of_both_forms_are_taken(house: House, code: str) -> None:
    made = house.admin.must("POST", "/v1/agencies", {"code": code, "name_vi": "Xã", "name_en": "Commune"})
    assert made == {"code": code, "name_vi": "Xã", "name_en": "Commune", "attributes": {}}
    assert house.admin.must("GET", f"/v1/agencies/{code}") == made


@pytest.mark.parametrize(
    "code", ["", "h27", "H2", "H27.", "H27.a", "operator", "000.00.1.H27", "H27\n", "H27." + "A" * 32]
)
def test_other_codes_are_refused(house: House, code: str) -> None:
    answer = house.admin.post("/v1/agencies", {"code": code, "name_vi": "Xã", "name_en": "Commune"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == "code"


def test_a_code_is_taken_once(house: House) -> None:
    answer = house.admin.post("/v1/agencies", {"code": POLICE, "name_vi": "x", "name_en": "x"})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (409, "code")


def test_only_an_administrator_adds_agencies_and_clients(house: House) -> None:
    everything_else = house.client(POLICE, "owner", "publisher", "subscriber", "integrator", "auditor")
    new = {"code": "H27.88", "name_vi": "x", "name_en": "x"}
    assert everything_else.post("/v1/agencies", new).status_code == 403
    assert everything_else.ask("PATCH", f"/v1/agencies/{POLICE}", json={"name_vi": "x"}).status_code == 403
    client = {"name": "x", "roles": ["administrator"]}
    assert everything_else.post(f"/v1/agencies/{POLICE}/clients", client).status_code in (403, 404)


def test_attributes_are_changed_and_kept_once_each(house: House) -> None:
    changed = house.admin.must(
        "PATCH", f"/v1/agencies/{JUSTICE}", {"attributes": {"communes": ["18076", "18073", "18073"]}}
    )
    assert changed["attributes"] == {"communes": ["18073", "18076"]}
    assert changed["name_en"] == "Justice"
    assert house.admin.must("PATCH", f"/v1/agencies/{JUSTICE}", {"attributes": {}})["attributes"] == {}


def test_attributes_do_not_change_under_a_grant_that_rests_on_them(house: House) -> None:
    path = f"/v1/agencies/{JUSTICE}"
    house.admin.must("PATCH", path, {"attributes": {"communes": ["18073"]}})
    contract = house.contract()
    grant = house.subscription(contract, view="local")
    refused = house.admin.ask("PATCH", path, json={"attributes": {"communes": ["18076"]}})
    assert refused.status_code == 409
    assert grant in refused.json()["detail"]
    assert house.admin.must("PATCH", path, {"name_en": "Justice"})["attributes"] == {"communes": ["18073"]}
    house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{grant}/revoke")
    assert house.admin.must("PATCH", path, {"attributes": {}})["attributes"] == {}


def test_a_client_belongs_to_an_agency_that_is_there(house: House) -> None:
    answer = house.admin.post("/v1/agencies/H99/clients", {"name": "x", "roles": ["publisher"]})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (404, "agency")
    assert house.admin.get("/v1/agencies/H99").status_code == 404


@pytest.mark.parametrize("roles", [[], ["king"], ["publisher"] * 7])
def test_roles_are_those_there_are(house: House, roles: list[str]) -> None:
    answer = house.admin.post(f"/v1/agencies/{POLICE}/clients", {"name": "x", "roles": roles})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"].startswith("roles")


def test_the_list_of_clients_is_the_agencys_own_business(house: House) -> None:
    house.client(POLICE, "publisher")
    assert house.client(POLICE, "owner").must("GET", f"/v1/agencies/{POLICE}/clients")["items"]
    assert house.client(JUSTICE, "auditor").must("GET", f"/v1/agencies/{POLICE}/clients")["items"]
    assert house.client(JUSTICE, "owner").get(f"/v1/agencies/{POLICE}/clients").status_code == 404


def test_a_legal_basis_is_kept_and_may_not_end_before_it_begins(house: House) -> None:
    new = {"number": "13/2023/NĐ-CP", "article": "1", "title": "x", "issuer": "Chính phủ", "valid_from": "2023-07-01"}
    made = house.client(POLICE, "owner").must("POST", "/v1/legal-bases", new | {"valid_to": "2025-12-31"})
    assert house.client(JUSTICE, "subscriber").must("GET", f"/v1/legal-bases/{made['id']}") == made
    assert made in house.admin.must("GET", "/v1/legal-bases", params={"limit": 1000})["items"]
    wrong = house.admin.post("/v1/legal-bases", new | {"valid_to": "2023-06-30"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (400, "valid_to")
    assert house.client(JUSTICE, "subscriber").post("/v1/legal-bases", new).status_code == 403
    assert house.admin.get("/v1/legal-bases/lb_none").status_code == 404
