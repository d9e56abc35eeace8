"""A contract's rules over batches: which records are wrong, by which rule. Pure: the day is passed in.

A rule whose check is false fails. No answer (an operand is null, CEL of a value it isn't defined for) passes: whether a
field may be missing is a rule of its own. Rules run by columns; the few that have no such form run row by row.

Not here: the structure of records (registry.parse), what happens to those that fail.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

import polars as pl

from registry import cel
from registry.codec.frame import frame_schema
from registry.contract import Contract, Rule
from registry.errors import Text

FAILURES = pl.Schema({"index": pl.UInt32(), "rule": pl.String(), "error_class": pl.String(), "path": pl.String()})


class Rules:
    """The compiled rules of one contract; `compile_rules` makes it."""

    def __init__(self, contract: Contract) -> None:
        self.rules: tuple[Rule, ...] = contract.rules
        self._key = contract.key
        self._fields = frame_schema(contract.schema.definition)
        self._lists = contract.code_lists
        self._trees = {rule.code: cel.parse(rule.check) for rule in contract.rules if rule.check is not None}
        self._messages = {rule.code: rule.message for rule in contract.rules}
        # Code lists and `today` are constants of an expression, so a day has expressions of its own.
        self._compiled: dict[datetime.date, tuple[cel.Scope, dict[str, pl.Expr | None]]] = {}
        self._expressions(datetime.date(2000, 1, 1))

    @property
    def row_by_row(self) -> tuple[str, ...]:
        """Codes of the rules that have no form by columns (some 5,000 records/s each)."""
        _, compiled = self._expressions(datetime.date(2000, 1, 1))
        return tuple(code for code, expression in compiled.items() if expression is None)

    def message(self, code: str) -> Text:
        """What to tell about a record that failed rule `code`. Raises KeyError."""
        return self._messages[code]

    def check(self, frame: pl.DataFrame, today: datetime.date) -> pl.DataFrame:
        """All failures in `frame` (the contract's columns): index (the row), rule, error_class, path; ordered by index,
        then as the contract orders its rules."""
        if frame.height == 0 or not self.rules:
            return pl.DataFrame(schema=FAILURES)
        scope, compiled = self._expressions(today)
        by_columns = [code for code, expression in compiled.items() if expression is not None]
        # One question for all rules: a batch of one pays for each separate one. The first column makes an expression
        # without any field as long as the frame.
        answers = frame.select(pl.int_range(pl.len()).alias(""), *(_wrong(compiled[code], code) for code in by_columns))
        failures = []
        for order, rule in enumerate(self.rules):
            if rule.check is None:
                wrong = self._repeated(frame)
            elif compiled[rule.code] is not None:
                wrong = answers[rule.code]
            else:
                wrong = ~cel.evaluate_rows(self._trees[rule.code], scope, frame).fill_null(True)
            if wrong.any():
                failures.append(_failures(wrong.arg_true(), order, rule))
        if not failures:
            return pl.DataFrame(schema=FAILURES)
        return pl.concat(failures).sort("index", "order").drop("order")

    def _repeated(self, frame: pl.DataFrame) -> pl.Series:
        """Rows whose key comes again in the batch with other content; equal repeats are the same record, not a conflict."""
        key = pl.col(self._key)
        counted = frame.select(key, key.is_duplicated().alias("again"))["again"]
        if not counted.any():
            return counted
        rows = counted.arg_true()
        twice = frame[rows]
        hashes = twice.hash_rows()
        different = pl.DataFrame({"key": twice[self._key], "hash": hashes}).select(
            pl.col("hash").n_unique().over("key") > 1
        )["hash"]
        wrong = rows.filter(different)
        return (
            pl.Series(range(frame.height)).is_in(wrong.implode())
            if len(wrong)
            else pl.repeat(False, frame.height, eager=True)
        )

    def _expressions(self, today: datetime.date) -> tuple[cel.Scope, dict[str, pl.Expr | None]]:
        if today not in self._compiled:
            lists: Mapping[str, Sequence[str]] = {name: one.valid_at(today) for name, one in self._lists.items()}
            scope = cel.Scope(self._fields, lists, today)
            compiled = {code: cel.compile_columns(tree, scope) for code, tree in self._trees.items()}
            self._compiled = dict([*self._compiled.items(), (today, (scope, compiled))][-4:])
        return self._compiled[today]


def compile_rules(contract: Contract) -> Rules:
    """The rules of a contract that `registry.contract.load` accepted."""
    return Rules(contract)


def _wrong(expression: pl.Expr | None, code: str) -> pl.Expr:
    assert expression is not None
    return (~expression.fill_null(True)).alias(code)


def _failures(rows: pl.Series, order: int, rule: Rule) -> pl.DataFrame:
    return pl.DataFrame({"index": rows.cast(pl.UInt32)}).with_columns(
        pl.lit(rule.code).alias("rule"),
        pl.lit(rule.error_class.value).alias("error_class"),
        pl.lit(rule.path).alias("path"),
        pl.lit(order, dtype=pl.UInt32).alias("order"),
    )
