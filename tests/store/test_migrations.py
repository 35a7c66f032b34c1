"""Migrations build what the metadata says, and a server refuses tables that do not fit it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from argon2 import PasswordHasher
from sqlalchemy import inspect, text

from replica.errors import StoreUnavailable
from replica.events.event import AccountId, DeviceId
from replica.store import migrations
from replica.store.access import code_digest
from replica.store.control import Control
from replica.store.engine import Database, open_postgres, open_sqlite
from replica.store.tables import VERSION_TABLE, metadata
from tests.postgres import fresh_database


def test_migrations_and_metadata_agree(database: Database) -> None:
    """The tables that the migrations build are the tables the code queries, on both databases."""
    with database.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_upgrading_twice_changes_nothing(database: Database) -> None:
    """An upgrade of an up-to-date database does nothing and says the same version."""
    assert migrations.upgrade(database) == migrations.newest() == migrations.current(database)
    migrations.check(database)


def test_an_unmigrated_database_is_refused(tmp_path: Path) -> None:
    """A server does not start on a database without tables and names the command to run."""
    with closing(open_sqlite(tmp_path / "log.db")) as database:
        assert migrations.current(database) is None
        with pytest.raises(StoreUnavailable, match="version none") as caught:
            migrations.check(database)
        assert "replica migrate" in caught.value.hint


def test_a_newer_database_is_refused(sqlite_database: Database) -> None:
    """Neither check nor upgrade touches tables that a newer program has written (I-12)."""
    with sqlite_database.writing() as connection:
        connection.execute(text("UPDATE store_version SET version_num = '9999'"))
    for refuse in (migrations.check, migrations.upgrade):
        with pytest.raises(StoreUnavailable, match="9999") as caught:
            refuse(sqlite_database)
        assert "newer" in caught.value.hint


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables of an upgrade appear together or not at all (I-9)."""
    with closing(open_sqlite(tmp_path / "log.db")) as database:

        def broken(*_args: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr("alembic.op.create_index", broken)
            with pytest.raises(ZeroDivisionError):
                migrations.upgrade(database)
        assert inspect(database.read).get_table_names() == []
        assert migrations.upgrade(database) == migrations.newest()


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_codes_that_were_open_before_first_scopes_are_good_after(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An upgrade over the one that brings first scopes keeps accounts and open codes, and both go
    on meaning everything (CFG-05)."""
    if kind == "sqlite":
        opened = open_sqlite(tmp_path / "log.db")
    else:
        opened = open_postgres(fresh_database(request.getfixturevalue("postgres_url")))
    account, code = AccountId(bytes(16)), "abcd"
    with closing(opened) as database:
        with database.writing() as connection:
            migrations._STORE.upgrade(connection, "0004")
            connection.execute(
                text("INSERT INTO accounts (id, name, created_ms) VALUES (:id, 'Acme', 1)"),
                {"id": account},
            )
            connection.execute(
                text(
                    "INSERT INTO enrolment_codes (code_hash, account, name, expires_ms)"
                    " VALUES (:code, :account, 'Till', 10)"
                ),
                {"code": code_digest(code), "account": account},
            )
        assert migrations.upgrade(database) == migrations.newest()
        control = Control(
            database, hasher=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        )
        assert control.wish(account) is None
        made = control.enrol(code, DeviceId(bytes(16)), "token", source="here", now_ms=2)
        assert (made.name, made.scope, control.check_token("token")) == ("Till", None, made)


@pytest.mark.postgres
def test_other_tables_in_the_database_are_left_alone(postgres_url: str) -> None:
    """In a PostgreSQL shared with others an upgrade touches only its own tables."""
    with closing(open_postgres(fresh_database(postgres_url))) as database:
        with database.writing() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num text)"))
        migrations.upgrade(database)
        names = set(inspect(database.read).get_table_names())
        assert names == {*metadata.tables, VERSION_TABLE, "alembic_version"}
