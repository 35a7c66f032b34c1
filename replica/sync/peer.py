"""The engine under both ends of a connection: table lookup, timers, errors, closing.

A peer holds no socket, clock, store or logger. Inputs are methods, each returns the effects to
perform in order (:mod:`replica.sync.effects`). The two ends are
:class:`~replica.sync.server_peer.ServerPeer` and :class:`~replica.sync.device_peer.DevicePeer`;
what they may do when is the table's (:mod:`replica.sync.table`).

Duties of an edge, all of them:

- call ``opened`` first; then ``receive`` for every message, the others as effects ask for them;
- perform the returned effects in order; ``Close`` is the last one;
- call ``tick`` at ``deadline_ms`` or soon after, and again for each new deadline;
- call ``failed`` with the ``ReplicaError`` when an effect could not be performed;
- ``now_ms`` is milliseconds since the Unix epoch by the wall clock, on a device the same that
  stamps its events. It may be set while a connection lives: forward ends some waits early, back
  moves them along.

``receive`` raises nothing for anything a peer may send: bad input ends in GOODBYE and ``Close``.
Any exception out of a peer is a bug on this side and must not be told as the other's fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, ClassVar

from replica.errors import (
    CorruptionError,
    Forked,
    MisuseError,
    Overloaded,
    PeerError,
    ProtocolViolation,
    ReplicaError,
    WorldError,
)
from replica.limits import DIGEST_ASKS_MAX
from replica.sync import messages as m
from replica.sync.effects import Close, DigestReceived, Effect, Send, TakeDigest
from replica.sync.messages import (
    CLOSE_CODES,
    CloseCode,
    Digest,
    DigestRequest,
    Frame,
    Goodbye,
    SectionDigest,
    SyncRequest,
    bounded,
    decode_frame,
    encode_frame,
)
from replica.sync.table import TABLE, Input, Role, State

FRAME_INPUTS = {
    m.Hello: Input.HELLO,
    m.Welcome: Input.WELCOME,
    m.Probe: Input.PROBE,
    m.ProbeReply: Input.PROBE_REPLY,
    m.Push: Input.PUSH,
    m.Result: Input.RESULT,
    m.Events: Input.EVENTS,
    m.Cursor: Input.CURSOR,
    m.DigestRequest: Input.DIGEST_REQUEST,
    m.Digest: Input.DIGEST,
    m.SyncRequest: Input.SYNC_REQUEST,
    m.Goodbye: Input.GOODBYE,
}


class Timer(StrEnum):
    """What a peer waits for; when one runs out, ``on_timer`` decides."""

    FIRST_FRAME = "first frame"
    AUTHENTICATION = "authentication"
    WELCOME = "welcome"
    PROBE_REPLY = "probe reply"
    NEXT_PROBE = "next probe"
    READ_AGAIN = "read again"
    FLUSH = "flush"
    RESULT = "result"
    CONFIRM = "confirm"
    SILENCE = "silence"


class Peer:
    """What both ends share. Not for use by itself."""

    role: ClassVar[Role]

    def __init__(self) -> None:
        self._state = State.START
        self._effects: list[Effect] = []
        self._timers: dict[Timer, int] = {}
        self._now_ms: int | None = None  # at the last input
        # The first one is sent, a DIGEST will answer it. A list: there are few, and an empty deque
        # takes 600 bytes, which thousands of idle peers would have for nothing.
        self._asks: list[Frame] = []
        self._digest_owed = False  # to them

    # What an edge may read -----------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def deadline_ms(self) -> int | None:
        """When ``tick`` is due next; None once the peer is closed."""
        return min(self._timers.values(), default=None)

    # Inputs of both ends -------------------------------------------------------------------------

    def opened(self, now_ms: int) -> list[Effect]:
        """The websocket is open. Call this first."""
        return self._step(Input.OPENED, None, now_ms)

    def receive(self, data: bytes, now_ms: int) -> list[Effect]:
        """One binary message from the other end. A text message is given as its bytes too."""
        if self._state is State.CLOSED:
            return []
        try:
            frame = decode_frame(data)
            return self._step(FRAME_INPUTS[type(frame)], frame, now_ms)
        except PeerError as error:
            self._leave(make_goodbye(error))
            return self._drain()

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has passed. Harmless at any moment."""
        return self._step(Input.TICK, None, now_ms)

    def digested(
        self, position: int, sections: Sequence[SectionDigest], pending: int, now_ms: int
    ) -> list[Effect]:
        """The answer to ``TakeDigest``: the position it holds for, which may be another one."""
        return self._step(Input.DIGESTED, Digest(position, tuple(sections), pending), now_ms)

    def ask_digest(self, position: int, now_ms: int) -> list[Effect]:
        """Ask the other end for its digest at ``position``; 0 for where it is now.

        Every question gets its own ``DigestReceived``, in order. Raises ``Overloaded`` when
        ``DIGEST_ASKS_MAX`` are unanswered.
        """
        return self._step(Input.ASK_DIGEST, position, now_ms)

    def failed(self, error: ReplicaError) -> list[Effect]:
        """An effect could not be performed. Tells the other end and closes."""
        return self._step(Input.CLOSE, make_goodbye(error), self._now_ms or 0)

    def close(self, code: str, message: str, *, retry_after_ms: int = 0) -> list[Effect]:
        """End the connection: ``closed``, ``going_away``, ``restart``, ``taken_over``, …(§8)."""
        return self._step(Input.CLOSE, _compose(code, message, retry_after_ms), self._now_ms or 0)

    def lost(self) -> None:
        """The socket is gone; nothing can be said any more."""
        self._end()

    # Engine --------------------------------------------------------------------------------------

    def _step(self, given: Input, argument: Any, now_ms: int) -> list[Effect]:
        if self._state is State.CLOSED:
            return []
        row = TABLE.get((self.role, self._state, given))
        if row is None:
            if given.is_frame:
                raise ProtocolViolation(f"{given} is not allowed in state {self._state}")
            raise MisuseError(f"{given} reported in state {self._state}")
        self._notice(now_ms)
        getattr(self, row.handler)(argument, now_ms)
        assert self._state in row.states, f"{given} led to {self._state}"
        assert self._timers or self._state in {State.START, State.CLOSED}, "nothing would wake us"
        return self._drain()

    def _notice(self, now_ms: int) -> None:
        """A clock that was set back must not make us wait for it to come round again."""
        if self._now_ms is not None and now_ms < self._now_ms:
            back_ms = self._now_ms - now_ms
            self._timers = {timer: due_ms - back_ms for timer, due_ms in self._timers.items()}
        self._now_ms = now_ms

    def _drain(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    def _send(self, frame: Frame) -> None:
        self._effects.append(Send(encode_frame(frame)))

    def _enter(self, state: State) -> None:
        self._state = state
        self._timers.clear()

    def _leave(self, goodbye: Goodbye) -> None:
        """Say why, then close."""
        self._send(goodbye)
        self._emit(Close(goodbye, theirs=False))
        self._end()

    def _say_goodbye(self, code: str, message: str) -> None:
        self._leave(_compose(code, message, 0))

    def _end(self) -> None:
        self._enter(State.CLOSED)

    # Handlers of both ends -----------------------------------------------------------------------

    def on_tick(self, _: None, now_ms: int) -> None:
        for timer in [timer for timer, due_ms in self._timers.items() if due_ms <= now_ms]:
            if self._timers.pop(timer, None) is not None:
                self.on_timer(timer, now_ms)

    def on_timer(self, timer: Timer, now_ms: int) -> None:
        """Anything without a better idea means that the other end is not there any more."""
        self._say_goodbye("timeout", f"waited too long for {timer}")

    def on_close(self, goodbye: Goodbye, _: int) -> None:
        self._leave(goodbye)

    def on_goodbye(self, goodbye: Goodbye, _: int) -> None:
        self._emit(Close(goodbye, theirs=True))
        self._end()

    def on_early(self, _: object, now_ms: int) -> None:
        """Known too soon to matter: what follows reads it from the log."""

    def on_digest_request(self, frame: DigestRequest, _: int) -> None:
        self._owe_digest()
        self._emit(TakeDigest(frame.position))

    def on_digested(self, digest: Digest, _: int) -> None:
        self._digest_owed = False
        self._send(digest)

    def on_ask_digest(self, position: int, _: int) -> None:
        self._ask(DigestRequest(position))

    def on_digest(self, digest: Digest, _: int) -> None:
        if not self._asks:
            raise ProtocolViolation("DIGEST was not asked for")
        self._emit(DigestReceived(digest))
        del self._asks[0]
        if self._asks:
            self._send(self._asks[0])

    def _ask(self, frame: DigestRequest | SyncRequest) -> None:
        """One question is on the way at a time; others wait for its answer (§7)."""
        if len(self._asks) >= DIGEST_ASKS_MAX:
            raise Overloaded(f"{DIGEST_ASKS_MAX} digests were asked for and not answered yet")
        self._asks.append(frame)
        if len(self._asks) == 1:
            self._send(frame)

    def _owe_digest(self) -> None:
        """A digest is work for the other end, so one at a time (§7)."""
        if self._digest_owed:
            raise ProtocolViolation("DIGEST_REQUEST before the last one was answered")
        self._digest_owed = True


def _compose(code: str, message: str, retry_after_ms: int, next_epoch: int = 0) -> Goodbye:
    close_code = CLOSE_CODES.get(code, CloseCode.INTERNAL)
    return Goodbye(code, bounded(message), close_code, retry_after_ms, next_epoch)


def make_goodbye(error: ReplicaError) -> Goodbye:
    """What the other end is told about ``error``; our own troubles without their details."""
    if isinstance(error, PeerError):
        next_epoch = error.next_epoch if isinstance(error, Forked) else 0
        return _compose(error.code, str(error), 0, next_epoch)
    if isinstance(error, WorldError):
        retry_after_ms = error.retry_after_ms if isinstance(error, Overloaded) else 0
        return _compose(error.code, "not now; nothing was lost, try again", retry_after_ms)
    assert isinstance(error, (MisuseError, CorruptionError)), "a family without a goodbye"
    return _compose("internal", "internal error", 0)
