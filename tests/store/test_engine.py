"""Opening a database so that a commit means "on disk" and only one writer writes."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InternalError

from replica.errors import MisuseError, StoreUnavailable
from replica.limits import WAL_CHECKPOINT_BYTES
from replica.store.engine import (
    SQLITE_VERSION_MIN,
    Database,
    open_database,
    open_postgres,
    open_sqlite,
    read_engine,
    refuse_old_sqlite,
    sqlite_module,
)

HOLD_LOCK = """
import sys
from pathlib import Path
from replica.store.engine import open_sqlite
database = open_sqlite(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def pragma(database: Database, name: str) -> object:
    """A setting of the writer's connection."""
    with database.writing() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def test_the_durable_profile_flushes_every_commit(sqlite_database: Database) -> None:
    """The log's writer uses WAL with FULL, maps no memory and checks foreign keys (D1, D3)."""
    settings = {
        name: pragma(sqlite_database, name)
        for name in ("journal_mode", "synchronous", "mmap_size", "foreign_keys")
    }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "mmap_size": 0,
        "foreign_keys": 1,
    }


def test_the_rebuildable_profile_flushes_less(tmp_path: Path) -> None:
    """Read models, which can be folded again, pay for fewer flushes (contract of profiles)."""
    with closing(open_sqlite(tmp_path / "views.db", profile="rebuildable")) as database:
        assert pragma(database, "synchronous") == 1


def test_an_old_sqlite_is_refused() -> None:
    """An SQLite with the WAL-reset race is named and refused, with what to install (D2)."""
    old = cast("Any", SimpleNamespace(sqlite_version_info=(3, 51, 2), sqlite_version="3.51.2"))
    with pytest.raises(StoreUnavailable, match=r"3\.51\.2") as caught:
        refuse_old_sqlite(old)
    assert "pysqlite3" in caught.value.hint


def test_the_standard_librarys_sqlite_is_taken_only_when_new_enough(tmp_path: Path) -> None:
    """The standard library's SQLite opens a database exactly when it has the fix (D2)."""
    if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
        with pytest.raises(StoreUnavailable):
            open_sqlite(tmp_path / "log.db", module=sqlite3)
        assert not (tmp_path / "log.db").exists()
    else:
        open_sqlite(tmp_path / "log.db", module=sqlite3).close()


def test_the_library_in_use_has_the_fix() -> None:
    """What this environment opens databases with is free of the WAL-reset race (D2)."""
    assert sqlite_module().sqlite_version_info >= SQLITE_VERSION_MIN


def test_files_are_private(sqlite_database: Database, sqlite_path: Path) -> None:
    """Database, write-ahead log, index and lock are readable by their owner alone (S32)."""
    with sqlite_database.writing() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    names = {path.name for path in sqlite_path.parent.iterdir()}
    assert {"log.db", "log.db-wal", "log.db-shm", "log.db.lock"} <= names
    for path in sqlite_path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.process
def test_a_second_process_is_locked_out(tmp_path: Path) -> None:
    """While one process has the database, another fails at once, told who holds it, and gets it
    when the first one was killed (D3, I-25)."""
    path = tmp_path / "log.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(StoreUnavailable, match=rf"locked by pid {holder.pid} on ") as caught:
            open_sqlite(path)
        assert "PostgreSQL" in caught.value.hint
        holder.kill()
        holder.wait()
    open_sqlite(path).close()


def test_a_lock_that_is_just_given_up_can_be_waited_for(tmp_path: Path) -> None:
    """Who follows a process that was killed waits until the system has taken its lock away, and no
    longer than was said (reliability D3)."""
    path = tmp_path / "views.db"
    holder = open_sqlite(path)
    with pytest.raises(StoreUnavailable, match="is locked by"):
        open_sqlite(path, lock_wait_s=0.05)
    threading.Timer(0.05, holder.close).start()
    open_sqlite(path, lock_wait_s=30).close()


def test_closing_lets_the_next_one_in(tmp_path: Path) -> None:
    """A closed database can be opened again, also by the same process."""
    for _ in range(2):
        open_sqlite(tmp_path / "log.db").close()


def test_a_failed_opening_leaves_no_lock(tmp_path: Path) -> None:
    """A file that is no database is refused, and the lock does not stay with it."""
    path = tmp_path / "log.db"
    path.write_bytes(b"not a database" * 100)
    for _ in range(2):
        with pytest.raises(Exception, match="not a database"):
            open_sqlite(path)


def test_readers_cannot_write(sqlite_database: Database, sqlite_path: Path) -> None:
    """The read connections refuse to change anything, and need no lock (D3)."""
    with pytest.raises(StoreUnavailable), sqlite_database.reading() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    beside = read_engine(sqlite_path)
    with beside.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM logs")).scalar_one() == 0
    beside.dispose()


@pytest.mark.postgres
def test_postgres_readers_cannot_write(postgres_database: Database) -> None:
    """PostgreSQL's read connections refuse to change anything either."""
    with pytest.raises(InternalError, match="read-only"), postgres_database.reading() as connection:
        connection.execute(text("CREATE TABLE t (x integer)"))


@pytest.mark.postgres
def test_postgres_sessions_have_time_limits(postgres_database: Database) -> None:
    """A parked session cannot hold an account's lock for long, and commits are flushed (P3, D1)."""
    with postgres_database.writing() as connection:
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar_one() != "0"
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == (
            "read committed"
        )


def test_a_reader_keeps_its_snapshot(sqlite_database: Database) -> None:
    """What is committed during a read is not seen by it (P4)."""
    with sqlite_database.writing() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    with sqlite_database.reading() as reader:
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
        with sqlite_database.writing() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
        assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0


def test_an_error_in_the_block_rolls_back(database: Database) -> None:
    """Nothing of a transaction stays when its block raises (I-9)."""
    name = f"t{os.urandom(8).hex()}"
    create = text(f"CREATE TABLE {name} (x integer)")

    def create_and_fail() -> None:
        with database.writing() as connection:
            connection.execute(create)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    with database.writing() as connection:
        connection.execute(create)
        connection.execute(text(f"DROP TABLE {name}"))


def test_our_own_bugs_are_not_called_unavailable(database: Database) -> None:
    """A broken constraint is no fault of the world and passes through untranslated."""
    insert = text("INSERT INTO users (id) VALUES (NULL)")
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(insert)


def test_the_write_ahead_log_stays_bounded(sqlite_database: Database) -> None:
    """A writer that never asks for a checkpoint still cannot let the log grow for ever (I-21)."""
    with sqlite_database.writing() as connection:
        connection.execute(text("CREATE TABLE t (x)"))
    chunk = WAL_CHECKPOINT_BYTES // 2
    for _ in range(10):
        with sqlite_database.writing() as connection:
            connection.execute(text("DELETE FROM t"))
            connection.execute(text("INSERT INTO t VALUES (zeroblob(:size))"), {"size": chunk})
        assert sqlite_database.wal_bytes() < 4 * WAL_CHECKPOINT_BYTES
    sqlite_database.checkpoint(empty=True)
    assert sqlite_database.wal_bytes() == 0


def test_an_open_reader_only_postpones_the_checkpoint(sqlite_database: Database) -> None:
    """Emptying the log beside a reader raises nothing and works once the reader has gone."""
    with sqlite_database.reading() as reader:
        reader.execute(text("SELECT count(*) FROM logs"))
        with sqlite_database.writing() as connection:
            connection.execute(text("CREATE TABLE t (x)"))
        sqlite_database.checkpoint(empty=False)
        assert sqlite_database.wal_bytes() > 0
    sqlite_database.checkpoint(empty=True)
    assert sqlite_database.wal_bytes() == 0


def test_locations_choose_the_database(tmp_path: Path) -> None:
    """A path opens SQLite, a PostgreSQL address opens PostgreSQL, anything else is misuse."""
    with closing(open_database(str(tmp_path / "log.db"))) as database:
        assert database.exclusive
    with closing(open_database("postgresql://nobody@nowhere/none")) as database:
        assert not database.exclusive
        assert (database.wal_bytes(), database.path) == (0, None)
        database.checkpoint(empty=True)
    with pytest.raises(MisuseError):
        open_database("mysql://somewhere")
    with pytest.raises(MisuseError):
        open_postgres("postgresql+asyncpg://somewhere")


def test_an_unreachable_server_is_unavailable() -> None:
    """Without a PostgreSQL at the address the answer is "unavailable", to be tried again."""
    address = "postgresql://nobody@/none?host=/nonexistent"
    with (
        closing(open_postgres(address)) as database,
        pytest.raises(StoreUnavailable),
        database.reading(),
    ):
        pass
