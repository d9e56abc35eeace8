"""Brings the database to the tables that this release expects. Run at every start; nothing happens where they are there.

A revision is a file in `migrations/versions`, frozen once released. `test_migrate` holds revisions and tables together.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, func, select

import registry.tables
from bus.errors import Conflict
from bus.store.engine import transaction
from bus.store.tables import METADATA
from registry.errors import Text

METADATAS = (METADATA, registry.tables.METADATA)
_LOCK = 0x6C677370_0001  # of processes that start at once, one migrates and the others wait for it


def upgrade(engine: Engine) -> None:
    """Run the revisions that are missing, all in one transaction.

    Raises Conflict where the database is of a later release than this program: it must not guess what it doesn't know.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with transaction(engine) as connection:
        connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        found = MigrationContext.configure(connection).get_current_revision()
        if found is not None and found not in known:
            raise Conflict(
                Text(
                    f"the database is at revision {found}, unknown to this release; install the release that made it",
                    f"cơ sở dữ liệu ở phiên bản {found} mà bản cài đặt này không biết; hãy dùng bản đã tạo ra nó",
                )
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
