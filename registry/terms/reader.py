"""Reading parts of a contract's document: every problem is kept, with its path, and reading goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from registry import cel
from registry.definitions import CodeList, Rule, TopicPolicy, ViewDefinition
from registry.document import Document
from registry.errors import Problem, Text

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)


@dataclass(frozen=True)
class FieldTerms:
    """What the lint asks of a field of the contract."""

    classification: str
    identifying: bool


@dataclass
class Terms:
    code_lists: dict[str, CodeList] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    views: dict[str, ViewDefinition] = field(default_factory=dict)
    topic: TopicPolicy = field(default_factory=TopicPolicy)
    problems: list[Problem] = field(default_factory=list)


@dataclass
class Reader:
    """`fields` and `frame` are the record's, `key` names its key; `terms` is filled on the way."""

    document: Document
    files: Mapping[str, bytes]
    fields: Mapping[str, FieldTerms]
    frame: pl.Schema
    key: str
    terms: Terms

    def wrong(self, path: str, code: str, en: str, vi: str | None = None) -> None:
        if vi is None:
            vi = en.replace("expected one of", "cần một trong").replace("expected", "cần")
        self.terms.problems.append(self.document.problem(path, code, en, vi))

    def items(
        self, value: Any, path: str, known: Sequence[str], needed: Sequence[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The mappings of a list, each with its path; unknown and missing keys are problems."""
        if not isinstance(value, list):
            self.wrong(path, "contract.list", "expected a list", "cần một danh sách")
            return
        for index, one in enumerate(value):
            at = f"{path}[{index}]"
            if not isinstance(one, dict):
                self.wrong(at, "contract.mapping", "expected a mapping", "cần một ánh xạ")
                continue
            for name in one:
                if name not in known:
                    self.wrong(f"{at}.{name}", "contract.unknown", f"{name} is not known here", f"không biết {name}")
            missing = [name for name in needed if one.get(name) in (None, "")]
            for name in missing:
                self.wrong(at, "contract.missing", f"{name} is missing", f"thiếu {name}")
            if not missing:
                yield at, one

    def text(self, value: Any, path: str) -> Text:
        if isinstance(value, dict) and isinstance(value.get("vi"), str) and isinstance(value.get("en"), str):
            return Text(value["en"], value["vi"])
        self.wrong(path, "contract.text", "expected {vi, en}", "cần {vi, en}")
        return Text("", "")

    def expression(self, text: str, path: str, what: str) -> cel.Tree | None:
        scope = cel.Scope(self.frame, {name: [""] for name in self.terms.code_lists})
        try:
            tree = cel.parse(text)
            if what == "rule":
                for name in cel.fields_read(tree):
                    if not has_path(self.frame, name):
                        self.unknown_field(path, name)
                        return None
                cel.compile_columns(tree, scope)
        except cel.CelInvalid as error:
            self.wrong(path, f"{what}.{error.code}", error.message.en, error.message.vi)
            return None
        return tree

    def unknown_field(self, path: str, name: str) -> None:
        self.wrong(path, "contract.unknown_field", f"the record has no field {name}", f"bản ghi không có trường {name}")


def dtype_of(frame: Mapping[str, Any], path: str) -> Any:
    """The type at a dotted path, None where there is none; `[]` steps into a list."""
    dtype: Any = pl.Struct(dict(frame))
    for part in path.split("."):
        name = part.removesuffix("[]")
        inner = dict(dtype.to_schema()) if isinstance(dtype, pl.Struct) else {}
        dtype = inner.get(name)
        if part.endswith("[]"):
            dtype = dtype.inner if isinstance(dtype, pl.List) else None
    return dtype


def has_path(frame: Mapping[str, Any], path: str) -> bool:
    return dtype_of(frame, path) is not None
