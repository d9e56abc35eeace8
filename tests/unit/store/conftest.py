"""An engine on a fresh database."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from bus.store.engine import make_engine


@pytest.fixture
def engine(postgres_dsn: str) -> Iterator[Engine]:
    made = make_engine(postgres_dsn)
    yield made
    made.dispose()
