"""What ODCS has no words for, from a contract's customProperties: code lists, rules, views, topic. Read and linted.

Not here: what rules and views do to records (registry.rules, registry.view).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from registry.definitions import FULL, Rule, TopicPolicy
from registry.document import Document
from registry.errors import ErrorClass
from registry.terms.codelists import read_code_lists
from registry.terms.reader import FieldTerms, Reader, Terms, has_path
from registry.terms.views import read_views

__all__ = ["FieldTerms", "Terms", "read"]

RULE_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", re.ASCII)
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
    reader = Reader(document, files, fields, frame, key, terms)
    for index, one in enumerate(document.data.get("customProperties") or []):
        path, name = f"customProperties[{index}]", one.get("property")
        if name not in _NAMES:
            reader.wrong(f"{path}.property", "contract.custom", f"expected one of {', '.join(_NAMES)}")
    values = {
        one.get("property"): (one.get("value"), f"customProperties[{i}].value")
        for i, one in enumerate(document.data.get("customProperties") or [])
    }
    for name, step in (
        ("codeLists", read_code_lists),
        ("rules", _read_rules),
        ("views", read_views),
        ("topic", _read_topic),
    ):
        if name in values:
            step(reader, *values[name])
    terms.views.setdefault("full", FULL)
    return terms


def _read_rules(reader: Reader, value: Any, path: str) -> None:
    seen: set[str] = set()
    known = ("code", "class", "path", "check", "unique", "message")
    for at, one in reader.items(value, path, known, ("code", "class", "path", "message")):
        code = str(one["code"])
        if not RULE_CODE.fullmatch(code) or code in seen:
            reader.wrong(
                f"{at}.code", "rule.code", "expected a new code, e.g. sex.agrees", "cần mã mới, ví dụ sex.agrees"
            )
        seen.add(code)
        if one["class"] not in [c.value for c in ErrorClass]:
            reader.wrong(f"{at}.class", "rule.class", f"expected one of {', '.join(ErrorClass)}")
            continue
        if not has_path(reader.frame, str(one["path"])):
            reader.unknown_field(f"{at}.path", str(one["path"]))
        check = one.get("check")
        if (check is None) == (one.get("unique") is None):
            reader.wrong(at, "rule.check", "expected either check or unique", "cần một trong hai: check hoặc unique")
            continue
        if check is None and one["unique"] != "key":
            reader.wrong(f"{at}.unique", "rule.unique", "expected key", "cần key")
        if check is not None:
            reader.expression(str(check), f"{at}.check", "rule")
        message = reader.text(one["message"], f"{at}.message")
        reader.terms.rules.append(
            Rule(code, ErrorClass(one["class"]), str(one["path"]), message, None if check is None else str(check))
        )


def _read_topic(reader: Reader, value: Any, path: str) -> None:
    if not isinstance(value, dict) or set(value) - {"partitions", "cleanup", "retentionDays"}:
        reader.wrong(
            path,
            "topic",
            "expected {partitions, cleanup, retentionDays}",
            "cần {partitions, cleanup, retentionDays}",
        )
        return
    partitions, days = value.get("partitions"), value.get("retentionDays")
    cleanup = value.get("cleanup", "compact")
    if cleanup not in ("compact", "delete"):
        reader.wrong(f"{path}.cleanup", "topic.cleanup", "expected one of compact, delete")
    for name, number, most in (("partitions", partitions, 1_000), ("retentionDays", days, 36_500)):
        if number is not None and not (type(number) is int and 1 <= number <= most):
            reader.wrong(f"{path}.{name}", "topic.number", f"expected 1 to {most}", f"cần từ 1 đến {most}")
            return
    if (cleanup == "delete") != (days is not None):
        reader.wrong(
            path,
            "topic.retention",
            "retentionDays goes with cleanup: delete",
            "retentionDays đi cùng cleanup: delete",
        )
    reader.terms.topic = TopicPolicy(partitions, cleanup, None if days is None else days * 86_400_000)
