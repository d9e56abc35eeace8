"""What the demo's steps share: the cast, and what each of them can see from where they stand. It tells no step.

The police see their register and their connector's reports, the justice department its own table and what the bus answers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import psycopg

from bus.client import NDJSON, ApiError, Client, ClientCredentials
from bus.demo.residents import Register
from bus.demo.screen import Screen
from bus.demo.stage import Agency, Events, Stage
from registry.contract import Contract
from registry.errors import ErrorClass

CONTRACT, VIEW = "population/resident", "identity"


@dataclass(slots=True)
class Published:
    """What the police's connector says that it has published, added up."""

    events: Events
    batches: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # records, accepted, duplicates
    rejected: Counter[str] = field(default_factory=Counter)  # by class
    snapshot_done: bool = False

    def look(self) -> Published:
        """Read on in its reports."""
        for event in self.events.fresh():
            if event.get("event") == "published":
                self.batches += 1
                self.counts.update({name: event[name] for name in ("records", "accepted", "duplicates")})
                self.rejected.update(event["rejected"])
            self.snapshot_done = self.snapshot_done or event.get("event") == "snapshot_done"
        return self


@dataclass(slots=True)
class Tale:
    """The cast. `owner`, `integrator` and `reader` are clients of the bus; connectors run with credentials of their own."""

    screen: Screen
    stage: Stage
    contract: Contract
    police: Agency
    justice: Agency
    today: datetime
    records: int
    seed: int
    owner: Client
    integrator: Client
    reader: Client
    publisher_credentials: ClientCredentials
    reader_credentials: ClientCredentials
    legal_basis: str
    register: Register = field(default_factory=lambda: Register(0, {}))
    subscription: str = ""
    published: Published | None = None


def by_class(register: Register) -> dict[str, int]:
    return {error_class.value: len(register.wrong[error_class]) for error_class in ErrorClass}


def records(tale: Tale, kind: str, most: int) -> httpx.Response:
    """What the reader gets, byte by byte; without an acknowledgement the same comes again."""
    path = f"/v1/subscriptions/{tale.subscription}/records"
    return tale.reader.send("GET", path, params={"max": most}, headers={"Accept": kind})


def pull_status(tale: Tale) -> int:
    """The HTTP status that a pull gets now."""
    try:
        return records(tale, NDJSON, 1).status_code
    except ApiError as refusal:
        return refusal.status


def granted_fields(tale: Tale) -> list[str]:
    """The fields of the view, as the catalogue tells every reader."""
    views = tale.reader.call("GET", f"/v1/contracts/{CONTRACT}/views")["views"]
    return next([str(one["name"]) for one in view["fields"]] for view in views if view["name"] == VIEW)


def registry_fields(tale: Tale) -> list[str]:
    """The fields of the view's schema, as the registry's own API gives it. Raises httpx.HTTPError."""
    subject = f"view.{CONTRACT.replace('/', '.')}.v{tale.contract.major}.{VIEW}-value"
    credentials = (tale.reader_credentials.client_id, tale.reader_credentials.client_secret)
    answer = httpx.get(f"{tale.stage.registry_url}/subjects/{subject}/versions/latest", auth=credentials)
    answer.raise_for_status()
    return [field["name"] for field in json.loads(answer.json()["schema"])["fields"]]


def open_entries(tale: Tale) -> list[Mapping[str, Any]]:
    """Every open quarantine entry of the contract, page after page, as its owner sees them."""
    entries: list[Mapping[str, Any]] = []
    query: dict[str, Any] = {"contract": CONTRACT, "state": "open", "limit": 1_000}
    while True:
        page = tale.owner.quarantine(**query)
        entries += page["items"]
        if page.get("next") is None:
            return entries
        query["after"] = page["next"]


def account(tale: Tale) -> Mapping[str, Any]:
    """The account of the subscription, as the contract's owner sees it."""
    accounts = tale.owner.account(CONTRACT)["items"]
    return next(one for one in accounts if one["subscription"] == tale.subscription)


def wrong_residents(tale: Tale) -> list[int]:
    return [resident for residents in tale.register.wrong.values() for resident in residents]


def right_residents(tale: Tale, count: int, *, not_named: str) -> list[tuple[int, str]]:
    """Residents that nothing is wrong about, spread over the register: id and identity number.

    `not_named` is a pattern of names that earlier steps gave.
    """
    query = (
        "SELECT id, identity_number FROM resident_register WHERE NOT id = ANY(%s) AND full_name NOT LIKE %s "
        "ORDER BY md5(id::text) LIMIT %s"
    )
    with psycopg.connect(tale.police.dsn) as source:
        found = source.execute(query, [wrong_residents(tale), not_named, count])
        return [(int(resident), str(key)) for resident, key in found]


def withheld_values(tale: Tale, keys: Sequence[str]) -> list[str]:
    """Values that these residents have in fields that weren't granted, long enough not to occur by chance."""
    query = (
        "SELECT phone, email, household_number, residence_record_number FROM resident_register "
        "WHERE identity_number = ANY(%s)"
    )
    with psycopg.connect(tale.police.dsn) as source:
        rows = source.execute(query, [list(keys)]).fetchall()
    return sorted({value for row in rows for value in row if value is not None})


def count(sink: psycopg.Connection) -> int:
    """How many residents the justice department has; 0 before its connector has made the table."""
    if sink.execute("SELECT to_regclass('residents')").fetchone() == (None,):
        return 0
    row = sink.execute("SELECT count(*) FROM residents").fetchone()
    assert row is not None
    return int(row[0])


def name_of(sink: psycopg.Connection, key: str) -> str | None:
    """The name that the justice department has for an identity number; None where it has nobody."""
    row = sink.execute("SELECT full_name FROM residents WHERE identity_number = %s", [key]).fetchone()
    return None if row is None else str(row[0])


def digest(database: psycopg.Connection, table: str, but: Sequence[int] = ()) -> tuple[int, str]:
    """How many rows, and one digest over the granted fields in the order of the key; ids in `but` are left out."""
    where = "WHERE NOT id = ANY(%s)" if but else ""
    row = database.execute(
        "SELECT count(*), md5(string_agg(md5(concat_ws('|', identity_number, full_name, birth_date, "  # noqa: S608
        f"birth_date_precision, sex)), '' ORDER BY identity_number)) FROM {table} {where}",
        [list(but)] if but else None,
    ).fetchone()
    assert row is not None
    return int(row[0]), str(row[1])
