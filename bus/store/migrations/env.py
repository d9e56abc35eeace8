"""Alembic's entry: `bus.store.migrate` gives it the connection, so there is no URL and no offline mode here."""

from alembic import context

from bus.store.migrate import METADATAS

context.configure(connection=context.config.attributes["connection"], target_metadata=list(METADATAS))
context.run_migrations()
