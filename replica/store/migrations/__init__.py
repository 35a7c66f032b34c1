"""Migrations of the store's tables. Events are never migrated; only the tables around them are.

A server never migrates by itself: two processes of different versions may share one database, so
changing it is an operator's decision (``replica migrate``). Starting up only checks.
"""

from __future__ import annotations

from pathlib import Path

from replica.errors import StoreUnavailable
from replica.store.engine import Database
from replica.store.migrating import Tables
from replica.store.tables import VERSION_TABLE, metadata

_STORE = Tables(Path(__file__).parent / "versions", VERSION_TABLE, metadata)


def upgrade(database: Database) -> str:
    """Bring the tables to this program's version, in one transaction; gives that version.

    Does nothing when they are there already. Raises ``StoreUnavailable`` when a newer program has
    written the database.
    """
    _STORE.refuse_newer(current(database))
    with database.writing() as connection:
        return _STORE.upgrade(connection)


def current(database: Database) -> str | None:
    """The version of the tables, None when there are none yet."""
    with database.reading() as connection:
        return _STORE.current(connection)


def newest() -> str:
    """The version this program works with."""
    return _STORE.newest()


def check(database: Database) -> None:
    """Raise ``StoreUnavailable`` with the command to run unless the tables fit this program."""
    found = current(database)
    _STORE.refuse_newer(found)
    if found != newest():
        raise StoreUnavailable(
            f"the database is at version {found or 'none'}, this program needs {newest()}",
            hint="run `replica migrate`",
        )
