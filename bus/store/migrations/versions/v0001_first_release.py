"""The tables of the first release"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "agencies",
        sa.Column("code", sa.String(length=35), nullable=False),
        sa.Column("name_vi", sa.String(length=300), nullable=False),
        sa.Column("name_en", sa.String(length=300), nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_agencies")),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("client", sa.String(length=40), nullable=True),
        sa.Column("agency", sa.String(length=35), nullable=True),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("object", sa.String(length=300), nullable=False),
        sa.Column("result", sa.String(length=20), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("source", sa.String(length=60), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
    )
    op.create_index("ix_journal_at", "journal", ["at"], unique=False)
    op.create_index("ix_journal_object", "journal", ["object"], unique=False)
    op.create_table(
        "legal_bases",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("number", sa.String(length=100), nullable=False),
        sa.Column("article", sa.String(length=100), nullable=False),
        sa.Column("title", sa.String(length=1000), nullable=False),
        sa.Column("issuer", sa.String(length=300), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_bases")),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("contract", sa.String(length=200), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("error_class", sa.String(length=20), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=60), nullable=False),
        sa.Column("message_en", sa.Text(), nullable=False),
        sa.Column("message_vi", sa.Text(), nullable=False),
        sa.Column("client", sa.String(length=40), nullable=False),
        sa.Column("receipt", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_by", sa.String(length=40), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "contract", "major", "partition", "offset", name=op.f("uq_quarantine_contract_major_partition_offset")
        ),
    )
    op.create_index("ix_quarantine_contract_class", "quarantine", ["contract", "error_class"], unique=False)
    op.create_index(
        "ix_quarantine_open_key",
        "quarantine",
        ["contract", "major", "key"],
        unique=False,
        postgresql_where="state = 'open'",
    )
    op.create_table(
        "receipts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("contract", sa.String(length=200), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("client", sa.String(length=40), nullable=False),
        sa.Column("op", sa.String(length=10), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("body_sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("rejected", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("positions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
        sa.UniqueConstraint(
            "client", "contract", "idempotency_key", name=op.f("uq_receipts_client_contract_idempotency_key")
        ),
    )
    op.create_index("ix_receipts_contract", "receipts", ["contract", "major"], unique=False)
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "targets",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("contract", sa.String(length=200), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("view", sa.String(length=60), nullable=False),
        sa.Column("instance", sa.String(length=60), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_targets")),
        sa.UniqueConstraint(
            "contract",
            "major",
            "view",
            "instance",
            name=op.f("uq_targets_contract_major_view_instance"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "clients",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("agency", sa.String(length=35), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("roles", postgresql.ARRAY(sa.String(length=20)), nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(length=32), nullable=True),
        sa.Column("jwks", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["agencies.code"], name=op.f("fk_clients_agency_agencies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clients")),
    )
    op.create_index(op.f("ix_clients_agency"), "clients", ["agency"], unique=False)
    op.create_table(
        "contract_versions",
        sa.Column("contract", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(length=35), nullable=False),
        sa.Column("title_vi", sa.String(length=300), nullable=False),
        sa.Column("title_en", sa.String(length=300), nullable=False),
        sa.Column("files", sa.LargeBinary(), nullable=False),
        sa.Column("schema_id", sa.Integer(), nullable=True),
        sa.Column("submitted_by", sa.String(length=40), nullable=False),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["agencies.code"], name=op.f("fk_contract_versions_owner_agencies")),
        sa.PrimaryKeyConstraint("contract", "version", name=op.f("pk_contract_versions")),
    )
    op.create_index(op.f("ix_contract_versions_owner"), "contract_versions", ["owner"], unique=False)
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("contract", sa.String(length=200), nullable=False),
        sa.Column("major", sa.Integer(), nullable=False),
        sa.Column("view", sa.String(length=60), nullable=False),
        sa.Column("agency", sa.String(length=35), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.String(length=40), nullable=False),
        sa.Column("procedure", sa.String(length=60), nullable=True),
        sa.Column("delivery", sa.String(length=10), nullable=False),
        sa.Column("start", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("requested_by", sa.String(length=40), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["agency"], ["agencies.code"], name=op.f("fk_subscriptions_agency_agencies")),
        sa.ForeignKeyConstraint(
            ["legal_basis"], ["legal_bases.id"], name=op.f("fk_subscriptions_legal_basis_legal_bases")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
    )
    op.create_index(op.f("ix_subscriptions_agency"), "subscriptions", ["agency"], unique=False)
    op.create_index("ix_subscriptions_contract_view", "subscriptions", ["contract", "major", "view"], unique=False)
    op.create_table(
        "view_positions",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("source_offset", sa.BigInteger(), nullable=False),
        sa.Column("view_offset", sa.BigInteger(), nullable=False),
        sa.Column("filtered", sa.BigInteger(), nullable=False),
        sa.Column("duplicates", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["topic"], ["targets.topic"], name=op.f("fk_view_positions_topic_targets"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_view_positions")),
    )
    op.create_table(
        "assertions",
        sa.Column("client", sa.String(length=40), nullable=False),
        sa.Column("jti", sa.String(length=200), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["client"], ["clients.id"], name=op.f("fk_assertions_client_clients"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("client", "jti", name=op.f("pk_assertions")),
    )
    op.create_index(op.f("ix_assertions_expires_at"), "assertions", ["expires_at"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("subscription", sa.String(length=40), nullable=False),
        sa.Column("start", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("acked", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("delivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription"],
            ["subscriptions.id"],
            name=op.f("fk_cursors_subscription_subscriptions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("subscription", name=op.f("pk_cursors")),
    )
    op.create_table(
        "releases",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("subscription", sa.String(length=40), nullable=False),
        sa.Column("client", sa.String(length=40), nullable=False),
        sa.Column("base", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("base_delivered", sa.BigInteger(), nullable=False),
        sa.Column("runs", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription"], ["subscriptions.id"], name=op.f("fk_releases_subscription_subscriptions")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_releases")),
    )
    op.create_index(op.f("ix_releases_subscription"), "releases", ["subscription"], unique=False)
    op.create_table(
        "registry_config",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("level", sa.String(length=30), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_registry_config")),
    )
    op.create_table(
        "registry_schemas",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("fingerprint", sa.CHAR(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_schemas")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_registry_schemas_fingerprint")),
    )
    op.create_table(
        "registry_versions",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("schema_id", sa.Integer(), nullable=False),
        sa.Column("deleted", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["schema_id"], ["registry_schemas.id"], name=op.f("fk_registry_versions_schema_id_registry_schemas")
        ),
        sa.PrimaryKeyConstraint("subject", "version", name=op.f("pk_registry_versions")),
    )
    op.create_index(op.f("ix_registry_versions_schema_id"), "registry_versions", ["schema_id"], unique=False)
