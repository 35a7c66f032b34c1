"""Opening what a server keeps: the log, the read models, and a ledger per sink.

On SQLite three kinds of files in the data directory (decision 0003), on PostgreSQL one database
for everything. Opening is exclusive on SQLite: a second process is refused, not tolerated.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine

from replica.errors import StoreFailed, StoreUnavailable
from replica.events.event import UUID_BYTES, AccountId
from replica.projections.tables import open_views
from replica.server.config import Config
from replica.store import migrations
from replica.store.access import SALT_BYTES, NewUser, Role
from replica.store.control import Control
from replica.store.engine import Database, open_postgres, open_sqlite, read_engine
from replica.store.sql import SqlLog

LOG_FILE = "log.db"
VIEWS_FILE = "views.db"
PASSWORD_BYTES = 15


class Stores:
    """The open databases of one process. Close when done.

    ``on_failed`` hears of the first I/O error of each, in any thread: end the process (D4).
    ``views`` has another process open the read models for writing; here they are only read then.
    """

    def __init__(self, config: Config, *, views: Callable[[Config], None] | None = None) -> None:
        self.on_failed: Callable[[StoreFailed], object] = lambda _: None
        self._config = config
        self._closing = ExitStack()
        self._ledgers: dict[str, Database] = {}
        try:
            self.database = self._open(LOG_FILE)
            fresh = migrations.current(self.database) is None
            if fresh:
                migrations.upgrade(self.database)
            migrations.check(self.database)
            self.views = self._open_views(views)
        except BaseException:
            self._closing.close()
            raise
        self.log = SqlLog(self.database)
        self.control = Control(self.database)

    def ledger(self, sink: str) -> Engine:
        """Durable storage of a sink's own."""
        if sink not in self._ledgers:
            self._ledgers[sink] = self._open(f"ledger-{sink}.db")
        return self._ledgers[sink].write

    def close(self) -> None:
        """Close every connection and let the next process in."""
        self._closing.close()

    def _tell(self, error: StoreFailed) -> None:
        self.on_failed(error)

    def _open(self, name: str) -> Database:
        if not self._config.database_url:
            return self._keep(open_sqlite(self._config.data / name))
        if hasattr(self, "database"):
            return self.database
        return self._keep(open_postgres(self._config.database_url))

    def _open_views(self, elsewhere: Callable[[Config], None] | None) -> Database:
        if elsewhere is not None:
            elsewhere(self._config)
        if self._config.database_url:  # one database, and one pool of connections, for everything
            if elsewhere is None:
                open_views(self.database.write)
            return self.database
        if elsewhere is None:
            return self._keep(open_views_alone(self._config))
        return self._keep(open_reading(self._config, views=True))

    def _keep(self, database: Database) -> Database:
        database.on_failed = self._tell
        self._closing.callback(database.close)
        return database


def open_log(config: Config) -> Database:
    """The log's database for writing, alone. Migrations may not have run. Close it."""
    if config.database_url:
        return open_postgres(config.database_url)
    return open_sqlite(config.data / LOG_FILE)


def open_views_alone(config: Config, *, lock_wait_s: float = 0) -> Database:
    """The read models for writing, their tables made. Close it. On SQLite it is had alone, after
    ``lock_wait_s`` at most."""
    if config.database_url:
        database = open_postgres(config.database_url)
    else:
        path = config.data / VIEWS_FILE
        database = open_sqlite(path, profile="rebuildable", lock_wait_s=lock_wait_s)
    try:
        open_views(database.write)
    except BaseException:
        database.close()
        raise
    return database


def open_reading(config: Config, *, views: bool = False) -> Database:
    """A database for reading beside a running server. Close it.

    Raises ``StoreUnavailable`` when there is none.
    """
    if config.database_url:
        return open_postgres(config.database_url)
    path = config.data / (VIEWS_FILE if views else LOG_FILE)
    if not path.exists():
        raise StoreUnavailable(f"there is no {path.name} here", hint="run `replica init`")
    engine = read_engine(path)
    return Database(write=engine, read=engine, path=path)


def log_file(config: Config) -> Path:
    """The SQLite file of the log; meaningless with a database URL."""
    return config.data / LOG_FILE


class FirstUser(NamedTuple):
    """Who may sign in first. ``password`` is empty when the operator chose it."""

    account: AccountId
    account_name: str
    login: str
    password: str

    def __repr__(self) -> str:
        return f"FirstUser(login={self.login!r})"


def make_first_account(
    control: Control, config: Config, now_ms: Callable[[], int]
) -> FirstUser | None:
    """The first account and its owner; None when there is an account already.

    A password that was made up here is in the answer once, for the operator's eyes, and is stored
    as a hash alone.
    """
    if control.accounts():
        return None
    password = config.admin_password or secrets.token_urlsafe(PASSWORD_BYTES)
    account = AccountId(secrets.token_bytes(UUID_BYTES))
    owner = new_user(config.admin, password, Role.OWNER)
    control.create_account(account, config.account, owner=owner, now_ms=now_ms())
    shown = "" if config.admin_password else password
    return FirstUser(account, config.account, config.admin, shown)


def new_user(login: str, password: str, role: Role) -> NewUser:
    """A user with a fresh id and salt."""
    return NewUser(
        id=secrets.token_bytes(UUID_BYTES),
        login=login,
        password=password,
        salt=secrets.token_bytes(SALT_BYTES),
        role=role,
    )
