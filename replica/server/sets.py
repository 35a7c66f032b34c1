"""The sets that somebody compares with ours, kept and followed instead of read anew each time.

The first question about an account reads its log, or the hashes of its documents, once; the next
ones only what came since. Every method blocks: run it off the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection

from replica.crdt.digest import DIGEST_MODULUS
from replica.crdt.documents import DocKey
from replica.events.event import AccountId, Position
from replica.events.ports import Log, LogHead
from replica.limits import EVENTS_BYTES_TARGET, RECONCILE_SETS_MAX
from replica.projections import hashes, layers
from replica.store.engine import Database
from replica.sync.reconcile import ItemSet, Responder
from replica.sync.reconcile.sets import DOCUMENT_TIME, document_items, event_items


class Place(NamedTuple):
    """What a set is of: the log up to a position, and for documents the rules they were folded by
    (empty for events)."""

    position: Position
    fold: bytes


class Answer(NamedTuple):
    """An answer to a message, and what it holds for."""

    place: Place
    message: bytes


class Followed(Protocol):
    """A set that can be brought up to date."""

    items: ItemSet

    def follow(self) -> Place:
        """Bring the set to where its source is, and say where that is."""
        ...


class LogSet:
    """Every event of one account's log."""

    def __init__(self, log: Log, account: AccountId) -> None:
        self._log = log
        self._account = account
        self._at: LogHead | None = None
        self.items = ItemSet()

    def follow(self) -> Place:
        log, account = self._log, self._account
        head = log.head(account)
        if self._at is None or not self._continues(head, self._at):
            self.items, self._at = ItemSet(), None
        after = self._at.position if self._at else Position(0)
        chain = self._at.chain if self._at else b""
        while page := log.read(account, after, EVENTS_BYTES_TARGET):
            self.items.update(event_items(page))
            after, chain = page[-1].last, page[-1].chain
        self._at = head._replace(position=after, chain=chain)
        return Place(after, b"")

    def _continues(self, head: LogHead, at: LogHead) -> bool:
        """Whether the log still begins with what was read; a backup may have been put back."""
        if (head.log_id, head.generation) != (at.log_id, at.generation):
            return False
        return at.position == 0 or self._log.chain_at(self._account, at.position) == at.chain


class DocumentSet:
    """Every document of one account, as the read models have them."""

    def __init__(self, views: Database, account: AccountId) -> None:
        self._views = views
        self._account = account
        self._at: layers.Standing | None
        self._begin()

    def follow(self) -> Place:
        with snapshot(self._views) as connection:
            now = layers.standing(connection, self._account)
            if now is None:
                self._begin()
                return Place(Position(0), b"")
            at = self._at
            if at is not None and at.fingerprint == now.fingerprint and at.position <= now.position:
                self._take(hashes.changed_after(connection, self._account, at.position))
            if at is None or self._total != now.total:
                # Not seen before, or made anew: a rebuild may change rows and no position.
                self._begin()
                self._take(hashes.changed_after(connection, self._account, 0))
        self._at = now
        return Place(now.position, now.fingerprint)

    def _begin(self) -> None:
        self._at = None
        self.items = ItemSet()
        self._hashes: dict[DocKey, bytes] = {}
        self._total = 0

    def _take(self, rows: Iterable[tuple[DocKey, bytes]]) -> None:
        changed = dict(rows)
        gone = [self._hashes[key] for key in changed.keys() & self._hashes.keys()]
        for one in gone:
            self.items.discard(DOCUMENT_TIME, one)
        self.items.update(document_items(changed.values()))
        self._hashes.update(changed)
        self._total = (self._total + _sum(changed.values()) - _sum(gone)) % DIGEST_MODULUS


def _sum(values: Iterable[bytes]) -> int:
    return sum(int.from_bytes(one, "big") for one in values)


@contextmanager
def snapshot(views: Database) -> Iterator[Connection]:
    """One moment of the read models, also where that has to be asked for."""
    with views.reading() as connection:
        level = {} if views.path else {"isolation_level": "REPEATABLE READ"}
        yield connection.execution_options(**level)


S = TypeVar("S", bound=Followed)


class Sets(Generic[S]):
    """The sets of the accounts that were asked for last; ``make`` begins one."""

    def __init__(self, make: Callable[[AccountId], S]) -> None:
        self._make = make
        self._kept: OrderedDict[AccountId, tuple[Lock, S]] = OrderedDict()
        self._turn = Lock()

    def answer(self, account: AccountId, message: bytes) -> Answer:
        """Answer one reconciliation message. Raises as ``Responder.reconcile`` and the store."""
        turn, followed = self._of(account)
        with turn:
            place = followed.follow()
            reply = Responder(followed.items).reconcile(message).reply
        assert reply is not None, "who answers always has an answer"
        return Answer(place, reply)

    def _of(self, account: AccountId) -> tuple[Lock, S]:
        with self._turn:
            if account not in self._kept:
                self._kept[account] = (Lock(), self._make(account))
            self._kept.move_to_end(account)
            while len(self._kept) > RECONCILE_SETS_MAX:
                self._kept.popitem(last=False)
            return self._kept[account]
