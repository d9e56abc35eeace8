"""Access tokens: how a client gets one (OAuth 2 client credentials, RFC 6749 section 4.4) and what one proves.

A token is a JWT signed with Ed25519. It lives `token_ttl_s` and is bound to an agency. The key is made once and shared through
the database. A client that was disabled is refused within `grant_cache_s`, whatever its token says.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError, SecurityWarning
from joserfc.jwk import KeySet, OKPKey
from sqlalchemy import Connection, Engine, RowMapping, delete, select
from sqlalchemy.dialects.postgresql import insert

from bus.control.clients import secret_digest
from bus.errors import Unauthenticated
from bus.model import Actor, Clock, Role
from bus.settings import Settings
from bus.store.engine import transaction
from bus.store.tables import assertions, clients, secrets
from registry.errors import Text

ISSUER = "lgsp"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 section 2.2
ASSERTION_LIFETIME_S_MAX = 300  # a used assertion's id is remembered until it expires
ASSERTION_BYTES_MAX = 8_192
JTI_LENGTH_MAX = 200
TOKEN_BYTES_MAX = 4_096  # ours are under 500
REMEMBERED_MAX = 10_000  # clients whose standing is remembered; then all are asked for anew

# Clients sign with "EdDSA" (RFC 8037) as well as with its newer name "Ed25519" (RFC 9864).
_ASSERTION_ALGORITHMS = ["Ed25519", "EdDSA", "ES256", "RS256"]
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)


class OAuthError(Exception):
    """A refusal at the token endpoint in the words of RFC 6749 section 5.2; `code` is its `error`."""

    def __init__(self, code: str, detail: Text, status: int = 400) -> None:
        super().__init__(detail.en)
        self.code = code
        self.detail = detail
        self.status = status


@dataclass(frozen=True, slots=True)
class Issued:
    token: str
    expires_in_s: int


class Tokens:
    """Issues and verifies. Safe for threads; one for each process."""

    def __init__(self, engine: Engine, clock: Clock, settings: Settings) -> None:
        self._engine = engine
        self._clock = clock
        self._settings = settings
        self._key: OKPKey | None = None
        self._standing: dict[str, tuple[datetime, bool]] = {}  # client -> when asked, may work
        self._lock = threading.Lock()

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom a client's assertion may be addressed to: this bus by its public name, or its token endpoint.

        Never taken from the request: another server could pass on what it was sent.
        """
        base = self._settings.public_url or f"http://{self._settings.host}:{self._settings.port}"
        return (base.rstrip("/"), base.rstrip("/") + "/oauth/token")

    def by_secret(self, client_id: str, client_secret: str) -> Issued:
        """A token for a client that knows its secret. Raises OAuthError invalid_client."""
        return self._issue(self._proved(client_id, client_secret))

    def actor_by_secret(self, client_id: str, client_secret: str) -> Actor:
        """Who knows this secret, for doors whose clients can't ask for a token first. Raises OAuthError
        invalid_client."""
        row = self._proved(client_id, client_secret)
        return Actor(row["id"], row["agency"], frozenset(Role(role) for role in row["roles"]))

    def _proved(self, client_id: str, client_secret: str) -> RowMapping:
        with transaction(self._engine) as connection:
            row = _client(connection, client_id)
        known = row["secret_sha256"] if row else None
        # Compared although there is nobody to compare with, so that time doesn't tell which ids exist.
        same = hmac.compare_digest(known or bytes(32), secret_digest(client_secret))
        if row is None or known is None or not same or row["disabled_at"] is not None:
            raise _invalid_client()
        return row

    def by_assertion(self, assertion: str, client_id: str | None = None) -> Issued:
        """A token for a client that signed an assertion (RFC 7523 section 3) with one of its registered keys.

        Checked: signature, `iss` = `sub` = the client, `aud`, `exp` and `iat` within ASSERTION_LIFETIME_S_MAX, and that
        `jti` was
        never used before. Raises OAuthError invalid_client.
        """
        if len(assertion) > ASSERTION_BYTES_MAX:
            raise _invalid_client()
        claimed = _claimed_subject(assertion)
        if claimed is None or client_id not in (None, claimed):
            raise _invalid_client()
        with transaction(self._engine) as connection:
            row = _client(connection, claimed)
            if row is None or row["jwks"] is None or row["disabled_at"] is not None:
                raise _invalid_client()
            claims = self._verified_assertion(assertion, row["jwks"], claimed)
            self._use_once(connection, claimed, claims)
        return self._issue(row)

    def verify(self, token: str) -> Actor:
        """Who holds the token. Raises Unauthenticated where it is forged, expired, or its client was disabled."""
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated(Text("the token is not one of ours", "mã truy cập không hợp lệ"))
        try:
            claims = jwt.decode(token, self._signing_key(), algorithms=["Ed25519"]).claims
            jwt.JWTClaimsRegistry(
                now=self._now, leeway=0, iss={"essential": True, "value": ISSUER}, exp={"essential": True}
            ).validate(claims)
            actor = Actor(claims["client"], claims["agency"], frozenset(Role(role) for role in claims["roles"]))
        except ExpiredTokenError as error:
            raise Unauthenticated(Text("the token has expired; ask for a new one", "mã truy cập đã hết hạn")) from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated(Text("the token is not one of ours", "mã truy cập không hợp lệ")) from error
        if not self._may_work(actor.client_id):
            raise Unauthenticated(Text("the client is disabled", "tài khoản ứng dụng đã bị vô hiệu hóa"))
        return actor

    def _issue(self, row: RowMapping) -> Issued:
        now = self._now()
        ttl_s = self._settings.token_ttl_s
        claims = {
            "iss": ISSUER,
            "sub": row["id"],
            "client": row["id"],
            "agency": row["agency"],
            "roles": list(row["roles"]),
            "iat": now,
            "exp": now + ttl_s,
        }
        return Issued(jwt.encode({"alg": "Ed25519"}, claims, self._signing_key(), algorithms=["Ed25519"]), ttl_s)

    def _verified_assertion(self, assertion: str, jwks: Mapping[str, Any], client_id: str) -> dict[str, Any]:
        now = self._now()
        skew_s = self._settings.clock_skew_s
        try:
            keys = KeySet.import_key_set({"keys": list(jwks["keys"])})
            claims = jwt.decode(assertion, keys, algorithms=_ASSERTION_ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                now=now,
                leeway=skew_s,
                iss={"essential": True, "value": client_id},
                sub={"essential": True, "value": client_id},
                aud={"essential": True, "values": list(self.audiences)},
                exp={"essential": True},
                jti={"essential": True},
            ).validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise _invalid_client() from error
        jti = claims["jti"]
        if not isinstance(jti, str) or len(jti) > JTI_LENGTH_MAX or "\0" in jti:
            raise _invalid_client()
        if claims["exp"] > now + ASSERTION_LIFETIME_S_MAX + skew_s:
            raise _invalid_client()
        return claims

    def _use_once(self, connection: Connection, client_id: str, claims: Mapping[str, Any]) -> None:
        """Remember the assertion's id; of two uses at once, the second waits for the first and is refused."""
        expires_at = datetime.fromtimestamp(claims["exp"], UTC) + timedelta(seconds=self._settings.clock_skew_s)
        connection.execute(delete(assertions).where(assertions.c.expires_at < self._clock()))
        used = connection.execute(
            insert(assertions)
            .values(client=client_id, jti=claims["jti"], expires_at=expires_at)
            .on_conflict_do_nothing()
            .returning(assertions.c.jti)
        ).first()
        if used is None:
            raise _invalid_client()

    def _may_work(self, client_id: str) -> bool:
        now = self._clock()
        remembered = self._standing.get(client_id)
        if remembered and abs((now - remembered[0]).total_seconds()) < self._settings.grant_cache_s:
            return remembered[1]
        with transaction(self._engine) as connection:
            row = _client(connection, client_id)
        may = row is not None and row["disabled_at"] is None
        if len(self._standing) >= REMEMBERED_MAX:
            self._standing = {}
        self._standing[client_id] = (now, may)
        return may

    def _signing_key(self) -> OKPKey:
        with self._lock:
            if self._key is None:
                with transaction(self._engine) as connection:
                    self._key = _shared_key(connection)
            return self._key

    def _now(self) -> int:
        return int(self._clock().timestamp())


def _client(connection: Connection, client_id: str) -> RowMapping | None:
    if "\0" in client_id:
        return None
    return connection.execute(select(clients).where(clients.c.id == client_id)).mappings().one_or_none()


def _shared_key(connection: Connection) -> OKPKey:
    """The key in the database; of two processes that make one at once, one wins for both."""
    made = json.dumps(OKPKey.generate_key("Ed25519", private=True).as_dict(private=True)).encode()
    connection.execute(insert(secrets).values(name="token", value=made).on_conflict_do_nothing())
    stored = connection.scalars(select(secrets.c.value).where(secrets.c.name == "token")).one()
    return OKPKey.import_key(json.loads(bytes(stored)))


def _claimed_subject(assertion: str) -> str | None:
    """Whose assertion it says it is, before anything is believed: only to know which keys to check it with."""
    try:
        body = assertion.split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"]
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error, RecursionError):
        return None
    return subject if isinstance(subject, str) else None


def _invalid_client() -> OAuthError:
    """One answer for every way to fail: unknown, wrong, disabled, replayed."""
    return OAuthError("invalid_client", Text("client authentication failed", "xác thực ứng dụng không thành công"), 401)
