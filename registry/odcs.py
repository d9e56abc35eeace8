"""The part of a contract that ODCS 3.1 has words for: who, what, which fields; and the Avro schema that follows from it.

https://bitol-io.github.io/open-data-contract-standard/v3.1.0/. Not here: views, rules, code lists, topic (registry.terms).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pydantic
from open_data_contract_standard.model import OpenDataContractStandard

from registry.codec.frame import kind, logical, names_of, resolve, split_null
from registry.document import Document
from registry.errors import Problem, Text

API_VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0")
CLASSIFICATIONS = ("ordinary", "personal", "sensitive")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}/[a-z][a-z0-9-]{0,62}", re.ASCII)
_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", re.ASCII)
# NĐ/QĐ on electronic identification codes of agencies; the old form stays valid in records, not here.
_AGENCY = re.compile(r"(?=.{3,35}\Z)[A-Z]\d{2}(\.[0-9A-Z]+)*", re.ASCII)

_PLAIN: dict[str, tuple[Any, tuple[str, ...]]] = {
    "string": ("string", ("string", "uuid", "enum", "bytes")),
    "integer": ("long", ("int", "long")),
    "number": ("double", ("float", "double", "decimal")),
    "boolean": ("boolean", ("boolean",)),
    "date": ({"type": "int", "logicalType": "date"}, ("date",)),
    "timestamp": (
        {"type": "long", "logicalType": "timestamp-millis"},
        ("timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros"),
    ),
    "time": ({"type": "int", "logicalType": "time-millis"}, ("time-millis", "time-micros")),
}


def check(document: Document) -> Iterator[Problem]:
    """What is wrong with the document as ODCS, and with what this bus asks of ODCS's own fields."""
    data = document.data
    if not isinstance(data, dict):
        yield document.problem("", "odcs.not_a_mapping", "the contract is not a mapping", "hợp đồng không phải ánh xạ")
        return
    try:
        OpenDataContractStandard(**data)
    except pydantic.ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            path = _path(one["loc"])
            yield document.problem(path, "odcs.invalid", f"not ODCS: {one['msg']}", f"không đúng ODCS: {one['msg']}")
        return
    yield from _unknown_keys(document, OpenDataContractStandard, data, "")
    if data.get("apiVersion") not in API_VERSIONS:
        yield _expected(document, "apiVersion", "odcs.api_version", ", ".join(API_VERSIONS))
    if data.get("kind") != "DataContract":
        yield _expected(document, "kind", "odcs.kind", "DataContract")
    if not _ID.fullmatch(str(data.get("id", ""))):
        yield _expected(document, "id", "contract.id", "<domain>/<name>, e.g. population/resident")
    if not isinstance(data.get("version"), str) or not _VERSION.fullmatch(data["version"]):
        yield _expected(document, "version", "contract.version", 'a version in quotes, e.g. "1.0.0"')
    if not _AGENCY.fullmatch(str(owner_of(data) or "")):
        yield _expected(document, "team.name", "contract.owner", "the owner's agency code, e.g. H27.01")
    schemas = data.get("schema") or []
    if len(schemas) != 1:
        yield document.problem(
            "schema",
            "contract.one_object",
            f"a contract describes one kind of record, found {len(schemas)}",
            f"một hợp đồng mô tả một loại bản ghi, có {len(schemas)}",
        )
        return
    if not _NAME.fullmatch(schemas[0].get("name") or ""):
        yield _expected(document, "schema[0].name", "contract.record_name", "a name in Latin letters, e.g. Resident")
    yield from _check_properties(document, schemas[0].get("properties") or [], "schema[0].properties", 0)


def owner_of(data: Mapping[str, Any]) -> str | None:
    """The code of the agency that answers for the data."""
    team = data.get("team")
    return team.get("name") if isinstance(team, dict) else None


def custom(data: Mapping[str, Any]) -> dict[str, Any]:
    """customProperties by name."""
    return {one.get("property"): one.get("value") for one in data.get("customProperties") or [] if one.get("property")}


def keys_of(properties: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in properties if one.get("primaryKey")]


def title_of(data: Mapping[str, Any]) -> Text:
    """`businessName` is the Vietnamese title, custom property `titleEn` the English one; the name stands in for either."""
    name = str(data.get("name") or "")
    vi = str(data.get("businessName") or name)
    return Text(str(custom(data).get("titleEn") or name), vi)


def _check_properties(document: Document, properties: list[dict[str, Any]], path: str, depth: int) -> Iterator[Problem]:
    seen: set[str] = set()
    if not properties:
        yield document.problem(path, "contract.no_fields", "a record has fields", "bản ghi phải có trường")
    for index, one in enumerate(properties):
        at = f"{path}[{index}]"
        name = one.get("name") or ""
        if not _NAME.fullmatch(name):
            yield _expected(document, f"{at}.name", "contract.field_name", "a name in Latin letters, digits and _")
        if name in seen:
            yield document.problem(
                f"{at}.name", "contract.field_twice", f"field {name} is there twice", f"trường {name} bị lặp"
            )
        seen.add(name)
        if depth == 0 and one.get("classification") not in CLASSIFICATIONS:
            yield _expected(document, f"{at}.classification", "contract.classification", ", ".join(CLASSIFICATIONS))
        yield from _check_type(document, one, at, depth)
    if depth == 0:
        yield from _check_key(document, properties, path)


def _check_type(document: Document, one: dict[str, Any], at: str, depth: int) -> Iterator[Problem]:
    what, physical = one.get("logicalType"), one.get("physicalType")
    if what == "object":
        yield from _check_properties(document, one.get("properties") or [], f"{at}.properties", depth + 1)
    elif what == "array":
        if not isinstance(one.get("items"), dict):
            yield _expected(document, f"{at}.items", "contract.items", "the type of the array's items")
        else:
            yield from _check_type(document, one["items"], f"{at}.items", depth + 1)
    elif what not in _PLAIN:
        yield _expected(document, f"{at}.logicalType", "contract.type", ", ".join([*_PLAIN, "object", "array"]))
    elif physical is not None and str(physical).split("(")[0] not in _PLAIN[str(what)][1]:
        yield _expected(document, f"{at}.physicalType", "contract.physical_type", ", ".join(_PLAIN[str(what)][1]))
    elif physical == "enum":
        symbols = (one.get("logicalTypeOptions") or {}).get("enum")
        symbols = symbols if isinstance(symbols, list) else []
        good = all(isinstance(symbol, str) and _NAME.fullmatch(symbol) for symbol in symbols)
        if not symbols or not good or len(set(symbols)) < len(symbols):
            yield _expected(document, f"{at}.logicalTypeOptions.enum", "contract.enum", "a list of different symbols")
    elif physical is not None and str(physical).startswith("decimal") and _decimal(str(physical)) is None:
        yield _expected(document, f"{at}.physicalType", "contract.physical_type", "decimal(precision,scale)")


def _check_key(document: Document, properties: list[dict[str, Any]], path: str) -> Iterator[Problem]:
    keys = keys_of(properties)
    if len(keys) != 1:
        yield document.problem(
            path,
            "contract.key",
            f"one field is the key (primaryKey: true), found {len(keys)}",
            f"phải có đúng một trường khóa (primaryKey: true), có {len(keys)}",
        )
    for key in keys:
        at = f"{path}[{properties.index(key)}]"
        if key.get("logicalType") != "string" or key.get("physicalType") not in (None, "string"):
            yield document.problem(
                f"{at}.logicalType", "contract.key_type", "the key is a string", "trường khóa phải là chuỗi"
            )
        if not key.get("required"):
            yield document.problem(
                f"{at}.required", "contract.key_nullable", "the key is required", "trường khóa phải bắt buộc"
            )


def _expected(document: Document, path: str, code: str, wanted: str) -> Problem:
    return document.problem(path, code, f"expected {wanted}", f"cần {wanted}")


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _unknown_keys(document: Document, model: type[pydantic.BaseModel], value: Any, path: str) -> Iterator[Problem]:
    """The package's models let unknown keys of nested objects pass; a misspelt `classification` must not."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_keys(document, model, item, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    fields = {(field.alias or name): field for name, field in model.model_fields.items()}
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        if key not in fields:
            yield document.problem(at, "odcs.unknown", f"ODCS has no {key} here", f"ODCS không có {key} ở đây")
            continue
        below = next(_models(fields[key].annotation), None)
        if below is not None:
            yield from _unknown_keys(document, below, inner, at)


def _models(annotation: Any) -> Iterator[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _models(argument)


# The Avro schema that follows from the properties


def derive(data: Mapping[str, Any]) -> dict[str, Any]:
    """The Avro record of a contract without problems: what is not required may be null, and is where nothing is sent."""
    schema = data["schema"][0]
    namespace = "vn.lgsp." + str(data["id"]).replace("/", ".").replace("-", "_")
    return {**_record(schema["name"], schema["properties"]), "namespace": namespace}


def _record(name: str, properties: list[dict[str, Any]]) -> dict[str, Any]:
    fields = []
    for one in properties:
        avro = _type(one, name)
        field: dict[str, Any] = {"name": one["name"], "type": avro if one.get("required") else ["null", avro]}
        if not one.get("required"):
            field["default"] = None
        field["doc"] = title_of(one).vi
        fields.append(field)
    return {"type": "record", "name": name, "fields": fields}


def _type(one: dict[str, Any], above: str) -> Any:
    what, physical = one["logicalType"], str(one.get("physicalType") or "")
    name = above + "".join(part.capitalize() for part in one["name"].split("_"))
    if what == "object":
        return _record(name, one["properties"])
    if what == "array":
        return {"type": "array", "items": _type({**one["items"], "name": one["name"] + "_item"}, above)}
    if physical == "enum":
        return {"type": "enum", "name": name, "symbols": list(one["logicalTypeOptions"]["enum"])}
    if physical == "uuid":
        return {"type": "string", "logicalType": "uuid"}
    if physical.startswith("decimal"):
        precision, scale = _decimal(physical) or (38, 0)
        return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    if physical in ("time-micros", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros"):
        return {"type": "long", "logicalType": physical}
    if physical in ("int", "float", "bytes", "long", "double"):
        return physical
    return _PLAIN[what][0]


def _decimal(physical: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"decimal\((\d{1,2}),\s*(\d{1,2})\)", physical)
    if match is None or not 1 <= int(match[1]) <= 38 or int(match[2]) > int(match[1]):
        return None
    return int(match[1]), int(match[2])


def disagreements(derived: Any, given: Any) -> Iterator[tuple[str, Text]]:
    """(path, what differs) between the schema that the properties say and the one that was given; names of types aside."""
    yield from _compare(derived, given, names_of(derived), names_of(given), "")


def _compare(said: Any, given: Any, said_names: Any, given_names: Any, path: str) -> Iterator[tuple[str, Text]]:
    (said_types, said_null), (given_types, given_null) = (
        split_null(resolve(said, said_names)),
        split_null(resolve(given, given_names)),
    )
    if said_null != given_null:
        yield (
            path,
            Text(
                f"required in {'the schema' if said_null else 'the contract'} only",
                f"chỉ bắt buộc trong {'lược đồ' if said_null else 'hợp đồng'}",
            ),
        )
    if len(given_types) != 1 or len(said_types) != 1:
        yield path, Text("the schema has a union of several types", "lược đồ có hợp của nhiều kiểu")
        return
    one, other = resolve(said_types[0], said_names), resolve(given_types[0], given_names)
    if (kind(one), logical(one)) != (kind(other), logical(other)):
        words = [f"{kind(t)}{' ' + str(logical(t)) if logical(t) else ''}" for t in (one, other)]
        yield (
            path,
            Text(f"the contract says {words[0]}, the schema {words[1]}", f"hợp đồng: {words[0]}, lược đồ: {words[1]}"),
        )
    elif kind(one) == "record":
        mine, theirs = ({f["name"]: f["type"] for f in record["fields"]} for record in (one, other))
        for name in [*mine, *(name for name in theirs if name not in mine)]:
            at = f"{path}.{name}" if path else name
            if name not in theirs or name not in mine:
                where = Text("contract", "hợp đồng") if name in mine else Text("schema", "lược đồ")
                yield at, Text(f"is only in the {where.en}", f"chỉ có trong {where.vi}")
            else:
                yield from _compare(mine[name], theirs[name], said_names, given_names, at)
        if list(mine) != list(theirs) and set(mine) == set(theirs):
            yield path, Text("the fields stand in another order", "các trường có thứ tự khác nhau")
    elif kind(one) == "array":
        yield from _compare(one["items"], other["items"], said_names, given_names, f"{path}[]")
    elif kind(one) == "enum" and list(one["symbols"]) != list(other["symbols"]):
        yield path, Text("the enum's symbols differ", "các giá trị liệt kê khác nhau")
