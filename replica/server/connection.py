"""One device's connection: performs what its peer asks for, decides nothing (architecture.md §6).

The reader hands messages to the :class:`~replica.sync.server_peer.ServerPeer` and performs the
effects; a writer of its own empties a queue that is bounded in bytes, so a slow reader stalls
nobody. What has to wait for the disk runs beside them and comes back as an input of the peer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from starlette.types import Receive, Send

from replica.errors import PeerGone, ReplicaError
from replica.events.event import AccountId, DeviceId
from replica.events.record import Segment
from replica.limits import SEND_DEADLINE_S, SESSION_QUEUE_BYTES_MAX
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.sync import effects as do
from replica.sync.messages import Digest, Hello, SectionDigest
from replica.sync.server_peer import ServerPeer
from replica.sync.table import State
from replica.sync.verdicts import Settlement


class Services(Protocol):
    """What a connection needs of the process, each call already off the event loop."""

    async def check_token(self, hello: Hello) -> None:
        """Raises ``Forbidden``, ``Revoked`` and what the store raises."""
        ...

    async def standing(self, connection: Connection) -> do.Standing:
        """What the log knows of a device that was let in."""
        ...

    async def append(self, connection: Connection, append: do.Append) -> Settlement: ...

    async def read(self, account: AccountId, after: int, limit_bytes: int) -> list[Segment]: ...

    async def digest(
        self, connection: Connection, position: int
    ) -> tuple[int, tuple[SectionDigest, ...]]:
        """Of what the device is to hold, at ``position`` if that can be."""
        ...

    def enter(self, connection: Connection) -> None:
        """From now on the connection is told of commits. Ends an older one of the same device."""
        ...

    def leave(self, connection: Connection) -> None: ...


@dataclass
class Tally:
    """What one connection did, for its line in the log and for the pages."""

    received_bytes: int = 0
    sent_bytes: int = 0
    frames: int = 0
    pushed: int = 0
    reason: str = "lost"
    words: str = ""
    close_code: int = 1006


class Connection:
    """One open websocket. ``clock_ms`` never goes back while it lives."""

    def __init__(
        self,
        services: Services,
        send: Send,
        *,
        clock_ms: Callable[[], int],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self._services = services
        self._socket_send = send
        self._clock_ms = clock_ms
        self._metrics = metrics
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        self._peer = ServerPeer()
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._wake = asyncio.Event()
        self._aborted: asyncio.Future[None] = self._loop.create_future()
        self._closing: do.Close | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due_ms = 0
        self._watch: asyncio.TimerHandle | None = None
        self._frames_sent = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._appending: asyncio.Task[None] | None = None  # the newest
        self._digest_waiters: list[asyncio.Future[Digest]] = []  # few: an empty deque is large
        self.opened_ms = clock_ms()
        self.entered = False
        self.scoped = False  # it gets documents of its scope and not the log (wire-protocol.md §14)
        self.offset_ms: int | None = None
        self.reported: Digest | None = None
        self.tally = Tally()

    # What the process asks of a connection -------------------------------------------------------

    @property
    def hello(self) -> Hello:
        """What the device said; there when ``known``."""
        assert self._peer.hello is not None
        return self._peer.hello

    @property
    def known(self) -> bool:
        """Whether the device has said who it is; not whether that is true."""
        return self._peer.hello is not None

    @property
    def account(self) -> AccountId:
        return AccountId(self.hello.account)

    @property
    def device(self) -> DeviceId:
        return DeviceId(self.hello.device)

    @property
    def met(self) -> bool:
        """Whether both ends know each other, so that the device can be asked for something."""
        return self._peer.state is State.LIVE

    @property
    def confirmed(self) -> int:
        """Everything up to this position is durable on the device."""
        return self._peer.confirmed

    def offer(self, offer: do.Offer) -> None:
        """A batch was committed."""
        self._perform(self._peer.offer(offer, self._clock_ms()))

    def hint(self, position: int) -> None:
        """The log is at ``position``, as heard from elsewhere."""
        self._perform(self._peer.hint(position, self._clock_ms()))

    def ask_sync(self, run: str) -> asyncio.Future[Digest]:
        """Have the device push and tell its digest. The future raises ``PeerGone`` when it goes.
        Only while ``met``."""
        return self._wait_digest(self._peer.ask_sync(run, self._clock_ms()))

    def ask_digest(self) -> asyncio.Future[Digest]:
        """Ask for the device's digest where it is now; otherwise as :meth:`ask_sync`."""
        return self._wait_digest(self._peer.ask_digest(0, self._clock_ms()))

    def _wait_digest(self, effects: list[do.Effect]) -> asyncio.Future[Digest]:
        future: asyncio.Future[Digest] = self._loop.create_future()
        self._digest_waiters.append(future)
        self._perform(effects)
        return future

    def close(self, code: str, message: str, *, retry_after_ms: int = 0) -> None:
        """Say goodbye and end."""
        self._perform(self._peer.close(code, message, retry_after_ms=retry_after_ms))

    # Life ----------------------------------------------------------------------------------------

    async def run(self, receive: Receive) -> None:
        """Serve until the connection ends, for whatever reason."""
        reader = asyncio.create_task(self._read(receive))
        writer = asyncio.create_task(self._write())
        self._perform(self._peer.opened(self._clock_ms()))
        try:
            ends: set[asyncio.Future[None]] = {reader, writer, self._aborted}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(reader, writer)

    async def _end(self, *socket_tasks: asyncio.Task[None]) -> None:
        self._peer.lost()
        for timer in (self._timer, self._watch):
            if timer is not None:
                timer.cancel()
        for waiter in self._digest_waiters:
            if not waiter.done():
                waiter.set_exception(PeerGone("the device went away"))
        if self.entered:
            self._services.leave(self)
        # An append goes on: it may be part of a commit already, and its outcome is durable anyway.
        self._aborted.cancel()
        for task in socket_tasks:
            task.cancel()
        for result in await asyncio.gather(*socket_tasks, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, OSError):
                self._logger.error("connection broke", exc_info=result)

    async def _read(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                if self._closing is None:
                    self.tally.close_code = message.get("code") or 1006
                return
            data = message.get("bytes")
            if data is None:
                data = message["text"].encode()
            self.tally.frames += 1
            self.tally.received_bytes += len(data)
            self._perform(self._peer.receive(data, self._clock_ms()))

    async def _write(self) -> None:
        while True:
            written = 0
            while self._queue:
                data = self._queue.popleft()
                await self._socket_send({"type": "websocket.send", "bytes": data})
                self._frames_sent += 1
                self._queue_bytes -= len(data)
                written += len(data)
            if written:
                self.tally.sent_bytes += written
                self._metrics.sent_bytes.inc(written)
            if self._closing is not None:
                await self._say_close(self._closing)
                return
            self._wake.clear()
            await self._wake.wait()

    async def _say_close(self, close: do.Close) -> None:
        goodbye = close.goodbye
        code = 1000 if close.theirs else goodbye.close_code
        await self._socket_send({"type": "websocket.close", "code": code, "reason": goodbye.code})

    # Effects -------------------------------------------------------------------------------------

    def _perform(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            _HANDLERS[type(effect)](self, effect)
        self._arm()

    def _enqueue(self, data: bytes) -> None:
        self._queue.append(data)
        self._queue_bytes += len(data)
        if self._queue_bytes > SESSION_QUEUE_BYTES_MAX:
            self.abort("slow reader")
        if self._watch is None:
            self._watch_sending()
        self._wake.set()

    def _watch_sending(self) -> None:
        self._watch = self._loop.call_later(SEND_DEADLINE_S, self._check_sending, self._frames_sent)

    def _check_sending(self, sent_before: int) -> None:
        """End a connection through which not one frame got during the deadline (D11)."""
        self._watch = None
        if self._queue_bytes and self._frames_sent == sent_before:
            self.abort("slow reader")
        elif self._queue_bytes:
            self._watch_sending()

    def _on_close(self, close: do.Close) -> None:
        self._closing = close
        self.tally.reason = close.goodbye.code
        self.tally.words = close.goodbye.message
        self.tally.close_code = close.goodbye.close_code
        self._wake.set()

    def _on_offset(self, effect: do.Offset) -> None:
        if self.offset_ms is None:
            self._metrics.clock_skew_seconds.observe(abs(effect.offset_ms) / 1_000)
        self.offset_ms = effect.offset_ms

    def _on_digest(self, effect: do.DigestReceived) -> None:
        self.reported = effect.digest
        while self._digest_waiters:
            waiter = self._digest_waiters.pop(0)
            if not waiter.done():  # else nobody waits for this one any more
                waiter.set_result(effect.digest)
                return

    def abort(self, reason: str) -> None:
        """Drop the connection without another word: the socket takes none."""
        self.tally.reason = reason
        if not self._aborted.done():
            self._aborted.set_result(None)

    def _arm(self) -> None:
        due_ms = self._peer.deadline_ms
        if due_ms is None or (self._timer is not None and self._timer_due_ms <= due_ms):
            return
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0, due_ms - self._clock_ms()) / 1_000
        self._timer_due_ms = due_ms
        self._timer = self._loop.call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._perform(self._peer.tick(self._clock_ms()))

    # Work that waits for the disk ----------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ReplicaError as error:
            self._perform(self._peer.failed(error))
        except Exception:
            # Ours, not theirs: the trace is for us, the device is told to come again.
            self._logger.exception("connection step broke")
            self._perform(self._peer.close("internal", "internal error"))

    async def _authenticate(self, hello: Hello) -> None:
        await self._services.check_token(hello)
        if self._peer.state is not State.AUTHENTICATING:
            return
        # In this order: a commit between the two would otherwise be missed.
        self.entered = True
        self._services.enter(self)
        standing = await self._services.standing(self)
        self._perform(self._peer.authenticated(standing, self._clock_ms()))

    def _append_next(self) -> None:
        self._appending = self._spawn(self._append(before=self._appending))

    async def _append(self, before: asyncio.Task[None] | None) -> None:
        append = self._peer.take()
        if append is None:
            return
        settlement = await self._services.append(self, append)
        if before is not None:  # it was decided before and is answered before
            await asyncio.wait([before])
        self.tally.pushed += settlement.answered
        self._perform(self._peer.appended(settlement, self._clock_ms()))

    async def _load(self, effect: do.Read) -> None:
        segments = await self._services.read(self.account, effect.after, effect.limit_bytes)
        self._perform(self._peer.loaded(segments, self._clock_ms()))

    async def _take_digest(self, position: int) -> None:
        answered, sections = await self._services.digest(self, position)
        self._perform(self._peer.digested(answered, sections, 0, self._clock_ms()))


_HANDLERS: Mapping[type, Callable[[Connection, Any], object]] = MappingProxyType(
    {
        do.Send: lambda self, effect: self._enqueue(effect.data),
        do.Close: lambda self, effect: self._on_close(effect),
        do.Authenticate: lambda self, effect: self._spawn(self._authenticate(effect.hello)),
        do.Pushed: lambda self, _: self._append_next(),
        do.Read: lambda self, effect: self._spawn(self._load(effect)),
        do.TakeDigest: lambda self, effect: self._spawn(self._take_digest(effect.position)),
        do.DigestReceived: lambda self, effect: self._on_digest(effect),
        do.Offset: lambda self, effect: self._on_offset(effect),
        do.Confirmed: lambda *_: None,
    }
)
