"""What an Avro schema must say (Avro 1.12 specification, "Schema Declaration"), checked strictly and with paths.

fastavro reads schemas leniently: it lets invalid names, repeated fields and defaults of the wrong type through, and
its errors name no place. So the document is resolved here first: every name becomes a full name, every default is
checked, and each problem says where it is (`fields.birth_date.type`). What comes out is again a plain Avro schema.

Not here: parsing JSON, fingerprints (`registry.schema`), comparing two schemas (`registry.compatibility`).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from registry.defaults import Defaults, Definition, as_declared, kind_en, kind_vi, type_name
from registry.errors import Problem, Text

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
NAMED = frozenset({"record", "error", "enum", "fixed"})
COMPLEX = NAMED | {"array", "map"}
DEPTH_MAX = 64  # types inside types; deeper is no data model but an attack on recursive readers
PROBLEMS_MAX = 100  # enough to mend by, small enough to send

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ORDERS = ("ascending", "descending", "ignore")
_ABSENT = object()


@dataclass(slots=True)
class Declaration:
    """A resolved schema: `definition` with full names only, `named` its named types, `problems` what is wrong."""

    definition: Definition = None
    named: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _defaults: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def add(self, path: str, code: str, en: str, vi: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(path, code, Text(en, vi)))


def resolve(document: Any) -> Declaration:
    """Resolve a schema's JSON document; look into `problems` before using `definition`."""
    found = Declaration()
    found.definition = _type(found, document, "", "", 0)
    checked = Defaults(found.named)
    for path, one in found._defaults:  # last, when the fields of recursive records are all known
        if (reason := checked.mismatch(one["default"], one["type"])) is not None:
            found.add(_join(path, "default"), "DEFAULT_TYPE", f"default: {reason.en}", f"giá trị mặc định: {reason.vi}")
        else:
            one["default"] = as_declared(one["default"], one["type"])
    return found


def _type(found: Declaration, raw: Any, namespace: str, path: str, depth: int) -> Definition:
    if depth > DEPTH_MAX:
        found.add(
            path, "TOO_DEEP", f"types nest deeper than {DEPTH_MAX}", f"kiểu dữ liệu lồng nhau quá {DEPTH_MAX} mức"
        )
        return "null"
    if isinstance(raw, str):
        return _reference(found, raw, namespace, path)
    if isinstance(raw, list):
        return _union(found, raw, namespace, path, depth)
    if not isinstance(raw, dict):
        found.add(
            path,
            "TYPE_EXPECTED",
            f"expected a type (a name, an object or an array), found {kind_en(raw)}",
            f"cần một kiểu dữ liệu (tên, đối tượng hoặc mảng), gặp {kind_vi(raw)}",
        )
        return "null"
    kind = raw.get("type", _ABSENT)
    if not isinstance(kind, str):
        what = ("nothing", "không có gì") if kind is _ABSENT else (kind_en(kind), kind_vi(kind))
        found.add(
            _join(path, "type"),
            "TYPE_EXPECTED",
            f'"type" must name a type, found {what[0]}',
            f'"type" phải là tên kiểu, gặp {what[1]}',
        )
        return "null"
    if kind not in PRIMITIVES and kind not in COMPLEX:
        return _reference(found, kind, namespace, _join(path, "type"))
    definition = {key: value for key, value in raw.items() if key not in ("namespace", "fields", "aliases")}
    if not isinstance(raw.get("doc", ""), str):
        found.add(_join(path, "doc"), "TEXT_EXPECTED", '"doc" must be text', '"doc" phải là văn bản')
    if kind in NAMED:
        _named(found, raw, definition, kind, namespace, path, depth)
    elif kind in ("array", "map"):
        part = "items" if kind == "array" else "values"
        definition[part] = _part(found, raw, part, namespace, path, depth)
    _decimal(found, definition, path)
    return kind if definition == {"type": kind} and kind in PRIMITIVES else definition


def _part(found: Declaration, raw: dict[str, Any], part: str, namespace: str, path: str, depth: int) -> Definition:
    if part in raw:
        return _type(found, raw[part], namespace, _join(path, part), depth + 1)
    found.add(_join(path, part), "ATTRIBUTE_MISSING", f'"{part}" is missing', f'thiếu "{part}"')
    return "null"


def _reference(found: Declaration, name: str, namespace: str, path: str) -> Definition:
    if name in PRIMITIVES:
        return name
    full = name if "." in name or not namespace else f"{namespace}.{name}"
    if full not in found.named:
        found.add(
            path,
            "TYPE_UNKNOWN",
            f'no type "{full}" is defined before this place',
            f'chưa định nghĩa kiểu "{full}" trước vị trí này',
        )
        return "null"
    return full


def _union(found: Declaration, raw: list[Any], namespace: str, path: str, depth: int) -> Definition:
    branches: list[Definition] = []
    seen: set[str] = set()
    for index, one in enumerate(raw):
        place = _join(path, str(index))
        if isinstance(one, list):
            found.add(
                place,
                "UNION_IN_UNION",
                "a union may not directly contain a union",
                "kiểu hợp không được chứa trực tiếp kiểu hợp",
            )
            continue
        before = len(found.problems)
        branch = _type(found, one, namespace, place, depth + 1)
        name = type_name(branch)
        name = str(branch["name"]) if name in NAMED and isinstance(branch, dict) else name
        if name in seen and len(found.problems) == before:
            found.add(place, "UNION_DUPLICATE", f'the union has "{name}" twice', f'kiểu hợp có "{name}" hai lần')
        seen.add(name)
        branches.append(branch)
    return branches


def _named(
    found: Declaration,
    raw: dict[str, Any],
    definition: dict[str, Any],
    kind: str,
    namespace: str,
    path: str,
    depth: int,
) -> None:
    space, full = _full_name(found, raw, namespace, path)
    # The empty namespace is said again, so that a reader doesn't fall back to the enclosing type's.
    definition["name"] = full
    if "." not in full and namespace:
        definition["namespace"] = ""
    if full in found.named:
        found.add(
            _join(path, "name"),
            "NAME_REDEFINED",
            f'the type "{full}" is defined twice',
            f'kiểu "{full}" định nghĩa hai lần',
        )
    found.named.setdefault(full, definition)
    if aliases := _aliases(found, raw, path):
        definition["aliases"] = [one if "." in one or not space else f"{space}.{one}" for one in aliases]
    if kind == "enum":
        _enum(found, raw, path)
    elif kind == "fixed":
        size = raw.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**31:
            found.add(
                _join(path, "size"),
                "SIZE_EXPECTED",
                '"size" must be a whole number of bytes from 0',
                '"size" phải là số nguyên byte, từ 0 trở lên',
            )
            definition["size"] = 0
    else:
        definition["fields"] = _fields(found, raw, space, path, depth)


def _full_name(found: Declaration, raw: dict[str, Any], namespace: str, path: str) -> tuple[str, str]:
    name, space = raw.get("name"), raw.get("namespace", namespace)
    if not isinstance(space, str):
        space = "?"
    if not isinstance(name, str) or not name:
        found.add(_join(path, "name"), "NAME_MISSING", "the type has no name", "kiểu dữ liệu không có tên")
        return space, f"?{path}"
    if "." in name:
        space = name.rpartition(".")[0]
        name = name.rpartition(".")[2]
    if not _NAME.fullmatch(name) or (not space and name in PRIMITIVES):
        _bad_name(found, _join(path, "name"), name)
    if space and not all(_NAME.fullmatch(part) for part in space.split(".")):
        _bad_name(found, _join(path, "namespace"), space)
    return space, f"{space}.{name}" if space else name


def _bad_name(found: Declaration, path: str, name: str) -> None:
    shown = name[:100]
    found.add(
        path,
        "NAME_INVALID",
        f"{shown!r} is not a name: letters A-Z a-z, digits and _, not starting with a digit, not a primitive type",
        f"{shown!r} không phải tên hợp lệ: chữ A-Z a-z, chữ số và _, không bắt đầu bằng chữ số, không trùng kiểu cơ sở",
    )


def _aliases(found: Declaration, raw: dict[str, Any], path: str) -> list[str]:
    aliases = raw.get("aliases", [])
    valid = isinstance(aliases, list) and all(
        isinstance(one, str) and all(_NAME.fullmatch(part) for part in one.split(".")) for one in aliases
    )
    if valid:
        return list(aliases)
    found.add(
        _join(path, "aliases"), "NAME_INVALID", '"aliases" must be an array of names', '"aliases" phải là mảng tên'
    )
    return []


def _enum(found: Declaration, raw: dict[str, Any], path: str) -> None:
    symbols = raw.get("symbols")
    if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
        found.add(
            _join(path, "symbols"),
            "SYMBOLS_EXPECTED",
            '"symbols" must be an array of names',
            '"symbols" phải là mảng tên',
        )
        return
    seen: set[str] = set()
    for index, symbol in enumerate(symbols):
        place = _join(path, f"symbols.{index}")
        if not _NAME.fullmatch(symbol):
            _bad_name(found, place, symbol)
        if symbol in seen:
            found.add(
                place,
                "SYMBOL_DUPLICATE",
                f'the symbol "{symbol}" appears twice',
                f'giá trị "{symbol}" xuất hiện hai lần',
            )
        seen.add(symbol)
    if "default" in raw and (not isinstance(raw["default"], str) or raw["default"] not in seen):
        found.add(
            _join(path, "default"),
            "DEFAULT_TYPE",
            "the default is not one of the symbols",
            "giá trị mặc định không nằm trong danh sách",
        )


def _fields(found: Declaration, raw: dict[str, Any], namespace: str, path: str, depth: int) -> list[dict[str, Any]]:
    given = raw.get("fields")
    if not isinstance(given, list):
        found.add(_join(path, "fields"), "ATTRIBUTE_MISSING", '"fields" must be an array', '"fields" phải là mảng')
        return []
    fields: list[dict[str, Any]] = []
    seen: set[str] = set()
    for index, one in enumerate(given):
        place = _join(path, f"fields.{index}")
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            found.add(
                place, "NAME_MISSING", 'a field must be an object with a "name"', 'trường phải là đối tượng có "name"'
            )
            continue
        name = one["name"]
        if not _NAME.fullmatch(name):
            _bad_name(found, _join(place, "name"), name)
        else:
            place = _join(path, f"fields.{name}")
        if name in seen:
            found.add(
                place, "FIELD_DUPLICATE", f'the field "{name}" appears twice', f'trường "{name}" xuất hiện hai lần'
            )
        seen.add(name)
        fields.append(_field(found, one, namespace, place, depth))
    return fields


def _field(found: Declaration, raw: dict[str, Any], namespace: str, path: str, depth: int) -> dict[str, Any]:
    definition = {key: value for key, value in raw.items() if key != "aliases"}
    if aliases := _aliases(found, raw, path):
        definition["aliases"] = aliases
    if not isinstance(raw.get("doc", ""), str):
        found.add(_join(path, "doc"), "TEXT_EXPECTED", '"doc" must be text', '"doc" phải là văn bản')
    if raw.get("order", "ascending") not in _ORDERS:
        found.add(
            _join(path, "order"),
            "ORDER_INVALID",
            f'"order" must be one of {_ORDERS}',
            f'"order" phải là một trong {_ORDERS}',
        )
    definition["type"] = _part(found, raw, "type", namespace, path, depth)
    if "default" in raw:
        found._defaults.append((path, definition))
    return definition


def _decimal(found: Declaration, definition: dict[str, Any], path: str) -> None:
    if definition.get("logicalType") != "decimal" or definition["type"] not in ("bytes", "fixed"):
        return
    precision, scale = definition.get("precision"), definition.get("scale", 0)
    if not isinstance(precision, int) or isinstance(precision, bool) or precision < 1:
        found.add(
            _join(path, "precision"),
            "DECIMAL_INVALID",
            "a decimal's precision must be a whole number from 1",
            "precision của số thập phân phải là số nguyên từ 1",
        )
        return
    if not isinstance(scale, int) or isinstance(scale, bool) or not 0 <= scale <= precision:
        found.add(
            _join(path, "scale"),
            "DECIMAL_INVALID",
            f"a decimal's scale must be from 0 to its precision {precision}",
            f"scale của số thập phân phải từ 0 đến precision {precision}",
        )
    size = definition.get("size")
    if definition["type"] == "fixed" and isinstance(size, int):
        digits = math.floor(math.log10(2) * (8 * size - 1)) if size else 0
        if precision > digits:
            found.add(
                _join(path, "precision"),
                "DECIMAL_INVALID",
                f"{size} bytes hold {digits} digits, not {precision}",
                f"{size} byte chứa được {digits} chữ số, không phải {precision}",
            )


def _join(path: str, part: str) -> str:
    return f"{path}.{part}" if path else part
