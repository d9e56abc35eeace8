"""Code lists: inline, or from a CSV file beside the contract with columns code, name, valid_from, valid_to, replaced_by."""

from __future__ import annotations

import csv
import datetime
import io
from typing import Any

from registry.definitions import Code, CodeList
from registry.terms.reader import NAME, Reader

CODES_MAX = 100_000  # the communes of the whole country are 3,321


def read_code_lists(reader: Reader, value: Any, path: str) -> None:
    for at, one in reader.items(value, path, ("name", "title", "file", "codes"), ("name",)):
        name = str(one["name"])
        if not NAME.fullmatch(name) or name in reader.terms.code_lists:
            reader.wrong(f"{at}.name", "codes.name", "expected a new name in small letters", "cần tên mới, chữ thường")
            continue
        rows = one.get("codes")
        if "file" in one:
            rows = _csv(reader, str(one["file"]), f"{at}.file")
        entries = _codes(reader, rows if isinstance(rows, list) else [], f"{at}.codes")
        if not entries:
            reader.wrong(at, "codes.empty", "the list has no codes", "danh mục không có mã nào")
        reader.terms.code_lists[name] = CodeList(name, tuple(entries))


def _csv(reader: Reader, name: str, path: str) -> list[dict[str, Any]]:
    content = reader.files.get(name)
    if content is None:
        reader.wrong(path, "codes.file", f"file {name} is not there", f"không có tệp {name}")
        return []
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error):
        reader.wrong(path, "codes.file", f"file {name} is not CSV in UTF-8", f"tệp {name} không phải CSV UTF-8")
        return []
    return [{k: v for k, v in row.items() if k and v} for row in rows]


def _codes(reader: Reader, rows: list[Any], path: str) -> list[Code]:
    entries: list[Code] = []
    if len(rows) > CODES_MAX:
        reader.wrong(path, "codes.too_many", f"at most {CODES_MAX} codes", f"tối đa {CODES_MAX} mã")
        return []
    for index, row in enumerate(rows):
        row = row if isinstance(row, dict) else {"code": row}
        code = row.get("code")
        if not isinstance(code, str):
            reader.wrong(f"{path}[{index}]", "codes.code", "expected a code in quotes", "cần mã trong dấu nháy")
            continue
        try:
            days = [
                datetime.date.fromisoformat(str(row[k])) if row.get(k) else None for k in ("valid_from", "valid_to")
            ]
        except ValueError:
            reader.wrong(f"{path}[{index}]", "codes.date", "expected dates as 2025-07-01", "cần ngày dạng 2025-07-01")
            continue
        entries.append(Code(code, str(row.get("name", code)), days[0], days[1], row.get("replaced_by")))
    return entries
