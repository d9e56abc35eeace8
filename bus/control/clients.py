"""Clients: the programs of an agency, with the roles they hold. How one proves itself at the token endpoint is `control.tokens`.

A secret is 256 random bits, so its plain SHA-256 is kept: a slow hash protects what people choose, not what can't be guessed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey, import_key
from sqlalchemy import Connection, Engine, RowMapping, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from bus.access.decide import Action, Resource
from bus.audit import journal
from bus.control import agencies
from bus.control.permit import not_found, permit
from bus.errors import Conflict, InvalidRequest, NotFound
from bus.model import Actor, Clock, Role
from bus.store.engine import transaction
from bus.store.tables import agencies as agencies_table
from bus.store.tables import clients
from registry.errors import Problem, Text

SECRET_BYTES = 32
JWKS_KEYS_MAX = 10  # an old key and a new one during rotation, on a few machines
RSA_BITS_MIN = 2048
_PRINTABLE = re.compile(r"[ -~]{1,2000}", re.ASCII)  # an RSA modulus of 8,192 bits has 1,366 characters
_FIRST_ADMINISTRATOR_LOCK = 0x6C677370_0002

_NOUN = Text("client", "tài khoản ứng dụng")


@dataclass(frozen=True, slots=True)
class Client:
    """`has_secret` and `has_keys` say how it may prove itself; neither secret nor hash is ever shown."""

    id: str
    agency: str
    name: str
    roles: tuple[Role, ...]
    has_secret: bool
    has_keys: bool
    created_at: datetime
    disabled_at: datetime | None


class Credentials(NamedTuple):
    """Shown once. `client_secret` is None for a client that proves itself by key."""

    client_id: str
    client_secret: str | None


def create(
    engine: Engine,
    actor: Actor,
    agency: str,
    *,
    name: str,
    roles: Sequence[Role],
    jwks: Mapping[str, Any] | None = None,
    source: str | None = None,
) -> Credentials:
    """A new client of `agency`: with `jwks` (RFC 7517, public keys only) it proves itself by key and has no secret.

    Raises NotFound for an agency that isn't there, InvalidRequest for keys that aren't public keys of an accepted kind, Forbidden.
    """
    permit(actor, Action.CLIENT_CREATE, Resource(owner=agency), agencies.missing(agency))
    keys = None if jwks is None else _public_keys(jwks)
    with transaction(engine) as connection:
        agencies.get_in(connection, agency)
        made = _insert(connection, agency, name, roles, keys)
        detail = {"agency": agency, "roles": sorted(roles), "by_key": keys is not None}
        journal.record(connection, actor, "client.create", f"client:{made.client_id}", detail=detail, source=source)
    return made


def page(engine: Engine, actor: Actor, agency: str, *, limit: int, after: str = "") -> list[Client]:
    """An agency's clients by id, those above `after`. Raises Forbidden, NotFound."""
    permit(actor, Action.CLIENT_READ, Resource(owner=agency), agencies.missing(agency))
    query = select(clients).where(clients.c.agency == agency, clients.c.id > after).order_by(clients.c.id).limit(limit)
    with transaction(engine) as connection:
        agencies.get_in(connection, agency)
        return [_client(row) for row in connection.execute(query).mappings()]


def disable(engine: Engine, clock: Clock, actor: Actor, agency: str, id: str, *, source: str | None = None) -> Client:
    """From now on it gets no token and its tokens are refused. Raises NotFound, Conflict where it is disabled
    already."""
    with transaction(engine) as connection:
        row = connection.execute(
            select(clients).where(clients.c.id == id, clients.c.agency == agency).with_for_update()
        ).mappings()
        found = row.one_or_none()
        permit(actor, Action.CLIENT_DISABLE, Resource(owner=agency), missing(id))
        if found is None:
            raise missing(id)
        if found["disabled_at"] is not None:
            raise Conflict(Text(f"client {id} is disabled already", f"tài khoản {id} đã bị vô hiệu hóa"))
        now = clock()
        connection.execute(update(clients).where(clients.c.id == id).values(disabled_at=now))
        journal.record(connection, actor, "client.disable", f"client:{id}", source=source)
        return _client({**found, "disabled_at": now})


def first_administrator(engine: Engine, clock: Clock) -> Credentials | None:
    """The operator's administrator, made once: None where the bus has an administrator already, disabled or not."""
    with transaction(engine) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(_FIRST_ADMINISTRATOR_LOCK)))
        if connection.scalar(select(clients.c.id).where(clients.c.roles.contains([Role.ADMINISTRATOR])).limit(1)):
            return None
        connection.execute(
            upsert(agencies_table)
            .values(
                code=agencies.OPERATOR, name_vi="Đơn vị vận hành", name_en="Operator of the bus", created_at=clock()
            )
            .on_conflict_do_nothing()
        )
        made = _insert(connection, agencies.OPERATOR, "first administrator", [Role.ADMINISTRATOR], None)
        journal.record(connection, None, "client.create", f"client:{made.client_id}", detail={"first": True})
        return made


def missing(id: str) -> NotFound:
    return not_found(_NOUN, id, "client")


def secret_digest(secret: str) -> bytes:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _insert(
    connection: Connection, agency: str, name: str, roles: Sequence[Role], jwks: Mapping[str, Any] | None
) -> Credentials:
    made = Credentials(f"cl_{secrets.token_hex(8)}", None if jwks else secrets.token_urlsafe(SECRET_BYTES))
    connection.execute(
        insert(clients).values(
            id=made.client_id,
            agency=agency,
            name=name,
            roles=sorted(set(roles)),
            secret_sha256=secret_digest(made.client_secret) if made.client_secret else None,
            jwks=dict(jwks) if jwks else None,
        )
    )
    return made


def _public_keys(jwks: Mapping[str, Any]) -> dict[str, Any]:
    """The keys as they are kept, their known members alone. Raises InvalidRequest unless these are one to JWKS_KEYS_MAX public
    keys: Ed25519, P-256, or RSA of RSA_BITS_MIN bits."""
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= JWKS_KEYS_MAX:
        raise _bad_key("jwks.keys", Text(f"expected 1 to {JWKS_KEYS_MAX} keys", f"cần từ 1 đến {JWKS_KEYS_MAX} khóa"))
    return {"keys": [_public_key(key, f"jwks.keys.{index}") for index, key in enumerate(keys)]}


def _public_key(key: Any, path: str) -> dict[str, Any]:
    if not isinstance(key, dict) or not (
        (key.get("kty"), key.get("crv")) in (("OKP", "Ed25519"), ("EC", "P-256")) or key.get("kty") == "RSA"
    ):
        raise _bad_key(path, Text("expected an Ed25519, P-256 or RSA key", "cần khóa Ed25519, P-256 hoặc RSA"))
    if key.keys() & {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}:
        raise _bad_key(
            path,
            Text(
                "found a private key; send the public part only, and replace this key: it has left its owner",
                "đây là khóa bí mật; chỉ gửi khóa công khai và hãy thay khóa này vì đã bị lộ",
            ),
        )
    known = {name: key[name] for name in ("kty", "crv", "x", "y", "n", "e", "kid", "alg", "use") if name in key}
    if not all(isinstance(value, str) and _PRINTABLE.fullmatch(value) for value in known.values()):
        raise _bad_key(path, Text("its members must be printable ASCII", "các thành phần phải là ký tự ASCII in được"))
    try:
        imported = import_key(known)
        imported.check_use("sig")
        weak = isinstance(imported, RSAKey) and imported.raw_value.key_size < RSA_BITS_MIN
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise _bad_key(path, Text("the key can't be read", "không đọc được khóa")) from error
    if weak:
        raise _bad_key(
            path, Text(f"expected RSA of {RSA_BITS_MIN} bits or more", f"cần khóa RSA từ {RSA_BITS_MIN} bit")
        )
    return known


def _bad_key(path: str, message: Text) -> InvalidRequest:
    return InvalidRequest(message, [Problem(path, "key_invalid", message)])


def _client(row: RowMapping | Mapping[str, Any]) -> Client:
    return Client(
        id=row["id"],
        agency=row["agency"],
        name=row["name"],
        roles=tuple(Role(role) for role in row["roles"]),
        has_secret=row["secret_sha256"] is not None,
        has_keys=row["jwks"] is not None,
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
    )
