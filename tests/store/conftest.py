"""Databases and logs for the store's tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from replica.events.event import AccountId
from replica.events.ports import Log
from replica.store import migrations
from replica.store.engine import Database, open_postgres, open_sqlite
from replica.store.memory import MemoryLog
from replica.store.sql import SqlLog
from tests.postgres import fresh_database, postgres_server

Opener = Callable[[pytest.FixtureRequest], Log]
"""Gives a log that holds nothing yet of the test's accounts."""


def open_memory(_request: pytest.FixtureRequest) -> Log:
    """The model."""
    return MemoryLog()


def open_sqlite_log(request: pytest.FixtureRequest) -> Log:
    """A file of the test's own."""
    database: Database = request.getfixturevalue("sqlite_database")
    return SqlLog(database)


def open_postgres_log(request: pytest.FixtureRequest) -> Log:
    """One database for the whole session: tests use accounts of their own."""
    database: Database = request.getfixturevalue("postgres_database")
    return SqlLog(database)


ADAPTERS: Mapping[str, Opener] = {
    "memory": open_memory,
    "sqlite": open_sqlite_log,
    "postgres": open_postgres_log,
}
"""Every adapter of the log's port. The conformance suite runs over all of them."""

_MARKS = {"postgres": (pytest.mark.postgres,)}


@pytest.fixture(params=[pytest.param(n, marks=_MARKS.get(n, ())) for n in ADAPTERS])
def log(request: pytest.FixtureRequest) -> Log:
    """Each adapter in turn."""
    return ADAPTERS[request.param](request)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """Each kind of database in turn, migrated."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def account() -> AccountId:
    """An account nobody has used before."""
    return AccountId(os.urandom(16))


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """Where the test's SQLite log lies."""
    return tmp_path / "log.db"


@pytest.fixture
def sqlite_database(sqlite_path: Path) -> Iterator[Database]:
    """A migrated SQLite database."""
    opened = open_sqlite(sqlite_path)
    try:
        migrations.upgrade(opened)
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running PostgreSQL server."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[Database]:
    """A migrated PostgreSQL database, shared by all tests of the session."""
    opened = open_postgres(fresh_database(postgres_url))
    try:
        migrations.upgrade(opened)
        yield opened
    finally:
        opened.close()


@pytest.fixture
def reopen(sqlite_database: Database, sqlite_path: Path) -> Iterator[Callable[[], Database]]:
    """Closes the test's SQLite database and opens it again."""
    opened: list[Database] = []

    def again() -> Database:
        sqlite_database.close()
        opened.append(open_sqlite(sqlite_path))
        return opened[-1]

    yield again
    for database in opened:
        database.close()
