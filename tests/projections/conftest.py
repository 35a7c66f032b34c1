"""Databases with empty read models, and accounts nobody has used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from replica.events.event import AccountId
from replica.projections.tables import open_views
from replica.store.engine import Database, open_postgres, open_sqlite
from tests.postgres import fresh_database, postgres_server


@pytest.fixture(scope="module")
def sqlite_views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One file for a module: tests use accounts of their own."""
    path: Path = tmp_path_factory.mktemp("views") / "views.db"
    database = open_sqlite(path, profile="rebuildable")
    open_views(database.write)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture(scope="module")
def postgres_views() -> Iterator[Database]:
    """The same in PostgreSQL."""
    with postgres_server() as url:
        database = open_postgres(fresh_database(url))
        open_views(database.write)
        try:
            yield database
        finally:
            database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def views(request: pytest.FixtureRequest) -> Database:
    """Each kind of database in turn."""
    found: Database = request.getfixturevalue(f"{request.param}_views")
    return found


@pytest.fixture
def account() -> AccountId:
    return fresh_account()


def fresh_account() -> AccountId:
    return AccountId(os.urandom(16))
