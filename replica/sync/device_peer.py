"""The device's end of a connection: push the outbox, take in the log, prove it.

Events are pushed from the journal, never from memory, so nothing depends on what was offered when.
Received frames are applied one transaction after the other; those that wait meanwhile are applied
together. The cursor is confirmed after it is durable (pitfalls P49); in a stream of small frames
one CURSOR speaks for many, as each costs the server as much as a frame it sends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from replica.errors import ProtocolViolation, UpgradeRequired
from replica.events.clock import STAMP_BYTES
from replica.events.record import Segment
from replica.limits import (
    CONFIRM_BYTES,
    CONFIRM_INTERVAL_MS,
    FIRST_FRAME_TIMEOUT_MS,
    FRAME_BYTES_MAX,
    PUSH_BYTES_TARGET,
    PUSH_EVENTS_MAX,
    PUSHES_IN_FLIGHT_MAX,
    RESULT_TIMEOUT_MS,
    SILENCE_TIMEOUT_MS,
    UNCONFIRMED_BYTES_MAX,
    WINDOW_FRAME_BYTES_MIN,
)
from replica.sync.effects import (
    Apply,
    Effect,
    ForkFound,
    Offset,
    OutboxPage,
    Place,
    ReadOutbox,
    Reset,
    Settled,
    SyncRequested,
    TakeDigest,
    Welcomed,
)
from replica.sync.messages import (
    KNOWS_SCOPE,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Cursor,
    DigestRequest,
    Events,
    Goodbye,
    Hello,
    Probe,
    ProbeReply,
    Push,
    Result,
    SyncRequest,
    Welcome,
)
from replica.sync.peer import Peer, Timer
from replica.sync.table import Input, Role, State
from replica.sync.verdicts import highest_position


class _Sent(NamedTuple):
    number: int
    first_seq: int
    events: int
    sent_ms: int


class DevicePeer(Peer):
    """One connection, as the device holds it. Make a new one, from a new ``Place``, for each."""

    role = Role.DEVICE

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place
        self._welcome: Welcome | None = None
        # Up: pages are read after ``_pushed_seq``; ``_more`` says that there may be a next one.
        self._pushed_seq = 0
        self._reading = False
        self._more = False
        self._page_checked = False
        self._sent: deque[_Sent] = deque()
        self._pushes_made = 0
        self._cut_short = False
        self._answered_through = place.answered_through
        # Down: frames wait here while one is being applied.
        self._received: deque[Events] = deque()
        self._received_bytes = 0
        self._received_through = 0
        self._applying: int | None = None
        self._applied = 0
        self._applying_bytes = 0
        self._applied_bytes = 0  # not confirmed yet
        self._confirmed = 0
        self._confirmed_ms = 0
        # Digests that wait for a moment at which they mean something.
        self._digest_at: int | None = None
        self._digest_after_pushing = False

    @property
    def cursor(self) -> int:
        """Everything up to this position is durable here."""
        return self._applied

    @property
    def received(self) -> int:
        """Events that came since the ``Apply`` under way was asked for, and wait for it."""
        return sum(segment.count for events in self._received for segment in events.segments)

    @property
    def heard(self) -> int:
        """How far the frames lead that have come, applied or not."""
        return self._received_through

    # Inputs --------------------------------------------------------------------------------------

    def offer(self, now_ms: int) -> list[Effect]:
        """The outbox has grown."""
        return self._step(Input.OFFERED, None, now_ms)

    def loaded(self, page: OutboxPage, now_ms: int) -> list[Effect]:
        """The page that ``ReadOutbox`` asked for."""
        return self._step(Input.LOADED, page, now_ms)

    def appended(self, through: int, now_ms: int) -> list[Effect]:
        """The ``Apply`` under way is durable, cursor included."""
        return self._step(Input.APPENDED, through, now_ms)

    def receive(self, data: bytes, now_ms: int) -> list[Effect]:
        effects = super().receive(data, now_ms)
        if self.state is State.LIVE:
            self._timers[Timer.SILENCE] = now_ms + SILENCE_TIMEOUT_MS
        return effects

    # Meeting -------------------------------------------------------------------------------------

    def on_opened(self, _: None, now_ms: int) -> None:
        place = self._place
        self._enter(State.AWAIT_WELCOME)
        self._timers[Timer.WELCOME] = now_ms + 2 * FIRST_FRAME_TIMEOUT_MS
        self._send(
            Hello(
                version_min=PROTOCOL_VERSION_MIN,
                version_max=PROTOCOL_VERSION,
                token=place.token,
                account=place.account,
                device=place.device,
                epoch=place.epoch,
                head_seq=place.head_seq,
                log_id=place.log_id,
                generation=place.generation,
                cursor=place.cursor,
                chain=place.chain if place.cursor else b"",
                sent_ms=now_ms,
                software=place.software,
                knows=(KNOWS_SCOPE,),
            )
        )

    def on_early_offer(self, _: None, now_ms: int) -> None:
        """The first page is read on WELCOME anyway."""

    def on_welcome(self, welcome: Welcome, now_ms: int) -> None:
        place = self._place
        if not PROTOCOL_VERSION_MIN <= welcome.version <= PROTOCOL_VERSION:
            raise UpgradeRequired(f"the server speaks protocol {welcome.version}")
        if welcome.resume_after not in {0, place.cursor}:
            raise ProtocolViolation(f"resume after {welcome.resume_after}, not {place.cursor}")
        self._send(ProbeReply(welcome.probe_sent_ms, now_ms, now_ms))
        self._welcome = welcome
        self._enter(State.LIVE)
        self._timers[Timer.SILENCE] = now_ms + SILENCE_TIMEOUT_MS
        known = (welcome.log_id, welcome.generation) == (place.log_id, place.generation)
        if place.log_id and not (known and welcome.resume_after == place.cursor):
            self._answered_through = 0
            self._emit(Reset(welcome.log_id, welcome.generation, welcome.device_seq))
        elif place.log_id and welcome.device_seq < place.answered_seq:
            # The log went back and our cursor lies in what is left. It will decide again on what
            # it forgot, so the first decisions have to go, and with them the documents (§6).
            self._emit(Reset(welcome.log_id, welcome.generation, welcome.device_seq))
            self._say_goodbye("closed", "the log went back; fetching it from the beginning")
            return
        self._emit(Welcomed(welcome))
        self._received_through = self._applied = self._confirmed = welcome.resume_after
        # A server that forgot is told again; one that answered in vain answers again (§6).
        self._pushed_seq = min(place.answered_seq, welcome.device_seq)
        self._more = True
        self._read_outbox()

    def on_probe(self, probe: Probe, now_ms: int) -> None:
        self._send(ProbeReply(probe.probe_sent_ms, now_ms, now_ms))
        self._emit(Offset(probe.offset_ms))

    def on_goodbye(self, goodbye: Goodbye, now_ms: int) -> None:
        if goodbye.code == "forked":
            self._emit(ForkFound(goodbye.next_epoch))
        super().on_goodbye(goodbye, now_ms)

    # Up ------------------------------------------------------------------------------------------

    def on_offered(self, _: None, __: int) -> None:
        self._more = True
        self._read_outbox()

    def on_loaded(self, page: OutboxPage, now_ms: int) -> None:
        assert self._reading, "loaded without ReadOutbox"
        self._reading = False
        if not self._joins(page):
            self._fork()
            return
        events = tuple(self._fitting(page.events))
        if events:
            self._pushes_made += 1
            first_seq = self._pushed_seq + 1
            self._send(Push(self._pushes_made, first_seq, events))
            self._sent.append(_Sent(self._pushes_made, first_seq, len(events), now_ms))
            self._timers.setdefault(Timer.RESULT, now_ms + RESULT_TIMEOUT_MS)
            self._pushed_seq += len(events)
            self._more = True
        self._proceed()

    def on_result(self, result: Result, now_ms: int) -> None:
        if not self._sent or self._sent[0].number != result.number:
            raise ProtocolViolation(f"RESULT {result.number} answers no push")
        sent = self._sent.popleft()
        _check_result(result, sent.events)
        # Fewer verdicts than events: GOODBYE follows, and pushing on would leave a gap.
        self._cut_short = sum(verdict.count for verdict in result.verdicts) < sent.events
        self._timers.pop(Timer.RESULT, None)
        if self._sent:
            self._timers[Timer.RESULT] = self._sent[0].sent_ms + RESULT_TIMEOUT_MS
        highest = highest_position(result.verdicts)
        self._answered_through = max(self._answered_through, highest)
        self._emit(Settled(sent.first_seq, result.verdicts, result.decisions))
        self._proceed()

    def _joins(self, page: OutboxPage) -> bool:
        """Whether our chain, where the server's ends, is the server's chain."""
        checked, self._page_checked = self._page_checked, True
        if checked or self._pushed_seq != self._server.device_seq:
            return True
        return page.prev == self._server.device_hash

    def _read_outbox(self) -> None:
        in_flight = self._server.limits.get("pushes_in_flight", 1)
        if self._reading or not self._more or self._cut_short:
            return
        if len(self._sent) >= min(in_flight, PUSHES_IN_FLIGHT_MAX):
            return
        self._reading, self._more = True, False
        self._emit(ReadOutbox(self._pushed_seq, self._push_bytes, self._push_events))

    def _proceed(self) -> None:
        self._read_outbox()
        if self._idle and self._server.device_seq > self._place.head_seq:
            self._fork()  # the server knows events of this epoch that we lost (§6)
            return
        self._take_digest()

    def _fork(self) -> None:
        self._emit(ForkFound(self._server.next_epoch))
        self._say_goodbye("forked", "the chain here is not the server's")

    def _fitting(self, events: Iterable[bytes]) -> Iterable[bytes]:
        size = 0
        for index, data in enumerate(events):
            size += len(data)
            if index and (size > self._push_bytes or index >= self._push_events):
                return
            yield data

    @property
    def _push_bytes(self) -> int:
        return min(PUSH_BYTES_TARGET, self._server.limits.get("push_bytes", PUSH_BYTES_TARGET))

    @property
    def _push_events(self) -> int:
        return min(PUSH_EVENTS_MAX, self._server.limits.get("push_events", PUSH_EVENTS_MAX))

    @property
    def _idle(self) -> bool:
        return not (self._reading or self._more or self._sent)

    @property
    def _server(self) -> Welcome:
        assert self._welcome is not None, "the table lets nothing up before WELCOME"
        return self._welcome

    # Down ----------------------------------------------------------------------------------------

    def on_events(self, events: Events, _: int) -> None:
        at = self._received_through
        for segment in events.segments:
            if segment.first <= at or segment.count < 1:
                raise ProtocolViolation(f"segment at {segment.first} comes after position {at}")
            at = segment.last
        if events.through < at or events.through <= self._received_through:
            raise ProtocolViolation(f"EVENTS through {events.through} after position {at}")
        self._received_bytes += max(_size(events.segments), WINDOW_FRAME_BYTES_MIN)
        if self._received_bytes > UNCONFIRMED_BYTES_MAX + FRAME_BYTES_MAX:
            raise ProtocolViolation("EVENTS beyond the window")
        self._received_through = events.through
        self._received.append(events)
        self._apply_next()

    def on_appended(self, through: int, now_ms: int) -> None:
        assert through == self._applying, "appended another page than Apply asked for"
        self._applying, self._applied = None, through
        self._applied_bytes += self._applying_bytes
        if self._confirms_now(now_ms):
            self._confirm()
        else:
            self._timers[Timer.CONFIRM] = self._confirmed_ms + CONFIRM_INTERVAL_MS
        self._apply_next()
        self._take_digest()

    def _confirms_now(self, now_ms: int) -> bool:
        recent = 0 <= now_ms - self._confirmed_ms < CONFIRM_INTERVAL_MS
        return not recent or self._applied_bytes >= CONFIRM_BYTES

    def _confirm(self) -> None:
        """Tell the server what is durable, if that is news."""
        self._timers.pop(Timer.CONFIRM, None)
        if self._confirmed < self._applied:
            self._send(Cursor(self._applied))
            self._confirmed, self._confirmed_ms = self._applied, self._now_ms or 0
            self._applied_bytes = 0

    def _apply_next(self) -> None:
        if self._applying is not None or not self._received:
            return
        segments = tuple(segment for events in self._received for segment in events.segments)
        last = self._received[-1]
        self._received.clear()
        self._applying_bytes, self._received_bytes = self._received_bytes, 0
        self._applying = last.through
        self._emit(Apply(segments, last.through, last.chain))

    # Sync Now, digests, time ---------------------------------------------------------------------

    def on_sync_request(self, frame: SyncRequest, now_ms: int) -> None:
        self._owe_digest()
        self._emit(SyncRequested(frame.run))
        self._digest_at, self._digest_after_pushing = 0, True
        self.on_offered(None, now_ms)

    def on_digest_request(self, frame: DigestRequest, _: int) -> None:
        self._owe_digest()
        self._digest_at, self._digest_after_pushing = frame.position, False
        self._take_digest()

    def _take_digest(self) -> None:
        """Ask for the digest that is owed when our documents are the fold of exactly the log up to
        the cursor: nothing half received, no own event acknowledged beyond it (§7)."""
        if self._digest_at is None or self._applying is not None or self._received:
            return
        if self._applied < self._answered_through:
            return
        if self._digest_after_pushing and not self._idle:
            return
        self._confirm()  # so that both speak of the same moment
        self._emit(TakeDigest(self._digest_at))
        self._digest_at = None

    def on_ask_digest(self, position: int, now_ms: int) -> None:
        self._confirm()
        super().on_ask_digest(position, now_ms)

    def on_timer(self, timer: Timer, now_ms: int) -> None:
        if timer is Timer.CONFIRM:
            self._confirm()
        else:
            super().on_timer(timer, now_ms)


def _size(segments: Iterable[Segment]) -> int:
    return sum(len(segment.records) for segment in segments)


def _check_result(result: Result, count: int) -> None:
    answered = sum(verdict.count for verdict in result.verdicts)
    if answered > count:
        raise ProtocolViolation(f"{answered} verdicts for {count} events")
    for decision in result.decisions:
        if decision.index >= answered or len(decision.stamp) != STAMP_BYTES:
            raise ProtocolViolation("a decision about no event, or without a stamp")
