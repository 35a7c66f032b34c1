"""The device's own durable store: one SQLite file, one connection, one commit per user action.

What must never be lost and what can be fetched again lie in separate tables:

- ``outbox`` holds the device's own events, canonical bytes, for ever. Rows are added and never
  changed; its format is frozen, and no migration touches it (pitfalls P34).
- ``answer`` holds what became of them. Answers are a prefix of the outbox, so what is pending is
  what lies behind the last answer: no scan finds it, however long the device was alone.
- ``document``, ``sale``, ``total`` and ``place`` are the base: the fold of everything answered or
  received, and the cursor that says how far. They move together in one transaction (P49) and can
  be dropped and built again.

The last event of the outbox *is* the clock and the chain's end, so a failed append can leave
neither ahead of what is stored (P13).

SQLite before 3.51.3 can corrupt a file in WAL mode when two connections race in a checkpoint. The
version in the standard library may be older; here one connection in exclusive locking mode is all
there ever is, and a second process is turned away with ``InUse``.

Nothing in this module knows what an event or a document says. One caller at a time: the
:class:`~replica.device.device.Device` holds the lock.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from replica.device import notices
from replica.device.chain import Head, Made, head_after
from replica.errors import (
    CorruptionError,
    InUse,
    ReplicaError,
    StorageFull,
    StoreFailed,
    StoreUnavailable,
    UpgradeRequired,
)
from replica.events.clock import Stamp
from replica.events.event import HASH_BYTES, decode_event, event_id
from replica.limits import (
    JOURNAL_CACHE_KIB,
    JOURNAL_CATCH_UP_PAGES,
    JOURNAL_CHECKPOINT_PAGES,
    JOURNAL_READ_ROWS,
)

APPLICATION_ID = 0x5250_4C44  # "RPLD" in the header of the file: a journal, not any other database
_INSERT_OWN = "INSERT INTO outbox VALUES (?, ?, ?)"

# One tuple of statements per schema version, applied in order. Add, never edit: files in the
# field have run the earlier ones.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE outbox (
            n INTEGER PRIMARY KEY, numbers INTEGER NOT NULL, event BLOB NOT NULL)""",
        """CREATE TABLE life (
            first_n INTEGER PRIMARY KEY, device BLOB NOT NULL, epoch INTEGER NOT NULL)""",
        """CREATE TABLE answer (
            n INTEGER PRIMARY KEY, state INTEGER NOT NULL, position INTEGER NOT NULL,
            stamp BLOB NOT NULL, flags INTEGER NOT NULL, received_ms INTEGER NOT NULL,
            code TEXT NOT NULL, detail TEXT NOT NULL, document TEXT NOT NULL)""",
        "CREATE INDEX answer_document ON answer (document)",
        "CREATE INDEX answer_aside ON answer (state) WHERE state IN (2, 3)",
        """CREATE TABLE document (
            type TEXT NOT NULL, id TEXT NOT NULL, state BLOB NOT NULL, PRIMARY KEY (type, id))""",
        """CREATE TABLE sale (
            product TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, tag BLOB NOT NULL,
            qty_e3 INTEGER NOT NULL, PRIMARY KEY (product, type, id)) WITHOUT ROWID""",
        """CREATE TABLE total (
            section TEXT PRIMARY KEY, count INTEGER NOT NULL, digest BLOB NOT NULL)
            WITHOUT ROWID""",
        """CREATE TABLE identity (
            one INTEGER PRIMARY KEY CHECK (one = 1), account BLOB NOT NULL, device BLOB NOT NULL,
            token TEXT NOT NULL, name TEXT NOT NULL, url TEXT NOT NULL)""",
        """CREATE TABLE place (
            one INTEGER PRIMARY KEY CHECK (one = 1), log_id BLOB NOT NULL,
            generation INTEGER NOT NULL, cursor INTEGER NOT NULL, chain BLOB NOT NULL,
            reach INTEGER NOT NULL,
            fingerprint BLOB NOT NULL, skew_ms INTEGER NOT NULL, synced_ms INTEGER NOT NULL,
            proved_ms INTEGER NOT NULL)""",
        "INSERT INTO place VALUES (1, x'', 0, 0, zeroblob(32), 0, x'', 0, 0, 0)",
    ),
    ("CREATE TABLE resaid (n INTEGER PRIMARY KEY, by INTEGER NOT NULL)",),
    (
        """CREATE TABLE import (
            one INTEGER PRIMARY KEY CHECK (one = 1), manifest BLOB NOT NULL,
            done INTEGER NOT NULL)""",
    ),
    (
        "ALTER TABLE place ADD COLUMN scope INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE place ADD COLUMN scope_at INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE place ADD COLUMN stored_ms INTEGER NOT NULL DEFAULT 0",
    ),
    (notices.TABLE,),
)


class State(IntEnum):
    """What became of an own event, as the device remembers it."""

    PENDING = 0
    ACKNOWLEDGED = 1
    QUARANTINED = 2
    REFUSED = 3
    REMADE = 4  # said again under a new epoch; kept as evidence


class Identity(msgspec.Struct, frozen=True):
    """Who this device is and where it syncs. The token is a secret and never printed."""

    account: bytes
    device: bytes
    token: str
    name: str
    url: str

    def __repr__(self) -> str:
        return f"Identity(device={self.device.hex()}, name={self.name!r}, url={self.url!r})"


class Place(NamedTuple):
    """How far the base goes, in which history, and what was measured on the way."""

    log_id: bytes = b""
    generation: int = 0
    cursor: int = 0
    chain: bytes = bytes(HASH_BYTES)
    reach: int = 0  # highest position the base holds anything of; own events may lie ahead
    fingerprint: bytes = b""  # of the catalogue the base was folded with
    skew_ms: int = 0  # the device's clock minus the server's
    synced_ms: int = 0  # device clock when everything was last exchanged; 0 for never
    proved_ms: int = 0  # device clock when the digests were last compared and equal
    scope: int = 0  # version of the scope that the base is held by; 0: it holds everything
    scope_at: int = 0  # with a scope, the position that the base is as of (the cursor may differ)
    stored_ms: int = 0  # device clock when everything in scope was last stored

    @property
    def base_at(self) -> int:
        """The position that the documents are the fold of."""
        return self.scope_at if self.scope else self.cursor


class Life(NamedTuple):
    """One epoch of one device: its events are the rows from ``first_n`` on."""

    first_n: int
    device: bytes
    epoch: int


class Answer(NamedTuple):
    """The door's decision about outbox row ``n``, everything the fold needs of it."""

    n: int
    state: int
    position: int
    stamp: bytes
    flags: int
    received_ms: int
    code: str = ""
    detail: str = ""
    document: str = ""  # what the event is about


class OutboxRow(NamedTuple):
    """An own event and what is known of it; ``answer`` is None while it is pending."""

    n: int
    data: bytes
    answer: Answer | None

    @property
    def state(self) -> State:
        return State.PENDING if self.answer is None else State(self.answer.state)


class Journal:
    """Open with a path, close when done. All writing happens inside :meth:`commit`, but for the one
    row of a user's usual action (:meth:`append_one`)."""

    _checkpoint_pages = JOURNAL_CHECKPOINT_PAGES

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open or create the journal.

        Raises ``InUse`` when another process (or another ``Journal``) has it open,
        ``UpgradeRequired`` when a newer program wrote it, ``CorruptionError`` when the file is
        something else, ``StorageFull`` or ``StoreUnavailable`` when it cannot be made.
        """
        self.path = path
        self._failure: ReplicaError | None = None
        try:
            # The token lies inside: created for its owner alone; SQLite gives the WAL the same.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise StoreUnavailable(f"cannot open the journal: {error.strerror}") from error
        self._sql = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare()
            self._load()
        except sqlite3.Error as error:
            self._sql.close()
            raise self._translated(error) from error
        except ReplicaError:
            self._sql.close()
            raise

    def _prepare(self) -> None:
        run = self._sql.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        (mode,) = run("PRAGMA journal_mode = WAL").fetchone()
        if mode == "delete":  # SQLite goes on without one, and promises less after a power loss
            raise StoreUnavailable("the journal cannot have its write-ahead log; try again")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA mmap_size = 0")
        # A first sync touches the same pages of stock and totals in every transaction; with room
        # for some of them the file is rewritten less often. Durability does not depend on it.
        run(f"PRAGMA cache_size = -{JOURNAL_CACHE_KIB}")
        run(f"PRAGMA wal_autocheckpoint = {self._checkpoint_pages}")
        with self.commit():
            (version,) = run("PRAGMA user_version").fetchone()
            (application,) = run("PRAGMA application_id").fetchone()
            (tables,) = run("SELECT count(*) FROM sqlite_schema").fetchone()
            if tables and application != APPLICATION_ID:
                raise CorruptionError(f"{self.path} is a database, but no journal")
            if version > len(MIGRATIONS):
                raise UpgradeRequired(
                    f"the journal has schema {version}, this program knows {len(MIGRATIONS)}",
                    hint="install the newer program; nothing was changed",
                )
            for statements in MIGRATIONS[version:]:
                for statement in statements:
                    run(statement)
            run(f"PRAGMA application_id = {APPLICATION_ID}")
            run(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _load(self) -> None:
        run = self._sql.execute
        row = run("SELECT account, device, token, name, url FROM identity").fetchone()
        self.identity = Identity(*row) if row else None
        self.place = Place(
            *run(
                "SELECT log_id, generation, cursor, chain, reach, fingerprint, skew_ms, synced_ms,"
                " proved_ms, scope, scope_at, stored_ms FROM place"
            ).fetchone()
        )
        self.lives = [
            Life(*life)
            for life in run("SELECT first_n, device, epoch FROM life ORDER BY first_n").fetchall()
        ]
        last: tuple[int, int, bytes] | None = run(
            "SELECT n, numbers, event FROM outbox ORDER BY n DESC LIMIT 1"
        ).fetchone()
        self.last_n, self.numbers, last_event = last or (0, 0, b"")
        # Rows that were said again, corrected, by the row that did: evidence, no longer a worry.
        self.resaid: dict[int, int] = dict(run("SELECT n, by FROM resaid").fetchall())
        self.notices = notices.Notices(self._sql, self.commit)
        self.answered_n: int = run("SELECT coalesce(max(n), 0) FROM answer").fetchone()[0]
        self.head = Head(epoch=0)
        if not self.lives:
            return
        life = self.lives[-1]
        self.head = Head(life.epoch)
        if self.last_n < life.first_n:
            self.numbers = 0
        if last_event:
            event = decode_event(last_event)
            self.head = self.head._replace(stamp=Stamp(event.stamp))
            if self.last_n >= life.first_n:
                self.head = Head(event.epoch, event.seq, event_id(last_event), Stamp(event.stamp))

    def catch_up(self, behind: bool) -> None:
        """Fold the write-ahead log back seldom while much is taken in, often while a user works.

        A matter of speed alone: a full disk is left to the next commit.
        """
        pages = JOURNAL_CATCH_UP_PAGES if behind else JOURNAL_CHECKPOINT_PAGES
        if pages == self._checkpoint_pages:
            return
        self._checkpoint_pages = pages
        try:
            self._sql.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            if not behind:
                # Now and here, or the user's next action would wait for it.
                self._sql.execute("PRAGMA wal_checkpoint").fetchall()
        except sqlite3.Error as error:
            self._translated(error)  # notes when the file cannot be trusted any more

    def close(self) -> None:
        """Release the file. Safe to call twice."""
        self._sql.close()

    # Writing -----------------------------------------------------------------------------------

    @contextmanager
    def commit(self) -> Iterator[None]:
        """One durable transaction: when the block ends without an error, it is on disk.

        Raises ``StorageFull`` when there was no room (nothing was written, reads go on) and
        ``StoreFailed`` after an I/O error: then the outcome is unknown, this object accepts nothing
        more and the journal has to be opened again (reliability D4).
        """
        if self._failure is not None:
            raise self._failure
        try:
            self._sql.execute("BEGIN IMMEDIATE")
            yield
            self._sql.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise self._translated(error) from error
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        try:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
        except sqlite3.Error as error:
            self._failure = self._translated(error)

    def _translated(self, error: sqlite3.Error) -> ReplicaError:
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            return StorageFull(
                "no room left on this device; the work was not saved",
                hint="free some space and save again; everything saved before is safe",
            )
        if primary in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return InUse(f"{self.path} is open in another program")
        if primary in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            self._failure = StoreFailed(f"the journal cannot be trusted now: {error}")
            return self._failure
        return StoreUnavailable(f"the journal is not usable: {error}")

    def append(self, made: Sequence[Made], numbers: int, again: Sequence[int] = ()) -> None:
        """Store own events in one durable commit, all or none.

        ``numbers`` is the count of document numbers given out so far; ``again`` are the rows that
        the first of ``made`` say again, in the same order. Only after the commit do
        ``head``, ``last_n`` and ``numbers`` move.
        """
        first = self.last_n + 1
        if len(made) == 1 and not again:
            self.append_one((first, numbers, made[0].data))
        else:
            rows = [(first + index, numbers, one.data) for index, one in enumerate(made)]
            said_again = [(n, first + index) for index, n in enumerate(again)]
            with self.commit():
                self._sql.executemany(_INSERT_OWN, rows)
                self._sql.executemany("INSERT INTO resaid VALUES (?, ?)", said_again)
            self.resaid.update(said_again)
        self.last_n, self.numbers = self.last_n + len(made), numbers
        self.head = head_after(self.head, made)

    def append_one(self, row: tuple[int, int, bytes]) -> None:
        """As durable as a :meth:`commit`: SQLite makes a transaction of a statement that stands
        alone. Most actions of a user are one event, and two calls are saved."""
        if self._failure is not None:
            raise self._failure
        try:
            self._sql.execute(_INSERT_OWN, row)
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def begin(
        self,
        life: Life,
        *,
        identity: Identity,
        place: Place,
        old: Sequence[int] = (),
        made: Sequence[Made] = (),
        afresh: bool = False,
    ) -> None:
        """Start ``life``, whose ``first_n`` is ``last_n + 1``, in one commit.

        ``made`` are the events of the rows ``old`` said again under the new life; those rows are
        kept and marked remade (reliability D6). ``place`` is where the base stands from now on,
        which begins ``afresh`` or goes on.
        """
        rows = [(life.first_n + index, 0, one.data) for index, one in enumerate(made)]
        with self.commit():
            self.put_identity(identity)
            self.put_place(place)
            self._sql.execute("INSERT OR REPLACE INTO life VALUES (?, ?, ?)", life)
            self._sql.executemany(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, 0, x'', 0, 0, '', '', '')",
                [(n, State.REMADE) for n in old],
            )
            if not place.cursor:
                self.forget_places(life.first_n)
            if afresh:
                self.drop_base()
            self._sql.executemany(_INSERT_OWN, rows)
        self.identity, self.place = identity, place
        self.lives = [before for before in self.lives if before.first_n != life.first_n] + [life]
        self.answered_n = max([self.answered_n, *old])
        self.head = head_after(Head(life.epoch, stamp=self.head.stamp), made)
        self.last_n += len(made)
        self.numbers = 0

    # Inside a commit: the base moves ------------------------------------------------------------

    def put_identity(self, identity: Identity) -> None:
        self._sql.execute(
            "INSERT OR REPLACE INTO identity VALUES (1, ?, ?, ?, ?, ?)",
            (identity.account, identity.device, identity.token, identity.name, identity.url),
        )

    def put_answers(self, answers: Iterable[Answer]) -> None:
        self._sql.executemany(
            "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", answers
        )

    def forget_answers(self, after_n: int) -> None:
        """The server knows nothing of what lies behind ``after_n``: offer it again (D5)."""
        self._sql.execute("DELETE FROM answer WHERE n > ?", (after_n,))

    def forget_places(self, before_n: int) -> None:
        """The log is fetched from the beginning: what it still holds of the rows before
        ``before_n`` will be heard again. Until then they have no position."""
        self._sql.execute(
            "UPDATE answer SET position = 0 WHERE state = ? AND n < ?",
            (State.ACKNOWLEDGED, before_n),
        )

    def put_documents(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        self._sql.executemany("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", rows)

    def drop_documents(self, keys: Iterable[tuple[str, str]]) -> None:
        self._sql.executemany("DELETE FROM document WHERE type = ? AND id = ?", keys)

    def put_sales(
        self,
        gone: Iterable[tuple[str, str, str]],
        rows: Iterable[tuple[str, str, str, bytes, int]],
    ) -> None:
        """Replace sold quantities: ``gone`` by (product, type, id), then the new rows."""
        self._sql.executemany("DELETE FROM sale WHERE product = ? AND type = ? AND id = ?", gone)
        self._sql.executemany("INSERT OR REPLACE INTO sale VALUES (?, ?, ?, ?, ?)", rows)

    def put_totals(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        self._sql.executemany("INSERT OR REPLACE INTO total VALUES (?, ?, ?)", rows)

    def put_place(self, place: Place) -> None:
        self._sql.execute(
            "UPDATE place SET log_id = ?, generation = ?, cursor = ?, chain = ?, reach = ?,"
            " fingerprint = ?, skew_ms = ?, synced_ms = ?, proved_ms = ?, scope = ?,"
            " scope_at = ?, stored_ms = ?",
            place,
        )

    def put_import(self, manifest: bytes, done: int) -> None:
        """Documents in bulk are on their way: so many chunks of ``manifest`` are in."""
        self._sql.execute("INSERT OR REPLACE INTO import VALUES (1, ?, ?)", (manifest, done))

    def end_import(self) -> None:
        """Everything is in, or the log brings it."""
        self._sql.execute("DELETE FROM import")

    def drop_base(self) -> None:
        """Forget what was fetched or folded, and how far. The outbox and its answers stay."""
        for table in ("document", "sale", "total", "import"):
            self._sql.execute(f"DELETE FROM {table}")  # noqa: S608 - names are constants above

    # Reading -----------------------------------------------------------------------------------

    def own(self, first_n: int, last_n: int) -> list[OutboxRow]:
        """Own events of a range with their answers, in order; at most ``JOURNAL_READ_ROWS``."""
        rows = self._read(
            "SELECT o.n, o.event, a.* FROM outbox o LEFT JOIN answer a ON a.n = o.n"
            " WHERE o.n BETWEEN ? AND ? ORDER BY o.n LIMIT ?",
            (first_n, last_n, JOURNAL_READ_ROWS),
        )
        return [
            OutboxRow(row[0], row[1], None if row[2] is None else Answer(*row[2:])) for row in rows
        ]

    def pending(self) -> Iterator[OutboxRow]:
        """Every own event without an answer, oldest first, read in pages."""
        return self.answered(self.answered_n + 1, self.last_n)

    def answered(self, first_n: int, last_n: int) -> Iterator[OutboxRow]:
        """Own events of a range of rows, oldest first, read in pages."""
        n = first_n - 1
        while rows := self.own(n + 1, last_n):
            yield from rows
            n = rows[-1].n

    def unheard(self, before_n: int) -> list[OutboxRow]:
        """Acknowledged rows before ``before_n`` that no log fetched since has held."""
        rows = self._read(
            "SELECT o.n, o.event, a.* FROM answer a JOIN outbox o ON o.n = a.n"
            " WHERE a.state = ? AND a.position = 0 AND a.n < ? ORDER BY a.n",
            (State.ACKNOWLEDGED, before_n),
        )
        return [OutboxRow(row[0], row[1], Answer(*row[2:])) for row in rows]

    def renamed(self) -> dict[bytes, bytes]:
        """Ids of own events that were said again, and the ids they have now."""

        def id_of(n: int) -> bytes:
            (row,) = self.own(n, n)
            return event_id(row.data)

        return {id_of(n): id_of(by) for n, by in self.resaid.items()}

    def reach(self, first_n: int) -> int:
        """The highest position of an own event from row ``first_n`` on, 0 for none."""
        rows = self._read("SELECT max(position) FROM answer WHERE n >= ?", (first_n,))
        return int(rows[0][0] or 0)

    def answered_about(self, document: str) -> list[OutboxRow]:
        """Answered own events about one document, oldest first, bounded."""
        rows = self._read(
            "SELECT o.n, o.event, a.* FROM answer a JOIN outbox o ON o.n = a.n"
            " WHERE a.document = ? ORDER BY a.n LIMIT ?",
            (document, JOURNAL_READ_ROWS),
        )
        return [OutboxRow(row[0], row[1], Answer(*row[2:])) for row in rows]

    @property
    def pending_count(self) -> int:
        return self.last_n - self.answered_n

    def aside(self) -> list[OutboxRow]:
        """Quarantined and refused own events with their reasons, newest first, bounded; not those
        that were said again since."""
        rows = self._read(
            "SELECT o.n, o.event, a.* FROM answer a JOIN outbox o ON o.n = a.n"
            " WHERE a.state IN (2, 3) AND a.n NOT IN (SELECT n FROM resaid)"
            " ORDER BY a.n DESC LIMIT ?",
            (JOURNAL_READ_ROWS,),
        )
        return [OutboxRow(row[0], row[1], Answer(*row[2:])) for row in rows]

    def document(self, kind: str, identity: str) -> bytes | None:
        """The base state of one document."""
        row = self._sql.execute(
            "SELECT state FROM document WHERE type = ? AND id = ?", (kind, identity)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def states(self, kind: str, identities: Sequence[str]) -> dict[str, bytes]:
        """Base states of those of ``identities`` that there are."""
        found: dict[str, bytes] = {}
        for first in range(0, len(identities), JOURNAL_READ_ROWS):
            some = identities[first : first + JOURNAL_READ_ROWS]
            marks = ", ".join("?" * len(some))
            statement = f"SELECT id, state FROM document WHERE type = ? AND id IN ({marks})"  # noqa: S608
            found.update(self._read(statement, (kind, *some)))
        return found

    def documents(self, kind: str, after: str) -> list[tuple[str, bytes]]:
        """The next page of base documents of a type by id."""
        return self._read(
            "SELECT id, state FROM document WHERE type = ? AND id > ? ORDER BY id LIMIT ?",
            (kind, after, JOURNAL_READ_ROWS),
        )

    def sold(self, product: str) -> list[tuple[str, str, bytes, int]]:
        """(type, id, tag, qty_e3) of every effective sale of ``product``."""
        return self._read("SELECT type, id, tag, qty_e3 FROM sale WHERE product = ?", (product,))

    def importing(self) -> tuple[bytes, int] | None:
        """The manifest under way and how many of its chunks are in."""
        rows = self._read("SELECT manifest, done FROM import", ())
        return (bytes(rows[0][0]), rows[0][1]) if rows else None

    def acknowledged_after(self, position: int) -> list[OutboxRow]:
        """Own events in the log behind ``position``, in the order they were made."""
        rows = self._read(
            "SELECT o.n, o.event, a.* FROM answer a JOIN outbox o ON o.n = a.n"
            " WHERE a.state = ? AND a.position > ? ORDER BY a.n",
            (State.ACKNOWLEDGED, position),
        )
        return [OutboxRow(row[0], row[1], Answer(*row[2:])) for row in rows]

    def totals(self) -> list[tuple[str, int, bytes]]:
        """(section, count, digest) of the base."""
        return self._read("SELECT section, count, digest FROM total", ())

    def _read(self, statement: str, arguments: tuple[object, ...]) -> list[Any]:
        try:
            return self._sql.execute(statement, arguments).fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error
