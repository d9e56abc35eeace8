"""A bus for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.embedded.kafka import KafkaAddress
from tests.house import House, open_house


@pytest.fixture(scope="module")
def shared_house(postgres_module_dsn: str, kafka: KafkaAddress) -> Iterator[House]:
    with open_house(postgres_module_dsn, kafka) as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The module's bus, its clock turned back after the test."""
    yield shared_house
    if shared_house.clock.ahead:
        shared_house.clock.ahead *= 0
        for caller in (shared_house.admin, *shared_house.callers.values()):
            caller._until = caller._until.min.replace(tzinfo=caller._until.tzinfo)
