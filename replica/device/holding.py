"""What one device holds: journal, base and overlay behind one lock, always moved together.

The application's threads append and read; the link's thread brings answers and pages. Each method
is one step that either happened whole, durably, or did not happen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import touched
from replica.device import saying
from replica.device.balance import balance, on_hand_e3
from replica.device.base import Base, Change, by_document, own_records
from replica.device.chain import (
    Author,
    Fact,
    Head,
    Made,
    again,
    follow,
    head_after,
    remake,
    waiting_on,
)
from replica.device.journal import Answer as Stored
from replica.device.journal import Identity, Journal, Life, OutboxRow, Place, State
from replica.device.overlay import Overlay
from replica.device.proof import Level
from replica.device.sales import builds_on
from replica.errors import CorruptionError, MisuseError, StoreFailed, StoreUnavailable
from replica.events.event import GENESIS, EventId, decode_event, event_id
from replica.events.kinds import catalogue_fingerprint
from replica.events.payloads import Payload
from replica.events.record import Outcome, Record, Segment, records
from replica.limits import APPEND_PAYLOADS_MAX, JOURNAL_READ_ROWS

if TYPE_CHECKING:
    from replica.sync.effects import OutboxPage
    from replica.sync.effects import Place as Standing
    from replica.sync.verdicts import Answer

FIRST_EPOCH = 1
_STATES = {
    Outcome.ACCEPTED: State.ACKNOWLEDGED,
    Outcome.DUPLICATE: State.ACKNOWLEDGED,
    Outcome.QUARANTINED: State.QUARANTINED,
    Outcome.REFUSED: State.REFUSED,
}


class Holding:
    """Open with a journal. Methods may be called from any thread."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.lock = threading.RLock()
        self.pulling = threading.Lock()  # one thread at a time takes in documents of a scope
        self.base = Base(journal)
        self.overlay = self._laid()
        self._noted = False
        self._complete = False  # the log is known to hold what earlier lives have said

    # Own events --------------------------------------------------------------------------------

    def append(
        self,
        payloads: Sequence[Payload],
        now_ms: int,
        *,
        deps: Sequence[bytes] = (),
        numbers: int = 0,
    ) -> list[Made]:
        """Make and store events, all or none; durable when it returns.

        Raises ``MisuseError`` before enrolment, for a payload that breaks its rules or is not a
        device's to say; ``TooLarge``; ``StorageFull`` when there is no room.
        """
        if len(payloads) > APPEND_PAYLOADS_MAX:
            raise MisuseError(f"an append takes at most {APPEND_PAYLOADS_MAX} payloads")
        if not payloads:
            raise MisuseError("an append needs at least one payload")
        said = [saying.say(payload) for payload in payloads]
        with self.lock:
            author, head, overlay = self.author, self.journal.head, self.overlay
            made: list[Made] = []
            concerned: list[DocKey] = []
            newest: dict[DocKey, EventId] = {}
            for kind, body, payload in said:
                keys = builds_on(payload)
                fact = Fact(kind.name, kind.version, body, overlay.deps(keys, deps, newest))
                made.append(follow(author, head_after(head, made), fact, now_ms))
                newest[keys[0]] = made[-1].id
                concerned.append(keys[0])
            if deps:
                for one in made:
                    saying.check(one.event)
            self.journal.append(made, self.journal.numbers + numbers)
            for key, one in zip(concerned, made, strict=True):
                overlay.add(key, one.id, one.event)
            return made

    def resubmit(self, identity: EventId, payload: Payload | None, now_ms: int) -> list[Made]:
        """Say a quarantined event again, with ``payload`` or as it was, and after it what waits on
        it; all or none, durable when it returns (docs/decisions/0006).

        The old events stay in the journal as evidence. Raises ``MisuseError`` for an event that is
        not in quarantine, and for a payload of another kind, about another document, or still
        against the rules; else as :meth:`append`.
        """
        with self.lock:
            rows = waiting_on(self._quarantined(), identity)
            if not rows:
                raise MisuseError("this event is not in quarantine, or was said again already")
            first, *rest = rows.values()
            renamed, corrected = self.journal.renamed(), None
            if payload is None:
                saying.check(first.event)
            else:
                corrected = saying.correct(first.event, payload, renamed)
            old = [(first, corrected), *((one, None) for one in rest)]
            made = again(self.author, self.journal.head, old, renamed, now_ms)
            self.journal.append(made, self.journal.numbers, list(rows))
            self.overlay.settle(one.id for one in rows.values())
            for one in made:
                for key in touched(one.event):
                    self.overlay.add(key, one.id, one.event)
            return made

    def _quarantined(self) -> dict[int, Made]:
        """Own events in quarantine by row, oldest first."""
        rows = reversed(self.journal.aside())
        return {row.n: _made(row) for row in rows if row.state == State.QUARANTINED}

    @property
    def identity(self) -> Identity:
        """Raises ``MisuseError`` before enrolment."""
        identity = self.journal.identity
        if identity is None:
            raise MisuseError("enrol this device first", hint="device.enrol(url, code, name)")
        return identity

    @property
    def author(self) -> Author:
        """Raises ``MisuseError`` before enrolment."""
        return Author(self.identity.account, self.identity.device)

    def enrol(self, identity: Identity) -> None:
        """Become ``identity``. Undecided work made as somebody else is said again as the new one.

        Raises ``MisuseError`` when the journal belongs to another account.
        """
        with self.lock:
            before = self.journal.identity
            if before is not None and before.account != identity.account:
                raise MisuseError(
                    "this journal belongs to another account",
                    hint="open a new journal for the other account",
                )
            if before is not None and before.device == identity.device:
                with self.journal.commit():
                    self.journal.put_identity(identity)
                self.journal.identity = identity
                return
            self._renew(identity, FIRST_EPOCH, self.journal.place)

    def fork(self, next_epoch: int) -> None:
        """The chain has two ends: go on in ``next_epoch``, undecided events are said again there.

        The cursor goes back to 0, because the log may hold events of this device that this copy of
        it has never seen.
        """
        with self.lock:
            identity = self.journal.identity
            if identity is not None and next_epoch > self.journal.head.epoch:
                place = self.journal.place._replace(cursor=0, chain=Place().chain)
                self._renew(identity, next_epoch, place)

    def forgotten(self, server_position: int) -> bool:
        """Whether the log, taken in whole, lacks events that an earlier life of this device has an
        acknowledgement for: the server was restored from an older backup after a fork.

        Only known once nothing is pending and everything up to ``server_position`` is here.
        """
        with self.lock:
            if self._complete or len(self.journal.lives) < 2 or not self._level(server_position):
                return False
            self._complete = not self.journal.unheard(self.journal.lives[-1].first_n)
            return not self._complete

    def say_again(self, next_epoch: int) -> None:
        """Say what :meth:`forgotten` found again in ``next_epoch``: the lives it was said in are
        over, and the log takes no events of them from this device (I-1, wire-protocol.md §6.2).

        The base begins afresh: it may still hold them as they were said first.
        """
        with self.lock:
            self._renew_afresh(next_epoch, self.journal.unheard(self.journal.lives[-1].first_n))

    def distrust(self, next_epoch: int) -> None:
        """The base stays unequal to the server's: fetch everything, what this device said
        included, and go on in ``next_epoch``.

        What it was told of its own events may be of a log that is gone while a copy of it told
        the log that took its place (wire-protocol.md §6.2). The server sends nobody the events of
        the epoch that he runs, so this one has to end.
        """
        with self.lock:
            self._renew_afresh(next_epoch, ())

    def _renew_afresh(self, next_epoch: int, lost: Sequence[OutboxRow]) -> None:
        identity = self.journal.identity
        if identity is not None and next_epoch > self.journal.head.epoch:
            place = self.journal.place._replace(
                cursor=0, chain=Place().chain, reach=0, scope=0, scope_at=0
            )
            self._renew(identity, next_epoch, place, lost, afresh=True)

    def _renew(
        self,
        identity: Identity,
        epoch: int,
        place: Place,
        lost: Sequence[OutboxRow] = (),
        *,
        afresh: bool = False,
    ) -> None:
        journal = self.journal
        rows = [*lost, *journal.pending()]
        head = Head(epoch, stamp=journal.head.stamp)
        made = remake(Author(identity.account, identity.device), head, [_made(row) for row in rows])
        journal.begin(
            Life(journal.last_n + 1, identity.device, epoch),
            identity=identity,
            place=place,
            old=[row.n for row in rows],
            made=made,
            afresh=afresh,
        )
        self.base = Base(journal)
        self.overlay = self._laid()
        self._complete = False

    def _laid(self) -> Overlay:
        overlay = Overlay(self.base, self.journal.place.skew_ms)
        aside = [row for row in self.journal.aside() if row.state == State.QUARANTINED]
        rows = chain(reversed(aside), self.journal.pending())
        for row in rows:
            if row.n in self.journal.resaid:
                continue  # a restored server asks for it again; what took its place is here too
            event = decode_event(row.data)
            for key in touched(event):
                overlay.add(key, event_id(row.data), event)
        return overlay

    # Reading -----------------------------------------------------------------------------------

    def document(self, key: DocKey) -> Document | None:
        """Base and overlay of one document. Read it, do not change it."""
        with self.lock:
            return self.overlay.document(key)

    def documents(self, kind: str) -> Iterator[Document]:
        """Every document of a type by id, read in pages: the lock is not held between them."""
        after = ""
        while True:
            with self.lock:
                page = self.journal.documents(kind, after)
                last = page[-1][0] if len(page) == JOURNAL_READ_ROWS else None
                states = {DocKey(kind, identity): bytes(state) for identity, state in page}
                laid = {
                    key: self.overlay.document(key)
                    for key in self.overlay.keys(kind)
                    if key.id > after and (last is None or key.id <= last)
                }
            for key in sorted(states.keys() | laid.keys()):
                found = laid.get(key) or Document.decode(key, states[key])
                yield found
            if last is None:
                return
            after = last

    def own_of(self, key: DocKey) -> list[OutboxRow]:
        """The device's own events about one document, oldest first, with their answers."""
        with self.lock:
            return [*self.journal.answered_about(_name(key)), *self._pending_about(key)]

    def _pending_about(self, key: DocKey) -> Iterator[OutboxRow]:
        for record in self.overlay.records(key):
            if record.event.epoch == self.journal.head.epoch:
                n = self._n_of(record.event.seq)
                yield from (row for row in self.journal.own(n, n) if row.answer is None)

    def on_hand_e3(self, product: str) -> int:
        """Thousandths on the shelf, own undecided sales counted (OFF-13)."""
        with self.lock:
            return on_hand_e3(self.journal, self.overlay, product)

    # What the server says ----------------------------------------------------------------------

    def standing(self, software: str) -> Standing:
        """Where the device stands when it connects, as one consistent reading."""
        # Imported here, as below: whoever only appends and reads needs nothing of the wire.
        from replica.sync.effects import Place as Standing  # noqa: PLC0415

        with self.lock:
            journal, identity = self.journal, self.identity
            place = journal.place
            # Folded by other rules, the base cannot be proved equal: fetch everything again.
            stale = place.fingerprint != catalogue_fingerprint()
            return Standing(
                token=identity.token,
                account=identity.account,
                device=identity.device,
                epoch=journal.head.epoch,
                head_seq=journal.head.seq,
                answered_seq=max(journal.answered_n - journal.lives[-1].first_n + 1, 0),
                log_id=place.log_id,
                generation=place.generation,
                cursor=0 if stale else place.cursor,
                chain=Place().chain if stale else place.chain,
                answered_through=place.reach,
                software=software,
            )

    def outbox(self, after_seq: int, limit_bytes: int, limit_events: int) -> OutboxPage:
        """Own events of the running epoch after ``after_seq``, answered or not; at least one."""
        from replica.sync.effects import OutboxPage  # noqa: PLC0415

        with self.lock:
            n = self._n_of(after_seq)
            before = [] if after_seq == 0 else self.journal.own(n, n)
            prev = GENESIS if after_seq == 0 else event_id(before[0].data) if before else b""
            events: list[bytes] = []
            room = limit_bytes
            for row in self.journal.own(n + 1, n + limit_events):
                room -= len(row.data)
                if room < 0 and events:
                    break
                events.append(row.data)
            return OutboxPage(prev, tuple(events))

    def _n_of(self, seq: int) -> int:
        return self.journal.lives[-1].first_n + seq - 1

    def settled(self, first_seq: int, answers: Sequence[Answer]) -> None:
        """Store answers to own events from ``first_seq`` on and fold the accepted, in one commit.

        Telling the same answers again changes nothing (reliability I-3).
        """
        with self.lock:
            journal = self.journal
            first = self._n_of(first_seq)
            if first > journal.answered_n + 1:
                raise CorruptionError(f"row {journal.answered_n + 1} was never answered")
            own = [_made(row) for row in journal.own(first, first + len(answers) - 1)]
            decided = [
                self._decided(n, one, said)
                for n, (one, said) in enumerate(zip(own, answers, strict=True), first)
            ]
            change = self.base.fold(own_records(zip(own, decided, strict=True)))
            if journal.place.scope:
                behind = partial(self.own_behind, also=list(zip(own, decided, strict=True)))
                balance(journal, change, behind, journal.place.scope_at)
            reach = max([journal.place.reach, *(said.position for said in answers)])
            place = journal.place._replace(reach=reach)
            if place.scope and any(said.position <= place.scope_at for said in answers):
                # What is here is newer than the answer: it may be no document of the scope.
                place = place._replace(stored_ms=0)
            self.store(change, place, partial(journal.put_answers, decided))
            journal.answered_n = max(journal.answered_n, first + len(own) - 1)
            self.overlay.settle(
                one.id
                for one, answer in zip(own, decided, strict=True)
                if answer.state != State.QUARANTINED or answer.n in journal.resaid
            )

    def _decided(self, n: int, own: Made, said: Answer) -> Stored:
        return Stored(
            n,
            _STATES[said.outcome],
            said.position,
            said.stamp or b"",
            said.flags,
            said.received_ms,
            said.code,
            said.detail,
            self._document_of(own),
        )

    def _document_of(self, own: Made) -> str:
        key = self.overlay.key_of(own.id) or next(iter(touched(own.event)), None)
        return "" if key is None else _name(key)

    def received(self, segments: Sequence[Segment], through: int, chain_hash: bytes) -> None:
        """Fold a page of the log and move the cursor, in one commit.

        The caller's next duty: confirm ``through`` to the server.
        """
        with self.lock:
            journal = self.journal
            # With a scope the documents come as the server has them, and this is heard for answers.
            heard_first = () if journal.place.scope else segments
            change = self.base.fold(
                record for segment in heard_first for _, record in records(segment)
            )
            heard = self._heard_again(segments)
            place = journal.place._replace(
                cursor=through,
                chain=chain_hash,
                reach=max(journal.place.reach, through),
                fingerprint=catalogue_fingerprint(),
            )
            said = [answer for _, answer in heard]
            self.store(change, place, partial(journal.put_answers, said))
            self.overlay.settle(one.id for one, _ in heard)

    def keep(self, place: Place) -> None:
        """Make ``place`` durable by itself."""
        with self.lock:
            self._put(place)

    def store(self, change: Change, place: Place, also: Callable[[], None] = lambda: None) -> None:
        """Make ``change``, ``place`` and what ``also`` writes durable in one commit (pitfalls
        P49)."""
        with self.lock:
            with self.journal.commit():
                also()
                self.base.store(change)
                self.journal.put_place(place)
            self.journal.place = place
            self.base.stored(change)
            self.overlay.forget((*change.states, *change.gone))

    def own_behind(
        self, position: int, also: Iterable[tuple[Made, Stored]] = ()
    ) -> dict[DocKey, list[Record]]:
        """Records of the device's own that the log holds behind ``position``, by document. ``also``
        are answers that are not stored yet."""
        rows = ((_made(row), row.answer) for row in self.journal.acknowledged_after(position))
        news = (one for one in also if one[1].position > position)
        return by_document(own_records(chain(rows, news)))

    def _heard_again(self, segments: Sequence[Segment]) -> list[tuple[Made, Stored]]:
        """Own events that come back from the log: what it says of them replaces what we knew.

        That happens after a reset, and when a restored server takes what it had set aside.
        Undecided events are left to their own answer, so that answers stay a prefix of the outbox.
        """
        found: list[tuple[Made, Stored]] = []
        for segment in segments:
            first_n = self._first_n(segment.device, segment.epoch)
            if first_n is None:
                continue
            for position, record in records(segment):
                n = first_n + record.event.seq - 1
                rows = self.journal.own(n, n) if n <= self.journal.answered_n else []
                for one in map(_made, rows):
                    if one.id == record.id:
                        said = Stored(
                            n,
                            State.ACKNOWLEDGED,
                            position,
                            record.stamp,
                            record.flags,
                            record.received_ms,
                            document=self._document_of(one),
                        )
                        found.append((one, said))
        return found

    def _first_n(self, device: bytes, epoch: int) -> int | None:
        for life in self.journal.lives:
            if (life.device, life.epoch) == (device, epoch):
                return life.first_n
        return None

    def start_over(self, log_id: bytes, generation: int, known_seq: int) -> None:
        """The log has another history now: drop the base and fetch it from the beginning.

        Own events behind ``known_seq`` of the running epoch, which the log has forgotten, wait for
        an answer again and are offered again. Nothing leaves the outbox (reliability D5).
        """
        with self.lock:
            place = self.journal.place._replace(log_id=log_id, generation=generation)
            self._start_over(place, min(self.journal.answered_n, self._n_of(known_seq)))

    def _start_over(self, place: Place, answered_n: int) -> None:
        """Keep of the base what this epoch wrote and the log still knows: a server leaves that
        out when the fetching is broken off and resumed."""
        journal = self.journal
        with journal.commit():
            journal.forget_answers(answered_n)
            journal.forget_places(journal.lives[-1].first_n)
            journal.drop_base()
            base = Base(journal)
            kept = journal.answered(journal.lives[-1].first_n, answered_n)
            change = base.fold(own_records((_made(row), row.answer) for row in kept))
            base.store(change)
            place = place._replace(
                cursor=0,
                chain=Place().chain,
                reach=journal.reach(journal.lives[-1].first_n),
                fingerprint=catalogue_fingerprint(),
                scope=0,
                scope_at=0,
            )
            journal.put_place(place)
        base.stored(change)
        self.base, journal.place, journal.answered_n = base, place, answered_n
        self.overlay = self._laid()
        self._complete = False

    def met(self, log_id: bytes, generation: int, position: int | None = None) -> None:
        """The server let us in: its log is the one the cursor belongs to, and ends at ``position``.

        What we know to be in it lies no further: an answer kept from a log that went back, where
        a copy of this device has said the same again, names a place in the old one.
        """
        with self.lock:
            journal = self.journal
            place = journal.place._replace(log_id=log_id, generation=generation)
            if position is not None:
                reach, scope_at = min(place.reach, position), min(place.scope_at, position)
                place = place._replace(reach=reach, scope_at=scope_at)
            if place.fingerprint != catalogue_fingerprint():
                self._start_over(place, journal.answered_n)
            elif place != journal.place:
                self._put(place)

    def measured(self, skew_ms: int) -> None:
        """The device's clock is ``skew_ms`` ahead of the server's. Kept with the next commit."""
        with self.lock:
            self._note(self.journal.place._replace(skew_ms=skew_ms))
            self.overlay.measured(skew_ms)

    def level(self) -> Level:
        """Where the documents stand, as one consistent reading."""
        with self.lock:
            journal = self.journal
            return Level(
                journal.place.base_at,
                journal.pending_count,
                journal.place.reach,
                self.base.sections(),
            )

    def catch_up(self, server_position: int) -> None:
        """The log is known to go to ``server_position``: make the journal ready for the rest."""
        with self.lock:
            self.journal.catch_up(self.journal.place.cursor < server_position)

    def exchanged(self, server_position: int, now_ms: int) -> None:
        """Note the time if nothing is left to send, nor to take in up to ``server_position``. Kept
        with the next commit."""
        with self.lock:
            if self._level(server_position):
                self._note(self.journal.place._replace(synced_ms=now_ms))

    def _level(self, server_position: int) -> bool:
        place = self.journal.place
        arrived = place.cursor >= max(server_position, place.reach)
        return arrived and self.journal.pending_count == 0

    def proved(self, now_ms: int) -> None:
        """The digests were equal at ``now_ms`` of the device's clock."""
        with self.lock:
            self._put(self.journal.place._replace(synced_ms=now_ms, proved_ms=now_ms))

    def _note(self, place: Place) -> None:
        self.journal.place, self._noted = place, True

    def _put(self, place: Place) -> None:
        with self.journal.commit():
            self.journal.put_place(place)
        self.journal.place = place

    def close(self) -> None:
        """Keep what was only noted, and release the file. Safe to call twice."""
        with self.lock:
            if self._noted:
                # Skew and time of the last exchange are measured anew; a full disk may cost them.
                with suppress(StoreUnavailable, StoreFailed):
                    self._put(self.journal.place)
            self._noted = False
            self.journal.close()


def _made(row: OutboxRow) -> Made:
    return Made(event_id(row.data), row.data, decode_event(row.data))


def _name(key: DocKey) -> str:
    return f"{key.type}/{key.id}"
