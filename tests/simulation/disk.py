"""Disks of the simulation: what is committed is durable, everything else is gone after a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import cache
from pathlib import Path

from replica.device.holding import Holding
from replica.device.journal import Identity, Journal
from replica.events.event import AccountId
from replica.events.ports import Aside, LogHead
from replica.store.memory import MemoryLog, _Account
from tests.simulation.fuse import Fuse
from tests.simulation.plain import PlainJournal, Tables

ACCOUNT = bytes(range(16))
LOG_ID = b"the-log-of-tests"


class MemoryJournal(Journal):
    """The product's journal with its database in memory; ``image`` is the disk."""

    def __init__(self, image: bytes, fuse: Fuse | None = None) -> None:
        self.path = Path("journal")
        self._failure = None
        self._fuse = fuse or Fuse()
        self._sql = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        if image:
            self._sql.deserialize(image)
        else:
            self._sql.execute("PRAGMA page_size = 1024")
            self._prepare()
        self._load()

    @contextmanager
    def commit(self) -> Iterator[None]:
        with super().commit():
            yield
            self._fuse.burn()
        self._fuse.burn()

    def append_one(self, row: tuple[int, int, bytes]) -> None:
        self._fuse.burn()
        super().append_one(row)
        self._fuse.burn()

    def image(self) -> bytes:
        """Everything committed, as a power cut would leave it."""
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")
        return self._sql.serialize()

    def rows(self) -> list[tuple[bytes, int | None, int, bytes, str]]:
        """(event, state, position, stamp, code) of every own event, as the tables hold them."""
        return self._sql.execute(
            "SELECT o.event, a.state, a.position, a.stamp, a.code FROM outbox o"
            " LEFT JOIN answer a ON a.n = o.n"
        ).fetchall()


Image = bytes | Tables
"""The disk of a phone: a database, or plain tables."""
Disk = MemoryJournal | PlainJournal


def disk_of(image: Image, fuse: Fuse | None = None) -> Disk:
    """The journal on a disk."""
    if isinstance(image, Tables):
        return PlainJournal(image, fuse)
    return MemoryJournal(image, fuse)


@cache
def enrolled(device: bytes, *, real: bool) -> Image:
    """The disk of a device that has just been enrolled."""
    journal = disk_of(b"" if real else Tables())
    holding = Holding(journal)
    holding.enrol(Identity(ACCOUNT, device, f"token-{device[0]}", f"phone {device[0]}", "sim://"))
    image = journal.image()
    holding.close()
    return image


class DiskLog(MemoryLog):
    """The log of an account, with backups. Each append is durable as a whole or did not happen."""

    def __init__(self) -> None:
        super().__init__(mint=lambda: LOG_ID)
        self.generation = 1
        self.appends = 0

    def head(self, account: AccountId) -> LogHead:
        state = self.state
        return LogHead(state.log_id, self.generation, state.position, state.chain)

    @property
    def state(self) -> _Account:
        return self._accounts.get(ACCOUNT) or self._account(ACCOUNT)

    def backup(self) -> _Account:
        """A copy of everything: segments and heads are immutable, their containers are not."""
        kept = copy(self.state)
        kept.segments, kept.heads = list(kept.segments), dict(kept.heads)
        kept.asides = dict(kept.asides)
        return kept

    def restore(self, kept: _Account, *, raised: bool) -> None:
        """Go back to ``kept``; an operator who follows the manual raises the generation."""
        self._accounts[ACCOUNT] = kept
        self.generation += raised

    @property
    def asides(self) -> list[tuple[bytes, int, Aside]]:
        """(device, epoch, what was kept aside), in no particular order."""
        return [
            (device, epoch, aside) for (device, epoch, _, _), aside in self.state.asides.items()
        ]

    @property
    def quarantined(self) -> set[bytes]:
        return {aside.id for _, _, aside in self.asides if aside.event}
