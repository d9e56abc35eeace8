"""Fetching locked jars from the Maven repositories that jgo knows, several side by side, each held to its SHA-256.

jgo's own `resolve()` asks for a second file per jar, a SHA-1, and opens a connection for each: measured 11 s for 45
jars where this takes under one. What runs is decided by the lock alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from typing import Any

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from bus.errors import DownloadFailed, EmbeddedError
from registry.errors import Text

PARALLEL = 8  # a repository answers one request in some 100 ms; more side by side brings little and looks like abuse
CONNECT_S, SILENCE_S = 10, 30  # a slow line is fine as long as bytes come
TRIES = 3
CHUNK_BYTES = 1 << 16

Progress = Callable[[int, int, str], None]  # bytes so far, bytes in all, the jar at hand; never called twice at once


@dataclass(frozen=True, slots=True)
class Jar:
    """`coordinates` are group:artifact:version, `size` is in bytes."""

    coordinates: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"


class NotAsLocked(Exception):
    """What came isn't what the lock names."""


def maven(repo_cache: Path) -> Any:
    """A Maven context of jgo that stores under `repo_cache`; repositories in jgo's configuration file come first."""
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EmbeddedError(
            Text(
                "Fetching Kafka needs the package jgo. Install lgsp[embedded], or set LGSP_KAFKA_BOOTSTRAP to a Kafka "
                "of your own.",
                "Cần gói jgo để tải Kafka. Hãy cài lgsp[embedded] hoặc đặt LGSP_KAFKA_BOOTSTRAP tới Kafka có sẵn.",
            )
        ) from error
    context = MavenContext(repo_cache=repo_cache)
    context.remote_repos = {**GlobalSettings.load().repositories, **context.remote_repos}
    return context


def fetch(
    jars: Sequence[Jar], folder: Path, progress: Progress | None = None, repositories: Sequence[str] | None = None
) -> None:
    """Put `jars` into `folder`, each in one step when its hash is right.

    `repositories` are base URLs, by default those of jgo. Raises DownloadFailed for the first jar that doesn't come;
    those that came stay.
    """
    context = maven(folder)
    repositories = list(context.remote_repos.values()) if repositories is None else repositories
    meter = Meter(sum(jar.size for jar in jars), progress)
    # requests, not httpx: jgo brings it, and the proxy and CA settings that work for jgo and pip work here.
    import requests

    with requests.Session() as session, ThreadPoolExecutor(PARALLEL, thread_name_prefix="jars") as pool:
        session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=PARALLEL))
        largest_first = sorted(jars, key=lambda jar: -jar.size)
        waiting = [pool.submit(fetch_one, session, context, repositories, jar, folder, meter) for jar in largest_first]
        try:
            for done in as_completed(waiting):
                done.result()
        except BaseException:
            meter.cancelled.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def fetch_one(session: Any, context: Any, repositories: Sequence[str], jar: Jar, folder: Path, meter: Meter) -> None:
    """Try each repository for `jar`, a few times over. Raises DownloadFailed."""
    import requests

    group, artifact, version = jar.coordinates.split(":")
    component = context.project(group, artifact).at_version(version)
    path = f"{component.path_prefix.as_posix()}/{component.artifact().filename}"
    retrying = Retrying(
        retry=retry_if_exception_type((requests.RequestException, NotAsLocked)),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(0.2, max=2),
        sleep=meter.pause,
        reraise=True,
    )
    reasons: dict[str, None] = {}  # a set that keeps its order
    for repository in repositories:
        try:
            retrying(stream, session, f"{repository.rstrip('/')}/{path}", jar, folder, meter)
        except (requests.RequestException, NotAsLocked) as error:
            reasons[reason(error)] = None
        else:
            return
    why = "; ".join(reasons) or "no repository is configured"
    raise DownloadFailed(
        Text(
            f"{jar.filename}, a part of Kafka, could not be fetched: {why}. Check the network and the proxy "
            "(HTTPS_PROXY), or copy a filled cache here and point LGSP_CACHE at it; then try again: what was fetched "
            "is kept.",
            f"Không tải được {jar.filename}, một phần của Kafka: {why}. Hãy kiểm tra mạng và proxy (HTTPS_PROXY), hoặc "
            "chép bộ nhớ đệm đã đủ sang máy này và trỏ LGSP_CACHE tới đó; rồi thử lại: phần đã tải được giữ nguyên.",
        )
    )


def stream(session: Any, url: str, jar: Jar, folder: Path, meter: Meter) -> None:
    """Bytes of `url` into a temporary file, moved to `jar`'s place when size and hash are the lock's."""
    temporary = folder / f".{jar.filename}.{os.getpid()}"
    digest, size = hashlib.sha256(), 0
    try:
        with session.get(url, stream=True, timeout=(CONNECT_S, SILENCE_S)) as response, temporary.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK_BYTES):
                if meter.cancelled.is_set():
                    return
                size += len(chunk)
                if size > jar.size:
                    break
                digest.update(chunk)
                file.write(chunk)
                meter.add(len(chunk), jar.filename)
        if size != jar.size or digest.hexdigest() != jar.sha256:
            raise NotAsLocked(
                f"{'over ' if size > jar.size else ''}{size} bytes with SHA-256 {digest.hexdigest()[:16]}, "
                f"expected {jar.size} bytes with {jar.sha256[:16]}"
            )
        temporary.replace(folder / jar.filename)
    except BaseException:
        meter.add(-min(size, jar.size), jar.filename)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def reason(error: BaseException) -> str:
    """The innermost cause in one line, without words that look like URLs, which may carry a proxy's password."""
    if isinstance(error, NotAsLocked):
        return str(error)
    response = getattr(error, "response", None)
    if response is not None:
        return f"the repository answered {response.status_code} {response.reason}"
    while isinstance(error.__context__, Exception):
        error = error.__context__
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return " ".join(word for word in text.split() if "://" not in word and "@" not in word)[:200]


class Meter:
    """Bytes so far over all threads, told to `progress` one call at a time; also the word to stop."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total, self.progress, self.done = total, progress, 0
        self.cancelled = Event()
        self._lock = Lock()

    def pause(self, seconds: float) -> None:
        """Sleep, unless the download was given up."""
        self.cancelled.wait(seconds)

    def add(self, size: int, name: str) -> None:
        with self._lock:
            self.done += size
            if self.progress is not None:
                self.progress(self.done, self.total, name)
