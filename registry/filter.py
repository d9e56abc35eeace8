"""What a view's filter may say: conditions on the record, and at most one that ties the record to its reader.

    record.permanent_commune in reader.communes      the record's value is one of the reader's
    reader.agency in record.recipients               one of the record's values is the reader's
    record.owner == reader.agency

A condition on the reader stands alone or among others joined by `&&`: what is left is the same for all readers. Unlike a
rule, a filter with no answer (a null) lets nothing through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from registry import cel
from registry.cel.tree import path_of, paths, unwrap
from registry.errors import Text


@dataclass(frozen=True)
class Filter:
    """`attribute` of the reader is compared with `field` of the record (a string, or a list of strings)."""

    conditions: tuple[cel.Tree, ...]
    attribute: str | None = None
    field: str | None = None


def split(tree: cel.Tree, scope: cel.Scope) -> Filter:
    """Raises cel.CelInvalid on another form of reader condition, an unknown field, or a condition that isn't by columns."""
    conditions: list[cel.Tree] = []
    readers: list[tuple[str, str]] = []
    for part in _conjuncts(tree):
        if paths(part, "codes") or paths(part, "today"):
            raise cel.CelInvalid(
                "day",
                Text(
                    "a filter's answer may not change with the day: codes and today are for rules",
                    "kết quả của bộ lọc không được thay đổi theo ngày: codes và today chỉ dùng cho quy tắc",
                ),
            )
        if not paths(part, "reader"):
            if cel.compile_columns(part, scope) is None:
                raise cel.CelInvalid(
                    "by_columns",
                    Text("the condition can't be evaluated by columns", "điều kiện không tính được theo cột"),
                )
            conditions.append(part)
            continue
        readers.append(_reader_condition(part, scope))
    if len(readers) > 1:
        raise cel.CelInvalid(
            "reader",
            Text("a filter asks one attribute of its reader", "bộ lọc chỉ hỏi một thuộc tính của bên khai thác"),
        )
    attribute, field = readers[0] if readers else (None, None)
    return Filter(tuple(conditions), attribute, field)


def _conjuncts(tree: cel.Tree) -> list[cel.Tree]:
    tree = unwrap(tree)
    if getattr(tree, "data", None) == "conditionaland" and len(tree.children) == 2:
        return [part for child in tree.children for part in _conjuncts(child)]
    return [tree]


def _reader_condition(tree: cel.Tree, scope: cel.Scope) -> tuple[str, str]:
    """(reader's attribute, record's field)"""
    operator, sides = _relation(tree)
    paths_of_sides = [path_of(side) for side in sides]
    roots = [path[0] if path else None for path in paths_of_sides]
    form = (operator, *roots)
    if form in (("relation_in", "record", "reader"), ("relation_eq", "record", "reader")):
        record, reader = paths_of_sides
    elif form in (("relation_in", "reader", "record"), ("relation_eq", "reader", "record")):
        reader, record = paths_of_sides
    else:
        record = reader = None
    if record is None or reader is None or len(record) != 2 or len(reader) != 2:
        raise cel.CelInvalid(
            "reader",
            Text(
                "the reader is asked as `record.x in reader.y`, `reader.y in record.x` or `record.x == reader.y`",
                "chỉ hỏi bên khai thác theo dạng `record.x in reader.y`, `reader.y in record.x` hoặc `record.x == reader.y`",
            ),
        )
    wanted: Any = pl.List(pl.String) if form == ("relation_in", "reader", "record") else pl.String()
    if scope.fields.get(record[1]) is None:
        raise cel.CelInvalid(
            "unknown_field", Text(f"the record has no field {record[1]}", f"bản ghi không có trường {record[1]}")
        )
    if scope.fields[record[1]] != wanted:
        what = Text("a list of strings", "danh sách chuỗi") if wanted != pl.String() else Text("a string", "chuỗi")
        raise cel.CelInvalid("type", Text(f"{record[1]} is not {what.en}", f"{record[1]} không phải {what.vi}"))
    return reader[1], record[1]


def _relation(tree: cel.Tree) -> tuple[str, list[cel.Tree]]:
    if getattr(tree, "data", None) != "relation" or len(tree.children) != 2:
        return "", []
    return str(tree.children[0].data), [tree.children[0].children[0], tree.children[1]]
