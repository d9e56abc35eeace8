"""POST /oauth/token, and what a token is worth afterwards."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from bus.control.clients import first_administrator
from bus.control.tokens import ASSERTION_TYPE, Tokens
from tests.house import JUSTICE, POLICE, House

KEYS: dict[str, Key] = {}


@pytest.fixture(scope="module", autouse=True)
def keys() -> Iterator[None]:
    KEYS["Ed25519"] = OKPKey.generate_key("Ed25519")
    KEYS["EdDSA"] = KEYS["Ed25519"]
    KEYS["ES256"] = ECKey.generate_key("P-256")
    KEYS["RS256"] = RSAKey.generate_key(2048)
    yield
    KEYS.clear()


def jwks(*keys: Key) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def keyed_client(house: House, *keys: Key) -> str:
    made = house.admin.must(
        "POST", f"/v1/agencies/{POLICE}/clients", {"name": "by key", "roles": ["publisher"], "jwks": jwks(*keys)}
    )
    assert made["client_secret"] is None
    return str(made["client_id"])


def assertion(house: House, client: str, algorithm: str = "Ed25519", key: Key | None = None, **changes: Any) -> str:
    now = int(house.clock().timestamp())
    claims = {
        "iss": client,
        "sub": client,
        "aud": "http://127.0.0.1:8080/oauth/token",
        "iat": now,
        "exp": now + 60,
        "jti": secrets.token_hex(8),
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": algorithm}, claims, key or KEYS[algorithm], algorithms=[algorithm])


def token_by(house: House, signed: str, **more: str) -> Any:
    return house.http.post(
        "/oauth/token",
        data={
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": signed,
            **more,
        },
    )


def test_a_secret_is_taken_by_basic_and_by_form(house: House) -> None:
    client_id, secret = house.client(POLICE, "publisher").credentials
    assert secret is not None
    grant = {"grant_type": "client_credentials"}
    by_basic = house.http.post("/oauth/token", data=grant, auth=(client_id, secret))
    by_form = house.http.post("/oauth/token", data=grant | {"client_id": client_id, "client_secret": secret})
    for answer in (by_basic, by_form):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["token_type"] == "Bearer"
        assert answer.json()["expires_in"] == 300
        me = house.http.get("/v1/me", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
        assert me.json()["client_id"] == client_id
        assert me.json()["agency"]["code"] == POLICE
        assert me.json()["roles"] == ["publisher"]


@pytest.mark.parametrize(
    ("form", "basic", "status", "error"),
    [
        ({"grant_type": "client_credentials"}, None, 401, "invalid_client"),
        ({"grant_type": "client_credentials"}, ("cl_nobody", "x"), 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "nul\0", "client_secret": "x"}, None, 401, "invalid_client"),
        ({"grant_type": "password"}, ("cl_nobody", "x"), 400, "unsupported_grant_type"),
        ({}, ("cl_nobody", "x"), 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_secret": "x"}, ("cl_nobody", "x"), 400, "invalid_request"),
        ({"grant_type": "client_credentials", "client_assertion": "a.b.c"}, None, 400, "invalid_request"),
    ],
)
def test_refusals_have_oauths_own_words(
    house: House, form: dict[str, str], basic: tuple[str, str] | None, status: int, error: str
) -> None:
    answer = house.http.post("/oauth/token", data=form, **({"auth": basic} if basic else {}))
    # A form without fields is sent without a type, which is wrong as well.
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_a_wrong_secret_and_an_unknown_client_get_the_same_answer(house: House) -> None:
    client_id = house.client(POLICE, "publisher").id
    grant = {"grant_type": "client_credentials"}
    wrong = house.http.post("/oauth/token", data=grant, auth=(client_id, "wrong"))
    unknown = house.http.post("/oauth/token", data=grant, auth=("cl_0", "wrong"))
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())


@pytest.mark.parametrize("body", [b"grant_type=client_credentials&grant_type=client_credentials", b"\xff=\xff", b"{}"])
def test_a_form_that_cannot_be_read_is_refused(house: House, body: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = house.http.post("/oauth/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    described = house.http.post("/oauth/token", content=b"x=%zz" * 30, headers=headers)
    assert described.status_code == 400


def test_a_basic_header_that_cannot_be_read_is_refused(house: House) -> None:
    for value in ("Basic !!!", "Basic " + base64.b64encode(b"no-colon").decode(), "Basic /w=="):
        answer = house.http.post(
            "/oauth/token", data={"grant_type": "client_credentials"}, headers={"Authorization": value}
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize("algorithm", ["Ed25519", "EdDSA", "ES256", "RS256"])
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_a_signed_assertion_is_taken_once(house: House, algorithm: str) -> None:
    client = keyed_client(house, KEYS[algorithm])
    signed = assertion(house, client, algorithm)
    assert token_by(house, signed, client_id=client).status_code == 200
    assert token_by(house, signed).json()["error"] == "invalid_client"
    assert token_by(house, assertion(house, client, algorithm)).status_code == 200


def test_of_many_uses_of_one_assertion_at_once_one_succeeds(house: House) -> None:
    signed = assertion(house, keyed_client(house, KEYS["Ed25519"]))
    with ThreadPoolExecutor(6) as pool:
        statuses = [done.result().status_code for done in [pool.submit(token_by, house, signed) for _ in range(6)]]
    assert sorted(statuses) == [200] + [401] * 5


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "http://evil.example/oauth/token"},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"jti": "x" * 201},
        {"jti": "a\0"},
        {"jti": 7},
        {"iss": "cl_other"},
        {"sub": "cl_other"},
    ],
    ids=str,
)
def test_an_assertion_that_does_not_say_all_it_must_is_refused(house: House, changes: dict[str, Any]) -> None:
    client = keyed_client(house, KEYS["Ed25519"])
    answer = token_by(house, assertion(house, client, **changes))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(("iat", "exp"), [(0, -60), (0, 3600), (600, 660)], ids=["expired", "too long", "not yet"])
def test_an_assertion_out_of_its_time_is_refused(house: House, iat: int, exp: int) -> None:
    client = keyed_client(house, KEYS["Ed25519"])
    now = int(house.clock().timestamp())
    assert token_by(house, assertion(house, client, iat=now + iat, exp=now + exp)).status_code == 401


def test_an_assertion_by_another_key_or_for_another_client_is_refused(house: House) -> None:
    client = keyed_client(house, KEYS["Ed25519"])
    assert token_by(house, assertion(house, client, key=OKPKey.generate_key("Ed25519"))).status_code == 401
    assert token_by(house, assertion(house, client), client_id="cl_other").status_code == 401
    assert token_by(house, assertion(house, house.client(POLICE, "publisher").id)).status_code == 401
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    assert token_by(house, f"{none}.{assertion(house, client).split('.')[1]}.").status_code == 401
    assert token_by(house, "x").status_code == 401
    assert token_by(house, "x." + "a" * 10_000 + ".x").status_code == 401


def test_a_client_may_rotate_between_two_keys(house: House) -> None:
    old, new = OKPKey.generate_key("Ed25519", {"kid": "old"}), OKPKey.generate_key("Ed25519", {"kid": "new"})
    client = keyed_client(house, old, new)
    for key in (old, new):
        now = int(house.clock().timestamp())
        claims = {"iss": client, "sub": client, "aud": "http://127.0.0.1:8080", "exp": now + 60, "jti": key.kid}
        signed = jwt.encode({"alg": "Ed25519", "kid": key.kid}, claims, key, algorithms=["Ed25519"])
        assert token_by(house, signed).status_code == 200


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"keys": []},
        {"keys": ["x"]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [{"kty": "RSA", "n": 5, "e": "AQAB"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "kid": "\0"}]},
        {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "use": "enc"}]},
    ],
    ids=str,
)
def test_keys_that_are_none_are_refused_when_they_are_registered(house: House, keys: dict[str, Any]) -> None:
    new = {"name": "x", "roles": ["publisher"], "jwks": keys}
    answer = house.admin.post(f"/v1/agencies/{POLICE}/clients", new)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"].startswith("jwks.keys")


def test_a_private_key_is_refused_and_not_repeated(house: House) -> None:
    private = OKPKey.generate_key("Ed25519").as_dict(private=True)
    new = {"name": "x", "roles": ["publisher"], "jwks": {"keys": [private]}}
    answer = house.admin.post(f"/v1/agencies/{POLICE}/clients", new)
    assert answer.status_code == 400
    assert private["d"] not in answer.text


def test_a_token_expires_by_the_clock(house: House) -> None:
    client = house.new_client(POLICE, "publisher")
    headers = {"Authorization": f"Bearer {client.token()}"}
    assert house.http.get("/v1/me", headers=headers).status_code == 200
    house.clock.ahead += timedelta(seconds=301)
    answer = house.http.get("/v1/me", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "expired" in answer.json()["detail"]


def test_a_disabled_client_gets_no_token_and_its_token_is_refused(house: House) -> None:
    client = house.new_client(POLICE, "publisher")
    assert client.get("/v1/me").status_code == 200
    path = f"/v1/agencies/{POLICE}/clients/{client.id}/disable"
    assert house.client(JUSTICE, "owner").post(path).status_code == 404
    assert house.client(POLICE, "owner").must("POST", path)["disabled_at"]
    assert house.client(POLICE, "owner").post(path).status_code == 409
    house.clock.ahead += timedelta(seconds=2)
    assert client.get("/v1/me").status_code == 401
    grant = {"grant_type": "client_credentials"}
    assert house.http.post("/oauth/token", data=grant, auth=tuple(client.credentials)).status_code == 401


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer x", "Bearer a.b.c", "Basic eDp5", "Bearer " + "x" * 5000])
def test_whatever_is_no_token_of_ours_is_refused(house: House, header: str) -> None:
    answer = house.http.get("/v1/me", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_token_signed_by_anyone_else_is_refused(house: House) -> None:
    actual = jwt.decode(house.admin.token(), house.runtime.tokens._signing_key(), algorithms=["Ed25519"])
    forged = jwt.encode({"alg": "Ed25519"}, actual.claims, OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"])
    assert house.http.get("/v1/me", headers={"Authorization": f"Bearer {forged}"}).status_code == 401


def test_processes_share_the_signing_key(house: House) -> None:
    other = Tokens(house.runtime.engine, house.clock, house.runtime.settings)
    assert other.verify(house.admin.token()).client_id == house.admin.id


def test_the_first_administrator_is_made_once(house: House) -> None:
    assert first_administrator(house.runtime.engine, house.clock) is None


def test_secrets_are_kept_as_digests_only(house: House) -> None:
    client = house.new_client(POLICE, "publisher")
    listed = house.admin.must("GET", f"/v1/agencies/{POLICE}/clients", params={"limit": 1000})
    shown = next(one for one in listed["items"] if one["id"] == client.id)
    assert shown["has_secret"]
    with house.runtime.engine.connect() as connection:
        stored = connection.exec_driver_sql(
            "select clients::text || coalesce((select string_agg(detail::text, '') "
            "from journal), '') from clients where id = %s",
            (client.id,),
        ).scalar()
    assert client.credentials.client_secret not in stored
