"""Every await of the real server is a place to die.

The same day runs again and again; in the n-th run the process dies at its n-th step, and another
one goes on over the log and the read models that it left (reliability I-1 … I-4, I-9, I-15).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import delete

from replica.events.ports import AppendRequest, AppendResult
from replica.projections.runner import Projector
from replica.projections.tables import ACCOUNT_TABLES, open_views
from replica.store.engine import Database, open_sqlite
from tests.simulation.auditor import Broken
from tests.simulation.awaits import Log, Loop, deterministic, process
from tests.simulation.day import Day
from tests.simulation.memory import remembering
from tests.simulation.server import ID

SHARE = int(os.environ.get("AWAITS", "11"))  # one moment in so many; 1 for every one


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = open_sqlite(tmp_path_factory.mktemp("views") / "views.db", profile="rebuildable")
    open_views(database.write)
    try:
        yield database
    finally:
        database.close()


def live(day: Day, views: Database, die_at: int, start_s: float = 0.0) -> Loop:
    """One process over what is durable, until it dies or the day is over."""
    loop = Loop(die_at, start_s)
    with deterministic(loop):
        loop.live(day.live(process(day.log, views, day.tokens, loop), loop))
    return loop


def forget(views: Database) -> None:
    with views.writing() as connection:
        for table in ACCOUNT_TABLES:
            connection.execute(delete(table))


def check(day: Day, views: Database) -> None:
    """Nothing lost, nothing doubled, and the read models are those of the log (I-1, I-3, I-11)."""
    day.audit()
    projector = Projector(views, day.log)
    position, sections = projector.digest(ID)
    assert projector.rebuild(ID).equal
    assert position == day.log.head(ID).position
    for phone in day.phones:
        assert phone.holding.level().sections == sections


def test_a_day_has_the_same_steps_each_time(views: Database) -> None:
    """The loop is deterministic: the same script takes the same number of steps (I-30)."""
    counts = []
    for _ in range(3):
        forget(views)
        day = Day()
        counts.append(live(day, views, 0).steps)
        check(day, views)
    assert len(set(counts)) == 1
    assert counts[0] > 500


def die_and_go_on(views: Database, die_at: int, log: Log | None = None) -> bool:
    """A day whose first process dies at step ``die_at``; whether it did, and all was well."""
    forget(views)
    day = Day(log)
    first = live(day, views, die_at)
    if first.killed:
        day.log.killed()
        live(day, views, 0, first.time() + 1)
    check(day, views)
    return first.killed


def test_the_server_may_die_at_every_await(views: Database) -> None:
    """Wherever the process dies, the next one and the phones make up for it: each fact once, every
    acknowledged event there, all equal, and the read models those of the log."""
    forget(views)
    steps = live(Day(), views, 0).steps
    moments = range(1, steps, SHARE)
    with remembering():
        for die_at in moments:
            assert die_and_go_on(views, die_at), f"nobody died at step {die_at}"


class Unsynced(Log):
    """A planted bug: the last commit was not on the disk yet when it was answered."""

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        self.synced = self.backup()
        return super().append(requests)

    def killed(self) -> None:
        self.restore(self.synced, raised=False)


def test_an_answer_before_the_commit_is_found(views: Database) -> None:
    """The sweep can fail: with a log that loses its last commit it names what was lost (D1)."""
    found = []
    with remembering():
        for die_at in range(400, 0, -SHARE):
            try:
                die_and_go_on(views, die_at, Unsynced())
            except Broken as broken:
                found.append(str(broken))
                break
    assert found
    assert found[0].startswith("I-1")
