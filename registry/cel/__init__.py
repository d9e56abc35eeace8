"""CEL expressions over batches of records: as Polars expressions where they compile, row by row (cel-python) where not.

One meaning on both paths. It is CEL's, with null read as "no such field": an operation on it gives no answer (null), `&&`
and `||` answer where the other side decides, `has(record.x)` and `record.x == null` ask for it. Who evaluates decides what
no answer means: a rule passes, a filter doesn't let through.

Not here: what rules and filters are (registry.rules, registry.view).
"""

from __future__ import annotations

from registry.cel.columns import compile_columns
from registry.cel.rows import evaluate_rows
from registry.cel.scope import CelInvalid, Scope
from registry.cel.tree import Tree, fields_read, parse, reader_attributes

__all__ = [
    "CelInvalid",
    "Scope",
    "Tree",
    "compile_columns",
    "evaluate_rows",
    "fields_read",
    "parse",
    "reader_attributes",
]
