"""From one agency's table through the real bus into another agency's table, and back to order after whatever happens."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg.types.json import Jsonb

from bus.client import ApiError
from bus.errors import GrantEnded
from connectors import runner
from connectors.state import State
from tests.running import Running, resident

FIELDS = list(resident(0))
NESTED = ("father", "children")


@dataclass
class Agencies:
    """Both agencies' databases (one server, two databases would show nothing more) and a folder of definitions."""

    bus: Running
    db: psycopg.Connection
    dsn: str
    folder: Path
    events: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)

    def source(self, name: str = "police", **changed: Any) -> Path:
        return self._write(
            name,
            "publisher",
            {
                "kind": "source",
                "contract": self.bus.contract,
                "table": "register",
                "key": "identity_number",
                "watermark": "updated_at",
                "columns": {one: one for one in FIELDS},
                "polling": {"every_ms": 50, "scan_every_s": 0.5, "rejected_every_s": 0.2},
                "batch": {"records": 200},
            }
            | changed,
        )

    def sink(self, subscription: str, name: str = "justice", **changed: Any) -> Path:
        return self._write(
            name,
            "reader",
            {
                "kind": "sink",
                "subscription": subscription,
                "table": "citizens",
                "key": "identity_number",
                "create_table": True,
                "polling": {"wait_ms": 1_000},
            }
            | changed,
        )

    def _write(self, name: str, who: str, definition: dict[str, Any]) -> Path:
        credentials = self.bus.credentials[who]
        (self.folder / f"{who}.json").write_text(
            json.dumps({"client_id": credentials.client_id, "client_secret": credentials.client_secret})
        )
        (self.folder / "dsn").write_text(self.dsn)
        path = self.folder / f"{name}.yaml"
        bus = {"url": self.bus.url, "client_file": f"{who}.json"}
        path.write_text(yaml.safe_dump({"system": "postgres", "bus": bus, "dsn": {"file": "dsn"}} | definition))
        return path

    @contextmanager
    def running(self, *paths: Path) -> Iterator[None]:
        """Connectors in threads; their failures fail the test."""
        stop, failures = threading.Event(), []

        def run(path: Path) -> None:
            try:
                runner.run_once(path, stop, self.report(path.stem))
            except Exception as error:  # noqa: BLE001
                if not stop.is_set():
                    failures.append((path.stem, error))

        threads = [threading.Thread(target=run, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert not failures

    def report(self, name: str) -> Callable[[str, dict[str, Any]], None]:
        return lambda event, facts: self.events.setdefault(name, []).append((event, facts))

    def insert(self, *rows: tuple[int, dict[str, Any]]) -> None:
        columns = ", ".join(FIELDS)
        places = ", ".join(["%s"] * (1 + len(FIELDS)))
        with self.db.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO register (id, {columns}) VALUES ({places})",
                [[row, *(_adapted(name, values[name]) for name in FIELDS)] for row, values in rows],
            )

    def change(self, row: int, **values: Any) -> None:
        sets = ", ".join(f"{name} = %s" for name in values)
        self.db.execute(
            f"UPDATE register SET {sets}, updated_at = clock_timestamp() WHERE id = %s", [*values.values(), row]
        )

    def citizens(self) -> dict[str, str]:
        try:
            return dict(self.db.execute("SELECT identity_number, full_name FROM citizens").fetchall())
        except psycopg.errors.UndefinedTable:
            return {}


def _adapted(name: str, value: Any) -> Any:
    return Jsonb(value) if name in NESTED else value


@pytest.fixture
def agencies(bus: Running, postgres_dsn: str, tmp_path: Path) -> Iterator[Agencies]:
    types = {"updated_at": "timestamptz", "verified_on": "date", "father": "jsonb", "children": "jsonb"}
    with psycopg.connect(postgres_dsn, autocommit=True) as db:
        columns = ", ".join(f"{name} {types.get(name, 'text')}" for name in FIELDS)
        db.execute(f"CREATE TABLE register (id int PRIMARY KEY, {columns})")
        db.execute("CREATE INDEX ON register (identity_number)")
        yield Agencies(bus, db, postgres_dsn, tmp_path)


def until(condition: Callable[[], bool], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


NUMBERS = iter(range(1, 10**6, 10_000))  # residents of one test are nobody's in another: the bus is shared


def person(base: int, number: int, **changed: Any) -> dict[str, Any]:
    return resident(base + number, **changed)


def key(base: int, number: int) -> str:
    return str(resident(base + number)["identity_number"])


def test_a_table_arrives_with_everything_that_is_right_and_follows_every_change(agencies: Agencies) -> None:
    base = next(NUMBERS)
    good = [(n, person(base, n)) for n in range(1, 501)]
    wrong = [
        (901, person(base, 901, full_name=None)),
        (902, person(base, 902, birth_date="31/12/1990")),
        (903, person(base, 903, identity_number=None)),
        (904, person(base, 904)),
        (905, person(base, 904, full_name="Người Khác")),  # a number mistyped: two residents with one key
    ]
    agencies.insert(*good, *wrong)
    expected = {values["identity_number"]: values["full_name"] for _, values in good}
    subscription = agencies.bus.subscribe("identity")
    source, sink = agencies.source(), agencies.sink(subscription)
    with agencies.running(source, sink):
        until(lambda: agencies.citizens() == expected)
        until(lambda: State.peek(agencies.folder / "state" / "police.sqlite")["rejected"] == 5)

        agencies.change(1, full_name="Nguyễn Thị Đổi Tên")
        agencies.insert((501, person(base, 501)))
        agencies.db.execute("DELETE FROM register WHERE id = 2")
        agencies.change(3, identity_number=key(base, 777))  # the number itself was wrong
        expected |= {key(base, 1): "Nguyễn Thị Đổi Tên", key(base, 501): person(base, 501)["full_name"]}
        del expected[key(base, 2)]
        expected[key(base, 777)] = expected.pop(key(base, 3))
        until(lambda: agencies.citizens() == expected)

        agencies.change(901, full_name="Trần Thị Có Tên")
        agencies.change(902, birth_date="1990-12-31", birth_date_precision="day")
        agencies.change(903, identity_number=key(base, 903))
        agencies.change(905, identity_number=key(base, 905))  # its twin was never touched and is published too
        expected |= {
            key(base, 901): "Trần Thị Có Tên",
            key(base, 902): person(base, 902)["full_name"],
            key(base, 903): person(base, 903)["full_name"],
            key(base, 904): person(base, 904)["full_name"],
            key(base, 905): "Người Khác",
        }
        until(lambda: agencies.citizens() == expected)
        until(lambda: State.peek(agencies.folder / "state" / "police.sqlite")["rejected"] == 0)

        agencies.db.execute("UPDATE register SET full_name = 'Không Báo' WHERE id = 5")  # moves no watermark
        agencies.db.execute("DELETE FROM register WHERE id = 905")
        expected[key(base, 5)] = "Không Báo"
        del expected[key(base, 905)]
        until(lambda: agencies.citizens() == expected)


def test_a_source_that_has_lost_its_state_sends_nothing_new(agencies: Agencies) -> None:
    base = next(NUMBERS)
    agencies.insert(*((n, person(base, n)) for n in range(300)))
    subscription = agencies.bus.subscribe("identity", start="latest")
    with agencies.running(agencies.source(), agencies.sink(subscription)):
        until(lambda: len(agencies.citizens()) == 300)
    with agencies.running(agencies.source("again"), agencies.sink(subscription)):
        until(lambda: any(event == "following" for event, _ in agencies.events.get("again", [])))
        published = [facts for event, facts in agencies.events["again"] if event == "published"]
        agencies.change(1, full_name="Người Cuối")
        until(lambda: "Người Cuối" in agencies.citizens().values())
    assert sum(facts["accepted"] for facts in published) == 0
    assert sum(facts["duplicates"] for facts in published) == 300
    delivered = agencies.db.execute("SELECT delivered FROM lgsp_cursors").fetchone()
    assert delivered == (301,)


def test_deletions_while_nobody_looked_are_found_at_the_next_start(agencies: Agencies) -> None:
    base = next(NUMBERS)
    agencies.insert(*((n, person(base, n)) for n in range(20)))
    subscription = agencies.bus.subscribe("identity", start="latest")
    source, sink = agencies.source(), agencies.sink(subscription)
    with agencies.running(source, sink):
        until(lambda: len(agencies.citizens()) == 20)
    agencies.db.execute("DELETE FROM register WHERE id < 5")
    with agencies.running(source, sink):
        until(lambda: len(agencies.citizens()) == 15)


def test_fields_that_were_not_granted_are_not_in_the_table(agencies: Agencies) -> None:
    base = next(NUMBERS)
    agencies.insert((1, person(base, 1)))
    with agencies.running(agencies.source(), agencies.sink(agencies.bus.subscribe("identity", start="latest"))):
        until(lambda: len(agencies.citizens()) == 1)
    columns = agencies.db.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'citizens' ORDER BY 1"
    ).fetchall()
    assert [name for (name,) in columns] == [
        "birth_date",
        "birth_date_precision",
        "full_name",
        "identity_number",
        "sex",
    ]


def test_a_sink_ends_with_a_message_when_its_grant_ends(agencies: Agencies) -> None:
    base = next(NUMBERS)
    agencies.insert((1, person(base, 1)))
    subscription = agencies.bus.subscribe("identity", start="latest")
    sink = agencies.sink(subscription)
    with agencies.running(agencies.source()):
        ended: list[BaseException] = []

        def run() -> None:
            try:
                runner.supervise(sink, threading.Event(), agencies.report("justice"), again=runner.retriable)
            except GrantEnded as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        until(lambda: len(agencies.citizens()) == 1)
        agencies.bus["owner"].decide_subscription(subscription, "revoke", reason="Hết căn cứ")
        revoked = time.monotonic()
        thread.join(timeout=10)
        assert time.monotonic() - revoked < 5
        assert len(ended) == 1
        assert subscription in str(ended[0])
        agencies.insert((2, person(base, 2)))
        until(lambda: ("upsert", 1) in [(f.get("op"), f.get("accepted")) for _, f in agencies.events["police"][-1:]])
    assert len(agencies.citizens()) == 1


def test_a_sink_that_waits_goes_on_when_the_grant_is_resumed(agencies: Agencies) -> None:
    base = next(NUMBERS)
    agencies.insert((1, person(base, 1)))
    subscription = agencies.bus.subscribe("identity", start="latest")
    with agencies.running(agencies.source(), agencies.sink(subscription, when_grant_ends="wait")):
        until(lambda: len(agencies.citizens()) == 1)
        agencies.bus["owner"].decide_subscription(subscription, "suspend", reason="Rà soát")
        until(lambda: any(event == "grant_ended" for event, _ in agencies.events["justice"]))
        agencies.insert((2, person(base, 2)))
        assert len(agencies.citizens()) == 1
        agencies.bus["owner"].decide_subscription(subscription, "resume")
        until(lambda: len(agencies.citizens()) == 2)


def test_a_contract_that_is_not_there_is_an_answer_not_a_loop(agencies: Agencies) -> None:
    agencies.insert((1, person(next(NUMBERS), 1)))
    with pytest.raises(ApiError) as caught:
        runner.supervise(
            agencies.source(contract="no/such"), threading.Event(), agencies.report("x"), again=runner.retriable
        )
    assert caught.value.status == 404


@pytest.mark.fault
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_has_effect_twice(agencies: Agencies, seed: int) -> None:
    base, chance = next(NUMBERS), random.Random(seed)
    agencies.insert(*((n, person(base, n)) for n in range(400)))
    subscription = agencies.bus.subscribe("identity", start="latest")
    paths = [
        agencies.source(batch={"records": 20}, polling={"every_ms": 20, "scan_every_s": 0.5}),
        agencies.sink(subscription, polling={"max": 30, "wait_ms": 200}),
    ]
    processes: dict[Path, subprocess.Popen[bytes]] = {}

    def start(path: Path) -> None:
        command = [sys.executable, "-c", "from connectors.cli import app; app()", "run", str(path)]
        with (agencies.folder / f"{path.stem}.log").open("ab") as log:
            processes[path] = subprocess.Popen(command, stdout=log, stderr=log)

    try:
        for path in paths:
            start(path)
        watched = False
        for turn in range(8):
            time.sleep(chance.uniform(0.5, 2.5))  # the moment of the kill is what is drawn, not waited for
            for n in chance.sample(range(400), 10):
                agencies.change(n, full_name=f"Nguyễn Thị Lượt {turn} {n}")
            agencies.db.execute("DELETE FROM register WHERE id = %s", [chance.randrange(400)])
            if not watched and agencies.citizens():
                _watch_effects(agencies.db)
                watched = True
            path = chance.choice(paths)
            processes[path].send_signal(signal.SIGKILL)
            processes[path].wait()
            start(path)
        expected = dict(agencies.db.execute("SELECT identity_number, full_name FROM register").fetchall())
        until(lambda: agencies.citizens() == expected, within_s=60)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
    assert [process.returncode for process in processes.values()] == [0, 0]


def _watch_effects(db: psycopg.Connection) -> None:
    """A record that is written again as it is would have had its effect twice."""
    db.execute(
        "CREATE FUNCTION refuse_repeat() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW IS NOT DISTINCT FROM OLD THEN RAISE EXCEPTION 'twice'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER no_repeat BEFORE UPDATE ON citizens FOR EACH ROW EXECUTE FUNCTION refuse_repeat()"
    )
