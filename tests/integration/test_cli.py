"""`lgsp` against a bus that `lgsp up` runs: as processes, as a person or a script would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bus.cli import assemble
from bus.commands.output import Exit
from bus.embedded.kafka import KafkaAddress
from bus.embedded.ports import free_port
from tests.running import OWNER, READER, RESIDENT, contract_zip, resident
from tests.servers import sqlalchemy_url

LGSP = [str(Path(sys.executable).with_name("lgsp"))]
CONTRACT = "cli/resident"


@dataclass
class Shell:
    """A folder, an environment, and the commands that are run there."""

    folder: Path
    environment: Mapping[str, str]

    def run(
        self, *command: str, who: str | None = None, stdin: bytes | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        given = ["--as", str(self.folder / f"{who}.json")] if who else []
        return subprocess.run(
            [*LGSP, *command, *given],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=60,
        )

    def facts(self, *command: str, who: str, exit_code: int = Exit.OK, stdin: bytes | None = None) -> Any:
        """What `--json` says; the whole of stdout is that one document. In this process, since many processes take long."""
        as_who = ["--as", str(self.folder / f"{who}.json")]
        with contextlib.chdir(self.folder):
            ran = CliRunner().invoke(assemble(), [*command, "--json", *as_who], input=stdin, env=dict(self.environment))
        assert ran.exit_code == exit_code, ran.output
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def shell(kafka: KafkaAddress, postgres_module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A bus run by `lgsp up` on the session's Kafka and PostgreSQL, with its people and a contract in force."""
    folder = tmp_path_factory.mktemp("cli")
    port, registry_port = free_port(), free_port()
    environment = os.environ | {
        "LGSP_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "LGSP_KAFKA_USERNAME": kafka.username,
        "LGSP_KAFKA_PASSWORD": kafka.password,
        "LGSP_DATABASE_URL": sqlalchemy_url(postgres_module_dsn),
        "LGSP_URL": f"http://127.0.0.1:{port}",
        "LGSP_REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
        "LGSP_LANG": "en",
    }
    command = [*LGSP, "up", "--data", "data", "--port", str(port), "--registry-port", str(registry_port), "--json"]
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log)
    try:
        assert up.stdout is not None
        assert json.loads(up.stdout.readline())["ready"] is True
        shell = Shell(folder, environment)
        _people(shell)
        yield shell
    finally:
        up.send_signal(signal.SIGTERM)
        assert up.wait(30) == Exit.OK, (folder / "up.log").read_text()
        assert up.stdout is not None
        up.stdout.close()


def _people(shell: Shell) -> None:
    (shell.folder / "data" / "admin.json").rename(shell.folder / "admin.json")
    shell.facts("agency", "create", OWNER, "--name-vi", "Công an tỉnh", "--name-en", "Police", who="admin")
    communes = ("--attribute", "communes=18073,18076")
    shell.facts("agency", "create", READER, "--name-vi", "Sở Tư pháp", "--name-en", "Justice", *communes, who="admin")
    people = {"integrator": OWNER, "owner": OWNER, "publisher": OWNER, "subscriber": READER}
    for role, agency in people.items():
        shell.facts("client", "create", agency, role, "--role", role, "--save", f"{role}.json", who="admin")
    (shell.folder / "contract.zip").write_bytes(contract_zip(CONTRACT))
    shell.facts("contract", "register", "contract.zip", who="integrator")
    shell.facts("contract", "approve", CONTRACT, "1.0.0", who="owner")


def subscribe(shell: Shell, view: str) -> str:
    basis = shell.facts(
        "legal-basis", "create", "--number", "278/2025/NĐ-CP", "--article", "9", "--title", "Kết nối, chia sẻ dữ liệu",
        "--issuer", "Chính phủ", "--valid-from", "2025-01-01", who="owner",
    )  # fmt: skip
    asked = shell.facts(
        "subscription", "request", CONTRACT, view, "--purpose", "Xác minh nhân thân", "--legal-basis", basis["id"],
        "--days", "30", who="subscriber",
    )  # fmt: skip
    assert shell.facts("subscription", "approve", asked["id"], who="owner")["state"] == "active"
    return str(asked["id"])


def lines(*records: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_credentials_are_written_for_their_owner_alone(shell: Shell) -> None:
    assert (shell.folder / "publisher.json").stat().st_mode & 0o777 == 0o600
    again = ("client", "create", OWNER, "again", "--role", "publisher", "--save", "publisher.json")
    before = (shell.folder / "publisher.json").read_bytes()
    assert shell.facts(*again, who="admin", exit_code=Exit.MACHINE)["code"] == "file_error"
    assert (shell.folder / "publisher.json").read_bytes() == before
    refused = ("client", "create", OWNER, "refused", "--role", "publisher", "--save", "refused.json")
    shell.facts(*refused, who="owner", exit_code=Exit.FORBIDDEN)
    assert not (shell.folder / "refused.json").exists()


def test_a_record_goes_in_and_comes_out_and_is_acknowledged_once(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    sent = lines(resident(1), resident(2), resident(3, sex="male"))
    receipt = shell.facts("publish", CONTRACT, "-", who="publisher", exit_code=Exit.FAILED, stdin=sent)
    assert (receipt["records"], receipt["accepted"], len(receipt["rejected"])) == (3, 2, 1)
    assert receipt["rejected"][0]["index"] == 2
    first = shell.run("pull", subscription, "--wait-ms", "10000", "--ack", who="subscriber")
    got = [json.loads(line) for line in first.stdout.splitlines()]
    assert first.returncode == Exit.OK
    assert {one["key"] for one in got} <= {"042190000001", "042190000002"}
    while len(got) < 2:
        more = shell.facts("pull", subscription, "--wait-ms", "10000", "--ack", who="subscriber")
        got += more["items"]
    assert set(got[0]["value"]) == {"identity_number", "full_name", "birth_date", "birth_date_precision", "sex"}
    assert shell.facts("pull", subscription, who="subscriber")["items"] == []
    releases = shell.facts("audit", "releases", subscription, who="subscriber")
    assert sum(one["records"] for one in releases) == 2
    entries = shell.facts("quarantine", "list", "--contract", CONTRACT, "--class", "conflict", who="owner")
    assert entries[0]["id"]
    accounts = shell.facts("audit", "account", CONTRACT, who="owner")
    assert all(one["balanced"] for one in accounts)


def test_a_big_file_goes_in_batches_and_comes_out_whole(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    file, out = shell.folder / "residents.ndjson", shell.folder / "received.ndjson"
    file.write_bytes(lines(*(resident(number) for number in range(100_000, 112_000))))
    receipt = shell.facts("publish", CONTRACT, file.name, who="publisher")
    assert (receipt["accepted"], len(receipt["receipts"])) == (12_000, 2)
    keys: set[str] = set()
    deadline = time.monotonic() + 60
    while len([key for key in keys if key >= "042190100000"]) < 12_000 and time.monotonic() < deadline:
        pulled = shell.facts("pull", subscription, "--all", "--ack", "--out", out.name, who="subscriber")
        keys = {json.loads(line)["key"] for line in out.read_bytes().splitlines()}
        assert pulled["out"] == out.name
    assert len([key for key in keys if key >= "042190100000"]) == 12_000


def test_a_file_published_again_is_no_second_event(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    file = shell.folder / "twice.ndjson"
    file.write_bytes(lines(*(resident(number) for number in range(600_000, 600_050))))
    shell.facts("publish", CONTRACT, file.name, who="publisher")
    shell.facts("publish", CONTRACT, file.name, who="publisher")
    keys: list[str] = []
    account: dict[str, Any] = {}
    deadline = time.monotonic() + 60
    while account.get("pending") != 0 and time.monotonic() < deadline:
        keys += [one["key"] for one in shell.facts("pull", subscription, "--all", "--ack", who="subscriber")["items"]]
        accounts = shell.facts("audit", "account", CONTRACT, who="owner")
        (account,) = (one for one in accounts if one["subscription"] == subscription)
    assert len([key for key in keys if key >= "042190600000"]) == 50
    assert account["duplicate"] >= 50


def test_a_dry_run_stores_nothing_and_a_deletion_is_delivered(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    tried = shell.facts("publish", CONTRACT, "-", "--dry-run", who="publisher", stdin=lines(resident(900)))
    assert (tried["accepted"], tried["receipts"]) == (1, [])
    shell.facts("publish", CONTRACT, "-", who="publisher", stdin=lines(resident(901)))
    shell.facts("publish", CONTRACT, "-", "--op", "delete", who="publisher", stdin=b'"042190000901"\n')
    seen: list[Any] = []
    deadline = time.monotonic() + 30
    while not any(one["op"] == "delete" for one in seen) and time.monotonic() < deadline:
        seen += shell.facts("pull", subscription, "--all", "--wait-ms", "500", "--ack", who="subscriber")["items"]
    assert [one["op"] for one in seen if one["key"] == "042190000901"][-1] == "delete"
    assert not any(one["key"] == "042190000900" for one in seen)


def test_follow_prints_records_as_they_come_until_it_is_stopped(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    command = [*LGSP, "pull", subscription, "--follow", "--ack", "--as", str(shell.folder / "subscriber.json")]
    with subprocess.Popen(command, env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as following:
        assert following.stdout is not None
        shell.facts("publish", CONTRACT, "-", who="publisher", stdin=lines(resident(777)))
        while json.loads(following.stdout.readline())["key"] != "042190000777":
            pass
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == Exit.OK


def test_a_quarantined_record_is_corrected_or_given_up(shell: Shell) -> None:
    sent = lines(resident(801, sex="male"), resident(802, sex="male"))
    shell.facts("publish", CONTRACT, "-", who="publisher", exit_code=Exit.FAILED, stdin=sent)
    entries = shell.facts("quarantine", "list", "--state", "open", "--contract", CONTRACT, who="owner")
    by_key = {one["key"]: str(one["id"]) for one in entries}
    first, second = by_key["042190000801"], by_key["042190000802"]
    corrected = shell.facts("quarantine", "correct", first, "-", who="publisher", stdin=lines(resident(801)))
    assert corrected["state"] in ("corrected", "replayed")
    given_up = shell.facts("quarantine", "discard", second, "--reason", "Nhập nhầm", who="owner")
    assert given_up["state"] == "discarded"
    again = shell.facts("quarantine", "replay", second, who="owner", exit_code=Exit.CONFLICT)
    assert again["status"] == 409


def test_refusals_have_their_exit_codes_and_paths(shell: Shell) -> None:
    subscription = subscribe(shell, "identity")
    assert shell.facts("subscription", "show", "sub_none", who="owner", exit_code=Exit.NOT_FOUND)["status"] == 404
    assert shell.facts("subscription", "resume", subscription, who="owner", exit_code=Exit.CONFLICT)["errors"]
    wrong = shell.facts(
        "agency", "create", "not a code", "--name-vi", "x", "--name-en", "x", who="admin", exit_code=Exit.INVALID
    )
    assert wrong["errors"][0]["path"] == "code"
    assert shell.facts(
        "agency", "create", "H27.99", "--name-vi", "x", "--name-en", "x", who="owner", exit_code=Exit.FORBIDDEN
    )
    shell.facts("subscription", "revoke", subscription, "--reason", "Hết mục đích", who="owner")
    assert shell.facts("pull", subscription, who="subscriber", exit_code=Exit.FORBIDDEN)["code"] == "grant_ended"


def test_a_batch_that_the_bus_cannot_take_says_what_went_before(shell: Shell) -> None:
    file = shell.folder / "cut.json"
    file.write_bytes(b"[" + lines(resident(1))[:-1] + b', {"identity_number"')
    answer = shell.facts("publish", CONTRACT, file.name, who="publisher", exit_code=Exit.INVALID)
    assert answer["code"] == "invalid_request"
    assert "done" not in answer


def test_people_read_in_vietnamese(shell: Shell) -> None:
    spoken = Shell(shell.folder, {**shell.environment, "LGSP_LANG": "vi"})
    ran = spoken.run("subscription", "show", "sub_none", who="owner")
    assert "không" in ran.stderr.decode()
    listed = spoken.run("agency", "list", who="owner").stdout.decode()
    assert "Mã định danh" in listed
    assert "Công an tỉnh" in listed


def test_lists_and_the_registry_can_be_looked_at(shell: Shell) -> None:
    subjects = shell.facts("registry", "list", who="owner")
    names = {one["subject"] for one in subjects}
    assert {"data.cli.resident.v1-value", "view.cli.resident.v1.identity-value"} <= names
    shown = shell.facts("registry", "show", "view.cli.resident.v1.identity-value", who="subscriber")
    assert "full_name" in shown["schema"]
    assert shell.facts("registry", "show", "nothing-value", who="owner", exit_code=Exit.NOT_FOUND)["code"] == "40401"
    assert [one["id"] for one in shell.facts("contract", "list", "-q", "cong dan", who="subscriber")] == [CONTRACT]
    assert {one["name"] for one in shell.facts("contract", "views", CONTRACT, who="subscriber")} >= {
        "identity",
        "residence",
    }
    assert shell.facts("contract", "versions", CONTRACT, who="owner")[0]["state"] == "active"
    assert shell.facts("contract", "show", CONTRACT, who="owner")["key"] == "identity_number"
    assert {one["code"] for one in shell.facts("agency", "list", who="owner")} >= {OWNER, READER}
    assert shell.facts("client", "list", OWNER, who="admin")
    assert shell.facts("legal-basis", "list", who="owner") is not None
    assert shell.facts("me", who="subscriber")["agency"]["code"] == READER
    assert any(one["action"] == "contract.approve" for one in shell.facts("audit", "journal", who="admin"))


def test_the_contracts_of_this_project_lint() -> None:
    for folder in sorted(RESIDENT.parent.parent.glob("*/*/")):
        ran = subprocess.run([*LGSP, "contract", "lint", str(folder)], capture_output=True, timeout=30)
        assert ran.returncode == Exit.OK, (folder, ran.stderr.decode())
