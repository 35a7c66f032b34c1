"""Migrations of the store's tables. Events are never migrated; only the tables around them are.

A server never migrates by itself: two processes of different versions may share one database, so
changing it is an operator's decision (``replica migrate``). Starting up only checks.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from replica.errors import StoreUnavailable
from replica.store.engine import Database
from replica.store.tables import VERSION_TABLE


def upgrade(database: Database) -> str:
    """Bring the tables to this program's version, in one transaction; gives that version.

    Does nothing when they are there already. Raises ``StoreUnavailable`` when a newer program has
    written the database.
    """
    _refuse_newer(current(database))
    config = _config()
    with database.writing() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return newest()


def current(database: Database) -> str | None:
    """The version of the tables, None when there are none yet."""
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return context.get_current_revision()


def newest() -> str:
    """The version this program works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def check(database: Database) -> None:
    """Raise ``StoreUnavailable`` with the command to run unless the tables fit this program."""
    found = current(database)
    _refuse_newer(found)
    if found != newest():
        raise StoreUnavailable(
            f"the database is at version {found or 'none'}, this program needs {newest()}",
            hint="run `replica migrate`",
        )


def _refuse_newer(found: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise StoreUnavailable(
            f"the database is at version {found}, which this program does not know",
            hint="a newer replica has migrated it: start that version, or restore a backup",
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
