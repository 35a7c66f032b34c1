"""Runs of Sync Now that are on, as a table."""

from __future__ import annotations

from replica.events.event import AccountId
from replica.store.engine import Database
from replica.store.runs import OpenRun, OpenRuns

ONE, OTHER = AccountId(bytes(16)), AccountId(bytes([1] * 16))


def test_what_was_on_is_known_after_a_restart(database: Database) -> None:
    """A run is remembered from its beginning to its end, one for each account, oldest first; the
    end of another run of the account does not end it (architecture.md §9)."""
    runs = OpenRuns(database)
    first, second = OpenRun(ONE, "r-1", "ana", 20), OpenRun(OTHER, "r-2", "bo", 10)
    runs.begin(first)
    runs.begin(second)
    assert OpenRuns(database).left() == [second, first]
    newer = OpenRun(ONE, "r-3", "ana", 30)
    runs.begin(newer)
    runs.end(first)
    assert runs.left() == [second, newer]
    runs.end(second)
    runs.end(newer)
    assert runs.left() == []
