"""Reads a server's log with code of its own and holds it against what devices were told.

No module of the product is used: SQLite, msgpack and SHA-256 alone. It reads on from where it was,
so that a look after every cycle costs what the cycle wrote; before that it makes sure that what it
read earlier is still there.
"""

from __future__ import annotations

from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgpack
from pysqlite3 import dbapi2 as sqlite

ACCEPTED = "ACKNOWLEDGED"


class Broken(AssertionError):
    """A promise was not kept; the text begins with its number."""


def demand(holds: object, text: str) -> None:
    if not holds:
        raise Broken(text)


class Ledger:
    """What the world was told. ``answered`` maps event ids to log positions, ``written`` the
    customers of the office."""

    def __init__(self) -> None:
        self.saved: set[bytes] = set()
        self.answered: dict[bytes, int] = {}
        self.written: dict[str, int] = {}

    @property
    def size(self) -> int:
        """How much was told."""
        return len(self.saved) + len(self.answered) + len(self.written)

    def hear(self, what: tuple[Any, ...]) -> None:
        """Note one message of a device or of the office."""
        match what:
            case ("saved", ids):
                self.saved.update(ids)
            case ("answered", rows):
                for identity, position, state in rows:
                    demand(state == ACCEPTED, f"I-1: a good event was {state.lower()}")
                    known = self.answered.setdefault(identity, position)
                    demand(known == position, f"I-4: told {known}, then {position} of one event")
            case ("written", customer, position):
                self.written[str(customer)] = int(position)


class LogAuditor:
    """The log of the one account in ``path``. Call :meth:`look` as often as wanted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0
        self.ids: dict[bytes, int] = {}
        self.customers: dict[int, str] = {}  # where each was created
        self._chain = bytes(32)
        self._account = b""
        self._ends: dict[tuple[bytes, int], tuple[int, bytes]] = {}

    def look(self, *, whole: bool = False) -> None:
        """Read what is new, or everything anew. Raises :class:`Broken`."""
        if whole:
            vars(self).update(vars(LogAuditor(self._path)))
        with closing(sqlite.connect(self._path)) as connection:
            connection.execute("BEGIN")
            self._look(connection)

    def check(self, ledger: Ledger, *, settled: bool = False) -> None:
        """Everything answered stands where it was said to stand; with ``settled`` everything saved
        was answered too."""
        for identity, position in ledger.answered.items():
            found = self.ids.get(identity)
            demand(found == position, f"I-1: acknowledged at {position}, found at {found}")
        for customer, position in ledger.written.items():
            there = self.customers.get(position)
            demand(there == customer, f"I-1: {customer} was written at {position}, not {there}")
        if settled:
            lost = ledger.saved - self.ids.keys()
            demand(not lost, f"I-1: {len(lost)} of {len(ledger.saved)} saved events are not there")

    def _look(self, connection: sqlite.Connection) -> None:
        query = "SELECT count(*) FROM sqlite_schema WHERE name = 'logs'"
        made = connection.execute(query).fetchone() == (1,)
        query = "SELECT account, position, chain FROM logs"
        heads = connection.execute(query).fetchall() if made else []
        if not heads:
            demand(not self.position, "I-1: the log is gone")
            return
        ((account, position, chain),) = heads
        self._still_there(connection, account)
        query = (
            "SELECT first, last, count, device, epoch, chain, records FROM segments"
            " WHERE account = ? AND last > ? ORDER BY last"
        )
        for row in connection.execute(query, (account, self.position)):
            self._segment(row)
        demand(self.position == position, f"I-4: ends at {self.position}, head says {position}")
        demand(self._chain == chain, "I-6: the head's chain hash is another")
        said = connection.execute("SELECT device, epoch, seq, hash FROM device_heads").fetchall()
        found = {(device, epoch): (seq, end) for device, epoch, seq, end in said}
        demand(found == self._ends, "I-5: the heads of the devices do not fit the log")

    def _still_there(self, connection: sqlite.Connection, account: bytes) -> None:
        demand(self._account in (b"", account), "I-6: another account")
        self._account = account
        if self.position:
            query = "SELECT chain FROM segments WHERE account = ? AND last = ?"
            row = connection.execute(query, (account, self.position)).fetchone()
            demand(row == (self._chain,), f"I-6: what stood at {self.position} was rewritten")

    def _segment(self, row: tuple[Any, ...]) -> None:
        first, last, count, device, epoch, chain, records = row
        demand(first == self.position + 1, f"I-4: a gap before position {first}")
        unpacker = msgpack.Unpacker()
        unpacker.feed(records)
        for data, _, _ in unpacker:
            self.position += 1
            identity = sha256(data).digest()
            demand(identity not in self.ids, f"I-2: position {self.position} was there before")
            self.ids[identity] = self.position
            self._chain = sha256(self._chain + identity).digest()
            self._link(msgpack.unpackb(data), identity, (device, epoch))
        demand(self.position == last == first + count - 1, f"I-4: the segment at {first} miscounts")
        demand(self._chain == chain, f"I-6: the chain breaks at {last}")

    def _link(self, event: list[Any], identity: bytes, chain: tuple[bytes, int]) -> None:
        demand((event[2], event[3]) == chain, f"I-7: another's event at {self.position}")
        seq, before = self._ends.get(chain, (0, bytes(32)))
        demand(event[4] == seq + 1, f"I-5: seq {event[4]} follows {seq}")
        demand(event[5] == before, f"I-5: seq {event[4]} does not name the event before it")
        self._ends[chain] = (seq + 1, identity)
        if event[7] == "customer.created":
            self.customers[self.position] = msgpack.unpackb(event[10])["customer"]


def check_pages(path: Path) -> None:
    """SQLite finds nothing wrong with the file (I-22)."""
    with closing(sqlite.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    demand(verdict == "ok", f"I-22: {path.name}: {verdict}")
