"""How the events of a stretch of a log were written, for whoever freezes what they came to.

Documents keep of an event what matters to them; the rest is in the log only. It is read once for a
layer, into a database that lives as long as the layer is made: on the disk where it is large, so
that an account of a million events takes no more memory than a small one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import msgspec

from replica.events.event import HASH_BYTES, AccountId, Position, event_id
from replica.events.ports import Log, walk
from replica.events.record import raw_records
from replica.store.statements import chunked
from replica.sync.frozen import Writing

_SCHEMA = """
    PRAGMA journal_mode = OFF;
    PRAGMA cache_size = -16384;
    CREATE TABLE writings (
        id BLOB NOT NULL, device BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
        version INTEGER NOT NULL, deps BLOB NOT NULL, stamp BLOB NOT NULL
    );
"""


class _Envelope(msgspec.Struct, array_like=True, gc=False):
    """The fields of an event up to its payload. The door has checked it: what is wrong with it is
    found when its id does not come out, and then the id is told."""

    format: int
    account: bytes
    device: bytes
    epoch: int
    seq: int
    prev: bytes
    stamp: bytes
    kind: str
    version: int
    deps: tuple[bytes, ...]


_decode = msgspec.msgpack.Decoder(_Envelope).decode


@contextmanager
def written(
    log: Log, account: AccountId, after: Position, through: Position
) -> Iterator[LogWritings]:
    """What the log says of its events after ``after``, up to ``through`` or a little further."""
    with closing(sqlite3.connect("")) as database:  # private, and gone when it is closed
        database.executescript(_SCHEMA)
        for segment in walk(log, account, after):
            if segment.first > through:
                break
            rows = [
                (event_id(data), e.device, e.epoch, e.seq, e.version, b"".join(e.deps), e.stamp)
                for data, _, _ in raw_records(segment)
                for e in [_decode(data)]
            ]
            database.executemany("INSERT INTO writings VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        database.execute("CREATE INDEX by_id ON writings (id)")
        yield LogWritings(account, database)


class LogWritings:
    """``Writings`` of a stretch of a log."""

    def __init__(self, account: AccountId, database: sqlite3.Connection) -> None:
        self.account = account
        self._database = database

    def of(self, ids: Sequence[bytes]) -> Mapping[bytes, Writing]:
        """By id; those of other stretches are missing."""
        found: dict[bytes, Writing] = {}
        for some in chunked(ids):
            marks = ",".join("?" * len(some))
            for identity, device, epoch, seq, version, deps, stamp in self._database.execute(
                f"SELECT * FROM writings WHERE id IN ({marks})",  # noqa: S608 - only marks
                some,
            ):
                causes = tuple(deps[at : at + HASH_BYTES] for at in range(0, len(deps), HASH_BYTES))
                found[identity] = Writing(device, epoch, seq, version, causes, stamp)
        return found
