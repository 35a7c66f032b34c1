"""Alembic's entry: runs the migrations on the connection that ``Tables.upgrade`` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from replica.store.migrating import Tables

_UPGRADE_LOCK = 0x7265706C696361  # any number of our own; two upgrades at once wait for each other

connection: Connection = context.config.attributes["connection"]
tables: Tables = context.config.attributes["tables"]
if connection.dialect.name == "postgresql":
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
context.configure(
    connection=connection,
    target_metadata=tables.metadata,
    version_table=tables.version_table,
    # SQLite's DDL is transactional once BEGIN is said by hand, as our engines do: a crash during
    # a migration leaves the database as it was.
    transactional_ddl=True,
)
context.run_migrations()
