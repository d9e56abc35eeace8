"""Kafka's jars: kept in the cache as `kafka-jars.lock.json` names them, every byte checked. No server here.

The lock saves users' machines the resolution (a hundred POMs, 24 s of CPU) and says by SHA-256 what may run. It names
coordinates and no host.

    python -m bus.embedded.jars --lock     resolve anew and write the lock
    python -m bus.embedded.jars --fetch    fill the cache, as `lgsp up` would
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from bus.embedded.download import Jar, Progress, fetch, maven
from bus.embedded.folder import KAFKA_VERSION, write_private
from bus.errors import EmbeddedError
from registry.errors import Text

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock.json")
ROOTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    "org.slf4j:slf4j-simple:1.7.36",  # Kafka 4 speaks slf4j 1.7: with a binding for 2.x start-up errors are silent
)
NOT_NEEDED = ("org.scala-lang:scala-reflect",)  # scala-logging names it for its macros, which only a compiler runs


@cache
def locked() -> tuple[Jar, ...]:
    return tuple(Jar(**jar) for jar in json.loads(LOCK_FILE.read_text("utf-8"))["jars"])


def cache_folder(cache: Path) -> Path:
    return cache.expanduser().absolute() / f"kafka-{KAFKA_VERSION}"


def ensure(
    cache: Path,
    progress: Progress | None = None,
    jars: Sequence[Jar] | None = None,
    repositories: Sequence[str] | None = None,
) -> tuple[Path, ...]:
    """Paths of the locked jars below `cache`, after fetching what is missing or damaged; safe for many at once.

    Raises DownloadFailed, which names the jar and the reason, and EmbeddedError where the cache can't be written.
    """
    jars = locked() if jars is None else jars
    folder = cache_folder(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unsure = unproved(folder, jars)
        if any(not is_sound(folder, jar) for jar in unsure):
            with alone(folder):
                for torn in folder.glob(".*.jar.*"):  # of a fetch that was killed
                    torn.unlink()
                fetch([jar for jar in jars if not is_sound(folder, jar)], folder, progress, repositories)
        if unsure:
            with contextlib.suppress(OSError):  # a cache that can only be read is as good, if slower by a hash
                stamp(folder, jars)
    except OSError as error:
        raise EmbeddedError(
            Text(
                f"The cache {folder} can't be used: {error.strerror or error}. Set LGSP_CACHE to a folder that can be "
                "written and has 50 MB to spare.",
                f"Không dùng được bộ nhớ đệm {folder}: {error.strerror or error}. Hãy đặt LGSP_CACHE tới thư mục ghi "
                "được và còn trống 50 MB.",
            )
        ) from error
    return tuple(folder / jar.filename for jar in jars)


def unproved(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """The jars whose hash isn't known to be right.

    A jar's SHA-256 is computed once; then its size and time of change stand for it, in `checked.json`.
    """
    try:
        checked = dict(json.loads((folder / "checked.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        checked = {}
    return [jar for jar in jars if (mark := mark_of(folder, jar)) is None or checked.get(jar.filename) != mark]


def mark_of(folder: Path, jar: Jar) -> list[str | int] | None:
    try:
        found = (folder / jar.filename).stat()
    except OSError:
        return None
    return [jar.sha256, found.st_size, found.st_mtime_ns]


def is_sound(folder: Path, jar: Jar) -> bool:
    file = folder / jar.filename
    return file.is_file() and file.stat().st_size == jar.size and sha256_of(file) == jar.sha256


def stamp(folder: Path, jars: Sequence[Jar]) -> None:
    write_private(folder / "checked.json", json.dumps({jar.filename: mark_of(folder, jar) for jar in jars}))


def sha256_of(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time; the others wait and then find the jars there."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


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

        paths = ensure(Settings().cache)
        print(f"{len(paths)} jars in {paths[0].parent}")
        return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
