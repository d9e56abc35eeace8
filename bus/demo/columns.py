"""The register's columns for made-up people: what the police of Hà Tĩnh know about each resident, all of it right.

One row per person of `bus.demo.people`, one column per field of the contract `population/resident`, plus the register's
own `id` (from 1) and `updated_at`. What is wrong in the register comes afterwards, from `bus.demo.defects`.
"""

from __future__ import annotations

import json
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from bus.demo.names import Bools, Ints, draw, draw_families, full_names
from bus.demo.people import FIRST_CHILD, GRANDPARENT, HEAD, SPOUSE, YEAR_DAYS, Days, People, identity_numbers

HA_TINH = 42
NATIONALITY = "Việt Nam"
# Where births were registered, by the 63 old codes (Thông tư 07/2016/TT-BCA): Hà Tĩnh, and whence people marry in.
# Beside each the province it belongs to since 1 July 2025: Quảng Bình to Quảng Trị, Nam Định to Ninh Bình.
BIRTH_PROVINCES: dict[int, tuple[str, float]] = {
    42: ("42", 92.5),
    40: ("40", 3.2),
    44: ("44", 1.1),
    38: ("38", 0.8),
    1: ("01", 0.7),
    79: ("79", 0.5),
    36: ("37", 0.4),
    66: ("66", 0.4),
    75: ("75", 0.4),
}
ETHNICITIES = {"Kinh": 99.6, "Lào": 0.12, "Chứt": 0.05, "Thái": 0.09, "Mường": 0.1, "Tày": 0.04}
RELIGIONS = {"Không": 87.6, "Công giáo": 11.4, "Phật giáo": 0.9, "Tin lành": 0.1}
BLOOD_TYPES = {"O": 42, "B": 31, "A": 21.5, "AB": 5.5}
MOBILE_PREFIXES = (
    *("032", "033", "034", "035", "036", "037", "038", "039", "086", "096", "097", "098"),  # Viettel
    *("081", "082", "083", "084", "085", "088", "091", "094"),  # VinaPhone
    *("070", "076", "077", "078", "079", "089", "090", "093"),  # MobiFone
    *("056", "058", "092"),  # Vietnamobile
)
CARD_AGES = (14, 25, 40, 60)  # Luật Căn cước 2023, Art. 21: a new card at each; after the last it holds for life
CARD_ISSUER = "Bộ Công an"
RELATIONS = ("Chủ hộ", "Vợ", "Chồng", "Mẹ", "Cha", "Con")
PRECISIONS = ("day", "month", "year")
BIRTH_DATE_LENGTHS = {"day": 10, "month": 7, "year": 4}
NESTED = (
    *("father", "mother", "spouse", "children", "representative"),
    *("household_head", "household_members", "temporary_absence"),
)


@cache
def communes() -> tuple[tuple[str, str], ...]:
    """Code (5 digits) and name of the 69 communes of Hà Tĩnh, in the order of their codes."""
    from vietnam_provinces import NESTED_DIVISIONS_JSON_PATH

    provinces = json.loads(NESTED_DIVISIONS_JSON_PATH.read_text(encoding="utf-8"))
    wards = next(province["wards"] for province in provinces if province["code"] == HA_TINH)
    return tuple(sorted((f"{ward['code']:05d}", str(ward["name"])) for ward in wards))


def resident_columns(rng: np.random.Generator, people: People, today: date) -> pl.DataFrame:
    """The register of `people` on `today`, ordered by id; dates are dates, NESTED are JSON texts."""
    facts = _facts(rng, people, today)
    return facts.with_columns(_nested(rng, people, facts)).select(_register_columns())


def _facts(rng: np.random.Generator, people: People, today: date) -> pl.DataFrame:
    """What is true of each person, drawn one by one; the register says it in its own columns."""
    size, now = len(people), np.datetime64(today, "D")
    households = int(people.household.max()) + 1
    age = (now - people.born).astype(np.int64) / YEAR_DAYS
    year = people.born.astype("datetime64[Y]").astype(np.int64) + 1970
    is_child = (people.place >= FIRST_CHILD) & (people.place < GRANDPARENT)

    province = np.asarray(list(BIRTH_PROVINCES))[draw(rng, [share for _, share in BIRTH_PROVINCES.values()], size)]
    province[is_child] = HA_TINH
    died = (people.place != HEAD) & (rng.random(size) < np.interp(age, [0, 50, 70, 90], [0.0005, 0.002, 0.02, 0.12]))
    issued = np.maximum(now - rng.integers(1, 5 * 365, size), people.born + rng.integers(5114, 5200, size))
    phoning = np.interp(age, [12, 18, 60, 90], [0, 0.9, 0.8, 0.2])
    mailing = np.interp(age, [15, 25, 50, 65], [0, 0.4, 0.15, 0])
    return pl.DataFrame(
        {
            "identity_number": _digits(identity_numbers(rng, province, people.female, year), 12),
            "full_name": full_names(rng, people.family, people.female, year),
            "other_name": _some(rng, 0.01, full_names(rng, people.family, people.female, year)),
            "old_identity_number": _some(
                rng,
                np.where(year < 2003, 0.8, 0),
                _digits(183_000_000 + rng.permutation(max(size, 1_999_999))[:size], 9),
            ),
            "born": people.born,
            "precision": _precisions(rng, year),
            "female": people.female,
            "age": age,
            "household": people.household,
            "relation_to_head": _relations(people),
            "birth_province": _pick({old: new for old, (new, _) in BIRTH_PROVINCES.items()}, province),
            "commune": _draw_communes(rng, households)[people.household],
            "origin": _draw_communes(rng, households)[people.household],
            "hamlet": rng.integers(1, 15, households)[people.household],
            "away_to": _some(
                rng, np.where((age > 17) & (age < 45) & ~died, 0.04, 0), pl.Series(_draw_communes(rng, size))
            ),
            "temporary_absence": _absences(rng, (age > 17) & (age < 60) & (rng.random(size) < 0.02) & ~died, now),
            "ethnicity": _pick(list(ETHNICITIES), draw(rng, list(ETHNICITIES.values()), households)[people.household]),
            "religion": _pick(list(RELIGIONS), draw(rng, list(RELIGIONS.values()), households)[people.household]),
            "blood_type": _some(rng, 0.35, _pick(list(BLOOD_TYPES), draw(rng, list(BLOOD_TYPES.values()), size))),
            "issued": _some(rng, np.where((issued < now) & ~died, 1, 0), pl.Series(issued)),
            "card_until": _card_until(people.born, issued),
            "died_on": _some(
                rng, np.where(died, 1, 0), pl.Series(np.maximum(now - rng.integers(10, 700, size), people.born))
            ),
            "has_spouse": people.spouse >= 0,
            "phone": _some(
                rng,
                np.where(died, 0, phoning),
                _pick(MOBILE_PREFIXES, rng.integers(0, len(MOBILE_PREFIXES), size))
                + _digits(rng.integers(0, 10**7, size), 7),
            ),
            "mailbox": _some(rng, np.where(died, 0, mailing), _digits(rng.integers(0, 1000, size), 3)),
            "verified_on": now - rng.integers(1, 600, size),
            "updated_at": np.datetime64(today, "ms") - rng.integers(86_400_000, 86_400_000 * 900, size),
        }
    )


def _register_columns() -> list[pl.Expr]:
    """Each column of the register from the facts."""
    c, here = pl.col, pl.lit(str(HA_TINH))
    code = {place: code for place, (code, _) in enumerate(communes())}
    hamlet = pl.format("Thôn {}", c("hamlet"))
    has_card, is_away = c("issued").is_not_null(), c("away_to").is_not_null()
    born_here = c("birth_province") == str(HA_TINH)
    origin, home, away = (c(place).replace_strict(code) for place in ("origin", "commune", "away_to"))
    unmarried = pl.when(c("age") < 32).then(pl.lit("single")).when(c("age") > 60).then(pl.lit("widowed"))
    ascii_name = c("full_name").str.to_lowercase().str.replace_all("đ", "d").str.normalize("NFD")
    length = c("precision").replace_strict(BIRTH_DATE_LENGTHS)
    return [
        pl.int_range(1, pl.len() + 1).alias("id"),
        c("identity_number"),
        c("full_name"),
        c("other_name").alias("other_names"),
        c("born").cast(pl.String).str.slice(0, length).alias("birth_date"),
        c("precision").alias("birth_date_precision"),
        pl.when("female").then(pl.lit("female")).otherwise(pl.lit("male")).alias("sex"),
        c("birth_province"),
        pl.when(born_here).then(home).alias("birth_commune"),
        pl.when(born_here).then(hamlet).alias("birth_address"),
        c("birth_province").alias("birth_registration_province"),
        pl.when(born_here).then(home).alias("birth_registration_commune"),
        pl.lit(None, pl.String).alias("birth_registration_address"),
        here.alias("origin_province"),
        origin.alias("origin_commune"),
        pl.lit(None, pl.String).alias("origin_address"),
        c("ethnicity"),
        c("religion"),
        pl.lit(NATIONALITY).alias("nationality"),
        c("blood_type"),
        c("old_identity_number"),
        c("issued").alias("card_issued_on"),
        pl.when(has_card).then(pl.lit(CARD_ISSUER)).alias("card_issued_by"),
        pl.when(has_card).then(c("card_until")).alias("card_expires_on"),
        c("father"),
        c("mother"),
        c("spouse"),
        c("children"),
        c("representative"),
        here.alias("permanent_province"),
        home.alias("permanent_commune"),
        hamlet.alias("permanent_address"),
        pl.when(is_away).then(here).alias("temporary_province"),
        away.alias("temporary_commune"),
        pl.when(is_away).then(hamlet).alias("temporary_address"),
        here.alias("current_province"),
        away.fill_null(home).alias("current_commune"),
        hamlet.alias("current_address"),
        c("temporary_absence"),
        pl.format("42{}", (c("household") + 1).cast(pl.String).str.zfill(8)).alias("residence_record_number"),
        pl.when("has_spouse")
        .then(pl.lit("married"))
        .otherwise(unmarried.otherwise(pl.lit("divorced")))
        .alias("marital_status"),
        pl.format("H{}", (c("household") + 1).cast(pl.String).str.zfill(8)).alias("household_number"),
        c("relation_to_head"),
        c("household_head"),
        c("household_members"),
        c("died_on").alias("death_or_missing_date"),
        c("phone"),
        pl.format("{}{}@example.vn", ascii_name.str.replace_all(r"[^a-z]", ""), c("mailbox")).alias("email"),
        pl.lit("matched").alias("national_check"),
        c("verified_on"),
        c("updated_at"),
    ]


def _nested(rng: np.random.Generator, people: People, facts: pl.DataFrame) -> pl.DataFrame:
    """NESTED as JSON texts. Parents who aren't in the register are known by name alone, a few not at all."""
    numbers = pl.col("identity_number", "old_identity_number")
    identity = [pl.col("full_name").alias("name"), numbers, _nationality()]
    reference = _json(facts, *identity)

    def parent(entries: Ints, families: Ints, female: bool) -> pl.Series:
        year = people.born.astype("datetime64[Y]").astype(np.int64) + 1970 - 28
        names = full_names(rng, families, np.full(len(people), female), year).to_frame()
        no_number = [pl.lit(None, pl.String).alias(name) for name in ("identity_number", "old_identity_number")]
        by_name = _json(names, pl.col("full_name").alias("name"), *no_number, _nationality())
        return _others(reference, entries).fill_null(_some(rng, 0.97, by_name))

    minor_alone = (facts["age"].to_numpy() < 18) & (people.father < 0) & (people.mother < 0)
    return pl.DataFrame(
        {
            "father": parent(people.father, people.family, False),
            "mother": parent(people.mother, draw_families(rng, len(people)), True),
            "spouse": _others(reference, people.spouse),
            "children": _children(people, reference),
            "representative": _others(reference, np.where(minor_alone, people.head, -1)),
            "household_head": reference.gather(people.head),
            "household_members": _members(
                people, _json(facts, *identity, pl.col("relation_to_head").alias("relation"))
            ),
        }
    )


def _json(frame: pl.DataFrame, *fields: pl.Expr) -> pl.Series:
    return frame.select(pl.struct(fields).struct.json_encode()).to_series()


def _nationality() -> pl.Expr:
    return pl.lit(NATIONALITY).alias("nationality")


def _children(people: People, reference: pl.Series) -> pl.Series:
    """For each person the JSON list of the children in the register, "[]" where there is none."""
    pairs = pl.concat(
        [
            pl.DataFrame({"parent": parent[parent >= 0], "child": reference.filter(pl.Series(parent >= 0))})
            for parent in (people.father, people.mother)
        ]
    )
    lists = pairs.group_by("parent", maintain_order=True).agg(pl.col("child").str.join(","))
    everybody = pl.DataFrame({"parent": np.arange(len(people))})
    joined = everybody.join(lists, on="parent", how="left", maintain_order="left")
    return joined.select(pl.format("[{}]", pl.col("child").fill_null(""))).to_series()


def _members(people: People, member: pl.Series) -> pl.Series:
    """The household's JSON list, the head first; it stands once, on the head's own row, and is "[]" on the others."""
    frame = pl.DataFrame({"household": people.household, "member": member})
    lists = frame.group_by("household", maintain_order=True).agg(pl.col("member").str.join(","))["member"]
    is_head = pl.Series(people.place == HEAD)
    texts = pl.DataFrame({"is_head": is_head, "list": lists.gather(people.household)})
    return texts.select(pl.format("[{}]", pl.when("is_head").then("list").otherwise(pl.lit("")))).to_series()


def _relations(people: People) -> pl.Series:
    """What each person is to the head of the household, in the register's words."""
    woman = people.female
    kinds = [people.place == HEAD, people.place == SPOUSE, people.place == GRANDPARENT]
    words = [np.full(len(people), 0), np.where(woman, 1, 2), np.where(woman, 3, 4)]
    return _pick(RELATIONS, np.select(kinds, words, default=5))


def _absences(rng: np.random.Generator, away: Bools, now: np.datetime64) -> pl.Series:
    """A declared temporary absence as JSON, null where there is none."""
    size = len(away)
    start = pl.Series(now - rng.integers(1, 200, size)).cast(pl.String)
    frame = pl.DataFrame({"from_date": start, "away": away})
    text = frame.select(
        pl.when("away").then(
            pl.struct(
                "from_date", pl.lit(None, pl.String).alias("to_date"), pl.lit("Đi làm ăn xa").alias("reason")
            ).struct.json_encode()
        )
    )
    return text.to_series()


def _others(of: pl.Series, entries: Ints) -> pl.Series:
    """`of` at `entries`, null where the entry is -1."""
    places = pl.DataFrame({"entry": entries}).select(pl.when(pl.col("entry") >= 0).then("entry")).to_series()
    return of.gather(places)


def _some(rng: np.random.Generator, chance: float | npt.NDArray[np.floating], of: pl.Series) -> pl.Series:
    """`of`, kept with `chance` (one number, or one per row) and null elsewhere."""
    kept = pl.Series("kept", rng.random(len(of)) < chance)
    return pl.select(pl.when(kept).then(of)).to_series()


def _pick(words: list[str] | tuple[str, ...] | dict[int, str], places: Ints) -> pl.Series:
    if isinstance(words, dict):
        return pl.Series(places).replace_strict(words, return_dtype=pl.String)
    return pl.Series(words).gather(places)


def _digits(numbers: Ints, width: int) -> pl.Series:
    return pl.Series(numbers).cast(pl.String).str.zfill(width)


def _draw_communes(rng: np.random.Generator, size: int) -> Ints:
    """Places in communes(); wards hold twice as many people as rural communes."""
    return draw(rng, [2.0 if name.startswith("Phường") else 1.0 for _, name in communes()], size)


def _precisions(rng: np.random.Generator, birth_year: Ints) -> pl.Series:
    """How exactly a birth date is known: the older a person, the more often by the year alone."""
    chance = rng.random(len(birth_year))
    by_year = np.interp(birth_year, [1925, 1945, 1960, 1975, 1990], [0.5, 0.35, 0.12, 0.02, 0.0])
    by_month = np.interp(birth_year, [1925, 1945, 1960, 1975, 1995], [0.15, 0.12, 0.06, 0.015, 0.0])
    places = np.where(chance < by_year, 2, np.where(chance < by_year + by_month, 1, 0))
    return _pick(PRECISIONS, places)


def _card_until(born: Days, issued: Days) -> pl.Series:
    """The birthday of 25, 40 or 60 that comes next after `issued`; null where none does."""
    born_on, issued_on = pl.col("born"), pl.col("issued")
    birthdays = [born_on.dt.offset_by(f"{age}y") for age in CARD_AGES]
    until = pl.coalesce([pl.when(birthday > issued_on).then(birthday) for birthday in birthdays])
    return pl.DataFrame({"born": born, "issued": issued}).select(until).to_series()
