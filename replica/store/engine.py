"""Opening a database so that a commit means "on disk" and only one writer writes.

SQLite (reliability D1-D3): WAL with ``synchronous=FULL``, one writer connection that says
``BEGIN IMMEDIATE``, readers on connections of their own that cannot write, no memory mapping, an
SQLite free of the WAL-reset race, and an operating-system lock against a second process.
PostgreSQL: short sessions with time limits, and no session that commits without flushing.

Everything in ``replica`` that keeps rows opens its database here and uses :meth:`Database.writing`
and :meth:`Database.reading`, which speak the errors of :mod:`replica.errors`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    QueuePool,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from replica.errors import MisuseError, ReplicaError, StoreFailed, StoreUnavailable
from replica.limits import (
    POOL_WAIT_MS_MAX,
    POSTGRES_CONNECTIONS_MAX,
    POSTGRES_IDLE_IN_TRANSACTION_MS_MAX,
    POSTGRES_LOCK_MS_MAX,
    POSTGRES_STATEMENT_MS_MAX,
    READ_CONNECTIONS_MAX,
    SQLITE_BUSY_MS,
    SQLITE_STATEMENTS_PREPARED,
    WAL_CHECKPOINT_BYTES,
)
from replica.store.faults import translate
from replica.store.lock import ProcessLock

Profile = Literal["durable", "rebuildable"]
"""``durable``: every commit is flushed. ``rebuildable``: the newest commits may be lost with the
power, never torn; only for what can be folded again from the log."""

SQLITE_VERSION_MIN = (3, 51, 3)
"""Below, two connections can corrupt a WAL database silently (reliability D2)."""

_WRITE_CACHE_KIB = 16_384
_READ_CACHE_KIB = 4_096


@dataclass
class Database:
    """One database, opened for writing and for reading.

    ``path`` is the SQLite file, None on a server. ``exclusive`` says that no other process can
    write while this object is open, which is what makes remembering heads between commits safe.
    ``on_failed`` hears of the first I/O error, in the thread that met it: end the process (D4).
    """

    write: Engine
    read: Engine
    path: Path | None = None
    exclusive: bool = False
    failed: bool = False
    on_failed: Callable[[StoreFailed], object] = field(default=lambda _: None, repr=False)
    _lock: ProcessLock | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # Sinks keep their ledgers through the bare engine: a failed disk is theirs too.
        event.listen(self.write, "handle_error", self._judge)
        event.listen(self.write, "begin", self._refuse)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One durable transaction: committed when the block ends, rolled back when it raises.

        Raises ``StorageFull`` or ``StoreUnavailable`` (rolled back, retry) and ``StoreFailed``
        after an I/O error; from then on every call raises ``StoreFailed``, because a later commit
        would pretend that the earlier one had reached the disk (reliability D4).
        """
        with self._translated(), self.write.begin() as connection:
            yield connection
        if self.wal_bytes() > 2 * WAL_CHECKPOINT_BYTES:
            # For writers that never call `checkpoint`. The transaction is committed: no room to
            # copy it back is no reason to tell its author that it failed.
            with suppress(StoreUnavailable):
                self.checkpoint(empty=False)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One snapshot. Keep it short: on SQLite an open one keeps the write-ahead log growing."""
        with self._translated(), self.read.connect() as connection:
            yield connection

    def insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert of this database's dialect, for the sake of its ``ON CONFLICT``."""
        if self.path is None:
            return postgresql.insert(table)
        return sqlite.insert(table)

    def checkpoint(self, *, empty: bool) -> None:
        """Copy SQLite's write-ahead log back into the file; does nothing on a server.

        Run by the writer (D3) and not by SQLite itself, which would swallow an I/O error here.
        ``empty`` also truncates it, for which readers have to be gone: best effort, ask again.
        """
        if self.path is None:
            return
        with self._translated():
            raw = self.write.raw_connection()
            try:
                mode = "TRUNCATE" if empty else "PASSIVE"
                raw.cursor().execute(f"PRAGMA wal_checkpoint({mode})")
            except self.write.dialect.loaded_dbapi.Error as error:
                raise DBAPIError.instance(
                    "wal_checkpoint", None, error, self.write.dialect.loaded_dbapi.Error
                ) from error
            finally:
                raw.close()

    def wal_bytes(self) -> int:
        """Size of the write-ahead log on disk; 0 on a server."""
        if self._wal is None:
            return 0
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    @cached_property
    def _wal(self) -> Path | None:
        return None if self.path is None else self.path.with_name(self.path.name + "-wal")

    def close(self) -> None:
        """Close every connection and let the next process in."""
        self.read.dispose()
        self.write.dispose()
        if self._lock is not None:
            self._lock.release()

    def _judge(self, context: ExceptionContext) -> None:
        if isinstance(context.sqlalchemy_exception, DBAPIError):
            self._note(translate(context.sqlalchemy_exception))

    def _note(self, error: ReplicaError | None) -> None:
        if isinstance(error, StoreFailed) and not self.failed:
            self.failed = True
            self.on_failed(error)

    def _refuse(self, _: object = None) -> None:
        if self.failed:
            raise StoreFailed("the store stopped after an earlier I/O error")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        self._refuse()
        try:
            yield
        except DBAPIError as error:
            ours = translate(error)
            if ours is None:
                raise
            self._note(ours)
            raise ours from error
        except PoolTimeout as error:
            raise StoreUnavailable("no free database connection") from error


def open_database(location: str, *, profile: Profile = "durable") -> Database:
    """Open ``postgresql+psycopg://…`` or the path of an SQLite file; raises as the two below."""
    if location.startswith("postgresql"):
        return open_postgres(location)
    if "://" in location:
        raise MisuseError(f"no support for databases of the kind {location.partition(':')[0]}")
    return open_sqlite(Path(location), profile=profile)


# SQLite ----------------------------------------------------------------------------------------


def sqlite_module() -> ModuleType:
    """The newest SQLite in reach: ``pysqlite3`` brings its own, else the standard library's."""
    try:
        from pysqlite3 import dbapi2  # noqa: PLC0415  optional: not on every platform
    except ImportError:
        return sqlite3
    return dbapi2  # type: ignore[no-any-return]


def open_sqlite(
    path: Path,
    *,
    profile: Profile = "durable",
    module: ModuleType | None = None,
    connect_args: Mapping[str, Any] | None = None,
    lock_wait_s: float = 0,
) -> Database:
    """Open or create ``path`` for this process alone.

    Raises ``StoreUnavailable`` with a hint when the SQLite library is too old, another process
    holds the file for longer than ``lock_wait_s``, or it cannot be opened. Close the result to let
    the next process in.
    """
    module = module or sqlite_module()
    refuse_old_sqlite(module)
    lock = _claim_file(path, lock_wait_s)
    write = _sqlite_engine(path, module, 1, "BEGIN IMMEDIATE", connect_args)
    _on_connect(
        write,
        f"PRAGMA synchronous={'FULL' if profile == 'durable' else 'NORMAL'}",
        "PRAGMA fullfsync=ON",  # a plain fsync on macOS stops at the drive's cache
        "PRAGMA foreign_keys=ON",
        # Checkpoints are ours (Database.checkpoint). Most of the emptied log is kept: overwriting
        # blocks that exist flushes faster than growing a file.
        "PRAGMA wal_autocheckpoint=0",
        f"PRAGMA journal_size_limit={WAL_CHECKPOINT_BYTES * 3 // 4}",
        f"PRAGMA cache_size=-{_WRITE_CACHE_KIB}",
    )
    database = Database(write, read_engine(path, module=module), path, exclusive=True, _lock=lock)
    try:
        _require_wal(database)
    except BaseException:
        database.close()
        raise
    return database


def _claim_file(path: Path, wait_s: float) -> ProcessLock:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = ProcessLock(path.with_name(path.name + ".lock"), wait_s=wait_s)
        # SQLite gives its side files the mode of the database file, so this covers all of them.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        # A commit is worth nothing when the file's name is lost with the power.
        flush(path.parent)
        flush(path.parent.parent)
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be opened: {error.strerror}",
            hint="check that the data directory exists and belongs to the server's user",
        ) from error
    return lock


def flush(path: Path) -> None:
    """Make a file, or the names in a directory, survive a power loss."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _require_wal(database: Database) -> None:
    with database.writing() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal":
        raise StoreUnavailable(
            f"the database cannot use a write-ahead log (its mode is {mode})",
            hint="put the data directory on a local file system",
        )


def read_engine(path: Path, *, module: ModuleType | None = None) -> Engine:
    """Connections that cannot write, also beside a running server. Dispose of it when done."""
    engine = _sqlite_engine(path, module or sqlite_module(), READ_CONNECTIONS_MAX, "BEGIN", None)
    _on_connect(engine, f"PRAGMA cache_size=-{_READ_CACHE_KIB}", "PRAGMA query_only=ON")
    return engine


def refuse_old_sqlite(module: ModuleType) -> None:
    """Raise ``StoreUnavailable`` unless ``module`` links an SQLite without the WAL-reset race."""
    version: tuple[int, ...] = module.sqlite_version_info
    if version < SQLITE_VERSION_MIN:
        needed = ".".join(map(str, SQLITE_VERSION_MIN))
        raise StoreUnavailable(
            f"SQLite {module.sqlite_version} can corrupt a database in WAL mode",
            hint=f"install pysqlite3 (pip install 'pysqlite3>=0.6.1') or SQLite {needed} or newer",
        )


def _sqlite_engine(
    path: Path,
    module: ModuleType,
    connections: int,
    begin: str,
    connect_args: Mapping[str, Any] | None,
) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        module=module,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=POOL_WAIT_MS_MAX / 1_000,
        connect_args={
            "timeout": SQLITE_BUSY_MS / 1_000,
            "cached_statements": SQLITE_STATEMENTS_PREPARED,
            **(connect_args or {}),
        },
    )

    @event.listens_for(engine, "connect")
    def manual_transactions(connection: Any, _record: object) -> None:
        # The driver's own handling opens no transaction before reads and a deferred one before
        # writes; both are wrong here (reliability D3).
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    # Mapped pages turn an I/O error into a signal and were part of a known corruption (D2).
    _on_connect(engine, "PRAGMA journal_mode=WAL", "PRAGMA mmap_size=0")
    return engine


def _on_connect(engine: Engine, *statements: str) -> None:
    @event.listens_for(engine, "connect")
    def run(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()


# PostgreSQL ------------------------------------------------------------------------------------


def open_postgres(location: str) -> Database:
    """Open a PostgreSQL database; several processes may. Connects on first use.

    Raises ``MisuseError`` for a driver other than psycopg.
    """
    url = make_url(location)
    if url.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise MisuseError(f"{url.drivername} is not supported, use postgresql+psycopg")
    url = url.set(drivername="postgresql+psycopg")
    return Database(_postgres_engine(url, "off"), _postgres_engine(url, "on"))


def _postgres_engine(url: URL, read_only: str) -> Engine:
    engine = create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_size=POSTGRES_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=POOL_WAIT_MS_MAX / 1_000,
    )

    @event.listens_for(engine, "connect")
    def limits(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET default_transaction_read_only = {read_only}")
        cursor.execute(f"SET lock_timeout = {POSTGRES_LOCK_MS_MAX}")
        cursor.execute(f"SET statement_timeout = {POSTGRES_STATEMENT_MS_MAX}")
        idle_ms = POSTGRES_IDLE_IN_TRANSACTION_MS_MAX
        cursor.execute(f"SET idle_in_transaction_session_timeout = {idle_ms}")
        # A server set to "off" would acknowledge before the disk has it (D1); stronger settings
        # than "on" are the operator's and stay.
        if cursor.execute("SHOW synchronous_commit").fetchone()[0] == "off":
            cursor.execute("SET synchronous_commit = on")
        cursor.close()
        connection.commit()

    return engine
