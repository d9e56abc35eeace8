"""The data folder of one embedded bus: who holds it, which version wrote it, and its secrets. It knows no server.

DIR/lock          held while the bus runs; names the pid
DIR/version       {"format": 1, "kafka": "4.3.1", "postgresql": "18"}
DIR/secrets.json  mode 0600
DIR/kafka, DIR/postgres   the servers' own
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bus.errors import DataFolderInUse, DataFolderVersion, EmbeddedError
from registry.errors import Text

FORMAT = 1
KAFKA_VERSION = "4.3.1"
POSTGRESQL_MAJOR = "18"


@dataclass
class DataFolder:
    """An opened data folder; `close` lets the next one in. The lock ends with the process, however it ends."""

    path: Path
    _lock: int

    @classmethod
    def open(cls, path: Path) -> DataFolder:
        """Create or open `path` for this process alone.

        Raises DataFolderInUse (names the pid that holds it), DataFolderVersion (what was found, what to do) and
        EmbeddedError where the folder can't be made or written.
        """
        path = path.expanduser().absolute()
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = hold(path)
        except OSError as error:
            raise EmbeddedError(
                Text(
                    f"The data folder {path} can't be used: {error.strerror}. Choose another with --data or LGSP_DATA.",
                    f"Không dùng được thư mục dữ liệu {path}: {error.strerror}. "
                    "Hãy chọn thư mục khác bằng --data hoặc LGSP_DATA.",
                )
            ) from error
        try:
            check_version(path)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, lock)

    def secret(self, name: str) -> str:
        """The secret of that name, 256 random bits, made when first asked for."""
        return secrets_at(self.path / "secrets.json", [name])[name]

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def hold(folder: Path) -> int:
    """Take `folder`/lock for this process and return its descriptor; closing it, or dying, gives the folder free.

    Raises DataFolderInUse, which names the process that holds it, and OSError.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "?"
        os.close(lock)
        raise DataFolderInUse(
            Text(
                f"The data folder {folder} is in use by process {holder}. Stop that one, or choose another folder "
                "with --data.",
                f"Thư mục dữ liệu {folder} đang được tiến trình {holder} sử dụng. Hãy dừng tiến trình đó hoặc chọn "
                "thư mục khác bằng --data.",
            )
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def holder(folder: Path) -> int | None:
    """The process that holds `folder` now; changes nothing."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(lock, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(lock)
    return None


def check_version(path: Path) -> None:
    """Write `path`/version where there is none or an older one; raise DataFolderVersion where it isn't ours to open."""
    problem = version_problem(path)
    if problem is not None:
        raise DataFolderVersion(problem)
    text = json.dumps({"format": FORMAT, "kafka": KAFKA_VERSION, "postgresql": POSTGRESQL_MAJOR}) + "\n"
    file = path / "version"
    if not file.exists() or file.read_text("utf-8") != text:
        write_private(file, text)


def version_problem(path: Path) -> Text | None:
    """Why the data folder `path` can't be opened by this version, and what to do; None where it can. Changes nothing."""
    file = path / "version"
    if not file.exists():
        if not (path / "kafka").exists() and not (path / "postgres").exists():
            return None
        return Text(
            f"{file} is missing though servers' data is there: this folder is not one of this program's, or it was "
            "damaged. Restore it from a backup or choose another folder with --data.",
            f"Thiếu tệp {file} dù đã có dữ liệu máy chủ: thư mục này không do chương trình tạo ra hoặc đã bị hỏng. Hãy "
            "khôi phục từ bản sao lưu hoặc chọn thư mục khác bằng --data.",
        )
    try:
        found = json.loads(file.read_text("utf-8"))
        # Kafka opens the folder of an older release, never that of a newer one; PostgreSQL that of its own major only.
        fits = found["format"] == FORMAT and found["postgresql"] == POSTGRESQL_MAJOR
        fits = fits and as_numbers(found["kafka"]) <= as_numbers(KAFKA_VERSION)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Text(
            f"{file} can't be read as a version file. Restore it from a backup or choose another folder with --data.",
            f"Không đọc được tệp phiên bản {file}. Hãy khôi phục từ bản sao lưu hoặc chọn thư mục khác bằng --data.",
        )
    if fits:
        return None
    return Text(
        f"The data folder {path} was written by format {found['format']}, Kafka {found['kafka']}, PostgreSQL "
        f"{found['postgresql']}; this program expects format {FORMAT}, Kafka {KAFKA_VERSION} or older, PostgreSQL "
        f"{POSTGRESQL_MAJOR}. Run the version that wrote it, or choose another folder with --data.",
        f"Thư mục dữ liệu {path} do định dạng {found['format']}, Kafka {found['kafka']}, PostgreSQL "
        f"{found['postgresql']} ghi; chương trình này cần định dạng {FORMAT}, Kafka {KAFKA_VERSION} trở xuống, "
        f"PostgreSQL {POSTGRESQL_MAJOR}. Hãy chạy đúng phiên bản đã ghi hoặc chọn thư mục khác bằng --data.",
    )


def as_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def secrets_at(file: Path, names: Iterable[str], *, make: bool = True) -> dict[str, str]:
    """The secrets kept in `file` (JSON, mode 0600) after adding a random one for each of `names` that it lacks.

    `make` False: what was stored rests on them, so a new one would lock everybody out. Raises EmbeddedError where the file
    can't be read, or lacks one that may not be made.
    """
    kept: dict[str, str] = {}
    try:
        if file.exists():
            kept = dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EmbeddedError(secrets_lost(file)) from error
    missing = [name for name in names if not isinstance(kept.get(name), str)]
    if missing and not make:
        raise EmbeddedError(secrets_lost(file))
    if missing:
        kept |= {name: secrets.token_hex(32) for name in missing}
        write_private(file, json.dumps(kept, indent=1) + "\n")
    return kept


def secrets_lost(file: Path) -> Text:
    return Text(
        f"{file}, which opens the data beside it, is missing or damaged. Restore it from a backup, or choose another "
        "data folder with --data.",
        f"Tệp {file}, dùng để mở dữ liệu cùng thư mục, bị thiếu hoặc hỏng. Hãy khôi phục từ bản sao lưu hoặc chọn thư "
        "mục dữ liệu khác bằng --data.",
    )


def write_private(file: Path, text: str) -> None:
    """Replace `file` by `text` in one step, durably, mode 0600: after a crash it is the old one or the new one."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
