"""Every table of the bus that isn't the registry's. What goes in and out of them is written beside each use.

No table holds a record's values. The keys of rejected records, in `quarantine` and `receipts.rejected`, are the one piece of payload:
a correction at the source is recognised by them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _now() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


secrets = Table(
    "secrets",
    METADATA,
    Column("name", String(200), primary_key=True),  # "token", "view:<contract>:<view>"
    Column("value", LargeBinary, nullable=False),
    _now(),
)

agencies = Table(
    "agencies",
    METADATA,
    Column("code", String(35), primary_key=True),
    Column("name_vi", String(300), nullable=False),
    Column("name_en", String(300), nullable=False),
    Column("attributes", JSONB, nullable=False, server_default="{}"),
    _now(),
)

clients = Table(
    "clients",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("agency", ForeignKey("agencies.code"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("roles", ARRAY(String(20)), nullable=False),
    Column("secret_sha256", LargeBinary(32)),
    Column("jwks", JSONB),
    Column("disabled_at", DateTime(timezone=True)),
    _now(),
)

# The ids of client assertions (RFC 7523) that were used, until they expire: none is taken twice, on any process.
assertions = Table(
    "assertions",
    METADATA,
    Column("client", ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True),
    Column("jti", String(200), primary_key=True),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
)

legal_bases = Table(
    "legal_bases",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("number", String(100), nullable=False),
    Column("article", String(100), nullable=False),
    Column("title", String(1000), nullable=False),
    Column("issuer", String(300), nullable=False),
    Column("valid_from", Date, nullable=False),
    Column("valid_to", Date),
    _now(),
)

contract_versions = Table(
    "contract_versions",
    METADATA,
    Column("contract", String(200), primary_key=True),
    Column("version", String(40), primary_key=True),
    Column("major", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("owner", ForeignKey("agencies.code"), nullable=False, index=True),
    Column("title_vi", String(300), nullable=False),
    Column("title_en", String(300), nullable=False),
    Column("files", LargeBinary, nullable=False),  # the zip that was sent, or one made of the YAML alone
    Column("schema_id", Integer),
    Column("submitted_by", String(40), nullable=False),
    Column("decided_by", String(40)),
    Column("decided_at", DateTime(timezone=True)),
    Column("reason", Text),
    _now(),
)

# One row per topic a view is materialised as.
targets = Table(
    "targets",
    METADATA,
    Column("topic", String(249), primary_key=True),
    Column("contract", String(200), nullable=False),
    Column("major", Integer, nullable=False),
    Column("view", String(60), nullable=False),
    Column("instance", String(60)),
    _now(),
    UniqueConstraint("contract", "major", "view", "instance", postgresql_nulls_not_distinct=True),
)

# How far a target's partition has come: everything below `source_offset` of the data topic's partition is out, the last of it
# below `view_offset`. Written after Kafka's acknowledgement; what the topic holds beyond it is recognised at a restart.
view_positions = Table(
    "view_positions",
    METADATA,
    Column("topic", ForeignKey("targets.topic", ondelete="CASCADE"), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("source_offset", BigInteger, nullable=False),
    Column("view_offset", BigInteger, nullable=False),
    Column("filtered", BigInteger, nullable=False),
    Column("duplicates", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

subscriptions = Table(
    "subscriptions",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("contract", String(200), nullable=False),
    Column("major", Integer, nullable=False),
    Column("view", String(60), nullable=False),
    Column("agency", ForeignKey("agencies.code"), nullable=False, index=True),
    Column("purpose", Text, nullable=False),
    Column("legal_basis", ForeignKey("legal_bases.id"), nullable=False),
    Column("procedure", String(60)),
    Column("delivery", String(10), nullable=False),
    Column("start", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("requested_by", String(40), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("decided_by", String(40)),
    Column("decided_at", DateTime(timezone=True)),
    Column("reason", Text),
    _now(),
    Index("ix_subscriptions_contract_view", "contract", "major", "view"),
)

# Where a subscription stands. `start` and `acked` map a topic to its partitions' offsets; `acked` counts `delivered` records.
# `ended` is the account at the moment the grant ended: what came later is none of this subscription's.
cursors = Table(
    "cursors",
    METADATA,
    Column("subscription", ForeignKey("subscriptions.id", ondelete="CASCADE"), primary_key=True),
    Column("start", JSONB, nullable=False),
    Column("acked", JSONB, nullable=False),
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

# Every hand-over, written before a byte leaves. `base` and `base_delivered` are where the hand-over began; `runs` are the
# contiguous runs [topic, partition, first, next] of view offsets in the order of the lines, so that a cursor
# "<release>.<index>" means exactly one position.
releases = Table(
    "releases",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("subscription", ForeignKey("subscriptions.id"), nullable=False, index=True),
    Column("client", String(40), nullable=False),
    Column("base", JSONB, nullable=False),
    Column("base_delivered", BigInteger, nullable=False),
    Column("runs", JSONB, nullable=False),
    Column("records", Integer, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    _now(),
)

receipts = Table(
    "receipts",
    METADATA,
    Column("id", String(40), primary_key=True),
    Column("contract", String(200), nullable=False),
    Column("major", Integer, nullable=False),
    Column("client", String(40), nullable=False),
    Column("op", String(10), nullable=False),
    Column("idempotency_key", String(200)),
    Column("body_sha256", LargeBinary(32), nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("rejected", JSONB, nullable=False),
    Column("positions", JSONB, nullable=False),  # partition -> [first, next] offset in the data topic
    _now(),
    Index("ix_receipts_contract", "contract", "major"),
    UniqueConstraint("client", "contract", "idempotency_key"),
)

quarantine = Table(
    "quarantine",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("contract", String(200), nullable=False),
    Column("major", Integer, nullable=False),
    Column("partition", Integer, nullable=False),  # where in the dlq topic the bytes are
    Column("offset", BigInteger, nullable=False),
    Column("key", Text),
    Column("error_class", String(20), nullable=False),
    Column("path", Text, nullable=False),
    Column("code", String(60), nullable=False),
    Column("message_en", Text, nullable=False),
    Column("message_vi", Text, nullable=False),
    Column("client", String(40), nullable=False),
    Column("receipt", String(40), nullable=False),
    Column("state", String(20), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_by", String(40)),
    Column("reason", Text),
    _now(),
    UniqueConstraint("contract", "major", "partition", "offset"),
    Index("ix_quarantine_open_key", "contract", "major", "key", postgresql_where="state = 'open'"),
    Index("ix_quarantine_contract_class", "contract", "error_class"),
)

# Who did what, with which result; never a payload value.
journal = Table(
    "journal",
    METADATA,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("client", String(40)),
    Column("agency", String(35)),
    Column("action", String(60), nullable=False),
    Column("object", String(300), nullable=False),
    Column("result", String(20), nullable=False),
    Column("detail", JSONB, nullable=False, server_default="{}"),
    Column("source", String(60)),  # the caller's address
    Index("ix_journal_object", "object"),
    Index("ix_journal_at", "at"),
)
