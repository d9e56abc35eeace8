"""May one schema follow another: Avro's schema resolution, decided as Apache Avro's Java implementation decides it.

The rules, and the codes of problems, are those of `org.apache.avro.SchemaCompatibility` (1.12), which Confluent's
registry asks too: named types match by their unqualified name or by an alias of the reader that is the writer's full
name; logical types, decimals' scale included, play no part. Two things go beyond it, in words only: a refused union
says what keeps its nearest branch from fitting, and problems carry the names of the fields on the way.

Pure: no input or output. What a level means for a subject's versions is here too; which versions there are is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import takewhile
from typing import Any, NamedTuple

from registry.declaration import NAMED, PROBLEMS_MAX
from registry.defaults import Definition, type_name
from registry.errors import Problem, SchemaInvalid, Text
from registry.schema import Schema

_PROMOTIONS = {
    "long": {"int"},
    "float": {"int", "long"},
    "double": {"int", "long", "float"},
    "bytes": {"string"},
    "string": {"bytes"},
}


class Level(StrEnum):
    """What a new version owes its predecessors.

    BACKWARD: it reads what the last one wrote. FORWARD: the last one reads what it writes. FULL: both. TRANSITIVE:
    every version before it, not only the last.
    """

    NONE = "NONE"
    BACKWARD = "BACKWARD"
    BACKWARD_TRANSITIVE = "BACKWARD_TRANSITIVE"
    FORWARD = "FORWARD"
    FORWARD_TRANSITIVE = "FORWARD_TRANSITIVE"
    FULL = "FULL"
    FULL_TRANSITIVE = "FULL_TRANSITIVE"


DEFAULT_LEVEL = Level.BACKWARD  # Confluent's: consumers are upgraded first


def compared(level: Level, existing: int) -> range:
    """Which of `existing` versions, oldest first, a new one is compared with: their indexes, newest first."""
    if level is Level.NONE:
        return range(0)
    oldest = 0 if level.endswith("_TRANSITIVE") else existing - 1
    return range(existing - 1, max(oldest, 0) - 1, -1)


def check(level: Level, new: Schema, existing: Sequence[Schema]) -> tuple[Problem, ...]:
    """What keeps `new` from following `existing` (oldest first) at this level; empty where nothing does.

    The newest version that doesn't fit ends the search. Raises SchemaInvalid where references nest too deeply.
    """
    for index in compared(level, len(existing)):
        if problems := pair_problems(level, new, existing[index]):
            return problems
    return ()


def pair_problems(level: Level, new: Schema, old: Schema) -> tuple[Problem, ...]:
    """The same for one earlier version."""
    problems: list[Problem] = []
    if level.startswith(("BACKWARD", "FULL")):
        said = Text("the new schema reading earlier records: ", "lược đồ mới đọc bản ghi trước đó: ")
        problems += (_prefixed(said, one) for one in read_problems(new, old))
    if level.startswith(("FORWARD", "FULL")):
        said = Text("the earlier schema reading new records: ", "lược đồ trước đó đọc bản ghi mới: ")
        problems += (_prefixed(said, one) for one in read_problems(old, new))
    return tuple(problems)


def read_problems(reader: Schema, writer: Schema) -> tuple[Problem, ...]:
    """What keeps `reader` from reading every record of `writer`. Paths are JSON pointers into the reader; where the
    writer has a union and the reader doesn't, into the writer's branches. At most PROBLEMS_MAX.

    Raises SchemaInvalid where references nest too deeply to compare.
    """
    try:
        problems = _Comparison(reader.named, writer.named).compare(reader.definition, writer.definition, _ROOT)
    except RecursionError as error:
        message = Text("the types refer to each other too deeply", "các kiểu tham chiếu nhau quá sâu")
        raise SchemaInvalid(message, [Problem("", "TOO_DEEP", message)]) from error
    return tuple(dict.fromkeys(problems))[:PROBLEMS_MAX]


class _Place(NamedTuple):
    pointer: str
    fields: str

    def down(self, *tokens: str, name: str = "") -> _Place:
        fields = f"{self.fields}.{name}" if self.fields and name else self.fields or name
        return _Place("/".join((self.pointer, *tokens)), fields)

    def problem(self, code: str, en: str, vi: str) -> Problem:
        said = f"{self.fields}: " if self.fields else ""
        return Problem(self.pointer or "/", code, Text(said + en, said + vi))


_ROOT = _Place("", "")


class _Comparison:
    """One reader against one writer. Pairs of named types compared, or being compared (recursion), are kept."""

    def __init__(self, reader: Mapping[str, Mapping[str, Any]], writer: Mapping[str, Mapping[str, Any]]) -> None:
        self.reader_types = reader
        self.writer_types = writer
        self.known: dict[tuple[str, str], list[Problem]] = {}

    def compare(self, reader: Definition, writer: Definition, at: _Place) -> list[Problem]:
        reader = self.reader_types.get(reader, reader) if isinstance(reader, str) else reader
        writer = self.writer_types.get(writer, writer) if isinstance(writer, str) else writer
        kind, written = _kind(reader), _kind(writer)
        if kind in NAMED and written in NAMED:
            pair = (reader["name"], writer["name"])
            if pair in self.known:
                return self.known[pair][:1]  # all were told at the first visit
            self.known[pair] = []  # compatible unless proven otherwise: ends the recursion
            if problems := self._named(reader, writer, kind, written, at):
                self._forget_since(pair)
                self.known[pair] = problems
            return problems
        if kind == written == "array":
            return self.compare(reader["items"], writer["items"], at.down("items"))
        if kind == written == "map":
            return self.compare(reader["values"], writer["values"], at.down("values"))
        if written == "union":
            return self._from_union(reader, writer, at)
        if kind == "union":
            return self._into_union(reader, writer, at)
        return [] if kind == written or written in _PROMOTIONS.get(kind, ()) else [_type_mismatch(kind, written, at)]

    def _forget_since(self, pair: tuple[str, str]) -> None:
        """What was found compatible while `pair` was only assumed to be (Java keeps it, and may call too much good)."""
        since = list(takewhile(lambda each: each != pair, reversed(self.known)))
        for each in since:
            if not self.known[each]:
                del self.known[each]

    def _from_union(self, reader: Definition, branches: list[Definition], at: _Place) -> list[Problem]:
        problems: list[Problem] = []
        for index, branch in enumerate(branches):
            problems += self.compare(reader, branch, at.down(str(index)))
        return problems

    def _into_union(self, branches: list[Definition], writer: Definition, at: _Place) -> list[Problem]:
        nearest: Problem | None = None
        for branch in branches:
            if not self._may_match(branch, writer):
                continue
            problems = self.compare(branch, writer, _ROOT)
            if not problems:
                return []
            nearest = nearest or problems[0]
        written = _shown(writer)
        en, vi = f"the reader's union has no branch for {written}", f"kiểu hợp của bên đọc không có nhánh cho {written}"
        if nearest is not None:
            en += f"; its nearest branch fails at {nearest.path}: {nearest.message.en}"
            vi += f"; nhánh gần nhất sai tại {nearest.path}: {nearest.message.vi}"
        return [at.problem("MISSING_UNION_BRANCH", en, vi)]

    def _may_match(self, branch: Definition, writer: Mapping[str, Any] | str) -> bool:
        """False where kind or name alone rule it out; saves comparing every field of every branch."""
        branch = self.reader_types.get(branch, branch) if isinstance(branch, str) else branch
        kind, written = _kind(branch), _kind(writer)
        if kind in NAMED and written in NAMED and isinstance(writer, Mapping):
            return kind == written and not _names(branch, writer, _ROOT)
        return kind == written or written in _PROMOTIONS.get(kind, ())

    def _named(
        self, reader: Mapping[str, Any], writer: Mapping[str, Any], kind: str, written: str, at: _Place
    ) -> list[Problem]:
        if kind != written:
            return [_type_mismatch(kind, written, at)]
        problems = _names(reader, writer, at.down("name"))
        if kind == "fixed":
            return problems + _sizes(reader, writer, at.down("size"))
        if kind == "enum":
            return problems + _symbols(reader, writer, at.down("symbols"))
        return problems + self._fields(reader, writer, at)

    def _fields(self, reader: Mapping[str, Any], writer: Mapping[str, Any], at: _Place) -> list[Problem]:
        problems: list[Problem] = []
        written = {one["name"]: one for one in writer["fields"]}
        for index, one in enumerate(reader["fields"]):
            name = one["name"]
            place = at.down("fields", str(index), name=name)
            matching = [written[each] for each in (name, *one.get("aliases", ())) if each in written]
            if len(matching) > 1:
                names = ", ".join(each["name"] for each in matching)
                problems.append(
                    place.problem(
                        "AMBIGUOUS_FIELD",
                        f"its name and aliases match several fields of the writer: {names}",
                        f"tên và bí danh của trường khớp nhiều trường của bên ghi: {names}",
                    )
                )
            elif matching:
                problems += self.compare(one["type"], matching[0]["type"], place.down("type"))
            elif "default" not in one:
                problems.append(
                    place.problem(
                        "READER_FIELD_MISSING_DEFAULT_VALUE",
                        f'the writer\'s record "{writer["name"]}" has no such field, and it has no default',
                        f'bản ghi "{writer["name"]}" của bên ghi thiếu trường này, và trường không có giá trị mặc định',
                    )
                )
        return problems


def _names(reader: Mapping[str, Any], writer: Mapping[str, Any], at: _Place) -> list[Problem]:
    unqualified = reader["name"].rpartition(".")[2] == writer["name"].rpartition(".")[2]
    if unqualified or writer["name"] in reader.get("aliases", ()):
        return []
    said = f"{reader['name']} / {writer['name']}"
    return [
        at.problem(
            "NAME_MISMATCH", f"reader and writer differ in name: {said}", f"tên bên đọc và bên ghi khác nhau: {said}"
        )
    ]


def _sizes(reader: Mapping[str, Any], writer: Mapping[str, Any], at: _Place) -> list[Problem]:
    if reader["size"] == writer["size"]:
        return []
    return [
        at.problem(
            "FIXED_SIZE_MISMATCH",
            f"expected {writer['size']} bytes as written, found {reader['size']}",
            f"cần {writer['size']} byte như bên ghi, gặp {reader['size']}",
        )
    ]


def _symbols(reader: Mapping[str, Any], writer: Mapping[str, Any], at: _Place) -> list[Problem]:
    missing = sorted(set(writer["symbols"]) - set(reader["symbols"]))
    if not missing or "default" in reader:
        return []
    shown = ", ".join(missing[:20]) + (", …" if len(missing) > 20 else "")
    return [
        at.problem(
            "MISSING_ENUM_SYMBOLS",
            f"the reader lacks the symbols {shown} and has no default",
            f"bên đọc thiếu các giá trị {shown} và không có giá trị mặc định",
        )
    ]


def _type_mismatch(kind: str, written: str, at: _Place) -> Problem:
    return at.problem(
        "TYPE_MISMATCH",
        f"{kind} can't read what is written as {written}",
        f"kiểu {kind} không đọc được dữ liệu ghi kiểu {written}",
    )


def _kind(definition: Definition) -> str:
    kind = type_name(definition)
    return "record" if kind == "error" else kind


def _shown(definition: Definition) -> str:
    kind = _kind(definition)
    return f'{kind} "{definition["name"]}"' if kind in NAMED else kind


def _prefixed(said: Text, problem: Problem) -> Problem:
    message = Text(said.en + problem.message.en, said.vi + problem.message.vi)
    return Problem(problem.path, problem.code, message)
