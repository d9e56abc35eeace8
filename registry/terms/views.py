"""Views: what each lets through, of which records, for which readers; and that a de-identified one identifies nobody."""

from __future__ import annotations

from typing import Any

import polars as pl

from registry import cel
from registry.definitions import Mask, ViewDefinition, ViewField
from registry.filter import split
from registry.terms.reader import NAME, Reader, dtype_of, has_path


def read_views(reader: Reader, value: Any, path: str) -> None:
    known = ("name", "title", "fields", "filter", "deidentified")
    for at, one in reader.items(value, path, known, ("name", "title")):
        name = str(one["name"])
        if not NAME.fullmatch(name) or name in reader.terms.views:
            reader.wrong(f"{at}.name", "view.name", "expected a new name in small letters", "cần tên mới, chữ thường")
            continue
        fields = _view_fields(reader, one.get("fields"), f"{at}.fields")
        if one.get("filter") is not None:
            tree = reader.expression(str(one["filter"]), f"{at}.filter", "filter")
            if tree is not None:
                try:
                    split(tree, cel.Scope(reader.frame))
                except cel.CelInvalid as error:
                    reader.wrong(f"{at}.filter", f"filter.{error.code}", error.message.en, error.message.vi)
        definition = ViewDefinition(
            name,
            reader.text(one["title"], f"{at}.title"),
            fields,
            None if one.get("filter") is None else str(one["filter"]),
            one.get("deidentified") is True,
        )
        if name == "full" and (fields is not None or definition.filter is not None):
            reader.wrong(at, "view.full", "full is the record as it is", "full là bản ghi nguyên vẹn")
        if name != "full" and fields is None:
            reader.wrong(at, "view.fields", "expected fields: only full has all", "cần fields: chỉ full có tất cả")
        if not isinstance(one.get("deidentified", False), bool):
            reader.wrong(f"{at}.deidentified", "view.deidentified", "expected true or false", "cần true hoặc false")
        if definition.deidentified:
            _check_deidentified(reader, definition, at)
        reader.terms.views[name] = definition


def _view_fields(reader: Reader, value: Any, path: str) -> tuple[ViewField, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        reader.wrong(path, "view.fields", "expected a list of fields", "cần danh sách trường")
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
            reader.wrong(
                at,
                "view.field",
                "expected a name, or {name, from, mask, length}",
                "cần tên, hoặc {name, from, mask, length}",
            )
            continue
        name, source = one["name"], str(one.get("from", one["name"]))
        if not NAME.fullmatch(name) or any(name == field.name for field in fields):
            reader.wrong(at, "view.field_name", "expected a new name in small letters", "cần tên mới, chữ thường")
        if not has_path(reader.frame, source) or "[]" in source:
            reader.unknown_field(at, source)
            continue
        mask = one.get("mask")
        if mask is not None and mask not in [m.value for m in Mask]:
            reader.wrong(f"{at}.mask", "view.mask", f"expected one of {', '.join(Mask)}")
            continue
        length = one.get("length", 0)
        dtype = dtype_of(reader.frame, source)
        allowed = {
            None: True,
            "hash": dtype == pl.String,
            "prefix": dtype == pl.String and isinstance(length, int) and length > 0,
        }
        if not allowed.get(mask, dtype in (pl.String, pl.Date)):
            reader.wrong(
                f"{at}.mask", "view.mask_type", f"{mask} does not fit {source}", f"{mask} không hợp với {source}"
            )
        fields.append(ViewField(name, source, None if mask is None else Mask(mask), length))
    return tuple(fields)


def _check_deidentified(reader: Reader, view: ViewDefinition, path: str) -> None:
    for index, one in enumerate(view.fields or ()):
        field = reader.fields.get(one.source.split(".")[0])
        shown = one.mask is None or one.mask is Mask.PREFIX  # a prefix may be all of it
        leaks = shown and (one.source == reader.key or field is None or field.identifying)
        if leaks:
            reader.wrong(
                f"{path}.fields[{index}]",
                "view.identifying",
                f"{one.source} identifies a person; a de-identified view masks it or leaves it out",
                f"{one.source} định danh cá nhân; khung nhìn khử nhận dạng phải che hoặc bỏ trường này",
            )
    if view.fields is None:
        reader.wrong(
            path,
            "view.identifying",
            "the whole record is not de-identified",
            "bản ghi nguyên vẹn chưa khử nhận dạng",
        )
