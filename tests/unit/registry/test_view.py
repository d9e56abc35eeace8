"""A view lets through what it lists, to whom its filter says, under a key that tells nothing it does not grant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from registry.codec import codec_for
from registry.contract import Contract, load_folder
from registry.parse import parse_ndjson
from registry.view import compile_view
from tests.unit.registry.contracts import contract, contract_with, view

SECRET = b"0123456789abcdef"
CONTRACTS = Path(__file__).parents[3] / "contracts"
RECORDS: list[dict[str, Any]] = [
    {
        "id": "1",
        "name": "An",
        "commune": "18073",
        "alive": True,
        "born": "1957-03-21",
        "tags": ["H27.01", "H27.02"],
        "sex": "male",
    },
    {"id": "2", "name": "Bình", "commune": "18754", "alive": False, "born": None, "tags": []},
    {"id": "3", "name": "Chi", "commune": None, "alive": True, "mother": {"name": "Dung"}, "tags": None},
    {"id": "4", "name": "Em", "commune": "18073", "alive": None, "mother": {"name": None}},
]


def frame_of(found: Contract, records: list[dict[str, Any]] = RECORDS) -> pl.DataFrame:
    parsed = parse_ndjson("\n".join(json.dumps(one) for one in records).encode(), found)
    assert parsed.rejected == ()
    return parsed.frame


def test_only_the_listed_fields_are_in_the_bytes() -> None:
    found = contract()
    one = compile_view(found, "identity", SECRET)
    out = one.project(frame_of(found))
    assert out.to_dicts()[0] == {"id": "1", "name": "An"}
    assert out.schema == codec_for(one.schema).frame_schema
    body = codec_for(one.schema).encode(out)[0].as_py()
    assert b"An" in body
    assert b"18073" not in body


def test_full_is_the_record_as_it_is() -> None:
    found = contract()
    one = compile_view(found, "full", SECRET)
    assert one.passthrough
    assert one.schema is found.schema
    assert not one.filtered
    assert one.project(frame_of(found)).equals(frame_of(found))


def test_a_filter_lets_through_only_what_is_true_and_sends_it_to_its_instance() -> None:
    found = contract()
    one = compile_view(found, "local", SECRET)
    frame = frame_of(found)
    assert one.filtered
    assert one.reader_attribute == "communes"
    assert one.keep(frame).to_list() == [True, False, True, False]  # the last: no answer
    assert one.instances(frame).to_list() == ["18073", "18754", None, "18073"]


def test_a_list_in_the_record_makes_a_record_belong_to_many_readers() -> None:
    found = contract()
    one = compile_view(found, "shared", SECRET)
    assert one.reader_attribute == "agency"
    assert one.instances(frame_of(found)).to_list() == [["H27.01", "H27.02"], [], None, None]
    assert one.keep(frame_of(found)).all()


def test_a_view_without_the_key_has_hashed_keys_that_no_other_view_shares() -> None:
    found = contract_with(views=[view("a", ["alive"]), view("b", ["alive"]), view("c", ["id"])])
    a, b, c = (compile_view(found, name, SECRET) for name in "abc")
    keys = pl.Series(["1", "2", "1"])
    hashed = a.keys(keys)
    assert not a.key_granted
    assert hashed[0] == hashed[2] != hashed[1]
    assert hashed.str.len_chars().to_list() == [32] * 3
    assert a.keys(keys).equals(compile_view(found, "a", SECRET).keys(keys))
    assert b.keys(keys)[0] != hashed[0]
    assert compile_view(found, "a", SECRET[::-1]).keys(keys)[0] != hashed[0]
    assert c.key_granted
    assert c.keys(keys).equals(keys)


def test_masks_let_through_less() -> None:
    fields = [
        {"name": "year", "from": "born", "mask": "year"},
        {"name": "person", "from": "id", "mask": "hash"},
        {"name": "initial", "from": "name", "mask": "prefix", "length": 1},
        {"name": "mother_name", "from": "mother.name"},
    ]
    found = contract_with(views=[view("masked", fields)])
    one = compile_view(found, "masked", SECRET)
    out = one.project(frame_of(found))
    assert out.schema == codec_for(one.schema).frame_schema
    assert out["year"].to_list() == [1957, None, None, None]
    assert out["initial"].to_list() == ["A", "B", "C", "E"]
    assert out["mother_name"].to_list() == [None, None, "Dung", None]
    assert not one.key_granted
    assert out["person"].equals(one.keys(frame_of(found)["id"]).rename("person"))


def test_the_year_of_a_reduced_date_is_known_and_of_anything_else_is_not() -> None:
    found = contract_with(views=[view("years", [{"name": "year", "from": "name", "mask": "year"}])])
    names = ["1957", "1957-03", "1957-03-21", "19570321", "năm 1957", ""]
    frame = frame_of(found, [{"id": str(i), "name": name} for i, name in enumerate(names)])
    assert compile_view(found, "years", SECRET).project(frame)["year"].to_list() == [1957, 1957, 1957, None, None, None]


def test_the_schema_of_a_view_is_registered_on_its_own_with_the_types_it_needs() -> None:
    found = contract_with(views=[view("nested", ["id", "jobs", "sex", "mother", "born"])])
    one = compile_view(found, "nested", SECRET)
    assert one.schema.name == "vn.lgsp.test.person.PersonNested"
    frame = frame_of(found, [{"id": "1", "name": "x", "jobs": [{"title": "t", "since": "2020-01-01"}], "sex": "male"}])
    codec = codec_for(one.schema)
    assert codec.decode(codec.encode(one.project(frame))).equals(one.project(frame))


@pytest.mark.parametrize(
    ("name", "granted", "attribute"),
    [("full", True, None), ("identity", True, None), ("residence", True, "communes"), ("statistics", False, None)],
)
def test_the_resident_views_are_what_the_contract_promises(name: str, granted: bool, attribute: str | None) -> None:
    found = load_folder(CONTRACTS / "population" / "resident")
    one = compile_view(found, name, SECRET)
    assert found.sample
    frame = parse_ndjson(found.sample, found).frame
    assert (one.key_granted, one.reader_attribute) == (granted, attribute)
    out = one.project(frame)
    assert codec_for(one.schema).by_columns
    if name == "statistics":
        assert out.columns == ["birth_year", "sex", "permanent_commune"]
        assert out["birth_year"].to_list() == [1957, 1988, 2004]
        bodies = b"".join(codec_for(one.schema).encode(out).to_pylist())
        for value in frame["identity_number"].to_list() + frame["full_name"].to_list():
            assert value.encode() not in bodies


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        compile_view(contract(), "identity", b"short")
