"""A data contract: an ODCS document with its Avro schema, read, linted and frozen. Its nouns can be imported from here.

Not here: storing contracts, deciding on them (bus.control), applying them (registry.rules, registry.view).
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry import document as yaml_document
from registry import odcs, terms
from registry.codec.frame import frame_schema
from registry.definitions import Code, CodeList, Mask, Rule, TopicPolicy, ViewDefinition, ViewField
from registry.errors import ContractInvalid, Problem, SchemaInvalid, Text
from registry.schema import Schema, parse

__all__ = [
    "Code", "CodeList", "Contract", "Field", "Mask", "Rule", "TopicPolicy", "ViewDefinition", "ViewField",
    "load", "load_folder", "load_zip",
]  # fmt: skip

ZIP_BYTES_MAX = 8 * 2**20  # unpacked; a code list of 100,000 entries has 5 MB
ZIP_FILES_MAX = 50


@dataclass(frozen=True)
class Field:
    """One field of the record. `identifying`: whether it tells who the record is about."""

    name: str
    classification: str
    title: Text
    required: bool
    identifying: bool


@dataclass(frozen=True)
class Contract:
    """`id` is "<domain>/<name>", `owner` an agency code, `key` the name of the key field. Equal by id and version."""

    id: str
    version: str
    title: Text = field(compare=False)
    description: Text | None = field(compare=False)
    owner: str = field(compare=False)
    key: str = field(compare=False)
    schema: Schema = field(compare=False, repr=False)
    fields: Mapping[str, Field] = field(compare=False, repr=False)
    views: Mapping[str, ViewDefinition] = field(compare=False, repr=False)
    rules: tuple[Rule, ...] = field(compare=False, repr=False)
    code_lists: Mapping[str, CodeList] = field(compare=False, repr=False)
    topic: TopicPolicy = field(compare=False, repr=False)
    document: bytes = field(compare=False, repr=False)
    sample: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def load(files: Mapping[str, bytes]) -> Contract:
    """The contract of `contract.yaml`, `v<major>.avsc` (else the schema follows from the ODCS properties),
    `sample.ndjson` and the CSV files that its code lists name.

    Raises ContractInvalid with every problem: a path into contract.yaml (or the .avsc), its message ending with the line.
    """
    content = files.get("contract.yaml")
    if content is None:
        raise _invalid(
            [Problem("", "contract.no_document", Text("there is no contract.yaml", "không có contract.yaml"))]
        )
    document = yaml_document.read(content)
    if document.data is None:
        raise _invalid(list(document.problems) or [Problem("", "yaml.empty", Text("it is empty", "tài liệu rỗng"))])
    problems = [*document.problems, *odcs.check(document)]
    if problems:
        # Views and rules are looked at all the same where the fields can be told, so that all is said at once.
        raise _invalid(problems + _terms_in_spite(document, files))
    data = document.data
    schema = _schema(document, files, problems)
    if schema is None:
        raise _invalid(problems)
    properties = data["schema"][0]["properties"]
    fields = {one["name"]: _field(one) for one in properties}
    key = odcs.keys_of(properties)[0]["name"]
    found = terms.read(document, files, _field_terms(fields), frame_schema(schema.definition), key)
    if found.problems:
        raise _invalid(found.problems)
    return Contract(
        id=data["id"],
        version=data["version"],
        title=_title(data),
        description=_description(data),
        owner=str(odcs.owner_of(data)),
        key=key,
        schema=schema,
        fields=fields,
        views=found.views,
        rules=tuple(found.rules),
        code_lists=found.code_lists,
        topic=found.topic,
        document=content,
        sample=files.get("sample.ndjson"),
    )


def load_folder(folder: Path) -> Contract:
    """`load` of the files of a folder. Raises ContractInvalid."""
    return load({path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()})


def load_zip(content: bytes) -> Contract:
    """`load` of a zip's files, which may stand in one folder. Raises ContractInvalid."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(entries) > ZIP_FILES_MAX or sum(entry.file_size for entry in entries) > ZIP_BYTES_MAX:
                raise _invalid([Problem("", "zip.too_large", Text("the zip unpacks to too much", "tệp zip quá lớn"))])
            files: dict[str, bytes] = {}
            for entry in entries:
                name = Path(entry.filename).name
                if name in files:
                    text = Text(f"{name} is there twice", f"có hai tệp {name}")
                    raise _invalid([Problem("", "zip.same_name", text)])
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError  # lzma takes whatever memory the zip says
                with archive.open(entry) as one:
                    files[name] = one.read(entry.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise _invalid([Problem("", "zip.invalid", Text("not a readable zip", "tệp zip không đọc được"))]) from error
    return load(files)


def _schema(document: yaml_document.Document, files: Mapping[str, bytes], problems: list[Problem]) -> Schema | None:
    derived = odcs.derive(document.data)
    name = f"v{document.data['version'].split('.')[0]}.avsc"
    try:
        said = parse(json.dumps(derived, ensure_ascii=False))
        if name not in files:
            frame_schema(said.definition)
            return said
        given = parse(files[name])
        frame_schema(given.definition)
    except SchemaInvalid as error:
        problems += [Problem(f"{name}:{one.path}", one.code, one.message) for one in error.problems]
        return None
    for path, what in odcs.disagreements(said.definition, given.definition):
        text = Text(f"{path or 'the record'}: {what.en}", f"{path or 'bản ghi'}: {what.vi}")
        problems.append(Problem(f"{name}:{path}", "contract.schema_differs", text))
    return None if problems else given


def _terms_in_spite(document: yaml_document.Document, files: Mapping[str, bytes]) -> list[Problem]:
    try:
        properties = document.data["schema"][0]["properties"]
        schema = parse(json.dumps({**odcs.derive({**document.data, "id": "a/b"})}))
        fields = {one["name"]: _field(one) for one in properties}
        return terms.read(document, files, _field_terms(fields), frame_schema(schema.definition), "").problems
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, SchemaInvalid):
        return []  # the fields themselves can't be told; what is wrong with them has been said


def _field(one: Mapping[str, Any]) -> Field:
    classification = str(one.get("classification"))
    identifying = odcs.custom(one).get("identifying", classification != "ordinary")
    return Field(one["name"], classification, odcs.title_of(one), bool(one.get("required")), bool(identifying))


def _field_terms(fields: Mapping[str, Field]) -> dict[str, terms.FieldTerms]:
    return {name: terms.FieldTerms(one.classification, one.identifying) for name, one in fields.items()}


def _title(data: Mapping[str, Any]) -> Text:
    title = odcs.custom(data).get("title")
    name = str(data.get("name") or data["id"])
    return (
        Text(str(title["en"]), str(title["vi"]))
        if isinstance(title, dict) and {"en", "vi"} <= set(title)
        else Text(name, name)
    )


def _description(data: Mapping[str, Any]) -> Text | None:
    purpose = (data.get("description") or {}).get("purpose")
    return Text(purpose, purpose) if purpose else None


def _invalid(problems: list[Problem]) -> ContractInvalid:
    one = problems[0]
    return ContractInvalid(
        Text(
            f"The contract has {len(problems)} problem(s), the first: {one.path}: {one.message.en}",
            f"Hợp đồng có {len(problems)} lỗi, lỗi đầu tiên: {one.path}: {one.message.vi}",
        ),
        problems,
    )
