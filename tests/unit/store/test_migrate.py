"""The database always becomes what this release expects, however many processes start at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, text

from bus.errors import Conflict
from bus.store.migrate import METADATAS, upgrade


def test_revisions_make_exactly_the_tables_that_the_code_uses(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert [difference for one in METADATAS for difference in _differences(context, one)] == []


def test_no_table_of_two_targets_may_be_the_same_where_there_is_no_instance(engine: Engine) -> None:
    upgrade(engine)
    insert = text("insert into targets (topic, contract, major, view) values (:topic, 'a/b', 1, 'full')")
    with engine.begin() as connection:
        connection.execute(insert, {"topic": "one"})
    with pytest.raises(Exception, match="uq_targets"), engine.begin() as connection:
        connection.execute(insert, {"topic": "two"})


def test_processes_that_start_together_migrate_once(engine: Engine) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(upgrade, engine) for _ in range(4)]:
            done.result()
    with engine.connect() as connection:
        assert connection.scalar(text("select count(*) from alembic_version")) == 1


def test_a_database_of_a_later_release_is_left_alone_with_a_clear_word(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(Conflict, match="revision 9999"):
        upgrade(engine)


def _differences(context: MigrationContext, metadata: object) -> list[object]:
    """What autogenerate would change for one metadata; tables of the other ones aren't its business."""
    names = set(metadata.tables)
    return [
        difference
        for difference in compare_metadata(context, metadata)
        if not (difference[0] == "remove_table" and difference[1].name not in names)
        and not (difference[0] == "remove_index" and difference[1].table.name not in names)
    ]
