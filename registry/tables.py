"""What the registry keeps in PostgreSQL; `registry.store` reads and writes it, migrations are derived from METADATA."""

from __future__ import annotations

from sqlalchemy import (
    CHAR,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

GLOBAL = ""  # in `registry_config`, the level of subjects without one of their own; no subject has this name


def _now() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


schemas = Table(
    "registry_schemas",
    METADATA,
    # 32 bits: Confluent's framing puts the id into four bytes before every record. Rows are never changed nor deleted,
    # because records with the id may lie in a topic for as long as the topic lives.
    Column("id", Integer, Identity(), primary_key=True),
    Column("fingerprint", CHAR(64), nullable=False),  # Schema.identity
    Column("text", Text, nullable=False),  # as it was given first
    _now(),
    UniqueConstraint("fingerprint"),
)

versions = Table(
    "registry_versions",
    METADATA,
    Column("subject", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("schema_id", Integer, ForeignKey(schemas.c.id), nullable=False),
    Column("deleted", Boolean, nullable=False, server_default=false()),  # softly: no longer offered, still readable
    _now(),
    Index(None, "schema_id"),
)

config = Table(
    "registry_config",
    METADATA,
    Column("subject", Text, primary_key=True),  # or GLOBAL
    Column("level", String(30), nullable=False),
)
