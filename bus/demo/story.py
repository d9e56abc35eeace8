"""`lgsp demo`: a record travels from one agency to another, told step by step; each step returns the facts that it saw.

A step that doesn't hold raises PromiseBroken, and the demo ends with 1. It acts as a user would: by commands, by HTTP, in the
agencies' own databases. What it happens on is `bus.demo.stage`, what it looks like `bus.demo.screen`.
"""

from __future__ import annotations

import io
import json
import shutil
import statistics
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import httpx
import psycopg

import bus
from bus.client import ARROW, AVRO, NDJSON, ApiError, Client, ClientCredentials
from bus.demo.residents import Register, correct, delete_resident, make_register, rename_resident
from bus.demo.screen import Screen, number, seconds
from bus.demo.stage import (
    Agency,
    Events,
    PromiseBroken,
    Stage,
    descendants,
    expect,
    left_running,
    start_agency,
    start_bus,
    start_connector,
)
from bus.embedded import jars
from bus.errors import InvalidRequest
from bus.settings import Settings
from registry.contract import Contract, load_folder
from registry.errors import ERROR_CLASS_NAMES, ErrorClass, Text

CONTRACT, VIEW = "population/resident", "identity"
CONTRACT_FOLDER = Path(bus.__file__).parent.parent / "contracts" / CONTRACT
JUSTICE_CODE, OPERATOR_CODE = "H27.16", "H27.11"

UPDATES = 20
START_S = 120.0  # a slow disk and a busy machine included
MOVE_S = 30.0  # one change from table to table; a second is usual
PER_RECORD_S = 0.01  # what 50,000 records may take, for the patience of the waits
REVOKED_WITHIN_S = 5.0  # what the bus promises
SILENCE_S = 1.0  # how long nothing must arrive after a revocation, from the moment the bus has the change
SAMPLES = 500

Facts = dict[str, Any]


@dataclass(slots=True)
class Tale:
    """What the steps know of each other's doings."""

    screen: Screen
    stage: Stage
    contract: Contract
    police: Agency
    justice: Agency
    today: datetime
    records: int
    seed: int
    register: Register
    owner: Client
    publisher: ClientCredentials
    integrator: Client
    reader: Client
    reader_credentials: ClientCredentials
    legal_basis: str
    subscription: str = ""
    source: Events | None = None


def run(
    records: int = 50_000, seed: int = 42, data: Path | None = None, as_json: bool = False, keep: bool = False
) -> int:
    """Tell the whole story; 0 when everything held, 1 when something didn't, 130 after Ctrl-C.

    `data` is a new or empty folder that stays; without it a temporary one goes unless `keep`. Raises InvalidRequest for a folder
    that holds something.
    """
    folder, stays = _folder(data), keep or data is not None
    screen, facts = Screen(quiet=as_json), dict[str, Any]()
    began = time.monotonic()
    outcome: Facts = {"ok": False, "records": records, "seed": seed, "steps": facts}
    code = 1
    try:
        _tell(screen, facts, folder, records, seed)
        outcome["ok"], code = True, 0
    except PromiseBroken as broken:
        outcome["broken"] = {
            "promise": broken.promise._asdict(),
            "found": str(broken.found),
            "expected": str(broken.expected),
        }
        screen.broken(broken.promise, [f"found / thấy:     {broken.found}", f"expected / cần:  {broken.expected}"])
    except ApiError as refusal:
        promise = Text("the bus does what it is asked", "trục dữ liệu thực hiện yêu cầu")
        outcome["broken"] = {"promise": promise._asdict(), "found": str(refusal), "expected": "success"}
        screen.broken(promise, [str(refusal)])
    except KeyboardInterrupt:
        outcome["broken"] = {"promise": None, "found": "stopped by Ctrl-C", "expected": None}
        code = 130
    finally:
        if not stays:
            shutil.rmtree(folder, ignore_errors=True)
    outcome["seconds"] = round(time.monotonic() - began, 1)
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
    elif code == 0:
        _farewell(screen, outcome["seconds"], folder if stays else None)
    return code


def _tell(screen: Screen, facts: dict[str, Any], folder: Path, records: int, seed: int) -> None:
    """All steps in order; everything that runs is stopped at the end, however it comes."""
    screen.title(
        Text("A record travels from one agency to another", "Một bản ghi đi từ cơ quan này sang cơ quan khác"),
        [
            Text(
                "Hà Tĩnh's police share their resident register with the department of justice: under a contract, on a legal "
                "basis, only the fields that were granted, and every record is accounted for.",
                "Công an tỉnh Hà Tĩnh chia sẻ dữ liệu cư trú cho Sở Tư pháp: theo hợp đồng dữ liệu, có căn cứ pháp lý, chỉ "
                "những trường được cấp, và mọi bản ghi đều được đối soát.",
            ),
            Text(
                "Real servers on this machine, made-up people.",
                "Máy chủ thật trên máy này; công dân là dữ liệu giả lập.",
            ),
        ],
    )
    steps: Sequence[tuple[str, Text, Callable[[Tale], Facts]]] = (
        ("register", Text("The police's register", "Cơ sở dữ liệu của Công an tỉnh"), _register),
        ("publish", Text("Contract and publication", "Hợp đồng dữ liệu và công bố"), _publish),
        ("subscribe", Text("Request and approval", "Đăng ký khai thác và phê duyệt"), _subscribe),
        ("fields", Text("Only what was granted", "Chỉ những gì được cấp"), _fields),
        ("deliver", Text("Into the other agency's database", "Vào cơ sở dữ liệu của Sở Tư pháp"), _deliver),
        ("quarantine", Text("What is wrong stays outside", "Bản ghi lỗi bị cách ly"), _quarantine),
        ("update", Text("A change at the source", "Thay đổi tại gốc"), _update),
        ("delete", Text("A deletion", "Xóa tại gốc"), _delete),
        ("correct", Text("Corrected at the source", "Đính chính tại gốc"), _correct),
        ("revoke", Text("Revocation", "Thu hồi quyền khai thác"), _revoke),
        ("account", Text("The account", "Đối soát"), _account),
    )
    of = len(steps) + 2
    with ExitStack() as stack:
        screen.step(1, of, Text("Start", "Khởi động"))
        tale, facts["start"] = _start(screen, stack, folder, records, seed)
        for place, (name, title, step) in enumerate(steps, 2):
            screen.step(place, of, title)
            facts[name] = step(tale)
        screen.step(of, of, Text("Stop", "Dừng"))
        facts["stop"] = _stop(screen, stack, tale)


def _start(screen: Screen, stack: ExitStack, folder: Path, records: int, seed: int) -> tuple[Tale, Facts]:
    """The bus and both agencies' databases, at once; then the cast: agencies, clients, a legal basis."""
    contract = load_folder(CONTRACT_FOLDER)
    with screen.bar(Text("Kafka, fetched once", "tải Kafka, một lần")) as advance:
        jars.ensure(Settings().cache, lambda done, total, _name: advance(done, total))
    began = time.monotonic()
    wait = Text("bus and two agencies' databases", "trục dữ liệu và hai cơ sở dữ liệu của cơ quan")
    with screen.bar(wait), ThreadPoolExecutor(2) as pool:
        names = (
            Text("Hà Tĩnh's police", "Công an tỉnh Hà Tĩnh"),
            Text("Hà Tĩnh's department of justice", "Sở Tư pháp tỉnh Hà Tĩnh"),
        )
        police_started = pool.submit(start_agency, folder / "police", stack, contract.owner, names[0])
        justice_started = pool.submit(start_agency, folder / "justice", stack, JUSTICE_CODE, names[1])
        stage = start_bus(folder, stack, START_S)
        ready_s = time.monotonic() - began
        police, justice = police_started.result(), justice_started.result()
    screen.fact(
        Text(
            f"lgsp up is ready after {seconds(ready_s).en}: PostgreSQL, a secured Kafka broker, gateway, registry",
            f"lgsp up sẵn sàng sau {seconds(ready_s).vi}: PostgreSQL, Kafka có bảo mật, cổng dữ liệu, registry",
        )
    )
    admin = stage.client(ClientCredentials.from_file(folder / "bus" / "admin.json"))
    operator = Text("Department of Science and Technology", "Sở Khoa học và Công nghệ tỉnh Hà Tĩnh")
    for code, name in ((police.code, police.name), (justice.code, justice.name), (OPERATOR_CODE, operator)):
        admin.create_agency(code, name.vi, name.en)
    reader = admin.create_client(justice.code, "tiếp nhận dữ liệu", ["subscriber"])
    tale = Tale(
        screen=screen,
        stage=stage,
        contract=contract,
        police=police,
        justice=justice,
        today=datetime.now(UTC),
        records=records,
        seed=seed,
        register=Register(0, {}),
        owner=stage.client(admin.create_client(police.code, "chủ quản dữ liệu", ["owner"])),
        publisher=admin.create_client(police.code, "công bố dữ liệu", ["publisher"]),
        integrator=stage.client(admin.create_client(OPERATOR_CODE, "tích hợp", ["integrator"])),
        reader=stage.client(reader),
        reader_credentials=reader,
        legal_basis=admin.create_legal_basis(
            "60/2014/QH13", "Điều 59, 61", "Luật Hộ tịch", "Quốc hội", valid_from="2016-01-01"
        ),
    )
    screen.fact(
        Text(
            f"{police.name.en} ({police.code}) and {justice.name.en} ({justice.code}) have a database of their own each",
            f"{police.name.vi} ({police.code}) và {justice.name.vi} ({justice.code}) có cơ sở dữ liệu riêng",
        )
    )
    return tale, {"ready_s": round(ready_s, 2), "agencies": [police.code, justice.code, OPERATOR_CODE]}


def _register(tale: Tale) -> Facts:
    began = time.monotonic()
    with tale.screen.bar(Text("residents from a seed", "tạo dữ liệu công dân"), tale.records) as advance:
        tale.register = make_register(
            tale.police.dsn,
            tale.records,
            tale.seed,
            today=tale.today.date(),
            progress=lambda done: advance(done, tale.records),
        )
    took, rejected = time.monotonic() - began, tale.register.rejected
    residents, wrong = number(tale.records), number(rejected)
    tale.screen.fact(
        Text(
            f"{residents.en} made-up residents of the 69 communes, {wrong.en} of them wrong in eight ways ({seconds(took).en})",
            f"{residents.vi} công dân giả lập của 69 xã, phường; {wrong.vi} bản ghi sai theo tám kiểu ({seconds(took).vi})",
        )
    )
    return {"residents": tale.records, "wrong": _by_class(tale.register), "seconds": round(took, 2)}


def _publish(tale: Tale) -> Facts:
    """An integrator submits, the owner approves, the police's connector publishes its snapshot."""
    submitted = tale.integrator.register_contract(_zipped(CONTRACT_FOLDER))
    approved = tale.owner.approve_contract(CONTRACT, submitted["version"])
    title = tale.contract.title
    promise = Text("an approved contract is active", "hợp đồng được phê duyệt thì có hiệu lực")
    expect(promise, approved["state"], "active")
    tale.screen.fact(
        Text(
            f"contract {CONTRACT} {submitted['version']} ({title.en}): submitted by the integrator, approved by its owner",
            f"hợp đồng {CONTRACT} {submitted['version']} ({title.vi}): đơn vị tích hợp gửi, chủ quản dữ liệu phê duyệt",
        )
    )
    began = time.monotonic()
    definition = {
        "kind": "source",
        "system": "postgres",
        "contract": CONTRACT,
        "table": "resident_register",
        "key": tale.contract.key,
        "watermark": "updated_at",
        "columns": {name: name for name in tale.contract.fields},
    }
    tale.source = start_connector(tale.stage, tale.police, "source", tale.publisher, definition)
    counts: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    with tale.screen.bar(Text("publishing", "công bố"), tale.records) as advance:

        def published() -> bool:
            assert tale.source is not None
            done = False
            for event in tale.source.fresh():
                if event.get("event") == "published":
                    counts.update({name: event[name] for name in ("records", "accepted", "duplicates")})
                    rejected.update(event["rejected"])
                done = done or event.get("event") == "snapshot_done"
            advance(counts["records"], tale.records)
            return done

        promise = Text("the register gets published", "dữ liệu được công bố")
        tale.stage.wait_until(promise, published, START_S + PER_RECORD_S * tale.records)
    took = time.monotonic() - began
    promise = Text(
        "every record is accepted, or rejected with a class", "mỗi bản ghi được nhận hoặc bị loại theo loại lỗi"
    )
    expect(promise, dict(rejected), _by_class(tale.register))
    expect(promise, counts["accepted"], tale.records - tale.register.rejected)
    accepted, refused = number(counts["accepted"]), number(tale.register.rejected)
    tale.screen.fact(
        Text(
            f"{accepted.en} records published by the PostgreSQL connector, {refused.en} quarantined ({seconds(took).en})",
            f"kết nối PostgreSQL công bố {accepted.vi} bản ghi, cách ly {refused.vi} ({seconds(took).vi})",
        )
    )
    return {
        "contract": CONTRACT,
        "version": submitted["version"],
        "accepted": counts["accepted"],
        "rejected": dict(rejected),
        "seconds": round(took, 2),
    }


def _subscribe(tale: Tale) -> Facts:
    asked = tale.reader.request_subscription(
        CONTRACT,
        VIEW,
        purpose="Xác minh nhân thân khi đăng ký hộ tịch",
        legal_basis=tale.legal_basis,
        procedure="1.001193",
        expires_at=(tale.today + timedelta(days=365)).isoformat(),
    )
    tale.subscription = asked["id"]
    promise = Text("nothing is delivered before approval", "chưa phê duyệt thì chưa được nhận dữ liệu")
    expect(promise, _pull_status(tale), 403)
    approved = tale.owner.decide_subscription(tale.subscription, "approve")
    expect(Text("an approved request is active", "yêu cầu được duyệt có hiệu lực"), approved["state"], "active")
    tale.screen.fact(
        Text(
            f"view “{VIEW}” asked for, with purpose, legal basis and procedure; before approval a pull is refused (403)",
            f"đề nghị khung nhìn “{VIEW}”, nêu mục đích, căn cứ pháp lý, thủ tục; chưa duyệt thì bị từ chối (403)",
        )
    )
    tale.screen.fact(Text("the owner of the data approves", "chủ quản dữ liệu phê duyệt"))
    return {"subscription": tale.subscription, "view": VIEW, "state": approved["state"], "before_approval": 403}


def _fields(tale: Tale) -> Facts:
    """The delivered bytes themselves, in each form, and the view's schema in the registry: granted fields and no others."""
    view = next(
        one for one in tale.owner.call("GET", f"/v1/contracts/{CONTRACT}/views")["views"] if one["name"] == VIEW
    )
    granted = [one["name"] for one in view["fields"]]
    withheld = sorted(set(tale.contract.fields) - set(granted))
    promise = Text("the view's records reach its topic", "bản ghi của khung nhìn đến chủ đề")
    wait_s = START_S + PER_RECORD_S * tale.records
    tale.stage.wait_until(promise, lambda: _records(tale, NDJSON, 1).content or None, wait_s)
    bodies = {kind: _records(tale, kind, 10_000).content for kind in (NDJSON, AVRO, ARROW)}
    lines = [json.loads(line) for line in bodies[NDJSON].splitlines()]
    promise = Text("only granted fields are in the delivered bytes", "chỉ trường được cấp có trong dữ liệu giao")
    expect(promise, sorted({name for line in lines for name in line["value"] or granted}), sorted(granted))
    avro = fastavro.reader(io.BytesIO(bodies[AVRO]))
    schema_sent: Any = avro.writer_schema
    column = next(field for field in schema_sent["fields"] if field["name"] == "value")
    value = next(branch for branch in column["type"] if branch != "null")
    expect(promise, [field["name"] for field in value["fields"]], granted)
    secrets = _withheld_values(tale, [line["key"] for line in lines[:SAMPLES]])
    for kind, body in bodies.items():
        names = [name for name in withheld if f'"{name}"'.encode() in body]
        expect(promise, (kind, names), (kind, []))
        expect(promise, (kind, sum(value.encode() in body for value in secrets)), (kind, 0))
    schema = _registry_fields(tale)
    promise = Text("the view's schema has the granted fields only", "lược đồ của khung nhìn chỉ có trường được cấp")
    expect(promise, schema, granted)
    shown = ", ".join(granted)
    tale.screen.fact(Text(f"granted, and in the bytes: {shown}", f"được cấp và có trong dữ liệu: {shown}"))
    tale.screen.fact(
        Text(
            f"not in the bytes (JSON, Avro, Arrow) of {number(len(lines)).en} records: {len(withheld)} other fields, by name or "
            f"by {len(secrets)} sampled values; nor in the view's schema",
            f"không có trong dữ liệu (JSON, Avro, Arrow) của {number(len(lines)).vi} bản ghi: {len(withheld)} trường còn lại, "
            f"theo tên và theo {len(secrets)} giá trị mẫu; lược đồ cũng không có",
        )
    )
    return {"granted": granted, "withheld": withheld, "records": len(lines), "sampled_values": len(secrets)}


def _deliver(tale: Tale) -> Facts:
    expected = tale.records - tale.register.rejected
    began = time.monotonic()
    definition = {
        "kind": "sink",
        "system": "postgres",
        "subscription": tale.subscription,
        "table": "residents",
        "key": tale.contract.key,
        "create_table": True,
    }
    start_connector(tale.stage, tale.justice, "sink", tale.reader_credentials, definition)
    with (
        psycopg.connect(tale.justice.dsn, autocommit=True) as sink,
        tale.screen.bar(Text("delivering", "giao dữ liệu"), expected) as advance,
    ):

        def arrived() -> bool:
            count = _count(sink)
            advance(count, expected)
            return count >= expected

        promise = Text("every accepted record arrives", "mọi bản ghi hợp lệ đều đến nơi")
        tale.stage.wait_until(promise, arrived, START_S + PER_RECORD_S * tale.records)
        took = time.monotonic() - began
        expect(promise, _count(sink), expected)
        wrong = [resident for residents in tale.register.wrong.values() for resident in residents]
        with psycopg.connect(tale.police.dsn) as source:
            there = _digest(source, "resident_register", "NOT id = ANY(%s)", [wrong])
        promise = Text("both tables say the same", "hai bảng có cùng nội dung")
        expect(promise, _digest(sink, "residents", "%s", [True]), there)
    tale.screen.fact(
        Text(
            f"{number(expected).en} residents in the department's own table, equal to the source ({seconds(took).en})",
            f"{number(expected).vi} công dân trong bảng của Sở Tư pháp, trùng khớp với gốc ({seconds(took).vi})",
        )
    )
    return {"arrived": expected, "seconds": round(took, 2)}


def _quarantine(tale: Tale) -> Facts:
    entries = _open_entries(tale)
    by_class = Counter(str(entry["class"]) for entry in entries)
    promise = Text("every wrong record is quarantined in its class", "mọi bản ghi lỗi bị cách ly đúng loại")
    expect(promise, dict(by_class), _by_class(tale.register))
    rows = []
    for error_class, text in ERROR_CLASS_NAMES.items():
        rules = Counter(entry["code"] for entry in entries if entry["class"] == error_class)
        reasons = ", ".join(f"{code} {number(count).vi}" for code, count in rules.most_common())
        rows.append((f"{text.vi}\n{text.en}", by_class[error_class], reasons))
    columns = (Text("class", "loại lỗi"), Text("records", "số bản ghi"), Text("rules that failed", "quy tắc không đạt"))
    tale.screen.table(columns, rows, numbers=(1,))
    tale.screen.fact(
        Text(
            "each with its reason and place, to be corrected at the source; none has reached the department",
            "mỗi bản ghi có lý do, vị trí lỗi, chờ đính chính tại gốc; không bản ghi nào đến Sở Tư pháp",
        )
    )
    return {"open": len(entries), "by_class": dict(by_class)}


def _update(tale: Tale) -> Facts:
    """Residents are renamed at the source, one after the other; how long until the commit at the sink."""
    times = []
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        for turn, (resident, key) in enumerate(_right_residents(tale, UPDATES)):
            name = f"Nguyễn Thị Đổi Tên {_in_words(turn)}"
            rename_resident(tale.police.dsn, resident, name)
            began = time.monotonic()
            promise = Text("a change at the source reaches the sink", "thay đổi tại gốc đến bên nhận")
            tale.stage.wait_until(promise, lambda key=key, name=name: _name_of(sink, key) == name, MOVE_S)  # type: ignore[misc]
            times.append(time.monotonic() - began)
    middle, worst = statistics.median(times), max(times)
    tale.screen.fact(
        Text(
            f"{UPDATES} changes, from commit to commit: median {seconds(middle).en}, slowest {seconds(worst).en}",
            f"{UPDATES} thay đổi, từ lúc ghi ở gốc đến lúc ghi ở bên nhận: trung vị {seconds(middle).vi}, chậm nhất "
            f"{seconds(worst).vi}",
        )
    )
    return {"updates": UPDATES, "median_s": round(middle, 3), "max_s": round(worst, 3)}


def _delete(tale: Tale) -> Facts:
    [(resident, key)] = _right_residents(tale, 1)
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        before = _count(sink)
        delete_resident(tale.police.dsn, resident)
        began = time.monotonic()
        promise = Text("a deletion at the source reaches the sink", "xóa tại gốc đến bên nhận")
        tale.stage.wait_until(promise, lambda: _name_of(sink, key) is None, MOVE_S)
        took = time.monotonic() - began
        expect(promise, _count(sink), before - 1)
    tale.screen.fact(
        Text(f"gone at the department too, after {seconds(took).en}", f"bên nhận cũng xóa, sau {seconds(took).vi}")
    )
    return {"seconds": round(took, 3), "left": before - 1}


def _correct(tale: Tale) -> Facts:
    """One resident of each class is put right at the source: the record arrives, the quarantine entry closes."""
    before = len(_open_entries(tale))
    corrected = {row for residents in tale.register.wrong.values() for row in correct(tale.police.dsn, residents[0])}
    began = time.monotonic()
    with psycopg.connect(tale.police.dsn) as source:
        found = source.execute(
            "SELECT identity_number, full_name FROM resident_register WHERE id = ANY(%s)", [list(corrected)]
        )
        names: dict[str, str] = dict(found.fetchall())
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:

        def arrived() -> bool:
            query = "SELECT identity_number, full_name FROM residents WHERE identity_number = ANY(%s)"
            return dict(sink.execute(query, [list(names)]).fetchall()) == names

        promise = Text("corrected records arrive", "bản ghi đã đính chính đến nơi")
        tale.stage.wait_until(promise, arrived, MOVE_S)
        took = time.monotonic() - began
    promise = Text("their quarantine entries close", "mục cách ly được đóng")
    tale.stage.wait_until(promise, lambda: len(_open_entries(tale)) == before - len(corrected), MOVE_S)
    tale.screen.fact(
        Text(
            f"{len(corrected)} records of all eight classes put right at the source: all arrived after {seconds(took).en}, "
            f"{len(corrected)} quarantine entries closed by themselves, {before - len(corrected)} are left",
            f"{len(corrected)} bản ghi thuộc cả tám loại được đính chính tại gốc: đến nơi sau {seconds(took).vi}, "
            f"{len(corrected)} mục cách ly tự đóng, còn {before - len(corrected)}",
        )
    )
    return {"corrected": len(corrected), "seconds": round(took, 3), "open_after": before - len(corrected)}


def _revoke(tale: Tale) -> Facts:
    """The grant ends; a change at the source is published, and nothing of it arrives."""
    assert tale.source is not None
    before = _account_of(tale)
    promise = Text("everything was delivered before the revocation", "đã giao hết trước khi thu hồi")
    expect(promise, before["pending"], 0)
    del tale.stage.children["sink"]  # it ends by itself when its grant does
    tale.owner.decide_subscription(tale.subscription, "revoke", reason="Kết thúc thử nghiệm")
    began = time.monotonic()
    promise = Text("a pull is refused after the revocation", "sau thu hồi, lượt nhận dữ liệu bị từ chối")
    tale.stage.wait_until(promise, lambda: _pull_status(tale) == 403, REVOKED_WITHIN_S)
    took = time.monotonic() - began
    [(resident, key)] = _right_residents(tale, 1)
    list(tale.source.fresh())
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        count, name = _count(sink), _name_of(sink, key)
        rename_resident(tale.police.dsn, resident, "Nguyễn Thị Sau Thu Hồi")
        promise = Text("the police go on publishing", "Công an tỉnh vẫn công bố")
        events = tale.source
        tale.stage.wait_until(
            promise, lambda: any(event.get("event") == "published" for event in events.fresh()), MOVE_S
        )
        time.sleep(SILENCE_S)
        promise = Text("nothing arrives after the revocation", "sau thu hồi không còn dữ liệu nào đến")
        expect(promise, (_count(sink), _name_of(sink, key)), (count, name))
    tale.screen.fact(
        Text(
            f"revoked by the owner: a pull is refused (403) after {seconds(took).en}; a later change at the source is published, "
            "and nothing arrives",
            f"chủ quản thu hồi: lượt nhận bị từ chối (403) sau {seconds(took).vi}; thay đổi sau đó ở gốc vẫn công bố, "
            "nhưng không đến bên nhận",
        )
    )
    return {"refused_after_s": round(took, 3), "pending_before": before["pending"], "arrived_after": 0}


def _account(tale: Tale) -> Facts:
    account = _account_of(tale)
    parts = ("delivered", "filtered", "duplicate", "quarantined", "pending")
    promise = Text("the account balances", "đối soát cân bằng")
    expect(promise, sum(account[part] for part in parts), account["published"])
    expect(promise, account["balanced"], True)
    names = {
        "published": Text("published", "đã công bố"),
        "delivered": Text("delivered", "đã giao"),
        "filtered": Text("filtered", "đã lọc"),
        "duplicate": Text("duplicate", "trùng lặp"),
        "quarantined": Text("quarantined", "cách ly"),
        "pending": Text("pending", "đang chờ"),
    }
    row = [f"{'' if name == 'published' else '= ' if name == 'delivered' else '+ '}{account[name]:,}" for name in names]
    tale.screen.table(tuple(names.values()), [[cell.replace(",", ".") for cell in row]], numbers=range(len(names)))
    tale.screen.fact(
        Text(
            "published = delivered + filtered + duplicate + quarantined + pending, exactly",
            "đã công bố = đã giao + đã lọc + trùng lặp + cách ly + đang chờ, khớp tuyệt đối",
        )
    )
    return {name: account[name] for name in names}


def _stop(screen: Screen, stack: ExitStack, tale: Tale) -> Facts:
    running = descendants()
    began = time.monotonic()
    with screen.bar(Text("stopping everything", "dừng toàn bộ")):
        stack.close()
    took = time.monotonic() - began
    promise = Text("nothing is left running", "không còn tiến trình nào chạy")
    expect(promise, left_running(running, 5.0), [])
    expect(Text("lgsp up ends in order", "lgsp up dừng đúng cách"), tale.stage.bus.exit_code, 0)
    screen.fact(
        Text(
            f"{len(running)} processes stopped in {seconds(took).en}, nothing is left running",
            f"{len(running)} tiến trình đã dừng trong {seconds(took).vi}, không còn tiến trình nào chạy",
        )
    )
    return {"processes": len(running), "left": 0, "seconds": round(took, 2)}


def _farewell(screen: Screen, took: float, folder: Path | None) -> None:
    screen.console.print()
    lines = [
        Text(
            f"Everything held, in {seconds(took).en}. What to try next:",
            f"Mọi cam kết đều đúng, sau {seconds(took).vi}. Thử tiếp:",
        ),
        Text(
            "lgsp up --data my-bus          a bus of your own (API documents at /docs)",
            "lgsp up --data my-bus          trục dữ liệu của riêng bạn (tài liệu API tại /docs)",
        ),
        Text(
            "docs/tutorial                  from an empty folder to a delivered record",
            "docs/tutorial                  từ thư mục trống đến bản ghi được giao",
        ),
    ]
    if folder is not None:
        lines.append(Text(f"everything is kept in {folder}", f"dữ liệu được giữ tại {folder}"))
    screen.title(Text("It works", "Hoàn tất"), lines)


def _folder(data: Path | None) -> Path:
    """A folder of the demo's own. Raises InvalidRequest where `data` holds something."""
    if data is None:
        return Path(tempfile.mkdtemp(prefix="lgsp-demo-"))
    folder = data.expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise InvalidRequest(
            Text(
                f"--data: {folder} holds something already; the demo wants a new or empty folder",
                f"--data: {folder} đã có dữ liệu; bản trình diễn cần thư mục mới hoặc trống",
            )
        )
    return folder


def _zipped(folder: Path) -> bytes:
    """The contract's files, as an integrator sends them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                archive.write(file, file.name)
    return content.getvalue()


def _by_class(register: Register) -> dict[str, int]:
    return {error_class.value: len(register.wrong[error_class]) for error_class in ErrorClass}


def _records(tale: Tale, kind: str, most: int) -> httpx.Response:
    """What a subscriber gets, byte by byte; without an acknowledgement the same comes again."""
    path = f"/v1/subscriptions/{tale.subscription}/records"
    return tale.reader.send("GET", path, params={"max": most}, headers={"Accept": kind})


def _pull_status(tale: Tale) -> int:
    try:
        return _records(tale, NDJSON, 1).status_code
    except ApiError as refusal:
        return refusal.status


def _withheld_values(tale: Tale, keys: Sequence[str]) -> list[str]:
    """Values that these residents have in fields that weren't granted, long enough not to occur by chance."""
    query = "SELECT phone, email, household_number, residence_record_number FROM resident_register WHERE identity_number = ANY(%s)"
    with psycopg.connect(tale.police.dsn) as source:
        rows = source.execute(query, [list(keys)]).fetchall()
    return sorted({value for row in rows for value in row if value is not None})


def _registry_fields(tale: Tale) -> list[str]:
    """Fields of the view's schema, as the registry's own API gives it."""
    major, name = tale.contract.major, CONTRACT.replace("/", ".")
    subject = f"view.{name}.v{major}.{VIEW}-value"
    credentials = (tale.reader_credentials.client_id, tale.reader_credentials.client_secret)
    answer = httpx.get(f"{tale.stage.registry_url}/subjects/{subject}/versions/latest", auth=credentials)
    answer.raise_for_status()
    return [field["name"] for field in json.loads(answer.json()["schema"])["fields"]]


def _open_entries(tale: Tale) -> list[Mapping[str, Any]]:
    """Every open quarantine entry of the contract, page after page."""
    entries: list[Mapping[str, Any]] = []
    query: dict[str, Any] = {"contract": CONTRACT, "state": "open", "limit": 1_000}
    while True:
        page = tale.owner.quarantine(**query)
        entries += page["items"]
        if page.get("next") is None:
            return entries
        query["after"] = page["next"]


def _account_of(tale: Tale) -> Mapping[str, Any]:
    accounts = tale.owner.account(CONTRACT)["items"]
    return next(one for one in accounts if one["subscription"] == tale.subscription)


def _right_residents(tale: Tale, count: int) -> list[tuple[int, str]]:
    """Residents of the register that nothing is wrong about, spread over it: id and identity number."""
    wrong = [resident for residents in tale.register.wrong.values() for resident in residents]
    query = (
        "SELECT id, identity_number FROM resident_register WHERE NOT id = ANY(%s) AND full_name NOT LIKE 'Nguyễn Thị Đổi%%' "
        "ORDER BY md5(id::text) LIMIT %s"
    )
    with psycopg.connect(tale.police.dsn) as source:
        return [(int(resident), str(key)) for resident, key in source.execute(query, [wrong, count])]


def _in_words(turn: int) -> str:
    """A name that no other turn has."""
    letters = "ABCDEGHIKLMNOPQRSTUVXY"
    return letters[turn // len(letters)] + letters[turn % len(letters)]


def _count(sink: psycopg.Connection) -> int:
    if sink.execute("SELECT to_regclass('residents')").fetchone() == (None,):
        return 0
    row = sink.execute("SELECT count(*) FROM residents").fetchone()
    assert row is not None
    return int(row[0])


def _name_of(sink: psycopg.Connection, key: str) -> str | None:
    row = sink.execute("SELECT full_name FROM residents WHERE identity_number = %s", [key]).fetchone()
    return None if row is None else str(row[0])


def _digest(database: psycopg.Connection, table: str, where: str, values: Sequence[object]) -> tuple[int, str]:
    """Rows and one digest over the granted fields, ordered by key."""
    row = database.execute(
        f"SELECT count(*), md5(string_agg(md5(identity_number || full_name || birth_date || birth_date_precision || sex), "  # noqa: S608
        f"'' ORDER BY identity_number)) FROM {table} WHERE {where}",
        values,
    ).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
