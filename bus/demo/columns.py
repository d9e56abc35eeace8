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

from bus.demo.names import Ints, draw, draw_families, full_names
from bus.demo.people import FIRST_CHILD, GRANDPARENT, HEAD, SPOUSE, YEAR_DAYS, Days, People, identity_numbers

HA_TINH = 42
NATIONALITY = "Việt Nam"
# Where births were registered, by the 63 old codes (Thông tư 07/2016/TT-BCA): Hà Tĩnh, and whence people marry in.
BIRTH_PROVINCES: dict[int, tuple[str, float]] = {
    42: ("Hà Tĩnh", 92.5),
    40: ("Nghệ An", 3.2),
    44: ("Quảng Bình", 1.1),
    38: ("Thanh Hóa", 0.8),
    1: ("Hà Nội", 0.7),
    79: ("Thành phố Hồ Chí Minh", 0.5),
    36: ("Nam Định", 0.4),
    66: ("Đắk Lắk", 0.4),
    75: ("Đồng Nai", 0.4),
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
PRECISIONS = ("day", "month", "year")
BIRTH_DATE_LENGTHS = {"day": 10, "month": 7, "year": 4}
RELATIVES = ("father", "mother", "spouse", "children", "representative", "household")


@cache
def communes() -> tuple[tuple[str, str], ...]:
    """Code (5 digits) and name of the 69 communes of Hà Tĩnh, in the order of their codes."""
    from vietnam_provinces import NESTED_DIVISIONS_JSON_PATH

    provinces = json.loads(NESTED_DIVISIONS_JSON_PATH.read_text(encoding="utf-8"))
    wards = next(province["wards"] for province in provinces if province["code"] == HA_TINH)
    return tuple(sorted((f"{ward['code']:05d}", str(ward["name"])) for ward in wards))


def resident_columns(rng: np.random.Generator, people: People, today: date) -> pl.DataFrame:
    """The register of `people` on `today`, ordered by id; dates are dates, RELATIVES are JSON texts."""
    facts = _facts(rng, people, today)
    relatives = _relatives(rng, people, facts)
    return facts.with_columns(relatives).select(_register_columns())


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
            "household_number": people.household,
            "place": people.place,
            "birth_province": _pick({code: name for code, (name, _) in BIRTH_PROVINCES.items()}, province),
            "commune": _draw_communes(rng, households)[people.household],
            "origin": _draw_communes(rng, households)[people.household],
            "hamlet": rng.integers(1, 15, households)[people.household],
            "away_to": _some(
                rng, np.where((age > 17) & (age < 45) & ~died, 0.04, 0), pl.Series(_draw_communes(rng, size))
            ),
            "absent": (age > 17) & (age < 60) & (rng.random(size) < 0.02) & ~died,
            "ethnicity": _pick(list(ETHNICITIES), draw(rng, list(ETHNICITIES.values()), households)[people.household]),
            "religion": _pick(list(RELIGIONS), draw(rng, list(RELIGIONS.values()), households)[people.household]),
            "blood_type": _some(rng, 0.35, _pick(list(BLOOD_TYPES), draw(rng, list(BLOOD_TYPES.values()), size))),
            "issued": _some(rng, np.where((issued < now) & ~died, 1, 0), pl.Series(issued)),
            "card_until": _card_until(people.born, issued),
            "died_on": _some(rng, np.where(died, 1, 0), pl.Series(now - rng.integers(10, 700, size))),
            "has_spouse": people.spouse >= 0,
            "phone": _some(
                rng,
                np.where(died, 0, phoning),
                _pick(MOBILE_PREFIXES, rng.integers(0, len(MOBILE_PREFIXES), size))
                + _digits(rng.integers(0, 10**7, size), 7),
            ),
            "mailbox": _some(rng, np.where(died, 0, mailing), _digits(rng.integers(0, 1000, size), 3)),
            "verified_on": now - rng.integers(1, 600, size),
            "updated_at": np.datetime64(today, "us") - rng.integers(86_400_000_000, 86_400_000_000 * 900, size),
        }
    )


def _register_columns() -> list[pl.Expr]:
    """Each column of the register from the facts."""
    c = pl.col
    code = {place: code for place, (code, _) in enumerate(communes())}
    name = {place: f"{name}, tỉnh Hà Tĩnh" for place, (_, name) in enumerate(communes())}
    home = pl.format("Thôn {}, {}", c("hamlet"), c("commune").replace_strict(name))
    has_card = c("issued").is_not_null()
    unmarried = pl.when(c("age") < 32).then(pl.lit("single")).when(c("age") > 60).then(pl.lit("widowed"))
    relation = pl.when(c("place") == HEAD).then(pl.lit("head")).when(c("place") == SPOUSE).then(pl.lit("spouse"))
    ascii_name = c("full_name").str.to_lowercase().str.replace_all("đ", "d").str.normalize("NFD")
    return [
        pl.int_range(1, pl.len() + 1).alias("id"),
        c("identity_number"),
        c("full_name"),
        c("other_name"),
        c("born").cast(pl.String).str.slice(0, c("precision").replace_strict(BIRTH_DATE_LENGTHS)).alias("birth_date"),
        c("precision").alias("birth_date_precision"),
        pl.when("female").then(pl.lit("female")).otherwise(pl.lit("male")).alias("sex"),
        c("birth_province").alias("birth_place"),
        c("commune").replace_strict(name).alias("birth_registration_place"),
        c("origin").replace_strict(name).alias("home_town"),
        c("ethnicity"),
        c("religion"),
        pl.lit(NATIONALITY).alias("nationality"),
        c("blood_type"),
        c("old_identity_number"),
        c("issued").alias("card_issued_on"),
        pl.when(has_card).then(pl.lit(CARD_ISSUER)).alias("card_issued_by"),
        pl.when(has_card).then(c("card_until")).alias("card_expires_on"),
        c("commune").replace_strict(code).alias("permanent_commune"),
        home.alias("permanent_address"),
        c("away_to").replace_strict(code).alias("temporary_commune"),
        c("away_to").replace_strict(name).alias("temporary_address"),
        c("away_to").fill_null(c("commune")).replace_strict(code).alias("current_commune"),
        c("away_to").replace_strict(name).fill_null(home).alias("current_address"),
        c("absent").alias("absence_declared"),
        pl.format("42{}", (c("household_number") + 1).cast(pl.String).str.zfill(7)).alias("residence_file_number"),
        pl.when("has_spouse")
        .then(pl.lit("married"))
        .otherwise(unmarried.otherwise(pl.lit("divorced")))
        .alias("marital_status"),
        relation.when(c("place") == GRANDPARENT)
        .then(pl.lit("parent"))
        .otherwise(pl.lit("child"))
        .alias("household_relation"),
        *map(c, RELATIVES),
        c("died_on").alias("death_date"),
        c("phone"),
        pl.format("{}{}@example.vn", ascii_name.str.replace_all(r"[^a-z]", ""), c("mailbox")).alias("email"),
        pl.lit("matched").alias("national_check"),
        c("verified_on"),
        c("updated_at"),
    ]


def _relatives(rng: np.random.Generator, people: People, facts: pl.DataFrame) -> pl.DataFrame:
    """RELATIVES as JSON texts. Parents who aren't in the register are known by name alone, a few not at all."""
    identity = ["identity_number", "full_name", "old_identity_number", pl.lit(NATIONALITY).alias("nationality")]
    reference = facts.select(pl.struct(identity).struct.json_encode()).to_series()

    def parent(entries: Ints, families: Ints, female: bool) -> pl.Series:
        year = people.born.astype("datetime64[Y]").astype(np.int64) + 1970 - 28
        names = full_names(rng, families, np.full(len(people), female), year)
        by_name = pl.select(
            pl.struct(
                pl.lit(None, pl.String).alias("identity_number"),
                names.alias("full_name"),
                pl.lit(None, pl.String).alias("old_identity_number"),
                pl.lit(NATIONALITY).alias("nationality"),
            ).struct.json_encode()
        ).to_series()
        return _others(reference, entries).fill_null(_some(rng, 0.97, by_name))

    father = parent(people.father, people.family, False)
    mother = parent(people.mother, draw_families(rng, len(people)), True)
    spouse = _others(reference, people.spouse)
    return pl.DataFrame(
        {
            "father": father,
            "mother": mother,
            "spouse": spouse,
            "children": _children(people, reference),
            "representative": _representative(people, facts, reference),
            "household": _household(people, reference),
        }
    )


def _children(people: People, reference: pl.Series) -> pl.Series:
    """For each person the JSON list of the children in the register, "[]" where there is none."""
    pairs = pl.concat(
        [
            pl.DataFrame({"parent": parent[parent >= 0], "child": reference.filter(pl.Series(parent >= 0))})
            for parent in (people.father, people.mother)
        ]
    )
    lists = pairs.group_by("parent", maintain_order=True).agg(pl.col("child").str.join(","))
    everybody = pl.DataFrame({"parent": np.arange(len(people))}).join(
        lists, on="parent", how="left", maintain_order="left"
    )
    return everybody.select(pl.format("[{}]", pl.col("child").fill_null(""))).to_series()


def _representative(people: People, facts: pl.DataFrame, reference: pl.Series) -> pl.Series:
    """The head of the household, for those under 18 whose parents aren't in the register."""
    alone = (facts["age"].to_numpy() < 18) & (people.father < 0) & (people.mother < 0)
    return _others(reference, np.where(alone, people.head, -1))


def _household(people: People, reference: pl.Series) -> pl.Series:
    """The household as JSON `{"head": …, "members": […]}`, the same for all who live in it, the head included."""
    members = pl.DataFrame({"household": people.household, "member": reference})
    lists = members.group_by("household", maintain_order=True).agg(
        pl.col("member").first().alias("head"), pl.col("member").str.join(",").alias("members")
    )
    texts = lists.select(pl.concat_str(pl.lit('{"head":'), "head", pl.lit(',"members":['), "members", pl.lit("]}")))
    return texts.to_series().gather(people.household)


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
    age = (issued - born).astype(np.int64) / YEAR_DAYS
    ends_at = np.asarray([*CARD_AGES, 0])[np.searchsorted(CARD_AGES, age, side="right")]
    frame = pl.DataFrame({"born": born, "years": ends_at})
    birthday = pl.col("born").dt.offset_by(pl.format("{}y", "years"))
    return frame.select(pl.when(pl.col("years") > 0).then(birthday)).to_series()
