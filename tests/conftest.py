"""Fixtures for every floor of the tests."""

from pathlib import Path

import pytest

from tests.running import bus
from tests.servers import kafka, postgres_dsn, postgres_module_dsn, postgres_server
from tests.user import still_well, user

__all__ = ["bus", "kafka", "postgres_dsn", "postgres_module_dsn", "postgres_server", "still_well", "user"]

# From the pure to the whole: what needs no server runs first, in a process where no thread of a server's client draws on the
# `random` module, which Hypothesis watches while it makes examples.
FLOORS = ("property", "unit", "integration", "acceptance", "fault", "benchmarks")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: FLOORS.index(item.path.relative_to(Path(__file__).parent).parts[0]))
