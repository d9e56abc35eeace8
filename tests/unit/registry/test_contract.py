"""A contract says all that is wrong with it at once, where, and on which line; what is right loads and is complete."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.contract import Mask, load, load_folder, load_zip
from registry.errors import ContractInvalid
from tests.unit.registry.contracts import contract, custom, document, field, files, rule, view

CONTRACTS = Path(__file__).parents[3] / "contracts"


def problems_of(found: dict[str, Any], **more: bytes) -> dict[str, str]:
    """code → path of each problem."""
    with pytest.raises(ContractInvalid) as raised:
        load(files(found, **more))
    return {one.code: one.path for one in raised.value.problems}


def test_what_the_document_says_is_there() -> None:
    found = contract()
    assert (found.id, found.version, found.major, found.owner, found.key) == ("test/person", "1.2.3", 1, "H27.01", "id")
    assert list(found.views) == ["identity", "local", "shared", "years", "full"]
    assert found.fields["name"].classification == "personal"
    assert found.fields["name"].required
    assert found.views["years"].fields is not None
    assert found.views["years"].fields[0].mask is Mask.YEAR
    assert found.code_lists["communes"].valid_at(datetime.date(2025, 1, 1)) == ("18073", "18754")
    assert found.topic.cleanup == "compact"


def test_the_schema_follows_from_the_fields_where_none_is_given() -> None:
    types = {one["name"]: one["type"] for one in contract().schema.definition["fields"]}
    assert types["id"] == "string"
    assert types["commune"] == ["null", "string"]
    assert types["born"] == ["null", {"type": "int", "logicalType": "date"}]
    assert types["rank"] == ["null", "int"]


def properties(found: dict[str, Any]) -> list[dict[str, Any]]:
    return found["schema"][0]["properties"]  # type: ignore[no-any-return]


def change(step: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    found = document()
    step(found)
    return found


Step = Callable[[dict[str, Any]], Any]


def add_rule(*args: Any, **more: Any) -> Step:
    return lambda d: custom(d, "rules")["value"].append(rule(*args, **more))


def set_view(**changes: Any) -> Step:
    return lambda d: custom(d, "views")["value"][0].update(changes)


def add_view(*args: Any) -> Step:
    return lambda d: custom(d, "views")["value"].append(view(*args))


def set_field(index: int, **changes: Any) -> Step:
    return lambda d: properties(d)[index].update(changes)


def set_codes(value: Any) -> Step:
    return lambda d: custom(d, "codeLists").update(value=value)


def set_topic(value: Any) -> Step:
    return lambda d: d["customProperties"].append({"property": "topic", "value": value})


@pytest.mark.parametrize(
    ("code", "path", "step"),
    [
        ("contract.id", "id", lambda d: d.update(id="Person")),
        ("contract.version", "version", lambda d: d.update(version="1.0")),
        ("contract.version", "version", lambda d: d.update(version="01.0.0")),
        ("contract.owner", "team.name", lambda d: d.update(team={"name": "police"})),
        ("contract.owner", "team.name", lambda d: d.pop("team")),
        ("odcs.api_version", "apiVersion", lambda d: d.update(apiVersion="v2.2.2")),
        ("odcs.kind", "kind", lambda d: d.update(kind="Dataset")),
        ("odcs.invalid", "surprise", lambda d: d.update(surprise=1)),
        ("odcs.unknown", "fields[1].clasification", set_field(1, clasification="x")),
        ("contract.one_object", "schema", lambda d: d.update(schema=[])),
        ("contract.classification", "fields[2].classification", lambda d: properties(d)[2].pop("classification")),
        ("contract.classification", "fields[2].classification", set_field(2, classification="secret")),
        ("contract.key", "fields", lambda d: properties(d)[0].pop("primaryKey")),
        ("contract.key", "fields", set_field(1, primaryKey=True)),
        ("contract.key_nullable", "fields[0].required", set_field(0, required=False)),
        ("contract.key_type", "fields[0].logicalType", set_field(0, logicalType="integer")),
        ("contract.field_twice", "fields[12].name", lambda d: properties(d).append(field("name"))),
        ("contract.field_name", "fields[1].name", set_field(1, name="họ tên")),
        ("contract.type", "fields[1].logicalType", set_field(1, logicalType="text")),
        ("contract.physical_type", "fields[4].physicalType", set_field(4, physicalType="int8")),
        ("contract.enum", "fields[7].logicalTypeOptions.enum", set_field(7, logicalTypeOptions={})),
        ("contract.custom", "cp[3].property", lambda d: d["customProperties"].append({"property": "ruels", "value": []})),
        ("view.name", "cp[2].value[4].name", add_view("identity", ["id"])),
        ("contract.unknown_field", "cp[2].value[0].fields[2]", lambda d: custom(d, "views")["value"][0]["fields"].append("phone")),
        ("view.fields", "cp[2].value[0]", lambda d: custom(d, "views")["value"][0].pop("fields")),
        ("view.mask", "cp[2].value[0].fields[0].mask", set_view(fields=[{"name": "id", "mask": "blur"}])),
        ("view.mask_type", "cp[2].value[0].fields[0].mask", set_view(fields=[{"name": "rank", "mask": "hash"}])),
        ("view.identifying", "cp[2].value[0].fields[0]", set_view(fields=["id"], deidentified=True)),
        ("view.identifying", "cp[2].value[0].fields[0]",
         set_view(fields=[{"name": "id", "mask": "prefix", "length": 99}], deidentified=True)),
        ("view.deidentified", "cp[2].value[0].deidentified", set_view(deidentified="yes")),
        ("topic.number", "cp[3].value.partitions", set_topic({"partitions": 0})),
        ("view.full", "cp[2].value[4]", add_view("full", ["id"])),
        ("filter.reader", "cp[2].value[0].filter", set_view(filter="reader.communes == ['1']")),
        ("filter.reader", "cp[2].value[0].filter", set_view(filter="record.commune in reader.a || record.alive")),
        ("filter.reader", "cp[2].value[0].filter", set_view(filter="record.id in reader.a && record.name in reader.b")),
        ("filter.unknown_field", "cp[2].value[0].filter", set_view(filter="record.ward in reader.wards")),
        ("filter.type", "cp[2].value[0].filter", set_view(filter="record.rank in reader.ranks")),
        ("contract.unknown_field", "cp[1].value[1].path", add_rule("a", "format", "phone", "true")),
        ("contract.unknown_field", "cp[1].value[1].check", add_rule("a", "format", "name", "record.phone == ''")),
        ("rule.unknown_code_list", "cp[1].value[1].check", add_rule("a", "reference", "name", "record.name in codes.wards")),
        ("rule.type", "cp[1].value[1].check", add_rule("a", "format", "name", "record.name > 3")),
        ("rule.syntax", "cp[1].value[1].check", add_rule("a", "format", "name", "record.name = 3")),
        ("rule.too_deep", "cp[1].value[1].check", add_rule("a", "format", "name", "(" * 900 + "true" + ")" * 900)),
        ("rule.too_deep", "cp[1].value[1].check", add_rule("a", "format", "name", "true" + "&&true" * 600)),
        ("rule.too_deep", "cp[1].value[1].check", add_rule("a", "format", "rank", "1" + " - 1" * 900 + " == 1")),
        ("rule.too_deep", "cp[1].value[1].check", add_rule("a", "format", "name", "!" * 3000 + "true")),
        ("rule.too_deep", "cp[1].value[1].check", add_rule("a", "format", "name", "true?true:" * 300 + "true")),
        ("rule.too_long", "cp[1].value[1].check", add_rule("a", "format", "name", "true" + " " * 5000)),
        ("filter.day", "cp[2].value[0].filter", set_view(filter="record.born < today")),
        ("filter.day", "cp[2].value[0].filter", set_view(filter="record.commune in codes.communes")),
        ("rule.unknown_function", "cp[1].value[1].check", add_rule("a", "format", "name", "exec(record.name)")),
        ("rule.class", "cp[1].value[1].class", add_rule("a", "wrong", "name", "true")),
        ("rule.code", "cp[1].value[1].code", add_rule("name.empty", "format", "name", "true")),
        ("rule.check", "cp[1].value[1]", add_rule("a", "format", "name")),
        ("codes.file", "cp[0].value[0].file", set_codes([{"name": "communes", "file": "no.csv"}])),
        ("codes.name", "cp[0].value[1].name", lambda d: custom(d, "codeLists")["value"].append({"name": "communes", "codes": ["1"]})),
        ("codes.code", "cp[0].value[0].codes[0]", set_codes([{"name": "communes", "codes": [18073]}])),
        ("topic.cleanup", "cp[3].value.cleanup", set_topic({"cleanup": "never"})),
        ("topic.retention", "cp[3].value", set_topic({"cleanup": "delete"})),
    ],
)  # fmt: skip
def test_each_thing_that_is_wrong_is_named_with_its_path(code: str, path: str, step: Callable[[Any], Any]) -> None:
    found = problems_of(change(step))
    full = path.replace("cp[", "customProperties[")
    assert found.get(code) == (full.replace("fields", "schema[0].properties", 1) if path.startswith("fields") else full)


def test_all_problems_come_at_once_and_with_their_lines() -> None:
    found = document(version="one")
    properties(found)[1]["classification"] = "none"
    custom(found, "views")["value"][0]["fields"].append("phone")
    with pytest.raises(ContractInvalid) as raised:
        load(files(found))
    codes = {one.code for one in raised.value.problems}
    assert {"contract.version", "contract.classification", "contract.unknown_field"} <= codes
    text = files(found)["contract.yaml"].decode().splitlines()
    for one in raised.value.problems:
        line = int(one.message.en.rsplit("(line ", 1)[1].rstrip(")"))
        last = one.path.split(".")[-1].split("[")[0]
        assert last in text[line - 1] or "phone" in text[line - 1]
        assert "dòng" in one.message.vi


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("yaml.alias", b"a: &x [1]\nb: [*x, *x]\n"),
        ("yaml.duplicate_key", b"id: a/b\nid: a/c\n"),
        ("yaml.syntax", b"a: [1\nb: 2\n"),
        ("yaml.syntax", b"a: \x07\n"),
        ("yaml.encoding", "a: đ".encode("utf-16")),
        ("yaml.tag", b"a: !!python/object/apply:os.system ['true']\n"),
        ("yaml.too_deep", b"[" * 5000),
        ("yaml.too_large", b"#" * (2 * 2**20 + 1)),
        ("yaml.too_large", b"a: [" + b"1," * 200_000 + b"1]"),
        ("contract.version", b"version: 1" + b":00" * 600_000 + b"\n"),
        ("contract.version", b"version: 1" + b":00" * 400 + b".5\n"),
        ("yaml.empty", b""),
        ("odcs.not_a_mapping", b"- a\n"),
    ],
)
def test_hostile_yaml_is_refused_with_a_reason(code: str, content: bytes) -> None:
    with pytest.raises(ContractInvalid) as raised:
        load({"contract.yaml": content})
    assert code in {one.code for one in raised.value.problems}


def test_a_given_schema_must_say_what_the_contract_says() -> None:
    schema = json.loads(contract().schema.text)
    assert load(files(document(), **{"v1.avsc": json.dumps(schema).encode()})).schema.definition["fields"]
    schema["fields"][1]["type"] = ["null", "string"]
    schema["fields"].pop()
    with pytest.raises(ContractInvalid) as raised:
        load(files(document(), **{"v1.avsc": json.dumps(schema).encode()}))
    assert {one.path for one in raised.value.problems} == {"v1.avsc:name", "v1.avsc:jobs"}


def test_a_schema_that_is_not_avro_is_told_with_its_own_paths() -> None:
    assert all(path.startswith("v1.avsc:") for path in problems_of(document(), **{"v1.avsc": b"{"}).values())


def test_a_contract_comes_as_a_zip_too_in_a_folder_or_not() -> None:
    for folder in ("", "person/"):
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            for name, content in files(document()).items():
                archive.writestr(folder + name, content)
        assert load_zip(sink.getvalue()).id == "test/person"


def test_a_zip_bomb_and_what_is_no_zip_are_refused() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("contract.yaml", b"0" * (9 * 2**20))
    for content, code in ((sink.getvalue(), "zip.too_large"), (b"PK\x03\x04 no", "zip.invalid")):
        with pytest.raises(ContractInvalid) as raised:
            load_zip(content)
        assert raised.value.problems[0].code == code


def zipped(method: int, *names: str) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", method) as archive:
        for name in names:
            archive.writestr(name, files(document())["contract.yaml"])
    return sink.getvalue()


def test_a_damaged_zip_is_refused_wherever_it_is_damaged() -> None:
    content = zipped(zipfile.ZIP_DEFLATED, "contract.yaml")
    for at in range(0, len(content), 7):
        with contextlib.suppress(ContractInvalid):
            load_zip(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


def test_a_zip_packed_in_a_way_that_takes_any_memory_or_with_two_contracts_is_refused() -> None:
    for content, code in (
        (zipped(zipfile.ZIP_LZMA, "contract.yaml"), "zip.invalid"),
        (zipped(zipfile.ZIP_DEFLATED, "contract.yaml", "../contract.yaml"), "zip.same_name"),
    ):
        with pytest.raises(ContractInvalid) as raised:
            load_zip(content)
        assert raised.value.problems[0].code == code


def test_a_code_list_from_a_file_knows_when_a_code_is_in_force() -> None:
    found = document()
    custom(found, "codeLists")["value"] = [{"name": "communes", "file": "communes.csv"}]
    rows = "code,name,valid_from,valid_to,replaced_by\n18000,Cũ,,2025-06-30,18073\n18073,Mới,2025-07-01,,\n"
    codes = load(files(found, **{"communes.csv": rows.encode()})).code_lists["communes"]
    assert codes.valid_at(datetime.date(2025, 6, 30)) == ("18000",)
    assert codes.valid_at(datetime.date(2025, 7, 1)) == ("18073",)
    assert codes.entries[0].replaced_by == "18073"


@pytest.mark.parametrize("name", ["population/resident", "business/enterprise"])
def test_the_projects_own_contracts_lint_and_their_samples_are_right(name: str) -> None:
    from registry.parse import parse_ndjson
    from registry.rules import compile_rules

    found = load_folder(CONTRACTS / name)
    assert found.id == name
    assert found.sample
    parsed = parse_ndjson(found.sample, found)
    assert parsed.rejected == ()
    assert compile_rules(found).check(parsed.frame, datetime.date(2025, 8, 1)).height == 0
    assert len(found.code_lists["communes"].entries) == 69
    assert {one.error_class for one in found.rules} == {*one_of_each()}


def one_of_each() -> list[Any]:
    from registry.errors import ErrorClass

    return list(ErrorClass)
