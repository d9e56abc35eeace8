"""The nouns of a contract that ODCS has no words for: code lists, rules, views, the topic's policy. Frozen.

Not here: reading them (registry.terms), applying them (registry.rules, registry.view).
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from enum import StrEnum

from registry.errors import ErrorClass, Text


class Mask(StrEnum):
    """What a view may let through of a field instead of its value."""

    YEAR = "year"  # of a date, or of an ISO string with reduced precision: an int
    HASH = "hash"  # keyed, one key per view: equal values stay equal within it, and say nothing outside
    PREFIX = "prefix"  # the first `length` characters


@dataclass(frozen=True)
class Code:
    code: str
    name: str
    valid_from: datetime.date | None = None
    valid_to: datetime.date | None = None
    replaced_by: str | None = None


@dataclass(frozen=True)
class CodeList:
    name: str
    entries: tuple[Code, ...]

    def valid_at(self, day: datetime.date) -> tuple[str, ...]:
        """The codes in force on that day; both bounds belong to it."""
        return tuple(
            entry.code for entry in self.entries if (entry.valid_from or day) <= day <= (entry.valid_to or day)
        )


@dataclass(frozen=True)
class Rule:
    """`check` is CEL that is false for a wrong record; None where the rule is that keys are unique in a batch."""

    code: str
    error_class: ErrorClass
    path: str
    message: Text
    check: str | None


@dataclass(frozen=True)
class ViewField:
    """Field `name` of the view is `source` of the record (dotted), masked or as it is."""

    name: str
    source: str
    mask: Mask | None = None
    length: int = 0


@dataclass(frozen=True)
class ViewDefinition:
    """`fields` None: the record as it is. `filter` is CEL over the record and at most one attribute of its reader."""

    name: str
    title: Text
    fields: tuple[ViewField, ...] | None
    filter: str | None = None
    deidentified: bool = False


@dataclass(frozen=True)
class TopicPolicy:
    """None: what the bus's settings say."""

    partitions: int | None = None
    cleanup: str = "compact"
    retention_ms: int | None = None


FULL = ViewDefinition("full", Text("The whole record", "Toàn bộ bản ghi"), None)
