"""What the documentation shows is what happens: its commands are run, in order, against a bus that `lgsp up` runs.

A ```sh block is run; a ```text block after it is what it must print, where `…` stands for anything and widths of columns don't count.
A block with `lgsp up` or `lgsp connector run` runs on, as in a terminal of its own. A block ```sh eventually looks at something that
comes true after a moment, so it is tried again until it does.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bus.embedded.kafka import KafkaAddress
from bus.embedded.ports import free_port
from bus.embedded.postgres import binaries_folder
from tests.servers import fresh_database, sqlalchemy_url

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = DOCS / "how-to"
TUTORIAL = DOCS / "tutorial" / "from-empty-folder-to-delivered-record.md"

_FENCE = re.compile(r"^```(\w*)( \w+)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "\x1e"
_MOMENT_S = 30.0  # what a reader calls a moment, on a machine that is busy with other tests


@dataclass(frozen=True)
class Block:
    """Commands of a page, the line they begin at, and what they are said to print (None: nothing is said)."""

    line: int
    commands: str
    expected: str | None
    eventually: bool

    @property
    def runs_on(self) -> bool:
        return re.search(r"^lgsp (up|connector run)\b", self.commands, re.MULTILINE) is not None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    fences = list(_FENCE.finditer(text))
    found = []
    for one, after in zip(fences, [*fences[1:], None], strict=True):
        if one[1] == "sh":
            follows = after is not None and after[1] == "text" and not text[one.end() : after.start()].strip()
            line = text.count("\n", 0, one.start()) + 2
            found.append(Block(line, one[3], after[3] if after and follows else None, one[2] == " eventually"))
    return found


def matches(expected: str, printed: str) -> bool:
    """Whether the lines are the same but for widths and `…`; a line `…` stands for any number of lines."""
    pattern = ""
    for line in _lines(expected):
        if line == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(re.escape(part.strip()).replace(r"\ ", " +") for part in line.split("…")) + "\n"
    pattern = pattern.replace(".*", " *.* *")
    return re.fullmatch(pattern, "".join(line + "\n" for line in _lines(printed))) is not None


def _lines(text: str) -> list[str]:
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


@dataclass
class Reader:
    """Somebody who follows pages in one folder, with what runs meanwhile in other terminals."""

    folder: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def follow(self, page: Path, instead: Mapping[str, str] | None = None) -> None:
        """Run the page's commands in one shell; `instead` gives what stands in for names that only the reader can know."""
        shell = subprocess.Popen(
            ["bash", "-eo", "pipefail"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        with shell:
            for block in blocks(page):
                where = f"{page.relative_to(DOCS)}:{block.line}"
                commands = block.commands
                for name, value in (instead or {}).items():
                    commands = commands.replace(name, value)
                self._start(where, block, commands) if block.runs_on else self._run(shell, where, block, commands)

    def _run(self, shell: subprocess.Popen[str], where: str, block: Block, commands: str) -> None:
        deadline = time.monotonic() + (_MOMENT_S if block.eventually else 0)
        if block.eventually:  # a table that isn't there yet is no reason to leave
            commands = f"(\n{commands}) || true"
        while True:
            printed = _say(shell, commands)
            if printed is None:
                raise AssertionError(f"{where} failed")
            if block.expected is None or matches(block.expected, printed):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{where} printed\n{printed}\ninstead of\n{block.expected}")
            time.sleep(0.5)

    def _start(self, where: str, block: Block, commands: str) -> None:
        """What runs on has a terminal of its own; its first line says that it is there."""
        with (self.folder / "running.log").open("a") as log:
            process = subprocess.Popen(
                ["bash", "-c", re.sub(r"^lgsp (?=up|connector run)", "exec lgsp ", commands, flags=re.MULTILINE)],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.running.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{where} ended: {(self.folder / 'running.log').read_text()}"
        assert block.expected is None or matches(block.expected, line), f"{where} printed {line}"

    def leave(self) -> None:
        """Ctrl-C in every terminal, the last first."""
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            process.stdout.read()
            process.stdout.close()
            assert process.wait(60) == 0


def _say(shell: subprocess.Popen[str], commands: str) -> str | None:
    """What the shell prints for these commands; None when it has ended, because one of them failed."""
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{commands}\nprintf '{_MARK}\\n'\n")
    shell.stdin.flush()
    printed = ""
    for line in shell.stdout:
        if line.endswith(_MARK + "\n"):
            return printed + line.removesuffix(_MARK + "\n")
        printed += line
    print(printed)
    return None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Reader]:
    """In an empty folder, with ports that are free here; programs of this environment and of the PostgreSQL wheel on the path."""
    port, registry_port, kafka_port = free_port(), free_port(), free_port()
    programs = [str(Path(sys.executable).parent), str(binaries_folder()), os.environ["PATH"]]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LGSP_", "LC_", "LANG"))}
    environment |= {
        "PATH": os.pathsep.join(programs),
        "LANG": "C.UTF-8",
        "LGSP_PORT": str(port),
        "LGSP_REGISTRY_PORT": str(registry_port),
        "LGSP_KAFKA_PORT": str(kafka_port),
        "LGSP_URL": f"http://127.0.0.1:{port}",
        "LGSP_REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
    }
    with fresh_database(postgres_server) as justice, fresh_database(postgres_server) as insurance:
        environment |= {"JUSTICE_DB": justice, "INSURANCE_DB": insurance}
        reader = Reader(tmp_path_factory.mktemp("reader"), environment)
        try:
            yield reader
        finally:
            reader.leave()


@pytest.fixture(scope="module")
def taught(reader: Reader) -> Reader:
    """A reader who has been through the tutorial: the how-tos go on from there."""
    reader.follow(TUTORIAL)
    return reader


def test_the_tutorial_does_and_prints_what_it_says(taught: Reader) -> None:
    assert (taught.folder / "received.ndjson").read_text().count("\n") == 2


@pytest.fixture(scope="module")
def published(taught: Reader) -> Reader:
    taught.follow(HOW_TO / "publish-from-postgresql.md")
    return taught


def test_publishing_from_postgresql_is_as_told(published: Reader) -> None:
    assert (published.folder / "state" / "births.sqlite").exists()


def test_receiving_into_postgresql_is_as_told(published: Reader) -> None:
    published.follow(HOW_TO / "receive-into-postgresql.md")


def test_correcting_quarantined_records_is_as_told(published: Reader) -> None:
    published.follow(HOW_TO / "correct-quarantined-records.md")


def test_running_on_own_servers_is_as_told(reader: Reader, kafka: KafkaAddress, postgres_dsn: str) -> None:
    own = Reader(reader.folder, reader.environment)
    instead = {
        "kafka1.example.vn:9092": kafka.bootstrap,
        "LGSP_KAFKA_USERNAME=lgsp": f"LGSP_KAFKA_USERNAME={kafka.username}",
        "kafka-password": kafka.password,
        "postgresql+psycopg://lgsp:password@db.example.vn/lgsp": f"'{sqlalchemy_url(postgres_dsn)}'",
        "8090": str(free_port()),
        "8091": str(free_port()),
    }
    try:
        own.follow(HOW_TO / "run-on-your-own-kafka-and-postgresql.md", instead)
    finally:
        own.leave()


def test_every_link_leads_somewhere() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(DOCS.parent)} links to {target}"


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a   b\n…\nd", "a b\nc\nc\nd\n", True),
        ("id  sub_…", "id            sub_0123   ", True),
        ("3 records", "4 records", False),
        ("a\nb", "a\nx\nb", False),
        ("a…z", "a lot of z", True),
    ],
)
def test_a_page_is_held_to_its_words_but_not_to_its_spaces(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
