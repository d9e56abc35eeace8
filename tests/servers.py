"""Real servers for every test that asks: one Kafka and one PostgreSQL a session, started when first asked for.

With LGSP_KAFKA_BOOTSTRAP or LGSP_DATABASE_URL set, those are used and nothing is started.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bus.embedded.kafka import EmbeddedKafka, KafkaAddress
from bus.embedded.postgres import EmbeddedPostgres
from bus.settings import Settings


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAddress]:
    """A secured broker and its administrator. Topics are shared by the session: name yours after your test."""
    settings = Settings()
    if settings.kafka_bootstrap:
        password = settings.kafka_password.get_secret_value() if settings.kafka_password else ""
        protocol = ("SASL_" if settings.kafka_username else "") + ("SSL" if settings.kafka_ca_file else "PLAINTEXT")
        ca_file = str(settings.kafka_ca_file) if settings.kafka_ca_file else None
        yield KafkaAddress(
            settings.kafka_bootstrap,
            settings.kafka_username or "",
            password,
            security_protocol=protocol,
            ca_file=ca_file,
        )
        return
    server = EmbeddedKafka(tmp_path_factory.mktemp("kafka"), settings.cache, port=0)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of the session's server, whose user may make databases."""
    given = Settings().database_url
    if given:
        yield make_url(given.get_secret_value()).set(drivername="postgresql").render_as_string(hide_password=False)
        return
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def postgres_dsn(postgres_server: str) -> Iterator[str]:
    """DSN of a fresh, empty database for one test (`postgresql://…`, for psycopg and ADBC)."""
    with fresh_database(postgres_server) as dsn:
        yield dsn


@pytest.fixture(scope="module")
def postgres_module_dsn(postgres_server: str) -> Iterator[str]:
    """DSN of a fresh, empty database for the tests of one module."""
    with fresh_database(postgres_server) as dsn:
        yield dsn


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def sqlalchemy_url(dsn: str) -> str:
    """The same database as SQLAlchemy's psycopg dialect names it."""
    return make_url(dsn).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


__all__ = ["fresh_database", "kafka", "postgres_dsn", "postgres_module_dsn", "postgres_server", "sqlalchemy_url"]
