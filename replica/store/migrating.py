"""Versions of a set of tables: what every database of this program shares about its migrations.

The store and each sink keep scripts and a version table of their own; Alembic's entry is one
(``migrations/env.py``). An upgrade is one transaction; two upgrades at once wait for each other.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

from replica.errors import StoreUnavailable

_ENTRY = Path(__file__).parent / "migrations"


class Tables(NamedTuple):
    """One set of tables: its scripts, the table that holds its version, and what they build."""

    scripts: Path
    version_table: str
    metadata: MetaData

    def upgrade(self, connection: Connection, to: str = "head") -> str:
        """Bring the tables to version ``to`` inside the caller's transaction.

        Gives this program's version; does nothing when they are there already. Raises
        ``StoreUnavailable`` when a newer program has written them.
        """
        found = self.current(connection)
        self.refuse_newer(found)
        if found == self.newest():
            return found
        config = _config(self.scripts)
        config.attributes["connection"] = connection
        config.attributes["tables"] = self
        command.upgrade(config, to)
        return self.newest()

    def current(self, connection: Connection) -> str | None:
        """The version of the tables, None when there are none yet."""
        opts = {"version_table": self.version_table}
        return MigrationContext.configure(connection, opts=opts).get_current_revision()

    def newest(self) -> str:
        """The version this program works with."""
        return _versions(self.scripts)[0]

    def refuse_newer(self, found: str | None) -> None:
        """Raise ``StoreUnavailable`` for a version that this program does not know."""
        if found is not None and found not in _versions(self.scripts):
            raise StoreUnavailable(
                f"the database is at version {found}, which this program does not know",
                hint="a newer replica has migrated it: start that version, or restore a backup",
            )


@cache
def _versions(scripts: Path) -> tuple[str, ...]:
    """Every version there are scripts for, the newest first."""
    walk = ScriptDirectory.from_config(_config(scripts)).walk_revisions()
    return tuple(script.revision for script in walk)


def _config(scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", _quoted(_ENTRY))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _quoted(scripts))
    return config


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%%")
