"""What the PostgreSQL source and sink share: how a DSN is given, and what the database's errors mean.

PostgreSQL's messages and ADBC's quote values and whole queries, so only the SQLSTATE is told on (and the message of
class 42, which names tables and columns only).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import adbc_driver_manager
import psycopg
from psycopg.conninfo import conninfo_to_dict

from connectors.base import DefinitionBase, Reference, SystemUnreachable, SystemUnusable
from registry.errors import Problem, Text

# Connection lost or refused, resources gone, shut down, serialization or deadlock: try again.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT_CLASSES = ("08", "25", "40", "53", "55", "57", "58")


def dsn_of(definition: DefinitionBase, dsn: str | Reference) -> str:
    """The connection string. Raises DefinitionInvalid: a password has no place in a definition."""
    if isinstance(dsn, Reference):
        return definition.secret(dsn, "dsn").get_secret_value()
    try:
        password = conninfo_to_dict(dsn).get("password")
    except psycopg.ProgrammingError as error:
        text = Text("not a PostgreSQL connection string", "không phải chuỗi kết nối PostgreSQL")
        raise definition.invalid("dsn", "dsn_invalid", text) from error
    if password is not None:
        raise definition.invalid(
            "dsn",
            "secret_in_definition",
            Text(
                "found a password; put the whole string into a file or a variable and write {file: …} or {env: …}",
                "có mật khẩu; hãy đặt cả chuỗi vào tệp hoặc biến môi trường và ghi {file: …} hoặc {env: …}",
            ),
        )
    return dsn


@contextmanager
def database_errors() -> Iterator[None]:
    """Raises SystemUnreachable (trying again may help) or SystemUnusable for what psycopg and ADBC raise inside."""
    try:
        yield
    except psycopg.Error as error:
        message = error.diag.message_primary or ""
        lost = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
        raise _said(error.sqlstate, message, lost) from None
    except adbc_driver_manager.Error as error:
        message = str(error).partition("ERROR:")[2].partition("\n")[0].strip()
        lost = isinstance(error, (adbc_driver_manager.OperationalError, adbc_driver_manager.InternalError))
        raise _said(error.sqlstate, message, lost) from None


def unusable(path: str, code: str, message: Text) -> SystemUnusable:
    where = f"{path}: " if path else ""
    return SystemUnusable(Text(where + message.en, where + message.vi), [Problem(path, code, message)])


def _said(sqlstate: str | None, message: str, lost: bool) -> SystemUnusable | SystemUnreachable:
    what = f"SQLSTATE {sqlstate}" if sqlstate else "no connection"
    if sqlstate is not None and sqlstate.startswith("42"):
        what += f", {message}"
    text = Text(f"PostgreSQL: {what}", f"PostgreSQL: {what}")
    transient = sqlstate.startswith(TRANSIENT_CLASSES) if sqlstate else lost
    problem = Problem("dsn", f"postgresql_{sqlstate or 'connection'}", text)
    return SystemUnreachable(text, [problem]) if transient else SystemUnusable(text, [problem])
