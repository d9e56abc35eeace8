"""The steps of the demo, in the order in which they happen. Each does one thing as a user would, checks what came of it, shows
it, and returns what it saw; PromiseBroken where something didn't hold.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import psycopg

import bus
from bus.client import ARROW, AVRO, NDJSON, ClientCredentials
from bus.demo import tale as look
from bus.demo.residents import correct, delete_resident, make_register, rename_resident
from bus.demo.screen import Screen, number, seconds
from bus.demo.stage import descendants, expect, left_running, start_agency, start_bus, start_connector
from bus.demo.tale import CONTRACT, VIEW, Published, Tale, by_class
from bus.embedded import jars
from bus.settings import Settings
from registry.contract import load_folder
from registry.errors import ERROR_CLASS_NAMES, Text

Facts = dict[str, Any]

CONTRACT_FOLDER = Path(bus.__file__).parent.parent / "contracts" / CONTRACT
JUSTICE, OPERATOR = "H27.16", "H27.11"  # codes of the form that Quyết định 20/2020/QĐ-TTg gives; the demo's own

UPDATES = 20
START_S = 120.0  # a slow disk and a busy machine included
ONE_S = 30.0  # one change from table to table; a second is usual
PER_RECORD_S = 0.01  # added to the patience of what takes longer the more records there are
REVOKED_WITHIN_S = 5.0  # what the bus promises
SILENCE_S = 1.0  # how long nothing must arrive after a revocation, once the bus has the change
SAMPLED_RESIDENTS = 150
NEW_NAMES = "Nguyễn Thị Tên Mới"
SINK_ENDED = 3  # exit code of a connector whose grant has ended: not allowed (any more)


def start(screen: Screen, stack: ExitStack, folder: Path, records: int, seed: int) -> tuple[Tale, Facts]:
    """The bus and both agencies' databases at once; then the cast: agencies, clients, a legal basis."""
    contract = load_folder(CONTRACT_FOLDER)
    police_name = Text("Hà Tĩnh Provincial Police", "Công an tỉnh Hà Tĩnh")
    justice_name = Text("Hà Tĩnh Department of Justice", "Sở Tư pháp tỉnh Hà Tĩnh")
    operator_name = Text("Department of Science and Technology", "Sở Khoa học và Công nghệ tỉnh Hà Tĩnh")
    with screen.bar(Text("Kafka, fetched once", "tải Kafka, một lần"), 0, in_bytes=True) as advance:
        jars.ensure(Settings().cache, lambda done, total, _name: advance(done, total))
    began = time.monotonic()
    with (
        screen.bar(Text("a bus and databases", "trục dữ liệu và cơ sở dữ liệu")),
        ThreadPoolExecutor(2) as pool,
    ):
        agencies = [
            pool.submit(start_agency, folder / "police", stack, contract.owner, police_name),
            pool.submit(start_agency, folder / "justice", stack, JUSTICE, justice_name),
        ]
        stage = start_bus(folder, stack, START_S)
        ready_s = time.monotonic() - began
        police, justice = (agency.result() for agency in agencies)
    screen.fact(
        Text(
            f"lgsp up is ready after {seconds(ready_s).en}: PostgreSQL, a secured Kafka, gateway, registry",
            f"lgsp up sẵn sàng sau {seconds(ready_s).vi}: PostgreSQL, Kafka có bảo mật, cổng, registry",
        )
    )
    admin = stage.client(ClientCredentials.from_file(folder / "bus" / "admin.json"))
    for code, name in ((police.code, police_name), (JUSTICE, justice_name), (OPERATOR, operator_name)):
        admin.create_agency(code, name.vi, name.en)
    reader = admin.create_client(JUSTICE, "khai thác dữ liệu", ["subscriber"])
    tale = Tale(
        screen=screen,
        stage=stage,
        contract=contract,
        police=police,
        justice=justice,
        today=datetime.now(UTC),
        records=records,
        seed=seed,
        owner=stage.client(admin.create_client(police.code, "chủ quản dữ liệu", ["owner"])),
        integrator=stage.client(admin.create_client(OPERATOR, "tích hợp dữ liệu", ["integrator"])),
        reader=stage.client(reader),
        publisher_credentials=admin.create_client(police.code, "cung cấp dữ liệu", ["publisher"]),
        reader_credentials=reader,
        legal_basis=admin.create_legal_basis("60/2014/QH13", "Điều 59", "Luật Hộ tịch", "Quốc hội", "2016-01-01"),
    )
    screen.fact(
        Text(
            f"{police_name.en} ({police.code}), {justice_name.en} ({JUSTICE}): each with a PostgreSQL of its own",
            f"{police_name.vi} ({police.code}), {justice_name.vi} ({JUSTICE}): mỗi cơ quan một PostgreSQL riêng",
        )
    )
    return tale, {"ready_s": round(ready_s, 2), "agencies": [police.code, JUSTICE, OPERATOR]}


def register(tale: Tale) -> Facts:
    """The police's register, made from the seed."""
    began = time.monotonic()
    with tale.screen.bar(Text("residents from a seed", "tạo dữ liệu công dân"), tale.records) as advance:
        tale.register = make_register(
            tale.police.dsn,
            tale.records,
            tale.seed,
            today=tale.today.date(),
            progress=lambda done: advance(done, tale.records),
        )
    took = time.monotonic() - began
    residents, wrong = number(tale.records), number(tale.register.rejected)
    tale.screen.fact(
        Text(
            f"{residents.en} made-up residents of 69 communes, {wrong.en} of them wrong in eight ways ({seconds(took).en})",
            f"{residents.vi} công dân giả lập của 69 xã, phường; {wrong.vi} bản ghi sai theo tám kiểu ({seconds(took).vi})",
        )
    )
    return {"residents": tale.records, "wrong": by_class(tale.register), "seconds": round(took, 2)}


def publish(tale: Tale) -> Facts:
    """An integrator submits the contract, its owner approves, the police's connector publishes what the register holds."""
    submitted = tale.integrator.register_contract(zipped(CONTRACT_FOLDER))
    version = submitted["version"]
    approved = tale.owner.approve_contract(CONTRACT, version)
    expect(Text("an approved contract is active", "hợp đồng được duyệt có hiệu lực"), approved["state"], "active")
    tale.screen.fact(
        Text(
            f"contract {CONTRACT} {version}: submitted by an integrator, approved by the data owner",
            f"hợp đồng {CONTRACT} {version}: đơn vị tích hợp gửi, chủ quản dữ liệu phê duyệt",
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
    events = start_connector(tale.stage, tale.police, "source", tale.publisher_credentials, definition)
    published = tale.published = Published(events)
    with tale.screen.bar(Text("publishing", "công bố"), tale.records) as advance:

        def done() -> bool:
            advance(published.look().counts["records"], tale.records)
            return published.snapshot_done

        promise = Text("the register gets published", "dữ liệu được công bố")
        tale.stage.wait_until(promise, done, START_S + PER_RECORD_S * tale.records)
    took = time.monotonic() - began
    promise = Text("every record is accepted, or rejected in its class", "mỗi bản ghi được nhận hoặc loại đúng lý do")
    expect(promise, dict(published.rejected), by_class(tale.register))
    expect(promise, published.counts["accepted"], tale.records - tale.register.rejected)
    accepted, refused = number(published.counts["accepted"]), number(tale.register.rejected)
    tale.screen.fact(
        Text(
            f"{accepted.en} records published by the PostgreSQL connector, {refused.en} rejected ({seconds(took).en})",
            f"kết nối PostgreSQL công bố {accepted.vi} bản ghi, {refused.vi} bị loại ({seconds(took).vi})",
        )
    )
    counts = {"accepted": published.counts["accepted"], "rejected": dict(published.rejected)}
    return {"contract": CONTRACT, "version": version, **counts, "seconds": round(took, 2)}


def subscribe(tale: Tale) -> Facts:
    """The justice department asks for a view; before the owner's approval it gets nothing."""
    asked = tale.reader.request_subscription(
        CONTRACT,
        VIEW,
        purpose="Xác minh nhân thân khi đăng ký hộ tịch",
        legal_basis=tale.legal_basis,
        procedure="1.001193",
        expires_at=(tale.today + timedelta(days=365)).isoformat(),
    )
    tale.subscription = asked["id"]
    expect(Text("nothing leaves before approval", "chưa duyệt thì không giao dữ liệu"), look.pull_status(tale), 403)
    approved = tale.owner.decide_subscription(tale.subscription, "approve")
    expect(Text("an approved request is active", "yêu cầu được duyệt có hiệu lực"), approved["state"], "active")
    tale.screen.fact(
        Text(
            f"view “{VIEW}” asked for with purpose, legal basis, procedure; until approved, a pull is refused (403)",
            f"đề nghị khung nhìn “{VIEW}”: mục đích, căn cứ pháp lý, thủ tục; chưa duyệt thì từ chối giao (403)",
        )
    )
    tale.screen.fact(Text("approved by the data owner", "chủ quản dữ liệu phê duyệt"))
    return {"subscription": tale.subscription, "view": VIEW, "state": approved["state"], "status_before": 403}


def fields(tale: Tale) -> Facts:
    """The delivered bytes in each form, and the view's schema in the registry: the granted fields and no others."""
    granted = look.granted_fields(tale)
    withheld = sorted(set(tale.contract.fields) - set(granted))
    promise = Text("the view's records can be pulled", "bản ghi của khung nhìn sẵn sàng để giao")
    within_s = START_S + PER_RECORD_S * tale.records
    tale.stage.wait_until(promise, lambda: look.records(tale, NDJSON, 1).content, within_s)
    bodies = {kind: look.records(tale, kind, 10_000).content for kind in (NDJSON, AVRO, ARROW)}
    lines = [json.loads(line) for line in bodies[NDJSON].splitlines()]

    promise = Text("the delivered bytes have the granted fields only", "dữ liệu giao chỉ có các trường được cấp")
    expect(promise, {name for line in lines for name in line["value"]}, set(granted))
    expect(promise, avro_fields(bodies[AVRO]), granted)
    values = look.withheld_values(tale, [line["key"] for line in lines[:SAMPLED_RESIDENTS]])
    for kind, body in bodies.items():
        expect(promise, (kind, [name for name in withheld if f'"{name}"'.encode() in body]), (kind, []))
        expect(promise, (kind, sum(value.encode() in body for value in values)), (kind, 0))
    promise = Text("the view's schema has the granted fields only", "lược đồ khung nhìn chỉ có các trường được cấp")
    expect(promise, look.registry_fields(tale), granted)

    shown, records = ", ".join(granted), number(len(lines))
    tale.screen.fact(Text(f"granted: {shown}", f"được cấp: {shown}"))
    tale.screen.fact(
        Text(
            f"the other {len(withheld)} fields are not in the bytes of {records.en} records (JSON, Avro, Arrow), neither their "
            f"names nor any of {len(values)} sampled values; nor in the view's schema",
            f"{len(withheld)} trường còn lại không có trong dữ liệu của {records.vi} bản ghi (JSON, Avro, Arrow), cả tên lẫn "
            f"{len(values)} giá trị mẫu; lược đồ của khung nhìn cũng không có",
        )
    )
    return {"granted": granted, "withheld": withheld, "records": len(lines), "sampled_values": len(values)}


def deliver(tale: Tale) -> Facts:
    """The justice department's connector fills its own table, until it equals the right part of the register."""
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
    promise = Text("every accepted record arrives, once", "mọi bản ghi hợp lệ đến nơi đúng một lần")
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink, psycopg.connect(tale.police.dsn) as source:
        with tale.screen.bar(Text("delivering", "giao dữ liệu"), expected) as advance:

            def arrived() -> bool:
                found = look.count(sink)
                advance(found, expected)
                return found >= expected

            tale.stage.wait_until(promise, arrived, START_S + PER_RECORD_S * tale.records)
        took = time.monotonic() - began
        expect(promise, look.count(sink), expected)
        promise = Text("both tables say the same", "hai bảng có cùng nội dung")
        expect(
            promise,
            look.digest(sink, "residents"),
            look.digest(source, "resident_register", look.wrong_residents(tale)),
        )
    tale.screen.fact(
        Text(
            f"{number(expected).en} residents in the department's own table, equal to the source ({seconds(took).en})",
            f"{number(expected).vi} công dân trong bảng của Sở Tư pháp, trùng khớp với gốc ({seconds(took).vi})",
        )
    )
    return {"arrived": expected, "seconds": round(took, 2)}


def quarantine(tale: Tale) -> Facts:
    """What was rejected, by class, as the owner of the data sees it."""
    entries = look.open_entries(tale)
    found = Counter(str(entry["class"]) for entry in entries)
    promise = Text("every wrong record is quarantined in its class", "mọi bản ghi lỗi bị cách ly đúng loại")
    expect(promise, dict(found), by_class(tale.register))
    rows = []
    for error_class, text in ERROR_CLASS_NAMES.items():
        rules = Counter(entry["code"] for entry in entries if entry["class"] == error_class)
        reasons = "\n".join(code if len(rules) == 1 else f"{code} {count}" for code, count in rules.most_common())
        rows.append((f"{text.vi}\n{text.en}", found[error_class], reasons))
    columns = (Text("class", "loại lỗi"), Text("records", "bản ghi"), Text("by rule", "theo quy tắc"))
    tale.screen.table(columns, rows, numbers=(1,))
    tale.screen.fact(
        Text(
            "each with its reason and place, waiting to be corrected at the source; none has reached the department",
            "mỗi bản ghi có lý do và vị trí lỗi, chờ đính chính tại gốc; không bản ghi nào đến Sở Tư pháp",
        )
    )
    return {"open": len(entries), "by_class": dict(found)}


def update(tale: Tale) -> Facts:
    """Residents take new names at the source, one after the other; how long until the commit at the sink."""
    times = []
    promise = Text("a change at the source reaches the sink", "thay đổi tại gốc đến bên nhận")
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        for turn, (resident, key) in enumerate(look.right_residents(tale, UPDATES, not_named=f"{NEW_NAMES}%")):
            name = f"{NEW_NAMES} {chr(ord('A') + turn)}"
            rename_resident(tale.police.dsn, resident, name)
            began = time.monotonic()
            tale.stage.wait_until(promise, arrival_of(sink, key, name), ONE_S)
            times.append(time.monotonic() - began)
    middle, worst = statistics.median(times), max(times)
    tale.screen.fact(
        Text(
            f"{UPDATES} changes, commit to commit: median {seconds(middle).en}, slowest {seconds(worst).en}",
            f"{UPDATES} thay đổi, từ lúc ghi ở gốc đến lúc ghi ở bên nhận: trung vị {seconds(middle).vi}, chậm nhất "
            f"{seconds(worst).vi}",
        )
    )
    return {"updates": UPDATES, "median_s": round(middle, 3), "max_s": round(worst, 3)}


def delete(tale: Tale) -> Facts:
    """A resident leaves the register."""
    [(resident, key)] = look.right_residents(tale, 1, not_named=f"{NEW_NAMES}%")
    promise = Text("a deletion at the source reaches the sink", "xóa tại gốc đến bên nhận")
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        before = look.count(sink)
        delete_resident(tale.police.dsn, resident)
        began = time.monotonic()
        tale.stage.wait_until(promise, arrival_of(sink, key, None), ONE_S)
        took = time.monotonic() - began
        expect(promise, look.count(sink), before - 1)
    tale.screen.fact(
        Text(f"gone at the department too, after {seconds(took).en}", f"bên nhận cũng xóa, sau {seconds(took).vi}")
    )
    return {"seconds": round(took, 3), "left": before - 1}


def mend(tale: Tale) -> Facts:
    """One resident of each class is put right at the source: the record arrives, its quarantine entry closes."""
    before = len(look.open_entries(tale))
    wrong = [residents[0] for residents in tale.register.wrong.values() if residents]
    mended = sorted({row for resident in wrong for row in correct(tale.police.dsn, resident)})
    began = time.monotonic()
    with psycopg.connect(tale.police.dsn) as source:
        query = "SELECT identity_number, full_name FROM resident_register WHERE id = ANY(%s)"
        names: dict[str, str] = dict(source.execute(query, [mended]).fetchall())
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:

        def arrived() -> bool:
            query = "SELECT identity_number, full_name FROM residents WHERE identity_number = ANY(%s)"
            return dict(sink.execute(query, [list(names)]).fetchall()) == names

        tale.stage.wait_until(Text("corrected records arrive", "bản ghi đã đính chính đến nơi"), arrived, ONE_S)
    took, left = time.monotonic() - began, before - len(mended)
    promise = Text("their quarantine entries close, and no others", "các mục cách ly đó được đóng, mục khác thì không")
    tale.stage.wait_until(promise, lambda: len(look.open_entries(tale)) <= left, ONE_S)
    expect(promise, len(look.open_entries(tale)), left)
    tale.screen.fact(
        Text(
            f"{len(mended)} records, of all eight classes, put right at the source: they arrived after {seconds(took).en}, and "
            f"their quarantine entries closed by themselves ({number(left).en} are left)",
            f"{len(mended)} bản ghi thuộc cả tám loại được đính chính tại gốc: đến nơi sau {seconds(took).vi}, mục cách ly "
            f"tự đóng (còn {number(left).vi})",
        )
    )
    return {"corrected": len(mended), "seconds": round(took, 3), "open_after": left}


def revoke(tale: Tale) -> Facts:
    """The grant ends; what changes at the source afterwards is published, and nothing of it arrives."""
    assert tale.published is not None
    published = tale.published
    promise = Text("everything was delivered before the revocation", "đã giao hết trước khi thu hồi")
    tale.stage.wait_until(promise, lambda: look.account(tale)["pending"] == 0, ONE_S)
    sink_connector = tale.stage.children.pop("sink")  # it ends by itself when its grant does
    tale.owner.decide_subscription(tale.subscription, "revoke", reason="Kết thúc đợt khai thác")
    began = time.monotonic()
    promise = Text("after a revocation a pull is refused", "sau thu hồi, lượt nhận bị từ chối")
    tale.stage.wait_until(promise, lambda: look.pull_status(tale) == 403, REVOKED_WITHIN_S)
    took = time.monotonic() - began
    promise = Text("the connector of an ended grant stops", "kết nối có quyền bị thu hồi thì dừng")
    tale.stage.wait_until(promise, lambda: not sink_connector.alive, REVOKED_WITHIN_S + ONE_S)
    expect(promise, sink_connector.exit_code, SINK_ENDED)

    [(resident, key)] = look.right_residents(tale, 1, not_named=f"{NEW_NAMES}%")
    batches = published.look().batches
    with psycopg.connect(tale.justice.dsn, autocommit=True) as sink:
        before = (look.count(sink), look.name_of(sink, key))
        rename_resident(tale.police.dsn, resident, f"{NEW_NAMES} Z")
        promise = Text("the police go on publishing", "Công an tỉnh vẫn công bố")
        tale.stage.wait_until(promise, lambda: published.look().batches > batches, ONE_S)
        time.sleep(SILENCE_S)
        promise = Text("nothing arrives after the revocation", "sau thu hồi không còn dữ liệu nào đến")
        expect(promise, (look.count(sink), look.name_of(sink, key)), before)
    tale.screen.fact(
        Text(
            f"revoked by the data owner: a pull is refused (403) after {seconds(took).en}, the connector stops by itself",
            f"chủ quản thu hồi: lượt nhận bị từ chối (403) sau {seconds(took).vi}, kết nối tự dừng",
        )
    )
    tale.screen.fact(
        Text(
            "a later change is published, and does not arrive",
            "thay đổi sau đó vẫn được công bố, nhưng không đến bên nhận",
        )
    )
    return {"refused_after_s": round(took, 3), "connector_exit_code": SINK_ENDED, "arrived_after": 0}


def balance(tale: Tale) -> Facts:
    """The account of the subscription, beside what the connector's own reports add up to."""
    assert tale.published is not None
    names = {
        "published": Text("published", "đã công bố"),
        "delivered": Text("delivered", "đã giao"),
        "filtered": Text("filtered", "đã lọc"),
        "duplicate": Text("duplicate", "trùng lặp"),
        "quarantined": Text("quarantined", "cách ly"),
        "pending": Text("pending", "đang chờ"),
    }
    account = {name: value for name, value in look.account(tale).items() if name in names}
    promise = Text("the account balances", "đối soát cân bằng")
    expect(promise, sum(account.values()) - account["published"], account["published"])
    promise = Text("the account holds what the publisher has sent", "đối soát khớp với những gì đã công bố")
    expect(promise, account["published"], tale.published.look().counts["records"])
    expect(promise, account["quarantined"], sum(tale.published.rejected.values()))
    signs = {"published": "", "delivered": "= "}
    row = [f"{signs.get(name, '+ ')}{number(account[name]).vi}" for name in names]
    tale.screen.table(tuple(names.values()), [row], numbers=range(len(names)))
    tale.screen.fact(
        Text(
            "it balances exactly, and agrees with the publisher's receipts; what came after the revocation is filtered",
            "khớp tuyệt đối, đúng với biên nhận của bên công bố; phần sau khi thu hồi nằm ở “đã lọc”",
        )
    )
    return account


def stop(screen: Screen, stack: ExitStack, tale: Tale) -> Facts:
    """Everything ends; nothing of it is left."""
    running = descendants()
    began = time.monotonic()
    with screen.bar(Text("stopping everything", "dừng toàn bộ")):
        stack.close()
    took = time.monotonic() - began
    expect(Text("nothing is left running", "không còn tiến trình nào chạy"), left_running(running, 5.0), [])
    expect(Text("lgsp up ends in order", "lgsp up dừng đúng cách"), tale.stage.bus.exit_code, 0)
    screen.fact(
        Text(
            f"{len(running)} processes stopped in {seconds(took).en}, nothing is left running",
            f"{len(running)} tiến trình đã dừng trong {seconds(took).vi}, không còn tiến trình nào chạy",
        )
    )
    return {"processes": len(running), "left_running": 0, "seconds": round(took, 2)}


Step = Callable[[Tale], Facts]
STEPS: Sequence[tuple[str, Text, Step]] = (
    ("register", Text("The police's register", "Cơ sở dữ liệu của Công an tỉnh"), register),
    ("publish", Text("Contract and publication", "Hợp đồng dữ liệu và công bố"), publish),
    ("subscribe", Text("Request and approval", "Đăng ký khai thác và phê duyệt"), subscribe),
    ("fields", Text("Only what was granted", "Chỉ những gì được cấp"), fields),
    ("deliver", Text("Into the department's database", "Vào cơ sở dữ liệu của Sở Tư pháp"), deliver),
    ("quarantine", Text("What is wrong stays outside", "Bản ghi lỗi bị cách ly"), quarantine),
    ("update", Text("A change at the source", "Thay đổi tại gốc"), update),
    ("delete", Text("A deletion at the source", "Xóa tại gốc"), delete),
    ("correct", Text("Corrected at the source", "Đính chính tại gốc"), mend),
    ("revoke", Text("Revocation", "Thu hồi quyền khai thác"), revoke),
    ("account", Text("The account", "Đối soát"), balance),
)


def zipped(folder: Path) -> bytes:
    """A contract's files, as an integrator sends them."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            if file.is_file():
                archive.write(file, file.name)
    return content.getvalue()


def avro_fields(body: bytes) -> list[str]:
    """The fields of `value` in the schema that an Avro container brings along."""
    schema: Any = fastavro.reader(io.BytesIO(body)).writer_schema
    column = next(one for one in schema["fields"] if one["name"] == "value")
    value: Mapping[str, Any] = next(branch for branch in column["type"] if branch != "null")
    return [str(one["name"]) for one in value["fields"]]


def arrival_of(sink: psycopg.Connection, key: str, name: str | None) -> Callable[[], bool]:
    """Whether the justice department has `name` for the identity number by now; None: whether it has nobody."""
    return lambda: look.name_of(sink, key) == name
