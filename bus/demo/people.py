"""Made-up people in households: who lives with whom, born when, who is whose parent. Pure; all follows from the seed.

Not the register's columns: those are `bus.demo.residents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from bus.demo.names import Bools, Ints, draw, draw_families

Days = npt.NDArray[np.datetime64]  # unit D
Floats = npt.NDArray[np.float64]

HEAD, SPOUSE, FIRST_CHILD, GRANDPARENT = 0, 1, 2, 6  # places in a household; children are 2 to 5
PLACES = 7
YEAR_DAYS = 365.25

# How often a head of household has an age, by the age a band starts at. With children and grandparents this comes near
# Hà Tĩnh's age pyramid of 2019: about a quarter below 15, a tenth above 65.
_HEAD_AGE_BANDS = {22: 0.35, 30: 1.05, 45: 0.95, 60: 0.55, 75: 0.18, 90: 0.02}
_HEAD_AGE_END = 98


@dataclass(frozen=True, slots=True)
class People:
    """One entry per person, households one after the other. `father`, `mother`, `spouse`, `head` are entries or -1."""

    household: Ints
    place: Ints
    female: Bools
    born: Days
    family: Ints
    father: Ints
    mother: Ints
    spouse: Ints
    head: Ints

    def __len__(self) -> int:
        return len(self.place)


def make_people(rng: np.random.Generator, size: int, today: date) -> People:
    """`size` people. Parents are at least 16 years older than their children, who have the father's family name."""
    households = size // 2 + 10  # more than enough, the rest is cut off
    age, present, female = _ages(rng, households)
    family = _families(rng, female, present)

    rows, places = np.nonzero(present)
    rows, places = rows[:size], places[:size]
    entry = np.full(present.shape, -1, np.int64)
    entry[rows, places] = np.arange(size)

    head_is_female = female[:, HEAD]
    fathers = np.where(head_is_female, entry[:, SPOUSE], entry[:, HEAD])
    mothers = np.where(head_is_female, entry[:, HEAD], entry[:, SPOUSE])
    grandfathers = np.where(female[:, GRANDPARENT], -1, entry[:, GRANDPARENT])
    grandmothers = np.where(female[:, GRANDPARENT], entry[:, GRANDPARENT], -1)
    is_head, is_spouse, is_child = places == HEAD, places == SPOUSE, (places >= FIRST_CHILD) & (places < GRANDPARENT)
    days = (age[rows, places] * YEAR_DAYS).astype(np.int64)
    return People(
        household=rows.astype(np.int64),
        place=places.astype(np.int64),
        female=female[rows, places],
        born=np.datetime64(today, "D") - days,
        family=family[rows, places],
        father=np.where(is_head, grandfathers[rows], np.where(is_child, fathers[rows], -1)),
        mother=np.where(is_head, grandmothers[rows], np.where(is_child, mothers[rows], -1)),
        spouse=np.where(is_head, entry[rows, SPOUSE], np.where(is_spouse, entry[rows, HEAD], -1)),
        head=entry[rows, HEAD],
    )


def _ages(rng: np.random.Generator, households: int) -> tuple[Floats, Bools, Bools]:
    """Ages in years, presence and sex, one row per household and one column per place."""
    age = np.zeros((households, PLACES))
    present = np.zeros((households, PLACES), bool)
    female = np.zeros((households, PLACES), bool)

    starts = np.asarray(list(_HEAD_AGE_BANDS))
    band = np.searchsorted(starts, np.arange(starts[0], _HEAD_AGE_END), side="right") - 1
    weights = np.asarray(list(_HEAD_AGE_BANDS.values()))[band]
    head = starts[0] + draw(rng, weights, households) + rng.random(households)
    female[:, HEAD] = rng.random(households) < np.where(head > 70, 0.4, 0.24)
    age[:, HEAD], present[:, HEAD] = head, True

    married = np.interp(head, [22, 27, 33, 60, 75, 90], [0.25, 0.7, 0.9, 0.85, 0.55, 0.15])
    husband_older_by = np.clip(rng.normal(2.5, 2.5, households), -2, 12)
    older_by = np.where(female[:, HEAD], -1, 1) * husband_older_by
    female[:, SPOUSE] = ~female[:, HEAD]
    age[:, SPOUSE] = np.clip(head - older_by, 18, 99)
    present[:, SPOUSE] = rng.random(households) < married

    # Children: the mother's age at the first birth, then one every two to six years. Grown children leave.
    mother = np.where(female[:, HEAD], head, np.where(present[:, SPOUSE], age[:, SPOUSE], head - 2))
    first = np.clip(rng.normal(24.5, 3.5, households), 18.5, 34)
    gaps = rng.uniform(1.6, 5.5, (households, 4))
    gaps[:, 0] = 0
    ages = (mother - first)[:, None] - np.cumsum(gaps, axis=1)
    born = np.cumsum(gaps, axis=1) + first[:, None] < 42
    wanted = draw(rng, [0.03, 0.12, 0.4, 0.31, 0.14], households)
    has_family = present[:, SPOUSE] | (rng.random(households) < 0.5)
    at_home = rng.random((households, 4)) < np.interp(ages, [17, 19, 25, 32, 45], [1, 0.75, 0.4, 0.12, 0.03])
    children = slice(FIRST_CHILD, GRANDPARENT)
    present[:, children] = (
        (ages > 0.02) & born & at_home & (np.arange(4)[None, :] < wanted[:, None]) & has_family[:, None]
    )
    age[:, children] = ages
    female[:, children] = rng.random((households, 4)) < 0.473  # 111 boys to 100 girls

    female[:, GRANDPARENT] = rng.random(households) < 0.72
    age[:, GRANDPARENT] = head + rng.uniform(19, 36, households)
    may = (age[:, GRANDPARENT] < 101) & (head < 66)
    present[:, GRANDPARENT] = may & (rng.random(households) < 0.2)
    return age, present, female


def _families(rng: np.random.Generator, female: Bools, present: Bools) -> Ints:
    """Family names: children and a grandfather share the father's side, women keep their own."""
    households = len(female)
    family = np.empty((households, PLACES), np.int64)
    for place in (HEAD, SPOUSE, GRANDPARENT):
        family[:, place] = draw_families(rng, households)
    grandfather = ~female[:, GRANDPARENT]
    family[grandfather, GRANDPARENT] = family[grandfather, HEAD]
    fathers = np.where(female[:, HEAD] & present[:, SPOUSE], family[:, SPOUSE], family[:, HEAD])
    family[:, FIRST_CHILD:GRANDPARENT] = fathers[:, None]
    return family


def identity_numbers(rng: np.random.Generator, province: Ints, female: Bools, birth_years: Ints) -> Ints:
    """Unique personal identification numbers as integers below 10**12 (leading zeros come with their text).

    3 digits of province, 1 of century and sex, 2 of the year, 6 random: Nghị định 137/2015, Art. 13.
    """
    century = birth_years // 100 - 19
    stem = province * 10**9 + (2 * century + female) * 10**8 + birth_years % 100 * 10**6
    numbers = stem + rng.integers(0, 10**6, len(stem))
    while True:
        order = np.argsort(numbers, kind="stable")
        again = order[1:][numbers[order][1:] == numbers[order][:-1]]
        if not len(again):
            return np.asarray(numbers, np.int64)
        numbers[again] = stem[again] + rng.integers(0, 10**6, len(again))
