"""A full disk under load: publishers are told 503 and to try again; once there is room, nothing that was acknowledged is missing.

The disk is a small tmpfs in a mount namespace of the bus's own, which only root may make.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fault.test_kill import CONTRACT, Bus, introduce
from tests.running import resident

DISK_BYTES = 420 * 2**20
UNSHARE = shutil.which("unshare")
IN_ITS_NAMESPACE = 'mkdir -p "$1" && mount -t tmpfs -o size=$2 tmpfs "$1" && shift 2 && exec "$@"'


def can_mount() -> bool:
    tried = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0"', "/mnt"]
    return UNSHARE is not None and subprocess.run(tried, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0 or not can_mount(), reason="only root mounts"),
]


class SmallDiskBus(Bus):
    """Its data folder is on a disk of its own; `data` is the way to it from outside."""

    def start(self) -> None:
        folder = self.data
        options = [text for name, port in self.ports.items() for text in (f"--{name}", str(port))]
        lgsp = [str(Path(sys.executable).parent / "lgsp"), "up", "--data", str(folder / "data"), *options]
        command = ["unshare", "--mount", "sh", "-c", IN_ITS_NAMESPACE, "sh", str(folder), str(DISK_BYTES), *lgsp]
        with (folder.parent / "up.log").open("a") as log:
            environment = os.environ | {"LGSP_PRODUCE_TIMEOUT_S": "5"}
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        assert "ready" in self.process.stdout.readline(), (folder.parent / "up.log").read_text()[-4_000:]
        self.disk = Path(f"/proc/{self.process.pid}/root{folder}")
        self.data = self.disk / "data"

    def fill(self) -> None:
        with (self.disk / "filler").open("ab") as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(65_536))
                filler.flush()

    def make_room(self) -> None:
        (self.disk / "filler").unlink()


@contextmanager
def on_a_small_disk(folder: Path) -> Iterator[SmallDiskBus]:
    bus = SmallDiskBus(folder)
    bus.start()
    try:
        yield bus
    finally:
        bus.stop()


class Publications:
    """One record after the other, each a new version of one of a hundred; remembers the answers."""

    def __init__(self, url: str, token: Any) -> None:
        self.http = httpx.Client(base_url=url, timeout=90)
        self.token = token
        self.count = 0
        self.acknowledged: dict[str, int] = {}
        self.refused: list[httpx.Response] = []

    def one_more(self) -> int:
        self.count += 1
        # Kept incompressible, so that the disk fills whatever is left of it.
        record = resident(self.count % 100, full_name=f"Nguyễn {self.count}", religion=os.urandom(100).hex())
        headers = {"Authorization": f"Bearer {self.token()}"}
        answer = self.http.post(f"/v1/publish/{CONTRACT}", json=[record], headers=headers)
        if answer.status_code == 200:
            self.acknowledged[record["identity_number"]] = self.count
        else:
            self.refused.append(answer)
        return answer.status_code


@pytest.mark.timeout(400)
def test_what_was_acknowledged_before_the_disk_was_full_is_there_when_it_has_room(tmp_path: Path) -> None:
    with on_a_small_disk(tmp_path / "disk") as bus:
        admin, publishing, reading, subscription = introduce(bus)
        publications = Publications(bus.url, publishing._bearer)
        for _ in range(50):
            assert publications.one_more() == 200
        bus.fill()
        deadline = time.monotonic() + 120
        while not publications.refused:
            assert time.monotonic() < deadline, "the disk never was full"
            publications.one_more()
        for answer in publications.refused:
            assert answer.status_code == 503, answer.text
            assert answer.json()["retriable"] is True
            assert answer.headers["retry-after"]
        bus.make_room()
        deadline = time.monotonic() + 120
        while publications.one_more() != 200:
            assert time.monotonic() < deadline, (tmp_path / "up.log").read_text()[-2_000:]
        for _ in range(100):  # each record's last word is now an acknowledged one
            assert publications.one_more() == 200
        seen: dict[str, list[int]] = {}
        after = None
        while {key: numbers[-1] for key, numbers in seen.items()} != publications.acknowledged:
            page = reading.pull(subscription, max_records=1_000, wait_ms=5_000, after=after)
            for record in page.records:
                seen.setdefault(record.key, []).append(int(record.value["full_name"].split()[1]))
            after = page.cursor or after
        for numbers in seen.values():
            assert numbers == sorted(set(numbers)), "out of order or twice"
        for line in admin.account(CONTRACT)["items"]:
            assert line["balanced"], line
        publications.http.close()
        for client in (admin, publishing, reading):
            client.close()
