"""What ODCS has no words for, from a contract's customProperties: code lists, rules, views, topic. Read and linted.

Not here: what rules and views do to records (registry.rules, registry.view).
"""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from registry import cel
from registry.definitions import FULL, Code, CodeList, Mask, Rule, TopicPolicy, ViewDefinition, ViewField
from registry.document import Document
from registry.errors import ErrorClass, Problem, Text
from registry.filter import split

CODES_MAX = 100_000
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
RULE_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", re.ASCII)


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


_NAMES = ("codeLists", "rules", "views", "topic", "title", "titleEn")


def read(
    document: Document,
    files: Mapping[str, bytes],
    fields: Mapping[str, FieldTerms],
    frame: pl.Schema,
    key: str,
) -> Terms:
    """All terms with every problem. `fields` and `frame` are the record's; `key` names its key."""
    terms = Terms()
    reader = _Reader(document, files, fields, frame, key, terms)
    for index, one in enumerate(document.data.get("customProperties") or []):
        path, name = f"customProperties[{index}]", one.get("property")
        if name not in _NAMES:
            reader.wrong(f"{path}.property", "contract.custom", f"expected one of {', '.join(_NAMES)}")
    values = {
        one.get("property"): (one.get("value"), f"customProperties[{i}].value")
        for i, one in enumerate(document.data.get("customProperties") or [])
    }
    for name, step in (
        ("codeLists", reader.code_lists),
        ("rules", reader.rules),
        ("views", reader.views),
        ("topic", reader.topic),
    ):
        if name in values:
            step(*values[name])
    terms.views.setdefault("full", FULL)
    return terms


@dataclass
class _Reader:
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

    # code lists

    def code_lists(self, value: Any, path: str) -> None:
        for at, one in self.items(value, path, ("name", "title", "file", "codes"), ("name",)):
            name = str(one["name"])
            if not NAME.fullmatch(name) or name in self.terms.code_lists:
                self.wrong(
                    f"{at}.name", "codes.name", "expected a new name in small letters", "cần tên mới, chữ thường"
                )
                continue
            rows = one.get("codes")
            if "file" in one:
                rows = self._csv(str(one["file"]), f"{at}.file")
            entries = self._codes(rows if isinstance(rows, list) else [], f"{at}.codes")
            if not entries:
                self.wrong(at, "codes.empty", "the list has no codes", "danh mục không có mã nào")
            self.terms.code_lists[name] = CodeList(name, tuple(entries))

    def _csv(self, name: str, path: str) -> list[dict[str, Any]]:
        content = self.files.get(name)
        if content is None:
            self.wrong(path, "codes.file", f"file {name} is not there", f"không có tệp {name}")
            return []
        try:
            rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        except (UnicodeDecodeError, csv.Error):
            self.wrong(path, "codes.file", f"file {name} is not CSV in UTF-8", f"tệp {name} không phải CSV UTF-8")
            return []
        return [{k: v for k, v in row.items() if k and v} for row in rows]

    def _codes(self, rows: list[Any], path: str) -> list[Code]:
        entries: list[Code] = []
        for index, row in enumerate(rows[:CODES_MAX]):
            row = row if isinstance(row, dict) else {"code": row}
            code = row.get("code")
            if not isinstance(code, str):
                self.wrong(f"{path}[{index}]", "codes.code", "expected a code in quotes", "cần mã trong dấu nháy")
                continue
            try:
                days = [
                    datetime.date.fromisoformat(str(row[k])) if row.get(k) else None for k in ("valid_from", "valid_to")
                ]
            except ValueError:
                self.wrong(f"{path}[{index}]", "codes.date", "expected dates as 2025-07-01", "cần ngày dạng 2025-07-01")
                continue
            entries.append(Code(code, str(row.get("name", code)), days[0], days[1], row.get("replaced_by")))
        return entries

    # rules

    def rules(self, value: Any, path: str) -> None:
        seen: set[str] = set()
        known = ("code", "class", "path", "check", "unique", "message")
        for at, one in self.items(value, path, known, ("code", "class", "path", "message")):
            code = str(one["code"])
            if not RULE_CODE.fullmatch(code) or code in seen:
                self.wrong(
                    f"{at}.code", "rule.code", "expected a new code, e.g. sex.agrees", "cần mã mới, ví dụ sex.agrees"
                )
            seen.add(code)
            if one["class"] not in [c.value for c in ErrorClass]:
                self.wrong(f"{at}.class", "rule.class", f"expected one of {', '.join(ErrorClass)}")
                continue
            if not has_path(self.frame, str(one["path"])):
                self.unknown_field(f"{at}.path", str(one["path"]))
            check = one.get("check")
            if (check is None) == (one.get("unique") is None):
                self.wrong(at, "rule.check", "expected either check or unique", "cần một trong hai: check hoặc unique")
                continue
            if check is None and one["unique"] != "key":
                self.wrong(f"{at}.unique", "rule.unique", "expected key", "cần key")
            if check is not None:
                self.expression(str(check), f"{at}.check", "rule")
            message = self.text(one["message"], f"{at}.message")
            self.terms.rules.append(
                Rule(code, ErrorClass(one["class"]), str(one["path"]), message, None if check is None else str(check))
            )

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

    # views

    def views(self, value: Any, path: str) -> None:
        known = ("name", "title", "fields", "filter", "deidentified")
        for at, one in self.items(value, path, known, ("name", "title")):
            name = str(one["name"])
            if not NAME.fullmatch(name) or name in self.terms.views:
                self.wrong(f"{at}.name", "view.name", "expected a new name in small letters", "cần tên mới, chữ thường")
                continue
            fields = self._view_fields(one.get("fields"), f"{at}.fields")
            if one.get("filter") is not None:
                tree = self.expression(str(one["filter"]), f"{at}.filter", "filter")
                if tree is not None:
                    try:
                        split(tree, cel.Scope(self.frame))
                    except cel.CelInvalid as error:
                        self.wrong(f"{at}.filter", f"filter.{error.code}", error.message.en, error.message.vi)
            definition = ViewDefinition(
                name,
                self.text(one["title"], f"{at}.title"),
                fields,
                None if one.get("filter") is None else str(one["filter"]),
                one.get("deidentified") is True,
            )
            if name == "full" and (fields is not None or definition.filter is not None):
                self.wrong(at, "view.full", "full is the record as it is", "full là bản ghi nguyên vẹn")
            if name != "full" and fields is None:
                self.wrong(at, "view.fields", "expected fields: only full has all", "cần fields: chỉ full có tất cả")
            if definition.deidentified:
                self._check_deidentified(definition, at)
            self.terms.views[name] = definition

    def _view_fields(self, value: Any, path: str) -> tuple[ViewField, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list) or not value:
            self.wrong(path, "view.fields", "expected a list of fields", "cần danh sách trường")
            return ()
        fields: list[ViewField] = []
        for index, one in enumerate(value):
            at = f"{path}[{index}]"
            one = {"name": one} if isinstance(one, str) else one
            if (
                not isinstance(one, dict)
                or not isinstance(one.get("name"), str)
                or set(one) - {"name", "from", "mask", "length"}
            ):
                self.wrong(
                    at,
                    "view.field",
                    "expected a name, or {name, from, mask, length}",
                    "cần tên, hoặc {name, from, mask, length}",
                )
                continue
            name, source = one["name"], str(one.get("from", one["name"]))
            if not NAME.fullmatch(name) or any(name == field.name for field in fields):
                self.wrong(at, "view.field_name", "expected a new name in small letters", "cần tên mới, chữ thường")
            if not has_path(self.frame, source) or "[]" in source:
                self.unknown_field(at, source)
                continue
            mask = one.get("mask")
            if mask is not None and mask not in [m.value for m in Mask]:
                self.wrong(f"{at}.mask", "view.mask", f"expected one of {', '.join(Mask)}")
                continue
            length = one.get("length", 0)
            dtype = dtype_of(self.frame, source)
            allowed = {
                None: True,
                "hash": dtype == pl.String,
                "prefix": dtype == pl.String and isinstance(length, int) and length > 0,
            }
            if not allowed.get(mask, dtype in (pl.String, pl.Date)):
                self.wrong(
                    f"{at}.mask", "view.mask_type", f"{mask} does not fit {source}", f"{mask} không hợp với {source}"
                )
            fields.append(ViewField(name, source, None if mask is None else Mask(mask), length))
        return tuple(fields)

    def _check_deidentified(self, view: ViewDefinition, path: str) -> None:
        for index, one in enumerate(view.fields or ()):
            field = self.fields.get(one.source.split(".")[0])
            leaks = one.mask is None and (one.source == self.key or field is None or field.identifying)
            if leaks:
                self.wrong(
                    f"{path}.fields[{index}]",
                    "view.identifying",
                    f"{one.source} identifies a person; a de-identified view masks it or leaves it out",
                    f"{one.source} định danh cá nhân; khung nhìn khử nhận dạng phải che hoặc bỏ trường này",
                )
        if view.fields is None:
            self.wrong(
                path,
                "view.identifying",
                "the whole record is not de-identified",
                "bản ghi nguyên vẹn chưa khử nhận dạng",
            )

    # topic

    def topic(self, value: Any, path: str) -> None:
        if not isinstance(value, dict) or set(value) - {"partitions", "cleanup", "retentionDays"}:
            self.wrong(
                path,
                "topic",
                "expected {partitions, cleanup, retentionDays}",
                "cần {partitions, cleanup, retentionDays}",
            )
            return
        partitions, days = value.get("partitions"), value.get("retentionDays")
        cleanup = value.get("cleanup", "compact")
        if cleanup not in ("compact", "delete"):
            self.wrong(f"{path}.cleanup", "topic.cleanup", "expected one of compact, delete")
        for name, number, most in (("partitions", partitions, 1_000), ("retentionDays", days, 36_500)):
            if number is not None and not (isinstance(number, int) and 1 <= number <= most):
                self.wrong(f"{path}.{name}", "topic.number", f"expected 1 to {most}", f"cần từ 1 đến {most}")
                return
        if (cleanup == "delete") != (days is not None):
            self.wrong(
                path,
                "topic.retention",
                "retentionDays goes with cleanup: delete",
                "retentionDays đi cùng cleanup: delete",
            )
        self.terms.topic = TopicPolicy(partitions, cleanup, None if days is None else days * 86_400_000)


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
