"""Every setting of the bus, with the reason for its default. Read from the environment as `LGSP_<NAME>`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Limits have a reason beside them; a setting that nobody would change isn't here."""

    model_config = SettingsConfigDict(env_prefix="LGSP_", frozen=True)

    # Where things are. Without the first two, `lgsp up` starts its own servers under `data`.
    kafka_bootstrap: str | None = None
    database_url: SecretStr | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None  # set: TLS to the brokers
    data: Path = Path("lgsp-data")
    cache: Path = Field(default_factory=lambda: Path.home() / ".cache" / "lgsp")  # jars, shared by all data folders
    host: str = "127.0.0.1"  # a bus on every interface is a decision, not a default
    port: int = 8080
    registry_port: int = 8081
    kafka_port: int = 9092

    # Tokens
    token_ttl_s: int = 300  # a leaked token is worth minutes
    clock_skew_s: int = 5
    public_url: str | None = None  # what clients call this bus, the audience of their assertions; else http://host:port

    # Publishing
    publish_body_bytes_max: int = 64 * 2**20  # one batch; the connectors cut theirs at 10,000 records
    publish_records_max: int = 100_000  # keeps one request's columns under about 500 MB
    record_bytes_max: int = 900_000  # Kafka's own limit for a batch is 1 MiB
    json_depth_max: int = 64  # deeper than any contract; a million-deep document is an attack
    produce_timeout_s: float = 30.0  # then the publisher is told 503 and nothing counts as accepted
    door_cache_records: int = 1_000_000  # 24 MB a contract; only where this process is the only door

    # Topics
    partitions: int = 2  # per contract, where the contract says nothing
    replication: int = 1  # embedded: one broker; production sets 3
    min_insync: int = 1
    compaction_lag_min_ms: int = 86_400_000  # a worker that restarts within a day finds every record it counted

    # Reading
    pull_records_max: int = 10_000
    pull_wait_ms_max: int = 30_000  # under the idle time of common proxies
    grant_cache_s: float = 1.0  # a revocation holds on every process within 5 s, NOTIFY or not
    consumers_max: int = 8  # a pool, not one per subscription; about 10 MB each

    # Views
    view_batch_records: int = 20_000
    view_poll_ms: int = 50

    # API
    page_size_max: int = 1_000
    document_bytes_max: int = 2 * 2**20  # contracts, forms: everything that isn't records
    quarantine_value_bytes_max: int = 65_536  # bytes of a rejected record kept beside its reason; the rest stays in dlq
