"""The embedded servers are real ones: secured, private to this machine, and they keep what they were given."""

from __future__ import annotations

import adbc_driver_postgresql.dbapi
import psycopg
import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from bus.embedded.kafka import KafkaAddress


def test_the_administrator_makes_topics_and_sees_them(kafka: KafkaAddress) -> None:
    admin = AdminClient(kafka.librdkafka())
    admin.create_topics([NewTopic("embedded.it", 2)])["embedded.it"].result(10)
    assert "embedded.it" in admin.list_topics(timeout=10).topics


def test_a_wrong_password_is_not_let_in(kafka: KafkaAddress) -> None:
    wrong = kafka.librdkafka() | {"sasl.password": "wrong"}
    admin = AdminClient(wrong | {"log_level": 0, "error_cb": lambda _: None})
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=3)


def test_the_dsn_suits_psycopg_and_adbc(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
    with adbc_driver_postgresql.dbapi.connect(postgres_dsn) as adbc, adbc.cursor() as cursor:
        cursor.execute("SELECT 1 AS one")
        assert cursor.fetch_arrow_table().to_pydict() == {"one": [1]}


def test_a_database_without_password_is_refused(postgres_server: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_server, password="wrong", connect_timeout=5)
