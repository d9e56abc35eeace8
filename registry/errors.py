"""What can be wrong with a contract, a schema or a record, as values and as one small tree of exceptions.

    RegistryError
    ├── ContractInvalid      the document or its parts don't hold together (all problems at once)
    ├── BodyInvalid          a body that can't be taken apart into records
    │   └── BodyTooLarge     more records, or bytes, than one batch may have
    ├── SchemaInvalid        not an Avro schema
    ├── SchemaIncompatible   would break the subject's compatibility level
    ├── SubjectUnknown, VersionUnknown, SchemaUnknown
    ├── SubjectInvalid       not a name that a subject can have
    ├── DeletionRefused
    │   ├── AlreadyDeleted   a soft delete of what is softly deleted
    │   └── NotYetDeleted    a permanent delete of what wasn't softly deleted before
    ├── AccessDenied         no credentials (401), or not the right (403)
    └── CodecError           bytes that aren't a record of the schema

Every message is said in English and in Vietnamese; it names the path, what was found and what was expected, and never a
record's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class Text(NamedTuple):
    """One message in both languages. `str(text)` is the English one."""

    en: str
    vi: str

    def __str__(self) -> str:
        return self.en

    def said_in(self, language: str) -> str:
        """The message in `language`, "vi" or "en"."""
        return self.vi if language == "vi" else self.en


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where (`path`), a stable `code`, and what was found and expected."""

    path: str
    code: str
    message: Text


class ErrorClass(StrEnum):
    """The eight ways in which a record can be wrong, as the national guidance for shared data names them."""

    MISSING = "missing"
    OUTLIER = "outlier"
    DUPLICATE = "duplicate"
    FORMAT = "format"
    REFERENCE = "reference"
    CONFLICT = "conflict"
    STALE = "stale"
    NATIONAL_MISMATCH = "national_mismatch"


ERROR_CLASS_NAMES: dict[ErrorClass, Text] = {
    ErrorClass.MISSING: Text("missing mandatory field", "thiếu trường bắt buộc"),
    ErrorClass.OUTLIER: Text("value out of range", "giá trị bất thường"),
    ErrorClass.DUPLICATE: Text("duplicate", "trùng lặp"),
    ErrorClass.FORMAT: Text("bad format", "sai định dạng"),
    ErrorClass.REFERENCE: Text("broken reference", "sai tham chiếu"),
    ErrorClass.CONFLICT: Text("fields contradict each other", "mâu thuẫn giữa các trường"),
    ErrorClass.STALE: Text("stale", "dữ liệu cũ"),
    ErrorClass.NATIONAL_MISMATCH: Text("differs from the national source", "lệch với nguồn quốc gia"),
}


class RegistryError(Exception):
    """Root of what the registry raises. `code` is stable, `problems` say what is wrong where."""

    code = "registry_error"

    def __init__(self, message: Text, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message.en)
        self.message = message
        self.problems = tuple(problems)


class ContractInvalid(RegistryError):
    code = "contract_invalid"


class BodyInvalid(RegistryError):
    """Nothing of the body counts as received. `problems` has one entry whose code says why, e.g. "body.truncated"."""

    code = "body_invalid"


class BodyTooLarge(BodyInvalid):
    code = "body_too_large"


class SchemaInvalid(RegistryError):
    code = "schema_invalid"


class SchemaIncompatible(RegistryError):
    code = "schema_incompatible"


class SubjectUnknown(RegistryError):
    code = "subject_unknown"


class VersionUnknown(RegistryError):
    code = "version_unknown"


class SchemaUnknown(RegistryError):
    code = "schema_unknown"


class SubjectInvalid(RegistryError):
    code = "subject_invalid"


class DeletionRefused(RegistryError):
    """`version` is None where a whole subject was to be deleted."""

    def __init__(self, message: Text, version: int | None) -> None:
        super().__init__(message)
        self.version = version


class AlreadyDeleted(DeletionRefused):
    code = "already_deleted"


class NotYetDeleted(DeletionRefused):
    code = "not_yet_deleted"


class AccessDenied(RegistryError):
    """`status` is 401 where it isn't known who asks, 403 where who asks may not."""

    code = "access_denied"

    def __init__(self, status: Literal[401, 403], message: Text) -> None:
        super().__init__(message)
        self.status = status


class CodecError(RegistryError):
    """`index` is the first record in the batch that could not be read or written."""

    code = "codec_error"

    def __init__(self, message: Text, index: int = 0) -> None:
        super().__init__(message)
        self.index = index
