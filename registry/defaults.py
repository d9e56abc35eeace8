"""Defaults of fields: is this JSON value one of that type (Avro 1.12, "Complex Types", the table of default values).

Not here: where defaults stand in a schema (`registry.declaration`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.errors import Text

Definition = Any  # a str, a list (union) or a dict, as Avro's JSON has it

_RANGES = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}


def type_name(definition: Definition) -> str:
    """ "union", a primitive's or complex type's name, or the full name of a reference."""
    if isinstance(definition, list):
        return "union"
    return str(definition["type"]) if isinstance(definition, dict) else str(definition)


@dataclass(slots=True)
class Defaults:
    """Compares defaults with their types. The answers are kept, or nested unions would cost branches ** depth."""

    named: dict[str, dict[str, Any]]
    known: dict[tuple[int, int], Text | None] = field(default_factory=dict)

    def mismatch(self, value: Any, definition: Definition) -> Text | None:
        """Why `value` is no default of the type, None where it is one."""
        definition = self.named.get(definition, definition) if isinstance(definition, str) else definition
        place = (id(value), id(definition))
        if place not in self.known:
            union = isinstance(definition, list)
            self.known[place] = self._union(value, definition) if union else self._one(value, definition)
        return self.known[place]

    def _union(self, value: Any, branches: list[Definition]) -> Text | None:
        """Of any branch, as Avro 1.12 has it (before, of the first one)."""
        if any(self.mismatch(value, branch) is None for branch in branches):
            return None
        return _found(value, "a value of one branch of the union", "giá trị thuộc một nhánh của kiểu hợp")

    def _one(self, value: Any, definition: Definition) -> Text | None:
        kind = type_name(definition)
        if not _fits(value, kind, definition):
            return _found(value, f"a value of type {kind}", f"giá trị kiểu {kind}")
        if kind == "array":
            parts = [(one, definition["items"], ("in the array", "trong mảng")) for one in value]
        elif kind == "map":
            parts = [(one, definition["values"], ("in the map", "trong ánh xạ")) for one in value.values()]
        elif kind in ("record", "error"):
            parts = []
            for one in definition.get("fields", ()):
                name = one["name"]
                if name in value:
                    parts.append((value[name], one["type"], (f'in the field "{name}"', f'trong trường "{name}"')))
                elif "default" not in one:  # a field's own default is checked in its own place
                    return Text(f'the field "{name}" is missing', f'thiếu trường "{name}"')
        else:
            return None
        for inner, inner_type, (en, vi) in parts:
            if (reason := self.mismatch(inner, inner_type)) is not None:
                return Text(f"{en}, {reason.en}", f"{vi}, {reason.vi}")
        return None


def _fits(value: Any, kind: str, definition: Definition) -> bool:
    """Whether the JSON value has the shape of the type, its parts aside."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    match kind:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "int" | "long":
            low, high = _RANGES[kind]
            return whole and low <= value <= high
        case "float" | "double":
            return whole or isinstance(value, float)
        case "string":
            return isinstance(value, str)
        case "bytes":
            return isinstance(value, str) and all(ord(one) < 256 for one in value)
        case "fixed":
            return isinstance(value, str) and len(value) == definition["size"] and all(ord(one) < 256 for one in value)
        case "enum":
            return value in definition.get("symbols", ())
        case "array":
            return isinstance(value, list)
        case _:
            return isinstance(value, dict)


def _found(value: Any, expected_en: str, expected_vi: str) -> Text:
    return Text(f"expected {expected_en}, found {kind_en(value)}", f"cần {expected_vi}, gặp {kind_vi(value)}")


def as_declared(value: Any, definition: Definition) -> Any:
    """`0` as the default of a double is `0.0`: fastavro asks for it."""
    if type_name(definition) in ("float", "double") and isinstance(value, int):
        return float(value)
    return value


def kind_en(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text", list: "an array"}
    return names.get(type(value), "an object")


def kind_vi(value: Any) -> str:
    names = {type(None): "null", bool: "giá trị đúng/sai", int: "số", float: "số", str: "văn bản", list: "mảng"}
    return names.get(type(value), "đối tượng")
