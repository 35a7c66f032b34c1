"""The server's end of a connection: who is there, what time it is there, up and down.

Pushes of one connection are decided one after the other, the next while the one before it is
committed; those that wait meanwhile and adjoin are decided together, which is what makes small
pushes cheap. RESULT leaves after the commit. Down goes the log, page by page until the head and
then batch by batch as it is committed, never more than a window ahead of what the device confirmed
(:mod:`replica.sync.downstream`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from replica.errors import Malformed, ProtocolViolation, TooLarge, UpgradeRequired
from replica.events.record import Segment
from replica.limits import (
    APPENDS_IN_FLIGHT_MAX,
    AUTHENTICATE_TIMEOUT_MS,
    CURSOR_FLUSH_MS,
    EVENT_BYTES_MAX,
    FIRST_FRAME_TIMEOUT_MS,
    FRAME_BYTES_MAX,
    PROBE_INTERVAL_MS,
    PROBE_SAMPLES,
    PROBE_TIMEOUT_MS,
    PUSH_BYTES_MAX,
    PUSH_EVENTS_MAX,
    PUSHES_IN_FLIGHT_MAX,
    PUSHES_TOGETHER_MAX,
    READ_RETRY_MS,
    UNCONFIRMED_BYTES_MAX,
)
from replica.sync.downstream import Downstream
from replica.sync.effects import (
    Append,
    Authenticate,
    Confirmed,
    Effect,
    Offer,
    Offset,
    Pushed,
    Send,
    Standing,
)
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import (
    KNOWS_SCOPE,
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    Cursor,
    Hello,
    Probe,
    ProbeReply,
    Push,
    Result,
    SyncRequest,
    Welcome,
)
from replica.sync.peer import Peer, Timer, make_goodbye
from replica.sync.skew import Skew
from replica.sync.table import Input, Role, State
from replica.sync.verdicts import Settlement, cut

LIMITS = {
    "frame_bytes": FRAME_BYTES_MAX,
    "event_bytes": EVENT_BYTES_MAX,
    "push_bytes": PUSH_BYTES_MAX,
    "push_events": PUSH_EVENTS_MAX,
    "pushes_in_flight": PUSHES_IN_FLIGHT_MAX,
    "unconfirmed_bytes": UNCONFIRMED_BYTES_MAX,
}
"""What WELCOME tells a device (§9)."""

EPOCH_MAX = 2**31 - 1
SCOPE_UNKNOWN = (
    "this program cannot hold a part of the account, and that is what the office chose for this "
    "device; update the program, or choose everything for it"
)


class _Waiting(NamedTuple):
    push: Push
    received_ms: int


class ServerPeer(Peer):
    """One device's connection, as the server holds it."""

    role = Role.SERVER

    def __init__(self) -> None:
        super().__init__()
        self.hello: Hello | None = None
        """What the device said; whether it may is known once the state is PROBING or LIVE."""
        self._skew = Skew()
        self._probe_ms = 0
        self._down: Downstream | None = None
        # Short lists: an empty deque is large, and most peers are idle.
        self._waiting: list[_Waiting] = []
        self._announced = 0  # times that ``take`` is going to be called
        self._appending: list[tuple[Push, ...]] = []  # at the door, in this order
        self._uploading = False  # pushes faster than they are answered: it comes home with work
        self._pushes_seen = 0
        self._early_run: str | None = None

    @property
    def offset_ms(self) -> int:
        """The device's clock minus ours, as measured so far."""
        return self._skew.offset_ms

    @property
    def confirmed(self) -> int:
        """Everything up to this position is durable on the device."""
        return self._down.confirmed if self._down else 0

    # Inputs --------------------------------------------------------------------------------------

    def authenticated(self, standing: Standing, now_ms: int) -> list[Effect]:
        """The token is good. From here on the edge may call ``offer`` and ``hint``."""
        return self._step(Input.AUTHENTICATED, standing, now_ms)

    def offer(self, offer: Offer, now_ms: int) -> list[Effect]:
        """A batch was committed. Any order, gaps and repetitions are harmless."""
        return self._step(Input.OFFERED, offer, now_ms)

    def hint(self, position: int, now_ms: int) -> list[Effect]:
        """The log is at ``position`` by now, as heard from elsewhere."""
        return self._step(Input.HINTED, position, now_ms)

    def take(self) -> Append | None:
        """What ``Pushed`` announced; None when nothing is left of it. ``appended`` follows."""
        if self._state is State.CLOSED:
            return None
        assert self._announced, "take without Pushed"
        self._announced -= 1
        if not self._waiting:
            return None
        taken = [self._waiting.pop(0)]
        size = _size(taken[0].push)
        while len(taken) < PUSHES_TOGETHER_MAX and self._waiting:
            following = self._waiting[0].push
            size += _size(following)
            if size > PUSH_BYTES_MAX or not _adjoin(taken[-1].push, following):
                break
            taken.append(self._waiting.pop(0))
        pushes = tuple(waiting.push for waiting in taken)
        self._appending.append(pushes)
        return Append(
            first_seq=pushes[0].first_seq,
            events=tuple(data for push in pushes for data in push.events),
            offset_ms=self._skew.offset_ms,
            received_ms=taken[-1].received_ms,
        )

    def appended(self, settlement: Settlement, now_ms: int) -> list[Effect]:
        """What the door decided about the oldest ``Append`` under way; it is durable."""
        return self._step(Input.APPENDED, settlement, now_ms)

    def loaded(self, segments: Sequence[Segment], now_ms: int) -> list[Effect]:
        """The page that ``Read`` asked for; empty when there is nothing (yet)."""
        return self._step(Input.LOADED, segments, now_ms)

    def ask_sync(self, run: str, now_ms: int) -> list[Effect]:
        """Sync Now: have the device push what it holds and tell its digest."""
        return self._step(Input.ASK_SYNC, run, now_ms)

    # Meeting -------------------------------------------------------------------------------------

    def on_opened(self, _: None, now_ms: int) -> None:
        self._enter(State.AWAIT_HELLO)
        self._timers[Timer.FIRST_FRAME] = now_ms + FIRST_FRAME_TIMEOUT_MS

    def on_hello(self, hello: Hello, now_ms: int) -> None:
        if hello.version_max < PROTOCOL_VERSION_MIN or hello.version_min > PROTOCOL_VERSION:
            raise UpgradeRequired(
                f"protocol {hello.version_min} to {hello.version_max} is offered, "
                f"{PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION} is spoken here"
            )
        if hello.epoch > EPOCH_MAX:
            raise Malformed(f"epoch {hello.epoch} is out of range")
        self.hello = hello
        self._enter(State.AUTHENTICATING)
        self._timers[Timer.AUTHENTICATION] = now_ms + AUTHENTICATE_TIMEOUT_MS
        self._emit(Authenticate(hello))

    def on_authenticated(self, standing: Standing, now_ms: int) -> None:
        hello, head = self.hello, standing.head
        assert hello is not None
        if standing.scope and KNOWS_SCOPE not in hello.knows:
            # It would take the cursor for the log, and never be equal (§4.1).
            self._leave(make_goodbye(UpgradeRequired(SCOPE_UNKNOWN)))
            return
        resumes = _same_history(hello, standing)
        resume_after = hello.cursor if resumes else 0
        self._down = Downstream(
            after=resume_after,
            head=head.position,
            own=(hello.device, hello.epoch),
            own_after=0 if resumes else head.position,
            scoped=standing.scope > 0,
        )
        lives = {one.epoch for one in standing.device_heads}
        if standing.scope and resumes and lives <= {hello.epoch}:
            self._down.skip(head.position, head.chain)
        chain = head_in(standing.device_heads, hello.epoch)
        self._enter(State.PROBING)
        self._timers[Timer.PROBE_REPLY] = now_ms + PROBE_TIMEOUT_MS
        self._probe_ms = now_ms
        self._send(
            Welcome(
                version=min(hello.version_max, PROTOCOL_VERSION),
                session=standing.session,
                log_id=head.log_id,
                generation=head.generation,
                position=head.position,
                resume_after=resume_after,
                device_seq=chain.seq,
                device_hash=chain.hash,
                next_epoch=next_epoch(standing.device_heads, hello.epoch),
                probe_sent_ms=now_ms,
                limits=LIMITS,
                scope=standing.scope,
            )
        )

    def on_early_offer(self, offer: Offer, _: int) -> None:
        """Not sent, or the clock would be measured through a full pipe; read when we are live."""
        self._downstream.head = max(self._downstream.head, offer.last)

    def on_early_hint(self, position: int, _: int) -> None:
        self._downstream.head = max(self._downstream.head, position)

    def on_early_ask(self, run: str, _: int) -> None:
        self._early_run = run

    # Clock ---------------------------------------------------------------------------------------

    def on_first_probe_reply(self, reply: ProbeReply, now_ms: int) -> None:
        self._enter(State.LIVE)
        self._timers[Timer.PROBE_REPLY] = now_ms  # satisfied by the next line
        self.on_probe_reply(reply, now_ms)
        if self._early_run is not None:
            self.on_ask_sync(self._early_run, now_ms)
        self._pump(now_ms)

    def on_probe_reply(self, reply: ProbeReply, now_ms: int) -> None:
        if Timer.PROBE_REPLY not in self._timers or reply.probe_sent_ms != self._probe_ms:
            raise ProtocolViolation("PROBE_REPLY answers no probe")
        del self._timers[Timer.PROBE_REPLY]
        self._skew.add(self._probe_ms, reply.received_ms, reply.sent_ms, now_ms)
        self._emit(Offset(self._skew.offset_ms))
        if self._skew.count < PROBE_SAMPLES:
            self._probe(now_ms)
        else:
            self._timers[Timer.NEXT_PROBE] = now_ms + PROBE_INTERVAL_MS

    def _probe(self, now_ms: int) -> None:
        self._probe_ms = now_ms
        self._timers[Timer.PROBE_REPLY] = now_ms + PROBE_TIMEOUT_MS
        self._send(Probe(now_ms, self._skew.offset_ms))

    # Up ------------------------------------------------------------------------------------------

    def on_push(self, push: Push, now_ms: int) -> None:
        self._pushes_seen += 1
        if push.number != self._pushes_seen:
            raise ProtocolViolation(f"push {push.number} where {self._pushes_seen} is next")
        if len(self._waiting) + sum(map(len, self._appending)) >= PUSHES_IN_FLIGHT_MAX:
            raise ProtocolViolation(f"more than {PUSHES_IN_FLIGHT_MAX} pushes are unanswered")
        if not push.events or not push.first_seq:
            raise ProtocolViolation("a push holds events and starts at seq 1 or later")
        if len(push.events) > PUSH_EVENTS_MAX:
            raise TooLarge("events of a push", limit=PUSH_EVENTS_MAX, actual=len(push.events))
        size = _size(push)
        if len(push.events) > 1 and size > PUSH_BYTES_MAX:
            raise TooLarge("bytes of a push", limit=PUSH_BYTES_MAX, actual=size)
        self._uploading = self._uploading or self._busy
        self._waiting.append(_Waiting(push, now_ms))
        self._announce()

    def on_appended(self, settlement: Settlement, now_ms: int) -> None:
        assert self._appending, "appended without Append"
        pushes = self._appending.pop(0)
        start = 0
        for push in pushes:
            count = min(len(push.events), settlement.answered - start)
            if count > 0:
                part = cut(settlement, start, count)
                self._send(Result(push.number, part.verdicts, part.decisions))
            start += count
        pushed = sum(len(push.events) for push in pushes)
        assert settlement.error is not None or settlement.answered == pushed, (
            "an event has no verdict"
        )
        if settlement.error is not None:
            self._leave(make_goodbye(settlement.error))
            return
        self._announce()
        if self._uploading and not self._busy:
            self._uploading = False
            self._timers.pop(Timer.READ_AGAIN, None)
            self._pump(now_ms)
        self._flush_when_idle(now_ms)

    def _announce(self) -> None:
        if self._waiting and len(self._appending) + self._announced < APPENDS_IN_FLIGHT_MAX:
            self._announced += 1
            self._emit(Pushed())

    @property
    def _busy(self) -> bool:
        """Whether pushes are unanswered."""
        return bool(self._waiting or self._appending)

    # Down ----------------------------------------------------------------------------------------

    def on_offered(self, offer: Offer, now_ms: int) -> None:
        self._send_bytes(self._downstream.offer(offer, hold=self._uploading))
        self._pump(now_ms)

    def on_hinted(self, position: int, now_ms: int) -> None:
        self.on_early_hint(position, now_ms)
        self._pump(now_ms)

    def on_loaded(self, segments: Sequence[Segment], now_ms: int) -> None:
        down = self._downstream
        assert down.reading, "loaded without Read"
        self._send_bytes(down.page(segments))
        if not segments and down.behind:
            self._timers[Timer.READ_AGAIN] = now_ms + READ_RETRY_MS
        else:
            self._pump(now_ms)

    def on_cursor(self, cursor: Cursor, now_ms: int) -> None:
        self._downstream.confirm(cursor.position)
        self._emit(Confirmed(cursor.position))
        self._pump(now_ms)

    def _pump(self, now_ms: int) -> None:
        if self._uploading and self._downstream.behind:
            # Its own work first. What it misses meanwhile comes in full pages, one at a time, and
            # all of it once everything is answered.
            self._timers.setdefault(Timer.READ_AGAIN, now_ms + READ_RETRY_MS)
        self._read_on(now_ms)

    def _read_on(self, now_ms: int) -> None:
        if Timer.READ_AGAIN not in self._timers and (read := self._downstream.next_read()):
            self._emit(read)
        self._flush_when_idle(now_ms)

    def _flush_when_idle(self, now_ms: int) -> None:
        """Tell the device its new cursor once, after the last of its pushes and pages."""
        if not self._downstream.owes:
            self._timers.pop(Timer.FLUSH, None)
        elif self._busy or self._downstream.reading:
            self._timers.setdefault(Timer.FLUSH, now_ms + CURSOR_FLUSH_MS)
        else:
            self._flush()

    def _flush(self) -> None:
        self._timers.pop(Timer.FLUSH, None)
        self._send_bytes(self._downstream.flush())

    def _send_bytes(self, frame: bytes | None) -> None:
        if frame is not None:
            self._emit(Send(frame))

    @property
    def _downstream(self) -> Downstream:
        assert self._down is not None, "the table lets nothing down before authentication"
        return self._down

    # Sync Now, time ------------------------------------------------------------------------------

    def on_ask_sync(self, run: str, _: int) -> None:
        self._ask(SyncRequest(run))

    def on_timer(self, timer: Timer, now_ms: int) -> None:
        if timer is Timer.NEXT_PROBE:
            self._probe(now_ms)
        elif timer is Timer.READ_AGAIN:
            self._read_on(now_ms)
        elif timer is Timer.FLUSH:
            self._flush()
        else:
            super().on_timer(timer, now_ms)


def _size(push: Push) -> int:
    return sum(map(len, push.events))


def _adjoin(push: Push, following: Push) -> bool:
    return push.first_seq + len(push.events) == following.first_seq


def _same_history(hello: Hello, standing: Standing) -> bool:
    """Whether the device's cursor lies in the log as it is now (reliability I-6)."""
    head = standing.head
    if not hello.log_id:
        return hello.cursor == 0
    if (hello.log_id, hello.generation) != (head.log_id, head.generation):
        return False
    return hello.cursor == 0 or (
        hello.cursor <= head.position and hello.chain == standing.chain_at_cursor
    )
