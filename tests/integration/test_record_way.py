"""A record's way from one agency to another, over HTTP."""

from __future__ import annotations

import io
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import fastavro
import orjson
import pyarrow as pa
import pytest

from bus.client import ApiError
from bus.model import Op
from tests.running import Running, contract_zip, resident


def key(number: int) -> str:
    return f"042190{number:06d}"


def balanced(bus: Running) -> dict[str, dict[str, Any]]:
    """The account per subscription, each of which must add up."""
    lines = bus["admin"].call("GET", "/v1/audit/account", params={"contract": bus.contract})["items"]
    for line in lines:
        parts = ("delivered", "filtered", "duplicate", "quarantined", "pending")
        assert line["published"] == sum(line[part] for part in parts), line
    return {line["subscription"]: line for line in lines}


def test_a_published_record_reaches_the_reader_with_the_granted_fields_alone(bus: Running) -> None:
    subscription = bus.subscribe("identity")
    receipt = bus["publisher"].publish(bus.contract, [resident(1), resident(2)])
    assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (2, 0, ())
    found = bus.pull_all(subscription, at_least=2)
    assert {r.key for r in found} == {key(1), key(2)}
    assert set(found[0].value) == {"identity_number", "full_name", "birth_date", "birth_date_precision", "sex"}
    assert found[0].value["birth_date"] == "1990-05", "never a made-up day"


def test_the_same_record_again_is_no_second_event(bus: Running) -> None:
    bus["publisher"].publish(bus.contract, [resident(10)])
    subscription = bus.subscribe("identity")
    again = bus["publisher"].publish(bus.contract, [resident(10)])
    assert (again.accepted, again.duplicates) == (0, 1)
    bus.runtime.door.caches.clear()  # as after a restart: the door has forgotten, the view worker hasn't
    assert bus["publisher"].publish(bus.contract, [resident(10)]).accepted == 1
    bus["publisher"].publish(bus.contract, [resident(11)])
    bus.pull_all(subscription, at_least=1)
    time.sleep(0.3)
    events = [r for r in bus.pull_all(bus.subscribe("identity"), at_least=2) if r.key == key(10)]
    assert len(events) == 1
    balanced(bus)


def test_an_update_and_a_deletion_follow_in_order(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(20)])
    bus["publisher"].publish(bus.contract, [resident(20, full_name="Nguyễn Thị Hoa")])
    bus["publisher"].publish(bus.contract, [key(20)], op=Op.DELETE)
    found = bus.pull_all(subscription, at_least=3)
    assert [(r.op, r.value and r.value["full_name"]) for r in found] == [
        ("upsert", "Nguyễn Thị Bình 20"),
        ("upsert", "Nguyễn Thị Hoa"),
        ("delete", None),
    ]
    bus["publisher"].publish(bus.contract, [key(20)], op=Op.DELETE)
    bus["publisher"].publish(bus.contract, [resident(21)])
    assert [r.key for r in bus.pull_all(subscription, at_least=1)] == [key(21)], "what is gone isn't deleted twice"


def test_a_resident_who_moves_leaves_the_old_communes_view_and_enters_the_new_ones(bus: Running) -> None:
    other = "H27.77.02"
    bus["admin"].create_agency(other, "UBND phường Trần Phú", "Trần Phú ward", {"communes": ["18100"]})
    bus.enter("other", bus["admin"].create_client(other, "other", ["subscriber"]))
    bus["publisher"].publish(bus.contract, [resident(30), resident(31, permanent_commune="18115")])
    old = bus.subscribe("residence", "ward")
    assert key(30) in {r.key for r in bus.pull_all(old, "ward", at_least=1)}
    new = bus.subscribe("residence", "other")
    bus["publisher"].publish(bus.contract, [resident(30, permanent_commune="18100")])
    assert [(r.key, r.op) for r in bus.pull_all(old, "ward", at_least=1)] == [(key(30), "delete")]
    moved = bus.pull_all(new, "other", at_least=1)
    assert [(r.key, r.op) for r in moved] == [(key(30), "upsert")]
    assert moved[0].value["permanent_commune"] == "18100"
    bus["publisher"].publish(bus.contract, [key(30)], op=Op.DELETE)
    assert [(r.key, r.op) for r in bus.pull_all(new, "other", at_least=1)] == [(key(30), "delete")]
    assert not bus.pull_all(old, "ward")
    balanced(bus)


def test_statistics_hold_no_identity_not_even_in_the_key(bus: Running) -> None:
    bus["publisher"].publish(bus.contract, [resident(40)])
    found = bus.pull_all(bus.subscribe("statistics"), at_least=1)
    for record in found:
        assert not record.key.startswith("042")
        assert record.value is None or set(record.value) == {"birth_year", "sex", "permanent_commune"}
    assert 1990 in {r.value["birth_year"] for r in found if r.value}


def test_rejected_records_are_quarantined_with_class_and_path_and_the_others_pass(bus: Running) -> None:
    batch = [
        resident(50),
        resident(51, full_name=""),
        resident(52, sex="male"),
        resident(53, phone="12"),
        resident(54, permanent_commune="99999"),
        resident(55, birth_date="1790", birth_date_precision="year"),
        resident(56, verified_on="2001-01-01"),
        resident(57, national_check="mismatched"),
        resident(58),
        resident(58, full_name="Ai khác"),
        resident(59) | {"shoe_size": 43},
    ]
    response = bus["publisher"].send(
        "POST",
        f"/v1/publish/{bus.contract}",
        content=orjson.dumps(batch),
        headers={"Content-Type": "application/json", "Accept-Language": "vi"},
    )
    assert response.status_code == 207
    receipt = response.json()
    assert receipt["accepted"] == 1
    found = {r["index"]: (r["class"], r["path"]) for r in receipt["rejected"]}
    assert found == {
        1: ("missing", "full_name"),
        2: ("conflict", "identity_number"),
        3: ("format", "phone"),
        4: ("reference", "permanent_commune"),
        5: found[5],
        6: ("stale", "verified_on"),
        7: ("national_mismatch", "national_check"),
        8: ("duplicate", "identity_number"),
        9: ("duplicate", "identity_number"),
        10: ("format", "shoe_size"),
    }
    assert found[5][0] in ("outlier", "conflict")
    entries = bus["owner"].quarantine(contract=bus.contract, limit="100")["items"]
    mine = {e["key"]: e for e in entries if e["receipt"] == receipt["receipt"]}
    assert mine[key(51)]["class"] == "missing"
    assert "Thiếu" in next(r["message"] for r in receipt["rejected"] if r["index"] == 1)
    assert "12" not in mine[key(53)]["message"], "a message never repeats a value"
    balanced(bus)


def test_a_correction_at_the_source_closes_the_quarantine_and_arrives(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(60, phone="x")])
    bus["publisher"].publish(bus.contract, [resident(60)])
    assert [r.key for r in bus.pull_all(subscription, at_least=1)] == [key(60)]
    entries = bus["owner"].quarantine(contract=bus.contract, limit="1000")["items"]
    assert [e["state"] for e in entries if e["key"] == key(60)] == ["corrected"]


def test_a_quarantined_record_can_be_corrected_or_discarded_by_its_owner(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(65, phone="x"), resident(66, phone="x")])
    entries = {e["key"]: e for e in bus["owner"].quarantine(contract=bus.contract, limit="1000")["items"]}
    still = entries[key(65)]["id"]
    with pytest.raises(ApiError) as refused:
        bus["owner"].decide_quarantined(still, "replay")
    assert refused.value.status == 409
    assert refused.value.errors[0].path == "phone"
    assert bus["owner"].decide_quarantined(still, "correct", value=resident(65))["state"] == "corrected"
    discarded = bus["owner"].decide_quarantined(entries[key(66)]["id"], "discard", reason="trùng hồ sơ")
    assert discarded["state"] == "discarded"
    assert [r.key for r in bus.pull_all(subscription, at_least=1)] == [key(65)]
    balanced(bus)


def test_without_acknowledgement_the_same_records_come_again(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(70 + i) for i in range(6)])
    first = bus.pull_all(subscription, at_least=6, ack=False)
    again = bus.pull_all(subscription, at_least=6, ack=False)
    assert {r.key for r in first} == {r.key for r in again}
    bus["reader"].ack(subscription, again[3].cursor)
    left = {r.key for r in again[4:]}
    assert {r.key for r in bus.pull_all(subscription, at_least=2, ack=False)} == left
    bus["reader"].ack(subscription, again[1].cursor)
    assert {r.key for r in bus.pull_all(subscription, at_least=2, ack=False)} == left, (
        "an acknowledgement never goes back"
    )
    assert balanced(bus)[subscription]["delivered"] == 4


def test_a_cursor_of_another_subscription_is_refused(bus: Running) -> None:
    mine, other = bus.subscribe("identity"), bus.subscribe("identity")
    bus["publisher"].publish(bus.contract, [resident(80)])
    cursor = bus.pull_all(mine, at_least=1)[-1].cursor
    for wrong in (cursor, "nonsense", "1.99999"):
        with pytest.raises(ApiError) as refused:
            bus["reader"].pull(other, after=wrong)
        assert (refused.value.status, refused.value.code) == (400, "bad_cursor")


def test_a_waiting_reader_is_woken_by_a_new_record(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    woken: list[float] = []

    def wait() -> None:
        page = bus["reader"].pull(subscription, wait_ms=20_000)
        assert [r.key for r in page.records] == [key(90)]
        woken.append(time.monotonic())

    reader = threading.Thread(target=wait)
    reader.start()
    time.sleep(0.5)
    sent = time.monotonic()
    bus["publisher"].publish(bus.contract, [resident(90)])
    reader.join()
    assert woken[0] - sent < 5


def test_revocation_ends_delivery_at_once_even_for_who_waits(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    ended: list[ApiError] = []

    def wait() -> None:
        with pytest.raises(ApiError) as refused:
            bus["reader"].pull(subscription, wait_ms=20_000)
        ended.append(refused.value)

    reader = threading.Thread(target=wait)
    reader.start()
    time.sleep(0.5)
    bus["owner"].decide_subscription(subscription, "revoke", reason="hết mục đích sử dụng")
    reader.join(10)
    assert (ended[0].status, ended[0].code) == (403, "grant_ended")
    bus["publisher"].publish(bus.contract, [resident(95)])
    with pytest.raises(ApiError):
        bus["reader"].pull(subscription)
    balanced(bus)


def test_a_grant_expires_by_the_clock(bus: Running) -> None:
    subscription = bus.subscribe("identity", expires_at=(bus.clock() + timedelta(hours=1)).isoformat())
    bus["reader"].pull(subscription)
    bus.clock.ahead = timedelta(hours=2)
    try:
        with pytest.raises(ApiError) as refused:
            bus["reader"].pull(subscription)
        assert refused.value.code == "grant_ended"
    finally:
        bus.clock.ahead = timedelta()


def test_suspended_and_resumed_nothing_is_lost(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["owner"].decide_subscription(subscription, "suspend", reason="kiểm tra")
    bus["publisher"].publish(bus.contract, [resident(100)])
    with pytest.raises(ApiError):
        bus["reader"].pull(subscription)
    bus["owner"].decide_subscription(subscription, "resume")
    assert [r.key for r in bus.pull_all(subscription, at_least=1)] == [key(100)]


def test_someone_elses_subscription_is_not_there(bus: Running) -> None:
    subscription = bus.subscribe("identity")
    for who in ("ward", "publisher"):
        with pytest.raises(ApiError) as refused:
            bus[who].pull(subscription)
        assert refused.value.status == 404


@pytest.mark.parametrize("kind", ["ndjson", "avro", "arrow"])
def test_publishing_and_pulling_in_every_format(bus: Running, kind: str) -> None:
    number = {"ndjson": 110, "avro": 111, "arrow": 112}[kind]
    media = {
        "ndjson": "application/x-ndjson",
        "avro": "application/avro",
        "arrow": "application/vnd.apache.arrow.stream",
    }[kind]
    subscription = bus.subscribe("full", start="latest")
    bus["publisher"].publish(bus.contract, [resident(number)])
    whole = bus.pull_all(subscription, at_least=1, ack=False)[0].value
    assert whole["father"]["name"] == "Nguyễn Văn An"
    response = bus["reader"].send("GET", f"/v1/subscriptions/{subscription}/records", headers={"Accept": media})
    assert response.headers["Content-Type"] == media
    if kind == "ndjson":
        (line,) = [orjson.loads(line) for line in response.content.splitlines()]
        body = orjson.dumps(line["value"] | {"full_name": "Lê Thị Mới"})
    elif kind == "avro":
        (line,) = list(fastavro.reader(io.BytesIO(response.content)))
        text = bus.runtime.catalogue.active(bus.contract).contract.schema.definition
        sink = io.BytesIO()
        fastavro.writer(sink, text, [line["value"] | {"full_name": "Lê Thị Mới"}])
        body = sink.getvalue()
    else:
        with pa.ipc.open_stream(response.content) as reader:
            table = reader.read_all()
        line = table.to_pylist()[0]
        fields = pa.Table.from_struct_array(table.column("value").combine_chunks())
        fields = fields.set_column(fields.schema.get_field_index("full_name"), "full_name", pa.array(["Lê Thị Mới"]))
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, fields.schema) as writer:
            writer.write_table(fields)
        body = sink.getvalue()
    assert set(line) == {"cursor", "key", "op", "value", "version", "published_at"}
    assert (line["key"], line["op"], line["version"]) == (key(number), "upsert", "1.0.0")
    receipt = bus["publisher"].publish(bus.contract, body, media_type=media)
    assert receipt.accepted == 1, receipt
    bus["reader"].ack(subscription, line["cursor"])
    changed = bus.pull_all(subscription, at_least=1)[0].value
    assert changed == whole | {"full_name": "Lê Thị Mới"}, "every other field came back as it was"


def test_a_dry_run_checks_and_stores_nothing(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    before = balanced(bus)[subscription]["published"]
    receipt = bus["publisher"].publish(bus.contract, [resident(120), resident(121, phone="x")], dry_run=True)
    assert (receipt.accepted, len(receipt.rejected)) == (1, 1)
    assert balanced(bus)[subscription]["published"] == before


def test_an_idempotency_key_gives_the_first_receipt_again(bus: Running) -> None:
    first = bus["publisher"].publish(bus.contract, [resident(130), resident(131, phone="x")], idempotency_key="day-1")
    again = bus["publisher"].publish(bus.contract, [resident(130), resident(131, phone="x")], idempotency_key="day-1")
    assert again == first
    with pytest.raises(ApiError) as refused:
        bus["publisher"].publish(bus.contract, [resident(132)], idempotency_key="day-1")
    assert refused.value.status == 409


def test_only_the_owning_agencys_publisher_may_publish(bus: Running) -> None:
    with pytest.raises(ApiError) as refused:
        bus["reader"].publish(bus.contract, [resident(140)])
    assert refused.value.status in (403, 404)
    with pytest.raises(ApiError) as unknown:
        bus["publisher"].publish("no/such", [resident(140)])
    assert unknown.value.status == 404


def test_decomposed_names_are_one_name(bus: Running) -> None:
    import unicodedata

    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(150)])
    spelled = resident(150, full_name=unicodedata.normalize("NFD", resident(150)["full_name"]))
    assert bus["publisher"].publish(bus.contract, [spelled]).duplicates == 1
    (record,) = bus.pull_all(subscription, at_least=1)
    assert unicodedata.is_normalized("NFC", record.value["full_name"])


def test_every_hand_over_has_its_release_without_payload(bus: Running) -> None:
    subscription = bus.subscribe("identity", start="latest")
    bus["publisher"].publish(bus.contract, [resident(160), resident(161)])
    found = bus.pull_all(subscription, at_least=2)
    for who in ("reader", "owner", "admin"):
        items = bus[who].call("GET", "/v1/audit/releases", params={"subscription": subscription})["items"]
        assert sum(item["records"] for item in items) == len(found) == 2
        assert sum(after - first for item in items for _, _, first, after in item["runs"]) == 2
        text = orjson.dumps(items).decode()
        assert key(160) not in text
        assert "Nguyễn" not in text
    with pytest.raises(ApiError) as refused:
        bus["ward"].call("GET", "/v1/audit/releases", params={"subscription": subscription})
    assert refused.value.status == 404


def test_published_at_is_when_the_owner_published(bus: Running) -> None:
    bus["publisher"].publish(bus.contract, [resident(165)])
    before = bus.clock()
    time.sleep(0.05)
    ward = bus.subscribe("residence", "ward")  # its instance may be filled only now
    (record,) = [r for r in bus.pull_all(ward, "ward", at_least=1) if r.key == key(165)]
    assert datetime.fromisoformat(record.published_at) <= before


def test_a_new_version_with_a_new_optional_field_reaches_those_who_were_granted_it(bus: Running) -> None:
    subscription = bus.subscribe("full", start="latest")
    bus["publisher"].publish(bus.contract, [resident(170)])
    newer = contract_zip(
        bus.contract,
        version="1.1.0",
        without=("v1.avsc",),
        edits={
            "      - name: updated_at\n": "      - name: nickname\n        businessName: Biệt danh\n"
            "        logicalType: string\n        classification: personal\n      - name: updated_at\n"
        },
    )
    made = bus["integrator"].register_contract(newer)
    bus["owner"].approve_contract(bus.contract, made["version"])
    receipt = bus["publisher"].publish(bus.contract, [resident(171, nickname="Tí")])
    assert receipt.accepted == 1, receipt
    found = {r.key: r for r in bus.pull_all(subscription, at_least=2)}
    assert found[key(170)].value["nickname"] is None
    assert found[key(171)].value["nickname"] == "Tí"
    assert [found[key(n)].version for n in (170, 171)] == ["1.0.0", "1.1.0"]
    identity = bus.pull_all(bus.subscribe("identity"), at_least=2)
    assert all("nickname" not in r.value for r in identity if r.value), "nobody added it to that view"
    balanced(bus)
