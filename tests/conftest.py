"""Fixtures for every floor of the tests."""

from tests.running import bus
from tests.servers import kafka, postgres_dsn, postgres_module_dsn, postgres_server
from tests.user import still_well, user

__all__ = ["bus", "kafka", "postgres_dsn", "postgres_module_dsn", "postgres_server", "still_well", "user"]
