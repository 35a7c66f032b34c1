"""Runs of Sync Now that are on: remembered, so that a crash in the middle ends no run."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import delete, select

from replica.events.event import AccountId
from replica.store.engine import Database
from replica.store.tables import sync_runs


class OpenRun(NamedTuple):
    """A run that has begun. ``started_ms`` is the wall clock then, ``plan`` the one that somebody
    read before, in the words of whoever began the run."""

    account: AccountId
    run: str
    by: str
    started_ms: int
    plan: bytes | None = None


class OpenRuns:
    """The table of them. All calls block; raises as ``Database.writing``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, run: OpenRun) -> None:
        """Remember ``run`` in the place of whatever was on for its account."""
        with self._database.writing() as connection:
            connection.execute(delete(sync_runs).where(sync_runs.c.account == run.account))
            connection.execute(sync_runs.insert(), run._asdict())

    def end(self, run: OpenRun) -> None:
        """Forget it. Harmless when it is not there any more."""
        mine = (sync_runs.c.account == run.account, sync_runs.c.run == run.run)
        with self._database.writing() as connection:
            connection.execute(delete(sync_runs).where(*mine))

    def left(self) -> list[OpenRun]:
        """What was on when the last process ended, oldest first."""
        columns = [sync_runs.c[name] for name in OpenRun._fields]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(sync_runs.c.started_ms))
            return [OpenRun(AccountId(bytes(account)), *rest) for account, *rest in rows]
