"""Eight ways in which a register goes wrong, one defect per wrong row, chosen by the seed. Pure.

Whether a row counts as wrong is the contract's matter, not this module's: tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from bus.demo.columns import communes
from bus.demo.names import Ints
from registry.errors import ErrorClass


@dataclass(frozen=True, slots=True)
class Defect:
    """`column` gets the value `wrong`, in rows that are `eligible`."""

    column: str
    wrong: pl.Expr
    eligible: pl.Expr


ANY = pl.lit(True)
DUPLICATE_COLUMN = "identity_number"


def defects(today: date) -> Mapping[ErrorClass, tuple[Defect, ...]]:
    """One or more for every class but the duplicates, which take two rows."""
    c = pl.col
    has_card = c("card_expires_on").is_not_null()
    return {
        ErrorClass.MISSING: (
            Defect("full_name", pl.lit(None, pl.String), ANY),
            Defect("full_name", pl.lit(" "), ANY),
        ),
        ErrorClass.OUTLIER: (
            Defect(
                "card_issued_on",
                pl.lit(today + timedelta(days=30)),
                c("card_issued_on").is_not_null() & (c("card_expires_on") > today + timedelta(days=30)).fill_null(True),
            ),
        ),
        ErrorClass.FORMAT: (
            Defect("phone", c("phone").str.replace("^0", "O"), c("phone").is_not_null()),
            Defect(
                "old_identity_number", c("old_identity_number").str.slice(1), c("old_identity_number").is_not_null()
            ),
            Defect("email", c("email").str.replace("@", " tại ", literal=True), c("email").is_not_null()),
        ),
        ErrorClass.REFERENCE: (Defect("permanent_commune", pl.lit(abolished_commune()), ANY),),
        ErrorClass.CONFLICT: (
            Defect("sex", pl.when(c("sex") == "male").then(pl.lit("female")).otherwise(pl.lit("male")), ANY),
            Defect("card_expires_on", c("card_issued_on").dt.offset_by("-1y"), has_card),
        ),
        ErrorClass.STALE: (Defect("verified_on", c("verified_on").dt.offset_by("-15y"), ANY),),
        ErrorClass.NATIONAL_MISMATCH: (Defect("national_check", pl.lit("mismatched"), ANY),),
    }


@dataclass(frozen=True, slots=True)
class Spoiled:
    """The register with its defects.

    `truth` has the id, together, error_class, column and right_value (text) of each wrong row. Rows that go right only
    together, the two of a duplicate, share `together`, the id of the first.
    """

    register: pl.DataFrame
    truth: pl.DataFrame


def spoil(rng: np.random.Generator, register: pl.DataFrame, share: float, today: date) -> Spoiled:
    """Make about `share` of the rows wrong, as many in each class; two rows each at least, none where `share` is 0.

    Raises ValueError where there are too few residents.
    """
    each = max(int(len(register) * share / len(ErrorClass)) // 2, 1) * 2 if share > 0 else 0
    first, second = _twins(rng, register, each // 2)
    free = np.ones(len(register), bool)
    free[first], free[second] = False, False
    order = rng.permutation(len(register))

    truth = [_truth(register, ErrorClass.DUPLICATE, DUPLICATE_COLUMN, rows, first) for rows in (first, second)]
    numbers = register[DUPLICATE_COLUMN]
    spoiled = register.with_columns(numbers.clone().scatter(second, numbers.gather(first)))
    for error_class, variants in defects(today).items():
        for number, defect in enumerate(variants):
            wanted = each // len(variants) + (number < each % len(variants))
            eligible = register.select(pl.lit(pl.Series(free)) & defect.eligible).to_series().to_numpy()
            rows = np.sort(order[eligible[order]][:wanted])
            if len(rows) < wanted:
                raise ValueError(f"{len(register)} residents are too few for {wanted} rows of class {error_class}")
            free[rows] = False
            truth.append(_truth(register, error_class, defect.column, rows, rows))
            spoiled = _replaced(spoiled, rows, defect)
    return Spoiled(spoiled, pl.concat(truth).sort("id"))


def _twins(rng: np.random.Generator, register: pl.DataFrame, pairs: int) -> tuple[Ints, Ints]:
    """Rows of pairs of people of one sex and year of birth, so that the one's number could be the other's."""
    century_sex_year = register["identity_number"].str.slice(3, 3).cast(pl.Int64).to_numpy()
    alike = np.argsort(century_sex_year, kind="stable")
    places = np.arange(0, len(alike) - 1, 2)
    places = places[century_sex_year[alike[places]] == century_sex_year[alike[places + 1]]]
    if len(places) < pairs:
        raise ValueError(f"{len(register)} residents are too few for {pairs} duplicates")
    chosen = rng.permutation(places)[:pairs]
    return alike[chosen], alike[chosen + 1]


def _replaced(register: pl.DataFrame, rows: Ints, defect: Defect) -> pl.DataFrame:
    chosen = np.zeros(len(register), bool)
    chosen[rows] = True
    value = pl.when(pl.Series(chosen)).then(defect.wrong).otherwise(pl.col(defect.column))
    return register.with_columns(value.alias(defect.column))


def _truth(register: pl.DataFrame, error_class: ErrorClass, column: str, rows: Ints, together: Ints) -> pl.DataFrame:
    return register[rows].select(
        "id",
        pl.Series("together", together + 1),
        pl.lit(error_class.value).alias("error_class"),
        pl.lit(column).alias("column"),
        pl.col(column).cast(pl.String).alias("right_value"),
    )


def abolished_commune() -> str:
    """A code of Hà Tĩnh from before 1 July 2025 that is none now: what a register that missed the merger holds."""
    valid = {code for code, _ in communes()}
    return next(code for code in ("18070", "18076", "18079", "18082", "18085", "18088") if code not in valid)
