"""The database: an engine from settings, and what turns its failures into the bus's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from bus.errors import DiskFull, StoreUnavailable, Text

POOL_SIZE = 10  # requests wait for a connection rather than open one each
POOL_OVERFLOW = 10
POOL_WAIT_S = 10.0


def make_engine(url: str) -> Engine:
    """An engine on psycopg 3. `url` is a libpq URL, `postgresql://…`."""
    return create_engine(
        re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql+psycopg://", url),
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_timeout=POOL_WAIT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # an exception's text may end in a log, and parameters are what people sent
        connect_args={"connect_timeout": 5, "application_name": "lgsp"},
    )


@contextmanager
def transaction(engine: Engine | Connection) -> Iterator[Connection]:
    """One transaction; raises StoreUnavailable (retriable) or DiskFull where the database can't do its part.

    Given a connection, on that one and no other: what is held by its session is held while the transaction runs.
    """
    with told():
        if isinstance(engine, Connection):
            with engine.begin():
                yield engine
        else:
            with engine.begin() as connection:
                yield connection


@contextmanager
def told() -> Iterator[None]:
    """The database's failures as the bus's own."""
    try:
        yield
    except PoolTimeout as error:
        raise StoreUnavailable(_UNAVAILABLE) from error
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "53100":
            raise DiskFull(Text("the database's disk is full", "ổ đĩa của cơ sở dữ liệu đã đầy")) from error
        raise StoreUnavailable(_UNAVAILABLE) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable(_UNAVAILABLE) from error
        raise


@contextmanager
def held(engine: Engine, what: str) -> Iterator[Connection | None]:
    """The only holder of `what` among all processes, as a connection whose session holds it; None where another one has it.

    It ends with the session, however that ends: who writes on this very connection writes only while it holds.
    """
    with told():
        connection = engine.connect()
    try:
        with transaction(connection):
            got = connection.scalar(select(func.pg_try_advisory_lock(func.hashtextextended(what, 0))))
        yield connection if got else None
    finally:
        connection.invalidate()  # the session ends, and with it the lock
        connection.close()


_UNAVAILABLE = Text("the database does not answer; try again", "cơ sở dữ liệu không phản hồi; hãy thử lại")
