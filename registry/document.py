"""A YAML document as plain values, with the line of every place in it. Refused: aliases (bombs), repeated keys, tags.

Not here: what a contract must say (registry.odcs, registry.terms).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from registry.errors import Problem, Text

SIZE_BYTES_MAX = 2 * 2**20  # ten times the largest contract that we know
DEPTH_MAX = 40
PLACES_MAX = 100_000  # values and keys; long lists of codes have files of their own
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DATE = "tag:yaml.org,2002:timestamp"
_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_TAGS = {_DATE, *(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq"))}


@dataclass(frozen=True)
class Document:
    """`lines` maps a path such as `schema[0].name` to its line, from 1."""

    data: Any
    lines: Mapping[str, int]
    problems: tuple[Problem, ...] = ()

    def problem(self, path: str, code: str, en: str, vi: str) -> Problem:
        """A problem at `path`; its message ends with the line of the nearest place that the document has."""
        line, place = 0, path
        while not (line := self.lines.get(place, 0)) and place:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return Problem(path, code, Text(f"{en} (line {line})", f"{vi} (dòng {line})") if line else Text(en, vi))


def read(content: bytes) -> Document:
    """Never raises: what is wrong with the YAML itself is in `problems`, and `data` is then None."""
    if len(content) > SIZE_BYTES_MAX:
        return _refused(
            "yaml.too_large",
            f"the document has {len(content)} bytes, at most {SIZE_BYTES_MAX} are allowed",
            f"tài liệu có {len(content)} byte, tối đa {SIZE_BYTES_MAX}",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _refused("yaml.encoding", f"byte {error.start} is not UTF-8", f"byte thứ {error.start} không phải UTF-8")
    try:
        refused = _events(text)
        if refused is not None:
            return refused
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return _refused(
            "yaml.syntax",
            f"not YAML: {error.problem} (line {line})",
            f"không phải YAML: {error.problem} (dòng {line})",
        )
    except yaml.YAMLError:  # a character that YAML doesn't allow; its message would quote the text
        return _refused("yaml.syntax", "not YAML: a character is not allowed", "không phải YAML: có ký tự không hợp lệ")
    lines: dict[str, int] = {}
    problems: list[Problem] = []
    data = _value(node, "", lines, problems)
    return Document(data, lines, tuple(problems))


def _refused(code: str, en: str, vi: str) -> Document:
    return Document(None, {}, (Problem("", code, Text(en, vi)),))


def _events(text: str) -> Document | None:
    depth = 0
    for place, event in enumerate(yaml.parse(text, _Loader)):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return _refused(
                "yaml.alias",
                f"anchors and aliases are not allowed (line {line})",
                f"không được dùng neo và bí danh (dòng {line})",
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                return _refused(
                    "yaml.too_deep",
                    f"nested deeper than {DEPTH_MAX} (line {line})",
                    f"lồng nhau quá {DEPTH_MAX} tầng (dòng {line})",
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if place > PLACES_MAX:
            return _refused(
                "yaml.too_large",
                f"more than {PLACES_MAX} places (line {line})",
                f"có hơn {PLACES_MAX} vị trí (dòng {line})",
            )
    return None


def _value(node: Any, path: str, lines: dict[str, int], problems: list[Problem]) -> Any:
    if node is None:
        return None
    line = node.start_mark.line + 1
    lines[path] = line
    if node.tag not in _TAGS:
        text = Text(f"tags are not allowed (line {line})", f"không được dùng thẻ (dòng {line})")
        problems.append(Problem(path, "yaml.tag", text))
        return None
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            inner = f"{path}.{key}" if path else key
            if not isinstance(key_node, yaml.ScalarNode) or key in found:
                at = key_node.start_mark.line + 1
                text = Text(f"{key} is said twice (line {at})", f"{key} được khai báo hai lần (dòng {at})")
                problems.append(Problem(inner, "yaml.duplicate_key", text))
                continue
            found[key] = _value(value_node, inner, lines, problems)
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, f"{path}[{index}]", lines, problems) for index, item in enumerate(node.value)]
    if node.tag == _DATE or (node.tag in _NUMBERS and ":" in node.value):  # 1:30 is a number to YAML 1.1 only
        return str(node.value)
    try:
        return yaml.SafeLoader("").construct_object(node)
    except (ValueError, ArithmeticError, yaml.YAMLError):
        text = Text(f"not a value that YAML knows (line {line})", f"giá trị không hợp lệ (dòng {line})")
        problems.append(Problem(path, "yaml.value", text))
        return None
