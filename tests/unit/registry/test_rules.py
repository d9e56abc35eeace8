"""Which records a contract's rules call wrong, by which class; and that the resident contract catches all eight."""

from __future__ import annotations

import datetime
import json
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from registry import cel
from registry.contract import Contract, load_folder
from registry.errors import ErrorClass
from registry.parse import parse_ndjson
from registry.rules import FAILURES, compile_rules
from tests.unit.registry.contracts import contract_with, rule

CONTRACTS = Path(__file__).parents[3] / "contracts"
TODAY = datetime.date(2025, 8, 1)


@cache
def resident() -> Contract:
    return load_folder(CONTRACTS / "population" / "resident")


@cache
def enterprise() -> Contract:
    return load_folder(CONTRACTS / "business" / "enterprise")


def failures(contract: Contract, records: list[dict[str, Any]]) -> list[tuple[int, str]]:
    parsed = parse_ndjson("\n".join(json.dumps(one) for one in records).encode(), contract)
    assert parsed.rejected == ()
    found = compile_rules(contract).check(parsed.frame, TODAY)
    assert found.schema == FAILURES
    return list(found.select("index", "rule").iter_rows())


def sample(contract: Contract, line: int, **changes: Any) -> dict[str, Any]:
    assert contract.sample is not None
    return {**json.loads(contract.sample.splitlines()[line]), **changes}


@pytest.mark.parametrize(
    ("code", "error_class", "line", "changes"),
    [
        ("full_name.missing", "missing", 0, {"full_name": "  "}),
        ("permanent_commune.missing", "missing", 1, {"permanent_commune": None}),
        ("birth_date.range", "outlier", 0, {"birth_date": "1857"}),
        ("card_issued_on.range", "outlier", 1, {"card_issued_on": "2026-01-01"}),
        ("identity_number.format", "format", 0, {"identity_number": "04205700195"}),
        ("birth_date.format", "format", 2, {"birth_date": "2004-02-30"}),
        ("birth_date.format", "format", 2, {"birth_date": "29/02/2004", "identity_number": "04220401122"}),
        ("birth_date.format", "format", 1, {"birth_date": "1988-13"}),
        ("birth_date.format", "format", 1, {"birth_date_precision": "day"}),
        ("old_identity_number.format", "format", 0, {"old_identity_number": "18345678"}),
        ("phone.format", "format", 1, {"phone": "912345678"}),
        ("email.format", "format", 1, {"email": "lan.example.vn"}),
        ("permanent_commune.reference", "reference", 0, {"permanent_commune": "00004"}),
        ("identity_number.sex", "conflict", 0, {"sex": "female"}),
        ("identity_number.birth_year", "conflict", 0, {"birth_date": "1958"}),
        ("death.after_birth", "conflict", 0, {"death_or_missing_date": "1950-01-01"}),
        ("death.after_birth", "conflict", 2, {"death_or_missing_date": "2004-02-28"}),
        ("card.dates", "conflict", 1, {"card_expires_on": "2020-01-01"}),
        ("verified_on.stale", "stale", 0, {"verified_on": "2015-08-01"}),
        ("national_check.mismatch", "national_mismatch", 0, {"national_check": "mismatched"}),
    ],
)
def test_each_rule_of_the_resident_contract_catches_what_it_is_for(
    code: str, error_class: str, line: int, changes: dict[str, Any]
) -> None:
    contract = resident()
    assert (0, code) in failures(contract, [sample(contract, line, **changes)])
    assert next(one for one in contract.rules if one.code == code).error_class == ErrorClass(error_class)


@pytest.mark.parametrize(
    "changes",
    [
        {"verified_on": "2015-08-02"},
        {"verified_on": None, "national_check": None, "phone": None, "email": None, "old_identity_number": None},
        {"phone": "+84912345678"},
        {"permanent_province": "79", "permanent_commune": "26740"},
        {"death_or_missing_date": "1957-01-01"},
    ],
)
def test_what_is_right_or_not_said_passes(changes: dict[str, Any]) -> None:
    assert failures(resident(), [sample(resident(), 0, **changes)]) == []


@pytest.mark.parametrize(
    ("number", "sex", "year", "agrees"),
    [
        ("042057001957", "male", "1957", True),
        ("042157001957", "female", "1957", True),
        ("042204001957", "male", "2004", True),
        ("042304001957", "female", "2004", True),
        ("042204001957", "male", "1904", False),
        ("042204001957", "female", "2004", False),
        ("042004001957", "male", "2004", False),
    ],
)
def test_the_identity_number_says_sex_century_and_year(number: str, sex: str, year: str, agrees: bool) -> None:
    record = sample(resident(), 0, identity_number=number, sex=sex, birth_date=year)
    assert (failures(resident(), [record]) == []) is agrees


def test_the_same_key_with_other_content_rejects_both_but_equal_repeats_neither() -> None:
    first, other = sample(resident(), 0), sample(resident(), 0, phone="0987654321")
    third = sample(resident(), 2)
    assert failures(resident(), [first, third, other]) == [
        (0, "identity_number.repeated"),
        (2, "identity_number.repeated"),
    ]
    assert failures(resident(), [first, third, first]) == []
    nested = sample(resident(), 0, children=[])
    assert [index for index, _ in failures(resident(), [first, nested])] == [0, 1]


def test_all_failures_come_ordered_by_record_and_then_as_the_contract_orders_its_rules() -> None:
    bad = sample(resident(), 0, national_check="mismatched", full_name="", sex="female")
    assert failures(resident(), [bad, sample(resident(), 2), bad]) == [
        (index, code)
        for index in (0, 2)
        for code in ("full_name.missing", "identity_number.sex", "national_check.mismatch")
    ]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("enterprise_code.check_digit", {"enterprise_code": "0100233489"}),
        ("tax_code.check_digit", {"tax_code": "0100233489"}),
        ("tax_code.check_digit", {"tax_code": "0100233488-000"}),
        ("legal_representatives.missing", {"legal_representatives": []}),
        ("branches.format", {"branches": [{"code": "0100233488-001"}, {"code": "12"}]}),
        ("business_locations.format", {"business_locations": [{"code": "1"}]}),
        ("charter_capital.range", {"charter_capital_vnd": -1}),
        ("changed_on.after_registration", {"changed_on": "2010-01-01"}),
        ("main_industry.format", {"main_industry": "A1"}),
        ("head_office_commune.reference", {"head_office_commune": "99999"}),
    ],
)
def test_each_rule_of_the_enterprise_contract_catches_what_it_is_for(code: str, changes: dict[str, Any]) -> None:
    assert (0, code) in failures(enterprise(), [sample(enterprise(), 0, **changes)])


@pytest.mark.parametrize("tax_code", ["0100233488", "0100233488-001", "042057001957", None])
def test_tax_codes_of_firms_branches_and_persons_pass(tax_code: str | None) -> None:
    assert failures(enterprise(), [sample(enterprise(), 0, tax_code=tax_code)]) == []


def test_the_projects_rules_all_run_by_columns() -> None:
    assert compile_rules(resident()).row_by_row == ()
    assert compile_rules(enterprise()).row_by_row == ()


def test_a_rule_without_a_form_by_columns_runs_row_by_row_with_the_same_meaning() -> None:
    contract = contract_with(rules=[rule("tags.many", "outlier", "tags", "record.tags.filter(t, t != '').size() < 2")])
    rules = compile_rules(contract)
    assert rules.row_by_row == ("tags.many",)
    records = [{"id": "1", "name": "a", "tags": tags} for tags in (["x", "y"], ["x", ""], None)]
    assert failures(contract, records) == [(0, "tags.many")]


def test_a_code_is_wrong_before_and_after_it_is_in_force() -> None:
    codes = [{"code": "1", "valid_from": "2025-07-01", "valid_to": "2025-07-31"}]
    contract = contract_with(
        codeLists=[{"name": "communes", "codes": codes}],
        rules=[rule("commune", "reference", "commune", "record.commune in codes.communes")],
    )
    frame = parse_ndjson(b'{"id":"1","name":"a","commune":"1"}', contract).frame
    rules = compile_rules(contract)
    for day, wrong in (("2025-06-30", 1), ("2025-07-01", 0), ("2025-07-31", 0), ("2025-08-01", 1)):
        assert rules.check(frame, datetime.date.fromisoformat(day)).height == wrong


def test_a_rule_without_any_field_answers_for_every_record() -> None:
    contract = contract_with(rules=[rule("ended", "stale", "name", "today < date('2025-01-01')")])
    records = [{"id": str(i), "name": "a"} for i in range(3)]
    assert failures(contract, records) == [(i, "ended") for i in range(3)]


def test_messages_are_the_contracts_in_both_languages_and_hold_no_value() -> None:
    text = compile_rules(resident()).message("identity_number.sex")
    assert "giới tính" in text.vi
    assert "sex" in text.en


def test_an_empty_batch_has_no_failures() -> None:
    frame = parse_ndjson(b"", resident()).frame
    assert compile_rules(resident()).check(frame, TODAY).is_empty()


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("record.a == 'x'", [True, False, None]),
        ("record.a == null", [False, False, True]),
        ("record.a != null && record.a == 'x'", [True, False, False]),
        ("record.a == 'x' || true", [True, True, True]),
        ("record.a == 'x' && false", [False, False, False]),
        ("!has(record.a)", [False, False, True]),
        ("record.n / 2 == -3", [True, False, None]),
        ("record.n % 4 == -3", [True, False, None]),
        ("record.n / 0 == 1", [None, None, None]),
        ("record.n * 9223372036854775807 > 0", [None, None, None]),
        ("record.a.substring(0, 1) == 'x'", [True, None, None]),
        (r"record.a.matches('^\\d*$')", [False, True, None]),
        (r"record.a.matches(r'^\d*$')", [False, True, None]),
        ('record.a + "đ" == "xđ"', [True, False, None]),
        (r"record.a + '\u0111' == 'xđ'", [True, False, None]),
        ("record.a in ['x', '']", [True, True, None]),
        ("(record.n > 0 ? record.a : 'none') == 'none'", [True, False, None]),
    ],
)
def test_what_has_no_answer_and_what_has(text: str, answers: list[bool | None]) -> None:
    frame = pl.DataFrame({"a": ["x", "", None], "n": [-7, 9, None]})
    scope, tree = cel.Scope(frame.schema), cel.parse(text)
    expression = cel.compile_columns(tree, scope)
    assert expression is not None
    assert frame.select(answer=expression)["answer"].to_list() == answers
    assert cel.evaluate_rows(tree, scope, frame).to_list() == answers
