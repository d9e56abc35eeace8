"""Subscriptions over HTTP: every transition, everybody who may not, and what is said then."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.house import JUSTICE, OTHER, POLICE, House


def test_a_request_becomes_a_grant_when_the_owner_approves(house: House) -> None:
    contract = house.contract()
    made = house.client(JUSTICE, "subscriber").must("POST", "/v1/subscriptions", house.wish(contract))
    assert made["id"].startswith("sub_")
    assert made["state"] == "requested"
    assert made["from"] == "earliest"
    approved = house.client(POLICE, "owner").must("POST", f"/v1/subscriptions/{made['id']}/approve")
    assert approved["state"] == "active"
    assert approved["decided_by"] == house.client(POLICE, "owner").id
