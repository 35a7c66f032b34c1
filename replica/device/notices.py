"""What happened to this device or its server that its user has to know, in sentences that stay.

A connection that ends with "forked" is over in a moment; that the device goes on as another life of
itself, or that the server forgot something and was told again, is to be read whenever the user
looks, until he puts it away. A notice is kept before what it tells is done, by a key: done again
after a crash, it is told once.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from replica.limits import NOTICES_KEPT_MAX

TABLE = """CREATE TABLE notice (
    n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, at_ms INTEGER NOT NULL,
    code TEXT NOT NULL, text TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0)"""


class Notice(NamedTuple):
    """One sentence. ``id`` is for :meth:`Device.dismiss`; ``code`` is forked, restored or renewed,
    for a program that has words of its own."""

    id: int
    at_ms: int  # device clock
    code: str
    text: str


class Said(NamedTuple):
    """A notice before it is kept; the same ``key`` is kept once."""

    key: str
    code: str
    text: str


def forked(life: int) -> Said:
    """The chain of this device went on somewhere else as well."""
    return Said(
        f"forked:{life}",
        "forked",
        "This device was copied, or put back to an older state. It goes on as its life number"
        f" {life}; nothing is lost.",
    )


def restored(log_id: bytes, generation: int, forgotten: int) -> Said:
    """The server's log has another history; ``forgotten`` own events are missing in it."""
    events = "1 event" if forgotten == 1 else f"{forgotten:,} events"
    again = "It had forgotten nothing of this device"
    if forgotten:
        again = f"It had forgotten {events} of this device, which it is told again"
    return Said(
        f"restored:{log_id.hex()}:{generation}",
        "restored",
        f"The server was restored from a backup. {again}; nothing is lost.",
    )


def said_again(life: int) -> Said:
    """The server has forgotten what an earlier life of this device has said."""
    return Said(
        f"again:{life}",
        "restored",
        "The server was restored from a backup and had forgotten earlier work of this device. It"
        f" is sent again by its life number {life}; nothing is lost.",
    )


def renewed(life: int) -> Said:
    """What was here could not be made equal to the server's."""
    return Said(
        f"renewed:{life}",
        "renewed",
        "What this device held was not the same as the server's, so everything was fetched again."
        f" It goes on as its life number {life}; nothing is lost.",
    )


class Notices:
    """The table of them, in the journal that ``sql`` is open on. One caller at a time."""

    def __init__(
        self, sql: sqlite3.Connection, commit: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._sql = sql
        self._commit = commit
        self.open = self._read()
        """Those that nobody put away, newest first."""

    def _read(self) -> tuple[Notice, ...]:
        rows = self._sql.execute(
            "SELECT n, at_ms, code, text FROM notice WHERE NOT seen ORDER BY n DESC"
        )
        return tuple(Notice(*row) for row in rows)

    def keep(self, said: Said, at_ms: int) -> None:
        """Keep one, durably; the oldest go when there are too many. Raises as
        :meth:`Journal.commit`."""
        with self._commit():
            self._sql.execute(
                "INSERT INTO notice (key, at_ms, code, text) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (key) DO NOTHING",
                (said.key, at_ms, said.code, said.text),
            )
            self._sql.execute(
                "DELETE FROM notice WHERE n <= (SELECT max(n) FROM notice) - ?", (NOTICES_KEPT_MAX,)
            )
            found = self._read()
        self.open = found

    def dismiss(self, identity: int) -> None:
        """The user has read it. Harmless when it is not there any more."""
        with self._commit():
            self._sql.execute("UPDATE notice SET seen = 1 WHERE n = ?", (identity,))
        self.open = tuple(one for one in self.open if one.id != identity)
