"""Kafka's jars: fetched once into the cache as `kafka-jars.lock.json` names them, every byte checked. No server here.

The lock saves users' machines the resolution (a hundred POMs, 24 s of CPU) and says by SHA-256 what may run. It names
coordinates and no host: jgo knows the repositories (its own configuration file may name a mirror).

    python -m bus.embedded.jars --lock     resolve anew and write the lock
    python -m bus.embedded.jars --fetch    fill the cache, as `lgsp up` would
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bus.embedded.folder import KAFKA_VERSION, write_private
from bus.errors import DownloadFailed, EmbeddedError
from registry.errors import Text

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock.json")
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka 4 speaks slf4j 1.7: with a binding for 2.x start-up errors are silent
)
NOT_NEEDED = ("org.scala-lang:scala-reflect",)  # scala-logging names it for its macros, which only a compiler runs
PARALLEL = 8  # repositories answer one request in some 100 ms; more than this brings nothing
TIMEOUT_S = 20
TRIES = 3
CHUNK_BYTES = 1 << 16

Progress = Callable[[int, int, str], None]  # done bytes, total bytes, name of the jar that just came


@dataclass(frozen=True, slots=True)
class Jar:
    coordinates: str  # group:artifact:version
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


@cache
def locked() -> tuple[Jar, ...]:
    return tuple(Jar(**jar) for jar in json.loads(LOCK_FILE.read_text("utf-8"))["jars"])


def cache_folder(cache: Path) -> Path:
    return cache.expanduser().absolute() / f"kafka-{KAFKA_VERSION}"


def ensure(
    cache: Path,
    progress: Progress | None = None,
    jars: Sequence[Jar] | None = None,
    repositories: dict[str, str] | None = None,
) -> tuple[Path, ...]:
    """Paths of all locked jars below `cache`, fetching what is missing or damaged; safe for several processes at once.

    `progress` is called from one thread. Raises DownloadFailed, which names the jar and the reason, and EmbeddedError where
    the cache can't be written.
    """
    jars = locked() if jars is None else jars
    folder = cache_folder(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            missing = incomplete(folder, jars)
            if missing:
                _fetch(folder, missing, progress, repositories)
                _stamp(folder, jars)
    except OSError as error:
        raise EmbeddedError(
            Text(
                f"The cache {folder} can't be written: {error.strerror or error}. Set LGSP_CACHE to a folder that can.",
                f"Không ghi được vào bộ nhớ đệm {folder}: {error.strerror or error}. Hãy đặt LGSP_CACHE tới thư mục ghi được.",
            )
        ) from error
    return tuple(folder / jar.filename for jar in jars)


def incomplete(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """The jars that aren't in `folder` as locked.

    A jar's SHA-256 is computed once; afterwards its size and time of change stand for it (`checked.json`).
    """
    try:
        checked: dict[str, Any] = json.loads((folder / "checked.json").read_text("utf-8"))
    except (OSError, ValueError):
        checked = {}
    return [jar for jar in jars if checked.get(jar.filename) != _mark(folder, jar) and not _is_sound(folder, jar)]


def _mark(folder: Path, jar: Jar) -> list[object] | None:
    try:
        found = (folder / jar.filename).stat()
    except OSError:
        return ["absent"]
    return [jar.sha256, found.st_size, found.st_mtime_ns]


def _is_sound(folder: Path, jar: Jar) -> bool:
    file = folder / jar.filename
    return file.is_file() and file.stat().st_size == jar.size and sha256_of(file) == jar.sha256


def _stamp(folder: Path, jars: Sequence[Jar]) -> None:
    write_private(folder / "checked.json", json.dumps({jar.filename: _mark(folder, jar) for jar in jars}))


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the others wait and then find the jars there."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _fetch(folder: Path, jars: Sequence[Jar], progress: Progress | None, repositories: dict[str, str] | None) -> None:
    """Download `jars` side by side into a staging folder; each moves to its place only when its hash is right."""
    total, done = sum(jar.size for jar in jars), 0
    staging = Path(tempfile.mkdtemp(prefix=".fetching-", dir=folder))
    try:
        context = maven(staging, repositories)
        if progress:
            progress(0, total, "")
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="jars") as pool:
            waiting = {pool.submit(_fetch_one, context, jar): jar for jar in sorted(jars, key=lambda jar: -jar.size)}
            try:
                for future in as_completed(waiting):
                    jar = waiting[future]
                    future.result().replace(folder / jar.filename)
                    done += jar.size
                    if progress:
                        progress(done, total, jar.filename)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fetch_one(context: Any, jar: Jar) -> Path:
    """Fetch one jar through jgo, which takes no POM for it, and hold it to the lock."""
    group, artifact, version = jar.coordinates.split(":")
    component = context.project(group, artifact).at_version(version)
    problem = ""
    for _ in range(TRIES):
        try:
            path = Path(component.artifact().resolve())
        except Exception as error:  # noqa: BLE001 (jgo lets requests' errors and bare RuntimeErrors through)
            problem = _reason(error)
            _discard(component)
            continue
        size, found = path.stat().st_size, sha256_of(path)
        if size == jar.size and found == jar.sha256:
            return path
        problem = f"{size} bytes, SHA-256 {found[:12]}…; expected {jar.size} bytes, SHA-256 {jar.sha256[:12]}…"
        path.unlink()
    raise DownloadFailed(
        Text(
            f"{jar.filename}, a part of Kafka, could not be fetched: {problem}. Check the network and the proxy "
            "(HTTPS_PROXY), or copy a filled cache here and point LGSP_CACHE at it; then try again: what was fetched is kept.",
            f"Không tải được {jar.filename}, một phần của Kafka: {problem}. Hãy kiểm tra mạng và proxy (HTTPS_PROXY), hoặc "
            "chép bộ nhớ đệm đã đủ sang máy này và trỏ LGSP_CACHE tới đó; rồi thử lại: phần đã tải được giữ nguyên.",
        )
    )


def _discard(component: Any) -> None:
    path = component.artifact().cached_path
    if path is not None:
        path.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """The innermost cause in one line, without URLs, which may carry a proxy's password."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    text = str(getattr(error, "strerror", None) or error).splitlines()
    words = [word for word in (text[0] if text else "").split() if "://" not in word and "@" not in word]
    return f"{type(error).__name__}: {' '.join(words)}"[:200]


def maven(repo_cache: Path, repositories: dict[str, str] | None = None) -> Any:
    """A Maven context of jgo that stores under `repo_cache` and asks the repositories of jgo's configuration file first."""
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
        from jgo.maven._core import DEFAULT_REMOTE_REPOS
    except ImportError as error:
        raise EmbeddedError(
            Text(
                "Fetching Kafka needs the package jgo. Install lgsp[embedded], or set LGSP_KAFKA_BOOTSTRAP to a Kafka of "
                "your own.",
                "Cần gói jgo để tải Kafka. Hãy cài lgsp[embedded] hoặc đặt LGSP_KAFKA_BOOTSTRAP tới Kafka có sẵn.",
            )
        ) from error
    if repositories is None:
        repositories = {**GlobalSettings.load().repositories, **DEFAULT_REMOTE_REPOS}
    return MavenContext(repo_cache=repo_cache, remote_repos=repositories, timeout=TIMEOUT_S)


def write_lock(repo_cache: Path) -> tuple[Jar, ...]:
    """Resolve ROOTS through jgo and write LOCK_FILE."""
    context = maven(repo_cache)
    excluded = [context.project(*name.split(":")) for name in NOT_NEEDED]
    roots = [context.create_dependency(root, excluded) for root in ROOTS]
    inputs, transitive = context.resolver.resolve(roots)
    artifacts = {dependency.artifact.key: dependency.artifact for dependency in (*inputs, *transitive)}.values()
    jars = []
    for artifact in artifacts:
        path = Path(artifact.resolve())
        coordinates = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        jars.append(Jar(coordinates, sha256_of(path), path.stat().st_size))
    jars.sort(key=lambda jar: jar.coordinates)
    document = {"kafka": KAFKA_VERSION, "roots": ROOTS, "jars": [asdict(jar) for jar in jars]}
    LOCK_FILE.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    locked.cache_clear()
    return tuple(jars)


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--lock"]:
        with tempfile.TemporaryDirectory() as folder:
            jars = write_lock(Path(folder))
        print(f"{LOCK_FILE}: {len(jars)} jars, {sum(jar.size for jar in jars) / 1e6:.1f} MB")
        return 0
    if list(arguments) == ["--fetch"]:
        from bus.settings import Settings

        paths = ensure(Settings().cache, lambda done, total, name: print(f"{done}/{total} {name}", file=sys.stderr))
        print(f"{len(paths)} jars in {paths[0].parent}")
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
