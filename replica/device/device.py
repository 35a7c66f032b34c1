"""The device: what a phone's or a till's program embeds.

Everything a rep does is durable in the journal when the call returns, with or without a network,
and visible to the next read. Syncing happens beside it and never in the way of it (SYN-28).
"""

from __future__ import annotations

import builtins
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from replica import __version__
from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.device.drafts import Draft, SaleType, Sealed, document_number, sale_payload
from replica.device.holding import FIRST_EPOCH, Holding
from replica.device.journal import Identity, Journal
from replica.device.notices import Notice
from replica.device.status import (
    RESTING,
    Held,
    Ladder,
    Mode,
    Rejected,
    Status,
    SyncResult,
    skew_words,
)
from replica.device.telling import ladder, rejected
from replica.errors import (
    Forbidden,
    MisuseError,
    PeerGone,
    ReplicaError,
    Revoked,
    StoreFailed,
    UpgradeRequired,
)
from replica.events.event import EventId
from replica.events.ids import RANDOM_BYTES, make_id
from replica.events.payloads import Payload
from replica.limits import SCOPE_LINK_KBPS, SOFTWARE_CHARS_MAX, SYNC_CONNECTIONS_MAX

if TYPE_CHECKING:
    from replica.device.account_sync import AccountSync, SyncPlan
    from replica.device.carrying import Exported, Receipt
    from replica.device.link import Link

Downstream = Literal["auto", "manual"]

_REFUSALS: dict[Mode, type[ReplicaError]] = {
    Mode.REVOKED: Revoked,
    Mode.FORBIDDEN: Forbidden,
    Mode.UPGRADE_REQUIRED: UpgradeRequired,
    Mode.FAILED: StoreFailed,
}


def system_ms() -> int:
    """Milliseconds since the Unix epoch by this machine's clock, right or wrong."""
    return time.time_ns() // 1_000_000


class Device:
    """One journal, opened. Methods may be called from any thread; use it as a context manager."""

    def __init__(
        self,
        journal: Journal,
        *,
        now_ms: Callable[[], int] = system_ms,
        random_bytes: Callable[[int], bytes] = os.urandom,
        software: str = "",
        downstream: Downstream = "auto",
    ) -> None:
        """With ``downstream`` "manual" the work of others waits until :meth:`sync`, or until the
        office's Sync Now; ``status().waiting`` counts it (SYN-11). Own work leaves in any case."""
        if downstream not in {"auto", "manual"}:
            raise MisuseError("downstream is auto or manual")
        self._manual = downstream == "manual"
        self._holding = Holding(journal)
        self._now_ms = now_ms
        self._random_bytes = random_bytes
        self._software = software or f"replica-device/{__version__}"
        self._moved = threading.Condition(self._holding.lock)
        self._waiting = 0  # threads, under the lock
        self._round = threading.Lock()
        self._link: Link | None = None
        if len(self._software) > SOFTWARE_CHARS_MAX:
            raise MisuseError(f"software is at most {SOFTWARE_CHARS_MAX} characters")

    @classmethod
    def open(cls, path: str | os.PathLike[str], **options: Any) -> Self:
        """Open or create the journal at ``path``; ``options`` are those of the constructor.

        Raises ``InUse`` when another program has it open, ``UpgradeRequired`` when a newer one
        wrote it, ``CorruptionError`` when it is no journal.
        """
        journal = Journal(path)
        try:
            return cls(journal, **options)
        except BaseException:
            journal.close()
            raise

    def close(self) -> None:
        """Stop syncing and release the journal. Safe to call twice."""
        self.stop()
        self._holding.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Who -----------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity | None:
        """None before enrolment."""
        return self._holding.journal.identity

    def enrol(self, url: str, code: str, name: str) -> Identity:
        """Exchange the office's ``code`` for this device's identity at the server's ``url``.

        Needs the network (OFF-18). Enrolling again keeps unsent work and says it again as the new
        device; it ends syncing, which the caller starts again. Raises ``Forbidden`` for a wrong
        code, ``PeerGone`` when there is no connection, ``MisuseError`` when the journal belongs to
        another account.
        """
        # Imported here: done once in the life of a device.
        from replica.device.enrolment import enrol  # noqa: PLC0415

        self.stop()
        identity = enrol(url, code, name, software=self._software)
        self._holding.enrol(identity)
        return identity

    # Writing -------------------------------------------------------------------------------------

    def append(self, *payloads: Payload, deps: Sequence[bytes] = ()) -> tuple[EventId, ...]:
        """Store payloads as events: all or none, durable when it returns, online or not.

        Own unsent events that a payload builds on are named by themselves. ``deps`` names further
        event ids, at most ``DEPS_MAX``: with ``OrderAmended`` the amendments it settles.

        Raises ``MisuseError`` for a payload that breaks its kind's rules or before enrolment,
        ``TooLarge`` for one above ``EVENT_BYTES_MAX``, ``StorageFull`` when there is no room: then
        nothing was saved and the user has to know.
        """
        made = self._holding.append(payloads, self._now_ms(), deps=deps)
        self._grown()
        return tuple([one.id for one in made])

    def resubmit(self, rejected: Rejected, payload: Payload | None = None) -> tuple[EventId, ...]:
        """Say a quarantined event of ``status().rejected`` again, corrected: ``payload`` is of the
        same kind and about the same document. What was quarantined for waiting on it is said again
        after it. Without ``payload`` it is said as it was: for what waits on something that was
        corrected before.

        The new events are durable when it returns, and the old ones are rejected no longer. Raises
        ``MisuseError`` for an event that is not in quarantine and for a payload that is no
        correction of it; else as :meth:`append`.
        """
        made = self._holding.resubmit(rejected.event, payload, self._now_ms())
        self._grown()
        return tuple(one.id for one in made)

    def new_id(self) -> str:
        """A fresh id for a customer, an order, a payment: 26 characters that sort by time."""
        return make_id(self._now_ms(), self._random_bytes(RANDOM_BYTES))

    def order(self, *, id: str = "", **fields: Any) -> Draft:  # noqa: A002 - the caller's word
        """Begin an order; see :class:`~replica.device.drafts.Draft`."""
        return self._draft("order", id, fields)

    def quote(self, *, id: str = "", **fields: Any) -> Draft:  # noqa: A002 - the caller's word
        """Begin a quote."""
        return self._draft("quote", id, fields)

    def return_goods(self, *, id: str = "", **fields: Any) -> Draft:  # noqa: A002
        """Begin a return; quantities are given as they come back, above zero."""
        return self._draft("return", id, fields)

    def _draft(self, kind: SaleType, identity: str, fields: dict[str, Any]) -> Draft:
        now = datetime.fromtimestamp(self._now_ms() // 1000, tz=UTC).astimezone()
        today = {"date": now.date().isoformat()}
        return Draft(self, kind, identity or self.new_id(), {**today, **fields})

    def seal(self, draft: Draft) -> Sealed:
        """What ``draft.commit()`` does: number, total, one durable event."""
        with self._holding.lock:
            journal = self._holding.journal
            device = self._holding.identity.device
            number = document_number(device, journal.head.epoch, FIRST_EPOCH, journal.numbers + 1)
            offline = self._mode is not Mode.ONLINE
            content = draft.content(number=number, offline=offline)
            taken = int(content.number == number)
            payload = sale_payload(draft, content)
            (made,) = self._holding.append([payload], self._now_ms(), numbers=taken)
        self._grown()
        return Sealed(
            draft.type,
            draft.id,
            content.number,
            content.total_minor,
            content.currency,
            made.id,
            content.offline,
        )

    def price_e4(self, product: str) -> int | None:
        """The unit price of a product on this device, in ten-thousandths."""
        found = self.get("product", product)
        price = found["fields"].get("price_e4") if found else None
        return price if isinstance(price, int) else None

    def _grown(self) -> None:
        if self._link is not None:
            self._link.ring()
        self._notify()

    # Reading -------------------------------------------------------------------------------------

    def get(self, type: str, id: str) -> dict[str, Any] | None:  # noqa: A002 - the reader's words
        """One document as plain values (:mod:`replica.crdt.view`), own unsent work included.

        None when this device knows nothing of it. A deleted customer or product is found with
        ``exists`` false, so that its history can be shown.
        """
        key = DocKey(type, id)
        document = self._holding.document(key)
        hidden = self._hides(type) and key not in self._holding.overlay
        return None if document is None or hidden else view(document)

    def list(self, type: str) -> Iterator[dict[str, Any]]:  # noqa: A002 - the reader's words
        """Every document of a type by id; deleted customers and products are left out."""
        hides = self._hides(type)
        for document in self._holding.documents(type):
            if hides and document.key not in self._holding.overlay:
                continue
            found = view(document)
            if found.get("exists", True):
                yield found

    def why(self, type: str, id: str, field: str = "") -> builtins.list[dict[str, Any]]:  # noqa: A002
        """Why a field has its value (:mod:`replica.crdt.why`): winners, losers, the rule; every
        field when ``field`` is empty. Times of receipt are in the server's log."""
        # Imported here: few who take orders ask, and importing the SDK stays quick.
        from replica.crdt.why import explain, why_values  # noqa: PLC0415

        document = self._holding.document(DocKey(type, id))
        return [] if document is None else [why_values(one) for one in explain(document, field)]

    def twins(self) -> Iterator[dict[str, Any]]:
        """Pairs that wait for the office: two customers or products of one name, made without
        knowing of each other (decision 0016). A pair of which one is not held here is among them;
        one that was renamed or deleted is not."""
        from replica.device.twins import asked  # noqa: PLC0415 - few who take orders ask

        return asked(self._holding, self.list("twin"))

    def on_hand(self, product: str) -> int:
        """Stock in thousandths as this device knows it, its own unsent sales taken off (OFF-13)."""
        return self._holding.on_hand_e3(product)

    def digest(self) -> tuple[SectionTotal, ...]:
        """Counts and digests per section of everything up to the cursor, for comparing."""
        return self._holding.level().sections

    def ladder(self, order: str) -> Ladder:
        """How far an order has come: on the device, on the server, in the accounting system."""
        key = DocKey("order", order)
        with self._holding.lock:
            document = self._holding.document(key)
            own = self._holding.own_of(key)
        return ladder(order, None if document is None else view(document), own)

    # Scope ---------------------------------------------------------------------------------------

    def scope(self) -> Held | None:
        """What this device is to hold; None for everything, which is what it begins with."""
        identity = self.identity
        document = identity and self._holding.document(DocKey("device", identity.device.hex()))
        said = view(document)["scope"] if document else None
        if not said:
            return None
        chosen: dict[str, Any] = {
            name: None if said[name] is None else tuple(said[name])
            for name in ("customers", "prospects", "products")
        }
        return Held(
            version=said["version"],
            **chosen,
            orders=said["orders"],
            granted_ms=said["ms"],
            until_ms=said["until_ms"],
            strict=said["strict"],
            leaving=tuple(sorted(said["leaving"])),
        )

    def set_scope(self, **wish: Any) -> int:
        """Hold something else from now on: ``customers``, ``prospects``, ``products`` (a list of
        ids, or "all"), ``orders`` ("team" or "own"), ``ttl_s`` (0 for no end), ``strict``. What is
        left out stays as it is. The new version; the documents follow by themselves while syncing.

        Needs the network, as the server grants it: raises ``PeerGone`` without. ``Forbidden`` when
        the office keeps the scope, ``MisuseError`` for what no scope can say.
        """
        from replica.device.scope import ask  # noqa: PLC0415 - needed once in a while

        return int(ask(self._holding.identity, "scope", wish)["version"])

    def scope_cost(self, *, kbps: int = SCOPE_LINK_KBPS, **wish: Any) -> dict[str, Any]:
        """What :meth:`set_scope` would cost on a link of ``kbps``: documents, bytes, what enters
        and leaves, seconds. Changes nothing; raises as it does."""
        from replica.device.scope import ask  # noqa: PLC0415 - needed once in a while

        return ask(self._holding.identity, f"scope/preview?kbps={kbps}", wish)

    def _hides(self, type: str) -> bool:  # noqa: A002 - the reader's words
        """A strict scope that has ended shows unsent own work, and nothing else (CFG-06)."""
        if not self._holding.journal.place.stored_ms or type == "device":
            return False
        held = self.scope()
        return held is not None and held.hides(self._now_ms())

    # Syncing -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Sync from now on, by itself, for as long as it takes. Raises before enrolment."""
        # Imported here: asyncio and the websocket library are not needed to append and to read.
        from replica.device.link import Link  # noqa: PLC0415

        with self._holding.lock:
            if self._link is None:
                self._link = Link(
                    self._holding,
                    wall_ms=self._now_ms,
                    jitter=lambda: int.from_bytes(self._random_bytes(4), "big") / 2**32,
                    software=self._software,
                    manual=self._manual,
                    changed=self._notify,
                )
            self._link.start()

    def stop(self) -> None:
        """End syncing. Unsent work waits in the journal."""
        if self._link is not None:
            self._link.stop()

    def sync(self, timeout_s: float = 60.0) -> SyncResult:
        """One round: send everything, take in everything, compare digests.

        Raises ``PeerGone`` with the reason when there is no connection or the time is over,
        ``Revoked``, ``Forbidden`` or ``UpgradeRequired`` when the server refuses this device. In
        every case what was done stays done, and the next round goes on from there (SYN-23). Calls
        from several threads take turns.
        """
        with self._round:
            started = self._link is None or not self._link.running
            if started:
                self.start()
            link = self._link
            assert link is not None, "start() made it"
            try:
                return self._sync(link, timeout_s)
            finally:
                link.report.proof = None
                if started:
                    link.stop()

    def plan_sync_now(self) -> SyncPlan:
        """What a Sync Now of the whole account would do. Changes nothing.

        Raises ``MisuseError`` before enrolment, ``PeerGone`` without a connection and ``Forbidden``
        for a device that was shut out.
        """
        from replica.device.account_sync import plan  # noqa: PLC0415 - it needs HTTP

        return plan(self._holding.identity)

    def sync_now(
        self,
        plan: str = "",
        *,
        timeout_s: float = 300.0,
        progress: Callable[[AccountSync], None] = lambda _: None,
    ) -> AccountSync:
        """Sync Now for the whole account: every device that is online, the lists, the accounting
        program, and the proof (architecture.md §9). By ``plan``, the id of one that was looked at.

        Joins a run that is on. Raises as :meth:`plan_sync_now`, and ``MisuseError`` for a plan that
        the server does not know any more; the run goes on in the server whatever happens here.
        """
        from replica.device.account_sync import press  # noqa: PLC0415 - as above

        identity = self._holding.identity
        started = self._link is None or not self._link.running
        if started:
            self.start()
        try:
            self.wait_until(lambda status: status.mode is not Mode.CONNECTING)
            return press(identity, plan, timeout_s, progress)
        finally:
            if started:
                self.stop()

    def _sync(self, link: Link, timeout_s: float) -> SyncResult:
        before = link.report.counts
        link.prove()
        self._wait(lambda: self._round_over(link), timeout_s)
        with self._holding.lock:
            proved, counts = link.report.proved, link.report.counts
            mended = link.report.mended
            digest = self._holding.level().sections
        if proved is None:
            raise PeerGone("the round was not finished in time; nothing is lost, sync again")
        return SyncResult(
            counts.sent - before.sent,
            counts.received - before.received,
            counts.quarantined - before.quarantined,
            counts.refused - before.refused,
            proved.position,
            digest,
            proved.equal,
            mended,
        )

    def _round_over(self, link: Link) -> bool:
        report = link.report
        if report.proved is not None:
            return True
        if report.mode in RESTING:
            raise _REFUSALS[report.mode](report.text)
        if report.failures >= SYNC_CONNECTIONS_MAX:
            raise PeerGone(report.text)
        return False

    # By hand ------------------------------------------------------------------------------------

    def export(self, path: str | os.PathLike[str], *, everything: bool = False) -> Exported:
        """Write unsent work to a file that the office imports (OFF-15); with ``everything`` all
        this device ever said, for a server that lost some. Nothing changes here: the work stays
        unsent until a sync or a receipt answers it.

        Raises ``MisuseError`` when there is nothing to write, ``StorageFull`` when there is no
        room.
        """
        from replica.device.carrying import export  # noqa: PLC0415 - few who take orders export

        return export(
            self._holding,
            Path(path),
            everything=everything,
            now_ms=self._now_ms(),
            software=self._software,
        )

    def take_receipt(self, path: str | os.PathLike[str]) -> Receipt:
        """Take in the file that came back from an import: the work it answers is synced.

        Harmless a second time and after a sync. Raises ``Malformed``, ``Forbidden`` or
        ``MisuseError`` with the reason when it is not a receipt for this device.
        """
        from replica.device.carrying import take_receipt  # noqa: PLC0415 - as above

        data = Path(path).read_bytes()
        connected = self._link is not None and self._link.running
        self.stop()
        try:
            return take_receipt(self._holding, data)
        finally:
            if connected:
                self.start()
            self._notify()

    def status(self) -> Status:
        """One consistent reading of everything a user is shown."""
        with self._holding.lock:
            journal, level = self._holding.journal, self._holding.level()
            place = journal.place
            report = self._link.report if self._link else None
            held = self.scope()
            return Status(
                mode=self._mode,
                text=report.text if report else "sync is not started",
                pending=level.pending,
                last_sync_ms=place.synced_ms or None,
                last_proof_ms=place.proved_ms or None,
                skew_ms=place.skew_ms,
                skew_text=skew_words(place.skew_ms),
                cursor=level.cursor,
                server_position=max(report.server_position if report else 0, level.cursor),
                sections=level.sections,
                rejected=tuple(rejected(row) for row in journal.aside()),
                fetching=report.progress if report else (),
                stored_ms=place.stored_ms or None,
                scope_text=held.words(self._now_ms()) if held else "",
                notices=journal.notices.open,
                waiting=report.waiting if report else 0,
            )

    def dismiss(self, notice: Notice) -> None:
        """The user has read one of ``status().notices``: it is not shown again. Harmless twice."""
        with self._holding.lock:
            self._holding.journal.notices.dismiss(notice.id)
        self._notify()

    @property
    def _mode(self) -> Mode:
        return self._link.report.mode if self._link else Mode.OFFLINE

    def wait_until(self, reached: Callable[[Status], bool], timeout_s: float = 30.0) -> Status:
        """Block until ``reached(status)``, asked again whenever something moved.

        Raises ``PeerGone`` when the time is over. The predicate must not call the device.
        """
        self._wait(lambda: reached(self.status()), timeout_s)
        status = self.status()
        if not reached(status):
            raise PeerGone(f"not reached in {timeout_s} s; the device is {status.mode}")
        return status

    def _wait(self, over: Callable[[], bool], timeout_s: float) -> None:
        with self._moved:
            self._waiting += 1
            try:
                self._moved.wait_for(over, timeout_s)
            finally:
                self._waiting -= 1

    def _notify(self) -> None:
        # A thread counts itself before it looks: one that is not counted yet will see what moved.
        if self._waiting:
            with self._moved:
                self._moved.notify_all()
