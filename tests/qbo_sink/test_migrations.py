"""The ledger's migrations build what the code queries, and keep what a ledger holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from qbo_sink.migrations import LEDGER
from qbo_sink.opening import open_ledger
from replica.errors import StoreUnavailable
from replica.store.engine import Database, open_postgres, open_sqlite
from tests.postgres import fresh_database, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as address:
        yield address


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        made = open_sqlite(tmp_path / "ledger.db")
    else:
        made = open_postgres(fresh_database(request.getfixturevalue("server")))
    yield made
    made.close()


def differences(connection: Connection) -> list[object]:
    opts = {
        "version_table": LEDGER.version_table,
        "compare_type": True,
        "include_object": lambda _, name, kind, *__: kind != "table" or name.startswith("qbo_"),
    }
    found = compare_metadata(MigrationContext.configure(connection, opts=opts), LEDGER.metadata)
    return list(found)


def test_migrations_and_metadata_agree(ledger: Database) -> None:
    """The tables that the migrations build are the tables the code queries, on both databases."""
    open_ledger(ledger.write)
    open_ledger(ledger.write)
    with ledger.reading() as connection:
        assert differences(connection) == []
        assert LEDGER.current(connection) == LEDGER.newest()


def test_a_ledger_of_the_first_release_is_upgraded_with_what_it_holds(ledger: Database) -> None:
    """Tables without a version are taken as they are, brought up to date, and keep their rows."""
    with ledger.writing() as connection:
        LEDGER.upgrade(connection, "0001")
        connection.execute(text("DROP TABLE qbo_version"))
        connection.execute(
            text("INSERT INTO qbo_checkpoints (account, position) VALUES (:account, 7)"),
            {"account": b"a" * 16},
        )
    open_ledger(ledger.write)
    with ledger.reading() as connection:
        assert differences(connection) == []
        assert connection.scalar(text("SELECT position FROM qbo_checkpoints")) == 7


def test_a_newer_ledger_is_refused(ledger: Database) -> None:
    """A ledger that a newer program has written is left alone (I-12)."""
    open_ledger(ledger.write)
    with ledger.writing() as connection:
        connection.execute(text("UPDATE qbo_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match="9999") as caught:
        open_ledger(ledger.write)
    assert "newer" in caught.value.hint
