"""Views over batches: which records a view lets through, to which instance, what of them, under which key. Pure.

A view's schema is derived: only what the view lists is in it, so only that can be in the bytes. A filter with no answer lets
nothing through.

Not here: topics and positions (bus.materialise), who may read (bus.access).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from registry import cel
from registry.codec.frame import Definition, fields_of, frame_schema, kind, names_of, resolve, split_null
from registry.contract import Contract, Mask, ViewField
from registry.filter import split
from registry.schema import Schema, parse

KEY_HASH_BYTES = 16  # 128 bits: a billion keys collide with a chance below 10^-20


class View:
    """One compiled view of a contract; `compile_view` makes it.

    `schema`: of its records. `key_granted`: whether its topic's keys are the records' own. `reader_attribute`: the reader's
    attribute that decides between instances, None where there are none. `passthrough`: records go on as they are.
    """

    def __init__(self, contract: Contract, name: str, secret: bytes) -> None:
        definition = contract.views[name]
        self.name = name
        self.passthrough = definition.fields is None
        self.schema = contract.schema if definition.fields is None else _derive(contract, name, definition.fields)
        self.frame_schema = frame_schema(self.schema.definition)
        self.key_granted = definition.fields is None or any(
            one.source == contract.key and one.mask is None for one in definition.fields
        )
        # One key per view: the same person's hashes in two views can't be matched.
        self._hash_key = hashlib.blake2b(
            f"{contract.id}/v{contract.major}/{name}".encode(), key=secret[:64], digest_size=32
        ).digest()
        self.reader_attribute: str | None = None
        self._instance_field: str | None = None
        self._keep: list[pl.Expr] = []
        if definition.filter is not None:
            scope = cel.Scope(frame_schema(contract.schema.definition))
            found = split(cel.parse(definition.filter), scope)
            self.reader_attribute, self._instance_field = found.attribute, found.field
            self._keep = [_by_columns(tree, scope) for tree in found.conditions]
        self._fields = definition.fields or ()

    @property
    def filtered(self) -> bool:
        """Whether some records may not be in the view, or be in only some instances of it."""
        return bool(self._keep) or self.reader_attribute is not None

    def keep(self, frame: pl.DataFrame) -> pl.Series:
        """For each row whether the part of the filter that is the same for all readers lets it through (Boolean)."""
        if not self._keep:
            return pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True).rename("keep")
        return frame.select(pl.all_horizontal(self._keep).fill_null(False).alias("keep"))["keep"]

    def instances(self, frame: pl.DataFrame) -> pl.Series:
        """For each row the instance it belongs to (String, null: none), or all of them (List(String)). Only where
        `reader_attribute` is set."""
        assert self._instance_field is not None, "the view asks nothing of its reader"
        return frame[self._instance_field]

    def project(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The view's records: exactly the columns of `schema`, in its order."""
        if self.passthrough:
            return frame.select(self.frame_schema.names())
        return frame.select([self._field(one).alias(one.name) for one in self._fields])

    def keys(self, keys: pl.Series) -> pl.Series:
        """The keys of the view's records: the key itself, or where the view doesn't grant it its keyed hash (32 hex digits)."""
        return keys if self.key_granted else _hashed(keys, self._hash_key)

    def _field(self, one: ViewField) -> pl.Expr:
        head, *rest = one.source.split(".")
        value = pl.col(head)
        for name in rest:
            value = value.struct.field(name)
        if one.mask is Mask.HASH:
            return value.map_batches(lambda series: _hashed(series, self._hash_key), return_dtype=pl.String)
        if one.mask is Mask.PREFIX:
            return value.str.slice(0, one.length)
        if one.mask is Mask.YEAR:
            return _year(value, self.frame_schema, one)
        return value


def compile_view(contract: Contract, name: str, secret: bytes) -> View:
    """View `name` of a contract that `registry.contract.load` accepted. `secret` (at least 16 bytes) keys the hashes: as long
    as it stays the same, so do they. Raises KeyError on a view that isn't there, ValueError on a short secret."""
    if len(secret) < 16:
        raise ValueError("a view's secret has at least 16 bytes")
    return View(contract, name, secret)


def _by_columns(tree: cel.Tree, scope: cel.Scope) -> pl.Expr:
    expression = cel.compile_columns(tree, scope)
    assert expression is not None, "the contract's lint asked for conditions by columns"
    return expression


def _year(value: pl.Expr, schema: Mapping[str, Any], one: ViewField) -> pl.Expr:
    del schema, one
    # A date says "2001-02-03" as text, an ISO string of any precision begins with the year.
    text = value.cast(pl.String)
    return pl.when(text.str.contains(r"\A[0-9]{4}(-|\z)")).then(text.str.slice(0, 4).cast(pl.Int32, strict=False))


def _hashed(keys: pl.Series, key: bytes) -> pl.Series:
    hashes = [
        None if one is None else hashlib.blake2b(one.encode(), key=key, digest_size=KEY_HASH_BYTES).hexdigest()
        for one in keys.to_list()
    ]
    return pl.Series(keys.name, hashes, dtype=pl.String)


def _derive(contract: Contract, view: str, fields: tuple[ViewField, ...]) -> Schema:
    """The schema of a view: its fields in its order; nullable where the source, or a record above it, is."""
    record = contract.schema.definition
    names = names_of(record)
    written: set[str] = set()
    out = []
    for one in fields:
        node, nullable = _at(record, one.source.split("."), names)
        avro: Definition = (
            {Mask.YEAR: "int", Mask.HASH: "string", Mask.PREFIX: "string"}.get(one.mask) if one.mask else None
        )
        # A year may not be readable from what the field holds.
        nullable = nullable or one.mask is Mask.YEAR
        avro = avro if avro is not None else _written(node, names, written)
        out.append(
            {"name": one.name, "type": ["null", avro], "default": None}
            if nullable
            else {"name": one.name, "type": avro}
        )
    space, _, short = record["name"].rpartition(".")
    name = short + "".join(part.capitalize() for part in view.split("_"))
    return parse(json.dumps({"type": "record", "name": name, "namespace": space, "fields": out}, ensure_ascii=False))


def _at(record: Definition, path: list[str], names: Mapping[str, Any]) -> tuple[Definition, bool]:
    """(the type at a path without its null, whether null can come there)"""
    node, nullable = record, False
    for name in path:
        branches, null = split_null(resolve(dict(fields_of(node))[name], names))
        node, nullable = resolve(branches[0], names), nullable or null
    return node, nullable


def _written(node: Definition, names: Mapping[str, Any], written: set[str]) -> Definition:
    """The type with each named type written out where it comes first, and named where it comes again."""
    node = resolve(node, names)
    if isinstance(node, list):
        return [_written(branch, names, written) for branch in node]
    if not isinstance(node, dict):
        return node
    if "name" in node:
        if node["name"] in written:
            return node["name"]
        written.add(node["name"])
    out = {
        k: v
        for k, v in node.items()
        if k in ("type", "name", "symbols", "size", "logicalType", "precision", "scale", "default")
    }
    if kind(node) == "record":
        out["fields"] = [
            {
                k: _written(v, names, written) if k == "type" else v
                for k, v in one.items()
                if k in ("name", "type", "default", "doc")
            }
            for one in node["fields"]
        ]
    for below in ("items", "values"):
        if below in node:
            out[below] = _written(node[below], names, written)
    return out
