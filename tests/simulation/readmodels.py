"""The product's own read models under a world: the projector and its tables, in SQL.

One database serves all worlds of a process, one after the other.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from sqlalchemy import delete, select

from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.events.event import AccountId, Position
from replica.events.record import Record, Segment
from replica.projections import tables as t
from replica.projections.runner import Projector
from replica.store.engine import Database, open_sqlite
from tests.simulation.disk import ACCOUNT, DiskLog
from tests.simulation.fuse import PowerCut

ID = AccountId(ACCOUNT)
STEP_BYTES = 900  # so that a small log takes many steps


class ReadModels(Protocol):
    """What a world needs of its read models."""

    @property
    def documents(self) -> Mapping[DocKey, Document]: ...
    @property
    def position(self) -> int: ...
    def sections(self) -> Sequence[SectionTotal]: ...
    def drop(self) -> None: ...
    def check(self) -> None: ...
    def catch_up(self, through_position: int | None = None) -> None: ...


@cache
def database() -> Database:
    folder = TemporaryDirectory()
    database = open_sqlite(Path(folder.name) / "views.db", profile="rebuildable")
    t.open_views(database.write)
    atexit.register(folder.cleanup)
    atexit.register(database.close)
    return database


class _Until:
    """The log up to a position: what a process had seen of it when it stopped."""

    def __init__(self, log: DiskLog) -> None:
        self._log = log
        self.until: int | None = None

    def read(self, account: AccountId, after: Position, limit_bytes: int) -> list[Segment]:
        page = self._log.read(account, after, limit_bytes)
        return [one for one in page if self.until is None or one.last <= self.until]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


class SqlViews:
    """The projector, step by small step. ``cut_in`` records from now its process dies."""

    def __init__(self, log: DiskLog) -> None:
        self._log = _Until(log)
        self._views = database()
        self.cut_in = 0
        self.drop()

    def drop(self) -> None:
        with self._views.writing() as connection:
            for table in t.ACCOUNT_TABLES:
                connection.execute(delete(table))
        self.check()

    def check(self) -> None:
        """A new process: its first step, taken at once, looks whether the rows are of this log."""
        self._projector = Projector(self._views, self._log, fold=self._fold)
        self._projector.step(ID, STEP_BYTES)

    def _fold(
        self, documents: MutableMapping[DocKey, Document], record: Record
    ) -> Sequence[DocKey]:
        if self.cut_in:
            self.cut_in -= 1
            if not self.cut_in:
                raise PowerCut
        return fold(documents, record)

    def catch_up(self, through_position: int | None = None) -> None:
        self._log.until = through_position
        before = -1
        while (reached := self._projector.step(ID, STEP_BYTES)) != before:
            before = reached
        self._log.until = None

    @property
    def position(self) -> int:
        return self._projector.position(ID)

    @property
    def documents(self) -> Mapping[DocKey, Document]:
        c = t.documents.c
        with self._views.reading() as connection:
            rows = connection.execute(select(c.type, c.id, c.state).where(c.account == ID))
            keys = [(DocKey(kind, identity), bytes(state)) for kind, identity, state in rows]
        return {key: Document.decode(key, state) for key, state in keys}

    def sections(self) -> Sequence[SectionTotal]:
        return self._projector.digest(ID)[1]

    def rebuilt_equal(self) -> bool:
        """Whether every row of every table is the same when all is folded again."""
        before = self._dump()
        return self._projector.rebuild(ID).equal is not False and self._dump() == before

    def _dump(self) -> dict[str, list[tuple[Any, ...]]]:
        with self._views.reading() as connection:
            return {
                table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
                for table in t.ACCOUNT_TABLES
            }
