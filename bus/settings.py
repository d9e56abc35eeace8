"""Every setting of the bus, with the reason for its default. Read from the environment as `LGSP_<NAME>`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=0, le=65_535)]  # 0: one that is free
Amount = Annotated[int, Field(gt=0)]
Whole = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


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
    port: Port = 8080
    registry_port: Port = 8081
    kafka_port: Port = 9092

    # Tokens
    token_ttl_s: Amount = 300  # a leaked token is worth minutes
    clock_skew_s: Whole = 5
    public_url: str | None = None  # what clients call this bus, the audience of their assertions; else http://host:port

    # Publishing
    publish_body_bytes_max: Amount = 64 * 2**20  # one batch; the connectors cut theirs at 10,000 records
    publish_records_max: Amount = 100_000  # keeps one request's columns under about 500 MB
    record_bytes_max: Amount = 900_000  # Kafka's own limit for a batch is 1 MiB
    produce_timeout_s: Seconds = 30.0  # then the publisher is told 503 and nothing counts as accepted
    door_cache_records: Amount = 1_000_000  # 24 MB a contract; only where this process is the only door

    # Topics
    partitions: Amount = 2  # per contract, where the contract says nothing
    replication: Amount = 1  # embedded: one broker; production sets 3
    min_insync: Amount = 1
    compaction_lag_min_ms: Whole = 86_400_000  # a worker that restarts within a day finds every record it counted

    # Reading
    pull_records_max: Amount = 10_000
    pull_wait_ms_max: Amount = 30_000  # under the idle time of common proxies
    grant_cache_s: Seconds = 1.0  # a revocation holds on every process within 5 s, NOTIFY or not
    consumers_max: Amount = 8  # a pool, not one per subscription; about 10 MB each

    # Views
    view_batch_records: Amount = 20_000
    view_poll_ms: Amount = 50

    # API
    page_size_max: Amount = 1_000
    document_bytes_max: Amount = 2 * 2**20  # contracts, forms: everything that isn't records
