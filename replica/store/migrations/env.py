"""Alembic's entry: runs the migrations on the connection that ``upgrade`` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from replica.store.tables import VERSION_TABLE, metadata

_UPGRADE_LOCK = 0x7265706C696361  # any number of our own; two upgrades at once wait for each other

connection: Connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite's DDL is transactional once BEGIN is said by hand, as our engines do: a crash during
    # a migration leaves the database as it was.
    transactional_ddl=True,
)
context.run_migrations()
