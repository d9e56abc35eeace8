"""Small contracts for the tests of contracts, rules, views and bodies."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from registry.contract import Contract, load


def document(**changes: Any) -> dict[str, Any]:
    """A contract that lints; `changes` replace top-level values."""
    found: dict[str, Any] = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": "test/person",
        "version": "1.2.3",
        "status": "active",
        "name": "Người",
        "team": {"name": "H27.01"},
        "schema": [
            {
                "name": "Person",
                "logicalType": "object",
                "properties": [
                    field("id", primaryKey=True, required=True),
                    field("name", required=True),
                    field("commune"),
                    field("born", "date"),
                    field("rank", "integer", physicalType="int"),
                    field("score", "number"),
                    field("alive", "boolean"),
                    field("sex", physicalType="enum", logicalTypeOptions={"enum": ["male", "female"]}),
                    field("seen", "timestamp"),
                    field("mother", "object", properties=[{"name": "name", "logicalType": "string"}]),
                    field("tags", "array", items={"logicalType": "string", "required": True}),
                    field(
                        "jobs",
                        "array",
                        items={
                            "logicalType": "object",
                            "required": True,
                            "properties": [
                                {"name": "title", "logicalType": "string", "required": True},
                                {"name": "since", "logicalType": "date"},
                            ],
                        },
                    ),
                ],
            }
        ],
        "customProperties": [
            {"property": "codeLists", "value": [{"name": "communes", "codes": ["18073", "18754"]}]},
            {"property": "rules", "value": [rule("name.empty", "missing", "name", "record.name != ''")]},
            {
                "property": "views",
                "value": [
                    view("identity", ["id", "name"]),
                    view("local", ["id", "commune"], filter="record.commune in reader.communes && record.alive"),
                    view("shared", ["id"], filter="reader.agency in record.tags"),
                    view("years", [{"name": "birth_year", "from": "born", "mask": "year"}, "alive"]),
                ],
            },
        ],
    }
    return copy.deepcopy({**found, **changes})


def field(name: str, logical: str = "string", **more: Any) -> dict[str, Any]:
    return {"name": name, "logicalType": logical, "classification": "personal", **more}


def rule(code: str, error_class: str, path: str, check: str | None = None, **more: Any) -> dict[str, Any]:
    message = {"vi": f"sai: {code}", "en": f"wrong: {code}"}
    found = {"code": code, "class": error_class, "path": path, "message": message, **more}
    return found if check is None else {**found, "check": check}


def view(name: str, fields: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "title": {"vi": name, "en": name}, "fields": fields, **more}


def custom(found: dict[str, Any], name: str) -> Any:
    """The value of a custom property, to change it."""
    return next(one for one in found["customProperties"] if one["property"] == name)


def files(found: dict[str, Any], **more: bytes) -> dict[str, bytes]:
    return {"contract.yaml": yaml.safe_dump(found, allow_unicode=True, sort_keys=False).encode(), **more}


def contract(**changes: Any) -> Contract:
    return load(files(document(**changes)))


def contract_with(**values: Any) -> Contract:
    """The contract with custom properties replaced."""
    found = document()
    for name, value in values.items():
        custom(found, name)["value"] = value
    return load(files(found))
