"""The resident register that the demo and the benchmarks start from."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg.rows import dict_row

from bus.demo.columns import communes
from bus.demo.residents import Register, correct, delete_resident, make_register, move_resident, rename_resident
from registry.contract import load_folder
from registry.errors import ErrorClass
from registry.parse import parse_ndjson
from registry.rules import compile_rules

TODAY = date(2026, 11, 24)
RESIDENTS = 12_000


@pytest.fixture(scope="module")
def register(postgres_module_dsn: str) -> Register:
    return make_register(postgres_module_dsn, RESIDENTS, seed=7, today=TODAY)


@pytest.fixture(scope="module")
def rows(postgres_module_dsn: str, register: Register) -> pl.DataFrame:
    return read(postgres_module_dsn)


@pytest.fixture(scope="module")
def right_rows(rows: pl.DataFrame, register: Register) -> pl.DataFrame:
    wrong = [resident for residents in register.wrong.values() for resident in residents]
    return rows.filter(~pl.col("id").is_in(wrong))


def read(dsn: str) -> pl.DataFrame:
    with psycopg.connect(dsn) as connection:
        found = connection.execute(
            "SELECT id, identity_number, full_name, birth_date, birth_date_precision, sex, permanent_commune, "
            "birth_registration_province, relation_to_head, household_number, "
            "household_head->>'identity_number' AS head, father->>'identity_number' AS father, card_issued_on, "
            "card_expires_on, death_or_missing_date, phone, national_check, verified_on, updated_at, "
            "jsonb_array_length(household_members) AS members "
            "FROM resident_register ORDER BY id"
        )
        names = [column.name for column in found.description or ()]
        return pl.DataFrame(found.fetchall(), schema=names, orient="row", infer_schema_length=None)


def one(dsn: str, resident: int) -> dict[str, object]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        row = connection.execute("SELECT * FROM resident_register WHERE id = %s", [resident]).fetchone()
    assert row is not None
    return row


def test_a_number_agrees_with_sex_and_year_of_birth(right_rows: pl.DataFrame) -> None:
    number = pl.col("identity_number")
    century_sex = number.str.slice(3, 1).cast(pl.Int64)
    year = 1900 + century_sex // 2 * 100 + number.str.slice(4, 2).cast(pl.Int64)
    checked = right_rows.select(
        form=number.str.contains(r"^\d{12}$"),
        sex=(century_sex % 2 == 1) == (pl.col("sex") == "female"),
        year=year == pl.col("birth_date").str.slice(0, 4).cast(pl.Int64),
    )
    assert checked.select(pl.all().all()).row(0) == (True, True, True)


def test_most_numbers_are_of_the_province_and_all_are_unique(right_rows: pl.DataFrame) -> None:
    assert right_rows["identity_number"].is_unique().all()
    here = right_rows["identity_number"].str.starts_with("042").mean()
    assert isinstance(here, float)
    assert 0.9 < here < 0.98


def test_dates_of_birth_have_the_form_of_their_precision_and_old_people_are_known_by_year(rows: pl.DataFrame) -> None:
    lengths = {"year": 4, "month": 7, "day": 10}
    assert (rows["birth_date"].str.len_chars() == rows["birth_date_precision"].replace_strict(lengths)).all()
    shares = dict(rows["birth_date_precision"].value_counts(normalize=True).iter_rows())
    assert 0.02 < shares["year"] < 0.08
    assert 0.01 < shares["month"] < 0.04
    old = rows.filter(pl.col("birth_date") < "1945")["birth_date_precision"]
    assert 0.3 < (old == "year").mean() < 0.6  # type: ignore[operator]


def test_people_live_in_the_69_communes_with_one_head_in_each_household(right_rows: pl.DataFrame) -> None:
    assert set(right_rows["permanent_commune"]) == {code for code, _ in communes()}
    assert len(communes()) == 69
    households = right_rows.group_by("household_number").agg(
        pl.col("permanent_commune").n_unique(), pl.col("head").n_unique()
    )
    assert households.select(pl.col("permanent_commune", "head").max()).row(0) == (1, 1)
    heads = right_rows.filter(pl.col("relation_to_head") == "Chủ hộ")
    assert (heads["head"] == heads["identity_number"]).all()
    assert (heads["members"] > 0).all()


def test_a_childs_father_is_in_the_register_where_he_lives_with_it(rows: pl.DataFrame) -> None:
    known = rows.filter(pl.col("father").is_not_null())
    assert len(known) > RESIDENTS / 5
    born = pl.col("identity_number").str.slice(3, 1).cast(pl.Int64) // 2 * 100 + pl.col("identity_number").str.slice(
        4, 2
    ).cast(pl.Int64)
    fathers = rows.select(father="identity_number", father_born=born).unique("father")
    age = (
        known.with_columns(born=born)
        .join(fathers, on="father", how="left")
        .select(pl.col("born") - pl.col("father_born"))
    )
    assert age.null_count().item() < 100  # whose father's number is one of the wrong ones
    assert age.to_series().min() >= 15  # type: ignore[operator]


def test_dates_are_possible(right_rows: pl.DataFrame) -> None:
    checked = right_rows.select(
        issued=(pl.col("card_issued_on") <= TODAY).fill_null(True).all(),
        valid=(pl.col("card_issued_on") < pl.col("card_expires_on")).fill_null(True).all(),
        died=(pl.col("death_or_missing_date").cast(pl.String) >= pl.col("birth_date")).fill_null(True).all(),
        updated=(pl.col("updated_at").dt.date() < TODAY).all(),
    )
    assert checked.row(0) == (True, True, True, True)
    assert right_rows["death_or_missing_date"].is_not_null().any()


def test_names_are_distributed_as_in_the_country(rows: pl.DataFrame) -> None:
    families = dict(rows["full_name"].drop_nulls().str.split(" ").list.first().value_counts(normalize=True).iter_rows())
    assert families["Nguyễn"] == pytest.approx(0.384, abs=0.03)
    assert families["Trần"] == pytest.approx(0.11, abs=0.02)


def test_the_eight_defects_are_as_many_each_and_counted(rows: pl.DataFrame, register: Register) -> None:
    assert {error_class: len(ids) for error_class, ids in register.wrong.items()} == dict.fromkeys(ErrorClass, 14)
    assert register.rejected == 8 * 14
    assert len({resident for ids in register.wrong.values() for resident in ids}) == register.rejected
    repeated = rows.filter(pl.col("identity_number").is_duplicated())
    assert repeated["id"].to_list() == list(register.wrong[ErrorClass.DUPLICATE])
    assert repeated["identity_number"].n_unique() == len(repeated) / 2


def test_the_contract_finds_in_each_wrong_row_its_one_defect_and_none_elsewhere(
    postgres_module_dsn: str, register: Register
) -> None:
    contract = load_folder(Path("contracts/population/resident"))
    with psycopg.connect(postgres_module_dsn) as connection:
        found = connection.execute("SELECT id, to_jsonb(r) - 'id' FROM resident_register r ORDER BY id").fetchall()
    ids = [resident for resident, _ in found]
    parsed = parse_ndjson(b"\n".join(json.dumps(record).encode() for _, record in found), contract)
    failures = compile_rules(contract).check(parsed.frame, TODAY)
    by_structure = [(ids[problem.index], problem.error_class) for problem in parsed.rejected]
    by_rule = [
        (ids[parsed.index[row]], ErrorClass(error_class))
        for row, error_class in failures.select("index", "error_class").iter_rows()
    ]
    expected = [(resident, error_class) for error_class, residents in register.wrong.items() for resident in residents]
    assert sorted(by_structure + by_rule) == sorted(expected)


def test_the_same_seed_gives_the_same_register(rows: pl.DataFrame, postgres_dsn: str) -> None:
    make_register(postgres_dsn, RESIDENTS, seed=7, today=TODAY)
    assert read(postgres_dsn).equals(rows)
    make_register(postgres_dsn, RESIDENTS, seed=8, today=TODAY)
    assert not read(postgres_dsn).equals(rows)


def test_no_defects_when_none_are_asked_for_and_too_few_residents_are_refused(postgres_dsn: str) -> None:
    assert make_register(postgres_dsn, 500, bad_share=0, today=TODAY).rejected == 0
    with pytest.raises(ValueError, match="too few"):
        make_register(postgres_dsn, 12, bad_share=0.5, today=TODAY)


@pytest.fixture
def own(postgres_dsn: str) -> tuple[str, Register]:
    return postgres_dsn, make_register(postgres_dsn, 1_000, seed=3, today=TODAY)


def test_every_wrong_row_can_be_put_right(own: tuple[str, Register]) -> None:
    dsn, register = own
    before = read(dsn)
    corrected = {row for ids in register.wrong.values() for resident in ids[::2] for row in correct(dsn, resident)}
    assert {row for ids in register.wrong.values() for row in ids[::2]} <= corrected
    assert set(register.wrong[ErrorClass.DUPLICATE]) <= corrected
    after = read(dsn)
    assert after["identity_number"].is_unique().all()
    touched = after.filter(after["updated_at"] != before["updated_at"])
    assert set(touched["id"]) == corrected
    with pytest.raises(LookupError):
        correct(dsn, next(iter(corrected)))


def test_moving_renaming_and_deleting_touch_one_resident(own: tuple[str, Register]) -> None:
    dsn, _ = own
    before = one(dsn, 5)
    move_resident(dsn, 5, "18073")
    rename_resident(dsn, 5, "Nguyễn Văn Mới")
    after = one(dsn, 5)
    assert (after["permanent_commune"], after["full_name"]) == ("18073", "Nguyễn Văn Mới")
    assert isinstance(after["updated_at"], datetime)
    assert isinstance(before["updated_at"], datetime)
    assert after["updated_at"] > before["updated_at"]
    delete_resident(dsn, 5)
    assert read(dsn)["id"].len() == 999
    for act in (
        lambda: delete_resident(dsn, 5),
        lambda: move_resident(dsn, 5, "18073"),
        lambda: move_resident(dsn, 6, "1"),
    ):
        with pytest.raises(LookupError):
            act()
