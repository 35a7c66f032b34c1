"""Slowing guesses down: each wrong try from a source makes the next one wait longer.

Kept in the database, so that restarting the server or asking another of its processes does not
start the count again (reliability S2, S4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, select

from replica.errors import Overloaded
from replica.limits import (
    LOGIN_TRIES_FREE,
    SOURCE_TRIES_FREE,
    TRY_FORGET_MS,
    TRY_WAIT_MS_MAX,
    TRY_WAIT_MS_MIN,
)
from replica.store.engine import Database
from replica.store.tables import tries


class Counter(NamedTuple):
    """One thing that is counted, and how many wrong tries it may have without waiting."""

    source: str
    free: int


def login_counters(login: str, source: str) -> tuple[Counter, ...]:
    """Counts of one login try. A login counts per source, so that strangers elsewhere cannot keep
    its owner out."""
    return (Counter(f"{source}|{login}", LOGIN_TRIES_FREE), Counter(source, SOURCE_TRIES_FREE))


def code_counters(source: str) -> tuple[Counter, ...]:
    """Counts of one claim of an enrolment code."""
    return (Counter(source, SOURCE_TRIES_FREE),)


def wait_ms(failures: int, free: int) -> int:
    """How long after the last failure the next try is taken: doubling, up to a bound."""
    if failures < free:
        return 0
    doublings = min(failures - free, TRY_WAIT_MS_MAX.bit_length())
    return min(TRY_WAIT_MS_MIN << doublings, TRY_WAIT_MS_MAX)


class Tries:
    """The counts. ``now_ms`` is the wall clock; one that was set back lets nobody wait longer than
    ``TRY_WAIT_MS_MAX``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, counters: Sequence[Counter], now_ms: int) -> None:
        """Raise ``Overloaded`` with the time to wait while one of the counters demands it."""
        free = {counter.source: counter.free for counter in counters}
        query = select(tries).where(tries.c.source.in_(list(free)))
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        left_ms = max(
            (row.last_ms + wait_ms(row.failures, free[row.source]) - now_ms for row in rows),
            default=0,
        )
        if left_ms > 0:
            raise Overloaded("too many wrong tries", retry_after_ms=min(left_ms, TRY_WAIT_MS_MAX))

    def failed(self, counters: Sequence[Counter], now_ms: int) -> None:
        """Count a wrong try, and forget old ones."""
        count = self._database.insert(tries)
        count = count.on_conflict_do_update(
            index_elements=["source"],
            set_={"failures": tries.c.failures + 1, "last_ms": count.excluded.last_ms},
        )
        # In one order always, so that two transactions do not lock the rows crosswise.
        rows = [
            {"source": source, "failures": 1, "last_ms": now_ms}
            for source in sorted(counter.source for counter in counters)
        ]
        with self._database.writing() as connection:
            connection.execute(delete(tries).where(tries.c.last_ms < now_ms - TRY_FORGET_MS))
            connection.execute(count, rows)

    def succeeded(self, counters: Sequence[Counter]) -> None:
        """A right try clears the counts of this login from this source, not the source's own: one
        known password must not buy guesses at the others."""
        with self._database.writing() as connection:
            connection.execute(delete(tries).where(tries.c.source == counters[0].source))
