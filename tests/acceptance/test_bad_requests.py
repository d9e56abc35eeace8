"""Bad documents, addresses and tokens, and much at the same time: a clear error in the asked language, nothing lost."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from tests.running import RESIDENT, Running, contract_zip, resident
from tests.user import JSON, MB, NDJSON, User, code_of, rows

pytestmark = pytest.mark.usefixtures("still_well")


# Documents


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b'{"a":' * 300_000, b'{"a":' + b"9" * 500_000 + b"}", b"\xff\xfe", b"{", b'{"a":1} x'],
    ids=["deep list", "deep object", "digits", "not utf-8", "cut", "trailing"],
)
@pytest.mark.parametrize("path", ["/v1/agencies", "/v1/subscriptions", "/v1/quarantine/1/correct", "/v1/legal-bases"])
def test_a_document_that_is_no_json_is_refused(user: User, path: str, body: bytes) -> None:
    answer = user.ask("POST", path, "admin", content=body, headers={"Content-Type": JSON})
    assert code_of(answer)[:2] == (400, "body")


def test_a_huge_name_of_a_field_is_not_repeated(user: User) -> None:
    body = json.dumps({"k" * MB: 1}).encode()
    answer = user.ask("POST", "/v1/agencies", "admin", content=body, headers={"Content-Type": JSON})
    assert answer.status_code == 400
    assert len(answer.content) < 10_000


@pytest.mark.parametrize("name", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\x7f", "x" * 301, "", " "])
def test_names_cannot_carry_headers_or_control_characters(user: User, name: str) -> None:
    document = {"code": "H27.90", "name_vi": name, "name_en": "x"}
    answer = user.ask("POST", "/v1/agencies", "admin", json=document)
    assert code_of(answer)[:2] == (400, "name_vi")
    assert "x-evil" not in answer.headers


YAML = (RESIDENT / "contract.yaml").read_text()


def archive(**files: bytes | str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "yaml.empty"),
        (b"a: [1", "yaml.syntax"),
        (YAML.encode("utf-16"), "yaml.encoding"),
        (YAML.encode() + b"\0", "yaml.syntax"),
        (b"[" * 1_000_000, "yaml.too_deep"),
        (b"- " * 900_000, "yaml.too_deep"),
        (b"{a: " * 400_000, "yaml.too_deep"),
        (b"a: [" + b"1," * 500_000 + b"1]", "yaml.too_large"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "yaml.alias"),
        (b"a: !!python/object/apply:os.system ['true']\n", "yaml.tag"),
        (b"id: 1" + b":00" * 500_000, "contract.id"),
        (b"PK\3\4 no", "zip.invalid"),
        (archive(**{"contract.yaml": bytes(50 * MB)}), "zip.too_large"),
        (archive(**{"contract.yaml": YAML, "../../contract.yaml": YAML}), "zip.same_name"),
        (archive(**{"../../../etc/passwd": "x"}), "contract.no_document"),
        (archive(**{"contract.yaml": YAML})[:-200], "zip.invalid"),
    ],
    ids=lambda one: one if isinstance(one, str) else f"{one[:8]!r}",
)
def test_a_contract_that_does_not_lint_is_refused_with_a_reason(user: User, document: bytes, code: str) -> None:
    began = time.monotonic()
    answer = user.submit(document)
    assert answer.status_code == 422
    assert code in {one["code"] for one in answer.json()["errors"]}
    assert time.monotonic() - began < 10


def test_a_view_that_names_a_missing_field_is_refused_with_its_path(user: User) -> None:
    edits = {"fields: [identity_number, full_name,": "fields: [identity_number, ful_name,"}
    answer = user.submit(contract_zip(f"{user.bus.contract}b", edits=edits))
    assert answer.status_code == 422
    (one,) = [one for one in answer.json()["errors"] if "ful_name" in one["message"]]
    assert one["path"].startswith("customProperties")
    assert ".fields" in one["path"]


# Rights


def test_a_view_that_is_not_there_is_answered_with_those_that_are(user: User) -> None:
    basis = user.bus["admin"].create_legal_basis("278/2025/NĐ-CP", "9", "Chia sẻ", "Chính phủ", "2025-01-01")
    asked = {"contract": user.bus.contract, "purpose": "x", "legal_basis": basis, "expires_at": "2027-01-01T00:00:00Z"}
    answer = user.ask("POST", "/v1/subscriptions", "reader", json=asked | {"view": "identiti"})
    assert code_of(answer) == (404, "view", "not_found")
    assert "identity" in answer.json()["detail"]


def test_someone_elses_subscription_is_not_there_whatever_is_tried(user: User) -> None:
    mine = user.bus.subscribe("identity")
    cursor = user.bus.pull_all(mine, at_least=1, ack=False)[-1].cursor
    for method, path, document in [
        ("GET", "", None),
        ("GET", "/records", None),
        ("GET", f"/records?after={cursor}", None),
        ("POST", "/ack", {"cursor": cursor}),
        ("POST", "/revoke", {}),
        ("GET", "/history", None),
    ]:
        absent = user.ask(method, f"/v1/subscriptions/sub_000000000000{path}", "ward", json=document)
        answer = user.ask(method, f"/v1/subscriptions/{mine}{path}", "ward", json=document)
        assert answer.status_code == absent.status_code == 404
        assert answer.text.replace(mine, "*") == absent.text.replace("sub_000000000000", "*")


def test_a_token_that_is_not_ours_or_over_is_401(user: User, bus: Running) -> None:
    good = bus["publisher"]._bearer()
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    admin = base64.urlsafe_b64encode(json.dumps(claims | {"roles": ["administrator"]}).encode()).decode().rstrip("=")
    other = jwt.encode({"alg": "Ed25519"}, claims, OKPKey.generate_key("Ed25519"), algorithms=["Ed25519"])
    for token in (f"{none}.{body}.", f"{head}.{admin}.{signature}", other, "x", "a.b.c", good[:-4], "x" * 50_000):
        answer = user.ask("POST", f"/v1/publish/{bus.contract}", None, headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert token not in answer.text
    bus.clock.ahead = timedelta(minutes=6)
    try:
        over = user.ask("GET", "/v1/me", None, headers={"Authorization": f"Bearer {good}"})
    finally:
        bus.clock.ahead = timedelta()
    assert over.status_code == 401
    assert "expired" in over.json()["detail"]


# Addresses, headers, pages


def test_wrong_paths_methods_and_letters_are_problems(user: User) -> None:
    for method, path, status in [
        ("GET", "/v1/nothing", 404),
        ("DELETE", "/v1/agencies", 405),
        ("GET", "/v1/publish/a/b", 405),
        ("POST", "/v1/publish/none/such", 404),
        ("POST", "/v1/publish/%00/x", 400),
        ("POST", "/v1/publish/%ff/x", 404),
        ("GET", "/v1/subscriptions/%00/records", 400),
        ("GET", "/v1/subscriptions/%ff/records", 404),
        ("GET", "/v1/agencies?after=%00", 400),
        ("GET", "/v1/contracts?q=%5C%25_", 200),
    ]:
        answer = user.ask(method, path, "admin" if "publish" not in path else "publisher")
        assert answer.status_code == status, path
        if status != 200:
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("media", ["", "text/html", "application/json, application/avro", "x" * 5_000, "*/*"])
def test_a_media_type_that_is_not_taken_is_415_with_those_that_are(user: User, media: str) -> None:
    answer = user.publish(rows(resident(1)), media)
    assert code_of(answer) == (415, "Content-Type", "unsupported_media_type")
    assert NDJSON in answer.json()["detail"]


def test_pages_waits_and_cursors_beyond_all_measure(user: User) -> None:
    huge = 10**30
    subscription = user.bus.subscribe("identity")
    records = f"/v1/subscriptions/{subscription}/records"
    user.bus.pull_all(subscription, at_least=1, ack=False)
    assert user.ask("GET", f"{records}?max={huge}&wait_ms={huge}", "reader").status_code == 200, "bounded, not refused"
    refused: dict[str, str] = {
        f"{records}?max=0": "max",
        f"{records}?max=1e3": "max",
        f"{records}?wait_ms=-1": "wait_ms",
        f"{records}?after=": "cursor",
        f"{records}?after=999999999999999999.999999999": "cursor",
        f"{records}?after={'9' * 41}": "after",
        f"/v1/subscriptions/{subscription}/history?after={huge}": "after",
        f"/v1/agencies?limit={huge}": "limit",
        f"/v1/audit/journal?after={huge}": "after",
        f"/v1/quarantine/{huge}": "id",
    }
    for path, name in refused.items():
        who = "reader" if "subscriptions" in path else "admin"
        assert code_of(user.ask("GET", path, who))[:2] == (400, name), path
    for accept, status in {
        "text/html": 415,
        "x" * 5_000: 415,
        "*/*;q=0.1": 200,
        ";;,,": 200,
        "image/*, */*": 200,
    }.items():
        assert user.ask("GET", records, "reader", headers={"Accept": accept}).status_code == status, accept


# At the same time


def test_an_idempotency_key_counts_once_however_many_come_at_once(user: User) -> None:
    subscription = user.bus.subscribe("identity", start="latest")

    def send(number: int, key: str, of: Callable[[int], int]) -> httpx.Response:
        headers = {"Idempotency-Key": key, "Content-Type": JSON, "Authorization": f"Bearer {token}"}
        body = rows(resident(of(number)), resident(of(number) + 1, phone="x"))
        return user.http.post(f"/v1/publish/{user.bus.contract}", content=body, headers=headers)

    token = user.bus["publisher"]._bearer()
    before = user.stored()
    with ThreadPoolExecutor(8) as pool:
        same = list(pool.map(lambda n: send(n, "same", lambda _: 300), range(16)))
        other = list(pool.map(lambda n: send(n, "other", lambda n: 400 + 2 * n), range(16)))
    assert len({one.content for one in same}) == 1
    assert same[0].status_code == 207
    assert Counter(one.status_code for one in other) == {207: 1, 409: 15}
    refused = next(one for one in other if one.status_code == 409)
    assert code_of(refused) == (409, "Idempotency-Key", "idempotency_key_reused")
    winner = next(number for number, one in enumerate(other) if one.status_code == 207)
    wanted = {f"042190{number:06d}" for number in (300, 400 + 2 * winner)}
    assert {one.key for one in user.bus.pull_all(subscription, at_least=2)} == wanted, "what was refused isn't there"
    assert user.stored() == before + 4


def test_publishers_of_one_record_at_once_never_lose_the_last_word(user: User) -> None:
    """The reader's last state is that of the last acknowledged publication, though repeats are left out at the door."""
    subscription = user.bus.subscribe("identity", start="latest")
    publisher = user.bus["publisher"]
    for number in range(25):
        names = [f"Nguyễn {number % 2}", f"Trần {number % 3}"]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: publisher.publish(user.bus.contract, [resident(500, full_name=name)]), names))
        publisher.publish(user.bus.contract, [resident(500, full_name=names[number % 2])])
        last = names[number % 2]
    publisher.publish(user.bus.contract, [resident(501)])
    events = user.bus.pull_all(subscription, at_least=2)
    while "042190000501" not in {one.key for one in events}:
        events += user.bus.pull_all(subscription, at_least=1)
    events += user.bus.pull_all(user.bus.subscribe("identity"), at_least=1)
    states = [one.value["full_name"] for one in events if one.key == "042190000500"]
    assert states[-1] == last
    # After everything was read: who repeats the last state says nothing new, who says another is heard.
    assert publisher.publish(user.bus.contract, [resident(500, full_name=last)]).duplicates == 1
    assert publisher.publish(user.bus.contract, [resident(500, full_name="Lê")]).accepted == 1


def test_of_approvals_and_revocations_at_once_the_last_state_is_one_and_is_obeyed(user: User) -> None:
    basis = user.bus["admin"].create_legal_basis("278/2025/NĐ-CP", "9", "Chia sẻ", "Chính phủ", "2025-01-01")
    expires = (user.bus.clock() + timedelta(days=1)).isoformat()
    made = user.bus["reader"].request_subscription(
        user.bus.contract, "identity", purpose="x", legal_basis=basis, expires_at=expires
    )
    token = user.bus["owner"]._bearer()

    def act(what: str) -> int:
        path, headers = f"/v1/subscriptions/{made['id']}/{what}", {"Authorization": f"Bearer {token}"}
        return user.http.post(path, headers=headers, json={"reason": "x"} if what == "revoke" else None).status_code

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(act, ["approve", "revoke"] * 3))
    assert set(answers) <= {200, 409}
    assert answers[1::2].count(200) == 1, "revoked once"
    assert answers[0::2].count(200) <= 1, "approved once at most"
    assert user.bus["reader"].subscription(made["id"])["state"] == "revoked"
    assert user.ask("GET", f"/v1/subscriptions/{made['id']}/records", "reader").status_code == 403
