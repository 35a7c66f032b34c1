"""The documents in scope of a device, as a set that is followed like the sets of whole accounts.

Nothing is remembered of what a device holds: the set is what it *should* hold, worked out from the
read models, and may be dropped at any time. Every method blocks: run it off the event loop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from sqlalchemy import Connection

from replica.crdt.digest import SectionTotals, document_hash
from replica.crdt.documents import DocKey
from replica.crdt.scope import Place, Scope
from replica.events.event import AccountId, DeviceId, Position
from replica.events.kinds import REGISTRY, catalogue_fingerprint
from replica.events.payloads import DeviceScoped
from replica.limits import (
    SCOPE_PAGE_BYTES_TARGET,
    SCOPE_WAITING_MAX,
    SCOPED_DOCUMENTS_KEPT_MAX,
)
from replica.projections import layers, scoping
from replica.projections.scoping import Row
from replica.server import sets
from replica.server.first_pages import Queue, choose, line_up
from replica.server.sets import Answer
from replica.store.access import Device
from replica.store.engine import Database
from replica.sync.messages import SectionDigest
from replica.sync.reconcile import ItemSet, Responder
from replica.sync.reconcile.sets import DOCUMENT_TIME, document_items
from replica.sync.scope import FORMAT, Ahead, Page, Stated

SCOPED = "device.scoped"
_RANKS = {"customer": 0, "product": 0, "order": 1, "quote": 1, "return": 1, "payment": 2}
_LEAF = 3
"""Documents that others belong to are placed before those: a note may be about a payment."""


def granted(device: Device) -> DeviceScoped:
    """What the server granted to ``device``; version 0 for one that never had a scope."""
    if device.scope is None:
        return DeviceScoped(device.device.hex(), 0)
    scope: DeviceScoped = REGISTRY.read(SCOPED, device.scope)
    return scope


def bounded(device: Device) -> bool:
    """Whether ``device`` holds a part of its account."""
    return device.scope is not None and not Scope(granted(device)).everything


class Members:
    """The documents of one scope, kept in step with the rows they are told of."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.rows: dict[DocKey, Row] = {}
        self.items = ItemSet()
        self._elsewhere: dict[DocKey, Place] = {}  # not in scope, short of leaves
        self._parents: set[str] = set()
        self._totals = SectionTotals()

    def take(self, rows: Iterable[Row]) -> bool:
        """Follow what changed. False when a document moved that others belong to: then the set is
        to be made anew from all rows."""
        fresh: list[bytes] = []
        for row in sorted(rows, key=lambda row: _RANKS.get(row.key.type, _LEAF)):
            place = self._scope.place(row.key, row.facet, self._place)
            named = f"{row.key.type}:{row.key.id}"
            if named in self._parents and self._place(row.key) is not place:
                return False
            self._forget(row.key)
            if place is Place.IN:
                self.rows[row.key] = row
                self._totals.count(row.key.type, row.hash, 1)
                fresh.append(row.hash)
            elif row.key.type in _RANKS:
                self._elsewhere[row.key] = place
            self._parents.update(row.facet.abouts)
        self.items.update(document_items(fresh))
        return True

    def sections(self) -> tuple[SectionDigest, ...]:
        """Counts and digests of the documents in scope (wire-protocol.md §7)."""
        return tuple(SectionDigest(*one) for one in self._totals.sections())

    def _place(self, key: DocKey) -> Place | None:
        return Place.IN if key in self.rows else self._elsewhere.get(key)

    def _forget(self, key: DocKey) -> None:
        self._elsewhere.pop(key, None)
        before = self.rows.pop(key, None)
        if before is not None:
            self.items.discard(DOCUMENT_TIME, before.hash)
            self._totals.count(key.type, before.hash, -1)


class Followed:
    """The members of one device's scope as of a position of the read models."""

    def __init__(self, device: Device) -> None:
        self.turn = Lock()
        self.granted = granted(device)
        self.scope = Scope(self.granted)
        self.members = Members(self.scope)
        self.at: layers.Standing | None = None
        self.first: Queue | None = None  # while its documents come by priority

    def follow(self, connection: Connection, account: AccountId) -> None:
        """Bring the set to where the rows are; one transaction."""
        now = layers.standing(connection, account)
        at, after = self.at, 0
        if at is not None and now is not None and at.fingerprint == now.fingerprint:
            # Rows that were made anew may differ at the same position.
            after = at.position if at.position < now.position or at == now else 0
        if not (after and self.members.take(scoping.changed_after(connection, account, after))):
            self.members = Members(self.scope)
            whole = self.members.take(scoping.changed_after(connection, account, 0))
            assert whole, "parents come before what belongs to them"
        self.at = now

    @property
    def position(self) -> int:
        return self.at.position if self.at else 0

    @property
    def fingerprint(self) -> bytes:
        return self.at.fingerprint if self.at else catalogue_fingerprint()  # of nothing, any rules


class ScopedSets:
    """The sets of the devices that asked last, bounded by the documents they hold together."""

    def __init__(self, views: Database) -> None:
        self._views = views
        self._kept: OrderedDict[tuple[AccountId, DeviceId], Followed] = OrderedDict()
        self._turn = Lock()

    def digest(self, device: Device) -> tuple[int, tuple[SectionDigest, ...]]:
        """Counts and digests in scope, and the position they hold for."""
        with self._following(device) as (followed, _):
            return followed.position, followed.members.sections()

    def answer(self, device: Device, message: bytes) -> Answer:
        """Answer a reconciliation message about the documents in scope. Raises as
        ``Responder.reconcile``."""
        with self._following(device) as (followed, _):
            reply = Responder(followed.members.items).reconcile(message).reply
            place = sets.Place(Position(followed.position), followed.fingerprint)
        assert reply is not None, "who answers always has an answer"
        return Answer(place, reply)

    def page(self, device: Device, after: int) -> tuple[Page, bytes]:
        """Documents in scope that changed after ``after``, and the rules they are folded by."""
        with self._following(device) as (followed, connection):
            chosen: list[Row] = []
            size, more = 0, False
            for row in scoping.changed_after(connection, device.account, after):
                if row.key not in followed.members.rows:
                    continue
                full = bool(chosen) and size + row.size > SCOPE_PAGE_BYTES_TARGET
                if full and row.position > chosen[-1].position:
                    more = True
                    break
                size += row.size
                chosen.append(row)
            states = scoping.states(connection, device.account, [row.key for row in chosen])
            page = Page(
                FORMAT,
                followed.granted.version,
                followed.scope.everything,
                followed.position,
                chosen[-1].position if more else followed.position,
                tuple(Stated(*row.key, states[row.key]) for row in chosen),
                () if more else followed.members.sections(),
            )
            return page, followed.fingerprint

    def waiting(self, device: Device, after: int) -> list[int]:
        """Positions behind ``after`` at which documents in scope changed last, the first
        ``SCOPE_WAITING_MAX`` of them."""
        with self._following(device) as (followed, connection):
            found: dict[int, None] = {}
            for row in scoping.changed_after(connection, device.account, after):
                if row.key in followed.members.rows:
                    found[row.position] = None
                if len(found) >= SCOPE_WAITING_MAX:
                    break
            return list(found)

    def ahead(self, device: Device, ahead: Ahead, nodes: Container[bytes]) -> tuple[Page, bytes]:
        """As :meth:`page` after nothing, in the order of their use for a user who sells with the
        devices of ``nodes``."""
        with self._following(device) as (followed, connection):
            queue, up_to = followed.first, followed.position
            if not 0 < ahead.position <= up_to:  # its first, or of a history that is no more
                ahead = Ahead(up_to)
            if queue is None or queue.position != ahead.position:
                gone = layers.gone(connection, device.account)
                rows = followed.members.rows.values()
                queue = line_up(rows, ahead.position, nodes, gone)
            chosen, then = choose(queue, followed.members.rows, ahead)
            followed.first = queue if then else None
            states = scoping.states(connection, device.account, chosen)
            page = Page(
                FORMAT,
                followed.granted.version,
                followed.scope.everything,
                up_to,
                0 if then else queue.position,
                tuple(Stated(*key, states[key]) for key in chosen),
                followed.members.sections(),
                str(then or ""),
            )
            return page, followed.fingerprint

    def states(
        self, device: Device, hashes: Sequence[bytes], limit_bytes: int
    ) -> tuple[int, list[tuple[DocKey, bytes]]]:
        """Documents in scope that have one of ``hashes`` now, at least one if there is any, then
        as many as fit into ``limit_bytes`` of states; and the position they are as of."""
        wanted = set(hashes)
        with self._following(device) as (followed, connection):
            found: list[DocKey] = []
            for key, row in followed.members.rows.items():
                if row.hash in wanted:
                    if found and row.size > limit_bytes:
                        break
                    limit_bytes -= row.size
                    found.append(key)
            states = scoping.states(connection, device.account, found)
            position = followed.position
        return position, [item for item in states.items() if document_hash(*item) in wanted]

    @contextmanager
    def _following(self, device: Device) -> Iterator[tuple[Followed, Connection]]:
        followed = self._of(device)
        with followed.turn, sets.snapshot(self._views) as connection:
            followed.follow(connection, device.account)
            yield followed, connection

    def _of(self, device: Device) -> Followed:
        key = device.account, device.device
        with self._turn:
            kept = self._kept.get(key)
            if kept is None or kept.granted != granted(device):
                kept = self._kept[key] = Followed(device)
            self._kept.move_to_end(key)
            documents = sum(len(one.members.rows) for one in self._kept.values())
            while len(self._kept) > 1 and documents > SCOPED_DOCUMENTS_KEPT_MAX:
                _, dropped = self._kept.popitem(last=False)
                documents -= len(dropped.members.rows)
            return kept
