"""The cache holds exactly what the lock names, whatever the network or the disk did."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bus.embedded import jars, ports
from bus.embedded.jars import Jar
from bus.errors import DownloadFailed, EmbeddedError

CONTENT = {f"part{number}": bytes([number]) * 70_000 for number in range(5)}
JARS = [Jar(f"vn.test:{name}:1.0", hashlib.sha256(body).hexdigest(), len(body)) for name, body in CONTENT.items()]


class Repository:
    """A Maven repository on this machine, which can be told to answer badly."""

    def __init__(self) -> None:
        self.answers = {f"/m/vn/test/{name}/1.0/{name}-1.0.jar": body for name, body in CONTENT.items()}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.asked.append(self.path)
                body = repository.answers.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if body is not None:
                    self.wfile.write(body[:1000] if self.path in repository.cut else body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((ports.LOOPBACK, 0), Handler)
        self.url = f"http://{ports.LOOPBACK}:{self.server.server_port}/m"


@pytest.fixture
def repository() -> Iterator[Repository]:
    repository = Repository()
    thread = threading.Thread(target=repository.server.serve_forever)
    thread.start()
    yield repository
    repository.server.shutdown()
    repository.server.server_close()
    thread.join()


def path_of(name: str) -> str:
    return f"/m/vn/test/{name}/1.0/{name}-1.0.jar"


def test_all_jars_come_and_the_progress_ends_at_the_whole(tmp_path: Path, repository: Repository) -> None:
    told: list[tuple[int, int, str]] = []
    paths = jars.ensure(tmp_path, lambda *now: told.append(now), JARS, [repository.url])
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert told[-1][:2] == (350_000, 350_000)
    assert not [path for path in paths[0].parent.iterdir() if path.name.startswith(".part")]


def test_a_filled_cache_needs_no_repository(tmp_path: Path, repository: Repository) -> None:
    jars.ensure(tmp_path, None, JARS, [repository.url])
    asked = len(repository.asked)
    jars.ensure(tmp_path, None, JARS, [])
    assert len(repository.asked) == asked


def test_a_copied_cache_is_checked_and_used(tmp_path: Path) -> None:
    folder = jars.cache_folder(tmp_path)
    folder.mkdir(parents=True)
    for jar, body in zip(JARS, CONTENT.values(), strict=True):
        (folder / jar.filename).write_bytes(body)
    jars.ensure(tmp_path, None, JARS, [])


def test_what_a_killed_fetch_left_is_swept(tmp_path: Path, repository: Repository) -> None:
    folder = jars.cache_folder(tmp_path)
    folder.mkdir(parents=True)
    (folder / ".part1-1.0.jar.12345").write_bytes(b"half")
    jars.ensure(tmp_path, None, JARS, [repository.url])
    assert not (folder / ".part1-1.0.jar.12345").exists()


@pytest.mark.parametrize("damage", [b"", b"\x02" * 69_999, b"\x03" * 70_000])
def test_a_damaged_jar_is_found_and_fetched_anew(tmp_path: Path, repository: Repository, damage: bytes) -> None:
    paths = jars.ensure(tmp_path, None, JARS, [repository.url])
    repository.asked.clear()
    paths[2].write_bytes(damage)
    jars.ensure(tmp_path, None, JARS, [repository.url])
    assert paths[2].read_bytes() == CONTENT["part2"]
    assert repository.asked == [path_of("part2")]


def test_a_truncated_download_is_tried_again_then_told(tmp_path: Path, repository: Repository) -> None:
    repository.cut.add(path_of("part1"))
    with pytest.raises(DownloadFailed) as failed:
        jars.ensure(tmp_path, None, JARS, [repository.url])
    assert "part1-1.0.jar" in failed.value.detail.en
    assert "part1-1.0.jar" in failed.value.detail.vi
    assert repository.asked.count(path_of("part1")) > 1
    assert not (jars.cache_folder(tmp_path) / "part1-1.0.jar").exists()
    repository.cut.clear()
    jars.ensure(tmp_path, None, JARS, [repository.url])


def test_other_bytes_than_the_lock_names_are_never_kept(tmp_path: Path, repository: Repository) -> None:
    repository.answers[path_of("part3")] = b"\x09" * 70_000
    with pytest.raises(DownloadFailed) as failed:
        jars.ensure(tmp_path, None, JARS, [repository.url])
    assert "SHA-256" in failed.value.detail.en
    assert not (jars.cache_folder(tmp_path) / "part3-1.0.jar").exists()


def test_a_mirror_that_lacks_a_jar_is_followed_by_the_next(tmp_path: Path, repository: Repository) -> None:
    jars.ensure(tmp_path, None, JARS, [repository.url.replace("/m", "/mirror"), repository.url])


def test_an_unreachable_repository_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed) as failed:
        jars.ensure(tmp_path, None, JARS, [f"http://user:hidden@{ports.LOOPBACK}:{ports.free_port()}/m"])
    for said in failed.value.detail:
        assert "LGSP_CACHE" in said
        assert "HTTPS_PROXY" in said
        assert "hidden" not in said
    assert "refused" in failed.value.detail.en
    assert failed.value.retriable


def test_two_at_once_fetch_each_jar_once(tmp_path: Path, repository: Repository) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: jars.ensure(tmp_path, None, JARS, [repository.url]), range(4)))
    assert sorted(repository.asked) == sorted(map(path_of, CONTENT))


def test_a_cache_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(EmbeddedError) as failed:
        jars.ensure(tmp_path / "cache", None, JARS, [])
    assert "LGSP_CACHE" in failed.value.detail.en


def test_the_lock_names_no_host_and_every_jar_once() -> None:
    text = jars.LOCK_FILE.read_text()
    assert "://" not in text
    document = json.loads(text)
    assert tuple(document["roots"]) == jars.ROOTS
    names = [jar.filename for jar in jars.locked()]
    assert len(set(names)) == len(names)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 0 for jar in jars.locked())
