"""An Avro schema as the registry and the codecs use it: parsed, resolved, with its fingerprints.

Rules of what a schema must say are in `registry.declaration`; comparing two schemas is `registry.compatibility`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from registry.declaration import DEPTH_MAX, resolve
from registry.defaults import Definition
from registry.errors import Problem, SchemaInvalid, Text

SIZE_BYTES_MAX = 1_000_000  # 10,000 documented fields; librdkafka and Confluent's registry stop at about the same size

JSON_DEPTH_MAX = 4 * DEPTH_MAX  # a type within a type takes three levels at most: the record, its fields, the field


@dataclass(frozen=True, slots=True)
class Schema:
    """One parsed schema. Two schemas are equal when their `identity` is.

    `definition` is as fastavro parsed it, with full names (hand it to fastavro as it is); `named` holds every named
    type by its full name. `canonical` is the Parsing Canonical Form, `rabin` its CRC-64-AVRO (8 bytes, little endian
    as single-object encoding has it), `sha256` its SHA-256 in hex: they say how records are *written*. `identity`
    (SHA-256 in hex) also covers defaults, documentation, aliases and logical types: it says which schema *this* is,
    so the registry's ids rest on it.
    """

    definition: Definition = field(compare=False)
    named: Mapping[str, Mapping[str, Any]] = field(compare=False, repr=False)
    text: str = field(compare=False, repr=False)
    canonical: str = field(compare=False, repr=False)
    rabin: bytes = field(compare=False)
    sha256: str = field(compare=False)
    identity: str

    @property
    def name(self) -> str | None:
        """The full name of a record, enum or fixed at the root."""
        return self.definition.get("name") if isinstance(self.definition, dict) else None


def parse(source: str | bytes | Mapping[str, Any] | Sequence[Any]) -> Schema:
    """Parse Avro JSON: text (kept as given) or the document already read from JSON.

    Raises SchemaInvalid with every problem found, each with its path.
    """
    text = _as_text(source)
    try:
        found = resolve(_read_json(text))
        if found.problems:
            raise _invalid(found.problems)
        plain = json.dumps(_plain(found.definition), sort_keys=True)
        definition = fastavro.parse_schema(found.definition)
        canonical = to_parsing_canonical_form(found.definition)
    except RecursionError as error:
        raise _invalid([_problem("TOO_DEEP", "the JSON nests too deeply", "JSON lồng nhau quá sâu")]) from error
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise _invalid([Problem("", "AVRO", Text(f"fastavro: {error}", f"fastavro: {error}"))]) from error
    return Schema(
        definition=definition,
        named=found.named,
        text=text,
        canonical=canonical,
        rabin=bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO")),
        sha256=fingerprint(canonical, "sha256"),
        identity=hashlib.sha256(plain.encode()).hexdigest(),
    )


def _as_text(source: str | bytes | Mapping[str, Any] | Sequence[Any]) -> str:
    try:
        if isinstance(source, bytes):
            text = source.decode("utf-8")
        else:
            text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)
        size = len(text.encode("utf-8"))
    except UnicodeError as error:
        raise _invalid(
            [_problem("NOT_UTF8", "the schema is not UTF-8 text", "lược đồ không phải văn bản UTF-8")]
        ) from error
    if size > SIZE_BYTES_MAX:
        raise _invalid(
            [
                _problem(
                    "TOO_LARGE",
                    f"the schema has {size:,} bytes, more than {SIZE_BYTES_MAX:,}",
                    f"lược đồ có {size:,} byte, vượt quá {SIZE_BYTES_MAX:,}",
                )
            ]
        )
    return text


def _read_json(text: str) -> Any:
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        where_vi = f"dòng {error.lineno}, cột {error.colno}"
        raise _invalid(
            [_problem("NOT_JSON", f"not JSON at {where}: {error.msg}", f"không phải JSON tại {where_vi}: {error.msg}")]
        ) from error
    except ValueError as error:
        raise _invalid([_problem("NOT_JSON", f"not JSON: {error}", f"không phải JSON: {error}")]) from error
    if _deeper(document, JSON_DEPTH_MAX):
        raise RecursionError
    return document


def _deeper(document: Any, levels: int) -> bool:
    """Whether arrays and objects nest deeper; told by level, whatever the interpreter's recursion limit is."""
    level = [document]
    for _ in range(levels):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list)))
        level = [one for each in inner for one in each]
    return any(isinstance(one, (dict, list)) for one in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the attribute {twice[:100]!r} appears twice in one object")
    return result


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _plain(definition: Definition) -> Definition:
    """The definition without what makes no difference: the default order, empty lists of aliases."""
    if isinstance(definition, list):
        return [_plain(one) for one in definition]
    if not isinstance(definition, dict):
        return definition
    plain = {
        key: [{**_plain(one), "type": _plain(one["type"])} for one in value] if key == "fields" else value
        for key, value in definition.items()
        if (key, value) != ("order", "ascending")
    }
    for part in ("items", "values"):
        if part in plain:
            plain[part] = _plain(plain[part])
    return plain


def _problem(code: str, en: str, vi: str) -> Problem:
    return Problem("", code, Text(en, vi))


def _invalid(problems: Sequence[Problem]) -> SchemaInvalid:
    said = [
        one.message if not one.path else Text(f"{one.path}: {one.message.en}", f"{one.path}: {one.message.vi}")
        for one in problems
    ]
    return SchemaInvalid(
        Text(
            "Not a valid Avro schema: " + "; ".join(one.en for one in said),
            "Lược đồ Avro không hợp lệ: " + "; ".join(one.vi for one in said),
        ),
        problems,
    )
