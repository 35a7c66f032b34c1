"""Opening the ledger, tidying it, and holding an account for one cycle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from sqlalchemy import Engine, func, select

from qbo_sink.migrations import LEDGER
from qbo_sink.rows import reading, writing


def open_ledger(engine: Engine) -> None:
    """Bring the tables to this program's version. The engine commits durably; who opened it saw to
    that. Raises ``StoreUnavailable`` when a newer program has written the ledger."""
    with writing(engine) as connection:
        LEDGER.upgrade(connection)


def tidy(engine: Engine) -> None:
    """Copy SQLite's write-ahead log back into the file; nothing on a server."""
    if engine.dialect.name != "sqlite":
        return
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        raw.close()


@contextmanager
def lease(engine: Engine, account: bytes) -> Iterator[bool]:
    """Whether this process alone runs the cycle of ``account`` while the block lasts.

    On PostgreSQL an advisory lock, which ends with its connection; an SQLite ledger is open in
    one process only (reliability I-25).
    """
    if engine.dialect.name != "postgresql":
        yield True
        return
    number = int.from_bytes(sha256(b"qbo cycle" + account).digest()[:8], signed=True)
    with reading(engine) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        mine = bool(connection.scalar(select(func.pg_try_advisory_lock(number))))
        try:
            yield mine
        finally:
            if mine:
                connection.execute(select(func.pg_advisory_unlock(number)))
