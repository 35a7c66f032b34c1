"""The link: one background thread that keeps a device connected for as long as it is started.

The application's threads never wait for the network: they ring the bell and go on.

After every loss the thread waits for a random part of a growing delay, the first time too, so
that a thousand devices do not come back in the same second (pitfalls P40). A device to which the
server would only repeat its refusal rests until somebody starts the link again (OFF-23).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from replica.device.asking import Line
from replica.device.enrolment import sync_url
from replica.device.holding import Holding
from replica.device.journal import Identity
from replica.device.proof import Proof, Proved
from replica.device.session import Report, Session
from replica.device.status import RESTING, Mode, Progress
from replica.errors import CorruptionError, Overloaded, ReplicaError
from replica.limits import (
    CHUNK_FAILURES_MAX,
    CLOSE_TIMEOUT_MS,
    CONNECT_TIMEOUT_MS,
    FRAME_BYTES_MAX,
    HEARTBEAT_INTERVAL_MS,
    HEARTBEAT_TIMEOUT_MS,
    RECONNECT_DELAY_MS_MAX,
    RECONNECT_DELAY_MS_MIN,
    RECONNECT_DOUBLINGS_MAX,
    RECONNECT_HINT_MS_MAX,
)
from replica.sync.messages import SUBPROTOCOL

RETRY_AFTER_DIGITS_MAX = 6
_RESTING_CODES = {
    "revoked": Mode.REVOKED,
    "forbidden": Mode.FORBIDDEN,
    "upgrade_required": Mode.UPGRADE_REQUIRED,
}


class Link:
    """One per device; ``start`` and ``stop`` as often as wanted, from any thread but its own.

    ``changed`` is called after everything that a status would show; ``jitter`` gives a number
    from 0 to 1.
    """

    def __init__(
        self,
        holding: Holding,
        *,
        wall_ms: Callable[[], int],
        jitter: Callable[[], float],
        software: str,
        manual: bool,
        changed: Callable[[], None],
    ) -> None:
        self._holding = holding
        self._wall_ms = wall_ms
        self._jitter = jitter
        self._software = software
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell = asyncio.Event()
        self._dialling: asyncio.Task[Any] | None = None
        self._line: Line | None = None  # of the questions beside the connection, or before it
        self._fetches_lost = 0  # in a row
        self.report = Report(changed, manual=manual)

    # From any thread -----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Connect, and stay connected. Harmless when the link is running already.

        Raises ``MisuseError`` before enrolment.
        """
        with self._holding.lock:
            if self.running:
                return
            url = self._holding.identity.url
            self.report.stopping = False
            self._show(Mode.CONNECTING, f"connecting to {url}")
            self._thread = threading.Thread(target=self._run, name="replica-link", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the connection and the thread. Nothing is lost: unsent work is in the journal."""
        thread = self._thread
        if thread is None:
            return
        self.report.stopping = True
        with self._holding.lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._hang_up)
        thread.join()
        self._thread = None

    def ring(self) -> None:
        """The outbox has grown, a proof is wished for, or it is time to stop."""
        with self._holding.lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._bell.set)

    def prove(self) -> None:
        """Compare with the server as soon as everything is sent and received; do not dawdle."""
        with self._holding.lock:
            self.report.proof, self.report.proved, self.report.failures = Proof(), None, 0
            self.report.mended = ()
        self.ring()

    def _hang_up(self) -> None:
        """A connection says goodbye; a try to get one is given up, and so is a question, however
        long they would take."""
        self._bell.set()
        if self._line is not None:
            self._line.give_up()
        if self._dialling is not None:
            self._dialling.cancel()

    # The thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            self._show(Mode.OFFLINE, "sync is stopped")
        finally:
            with self._holding.lock:
                self._loop = None
            if not self.report.stopping and self.report.mode not in RESTING:
                self._show(Mode.FAILED, "the link ended because of a defect in this program")
            self.report.changed()

    async def _main(self) -> None:
        with self._holding.lock:
            self._loop, self._bell = asyncio.get_running_loop(), asyncio.Event()
        self.report.log_serves, self._fetches_lost = False, 0
        while not self.report.stopping:
            hint_ms = 0
            if self.report.unmended is not None:
                await self._mend(self.report.unmended)
            if self.report.mode in RESTING:
                return
            if not self.report.wants_bulk(self._holding) or await self._fetch():
                hint_ms = await self._connect()
            if self.report.mode in RESTING:
                return
            if not self.report.wants_bulk(self._holding) or self._fetches_lost:
                await self._pause(hint_ms)
        self._show(Mode.OFFLINE, "sync is stopped")

    async def _fetch(self) -> bool:
        """Take in documents in bulk; False when the connection was lost and it is to go on."""
        from replica.device.fetch import fetch  # noqa: PLC0415 - needed once in a while

        self._show(Mode.CONNECTING, f"fetching from {self._holding.identity.url}")
        try:
            moved = await asyncio.to_thread(
                fetch,
                self._holding,
                stopping=self._is_stopping,
                progress=self._progress,
                line=self._new_line(),
            )
        except CorruptionError as error:
            self._show(Mode.FAILED, str(error))
            return False
        except ReplicaError as error:  # lost, or the journal could not take what came
            self._fetches_lost += 1
            self.report.log_serves = self._fetches_lost >= CHUNK_FAILURES_MAX
            self._show(Mode.OFFLINE, str(error))
            return False
        self.report.log_serves = not moved
        return True

    async def _mend(self, unequal: Proved) -> None:
        """Take the documents that differ, then prove again; where that cannot be done the proof
        that failed stands. Without a connection the next one that fails tries again."""
        from replica.device.mend import mend  # noqa: PLC0415 - needed once in a while

        self._show(Mode.CONNECTING, "looking for documents that differ from the server's")
        try:
            mended = await asyncio.to_thread(mend, self._holding, self._new_line())
        except CorruptionError as error:
            self._show(Mode.FAILED, str(error))
            return
        except ReplicaError as error:
            mended, self.report.unequal = None, 0
            self._show(Mode.OFFLINE, str(error))
        with self._holding.lock:
            report = self.report
            report.unmended = None
            if mended is None:
                report.proof, report.proved = None, unequal
            else:
                report.mended += mended
        self.report.changed()

    def _new_line(self) -> Line:
        self._line = Line(self._holding.identity)
        return self._line

    def _is_stopping(self) -> bool:
        return self.report.stopping

    def _progress(self, progress: tuple[Progress, ...]) -> None:
        with self._holding.lock:
            if progress != self.report.progress:
                self._fetches_lost = 0
            self.report.progress = progress
        self.report.changed()

    async def _connect(self) -> int:
        """One connection from beginning to end; how long the server asks us to stay away, ms."""
        # Imported here: an embedder that only appends and reads never pays for the network.
        from websockets.asyncio import client  # noqa: PLC0415
        from websockets.exceptions import WebSocketException  # noqa: PLC0415
        from websockets.typing import Subprotocol  # noqa: PLC0415

        identity = self._holding.identity
        self._show(Mode.CONNECTING, f"connecting to {identity.url}")
        session = Session(
            self._holding, self.report, wall_ms=self._wall_ms, software=self._software
        )
        self._dialling, self._line = asyncio.current_task(), session.line
        failures, hint_ms = self.report.failures, 0
        try:
            async with client.connect(
                sync_url(identity.url),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,  # per connection it costs more than the whole sync (P39)
                max_size=FRAME_BYTES_MAX,
                open_timeout=CONNECT_TIMEOUT_MS / 1000,
                close_timeout=CLOSE_TIMEOUT_MS / 1000,
                ping_interval=HEARTBEAT_INTERVAL_MS / 1000,
                ping_timeout=(HEARTBEAT_TIMEOUT_MS - HEARTBEAT_INTERVAL_MS) / 1000,
                user_agent_header=self._software,
            ) as socket:
                self._dialling = None
                await session.run(socket, self._bell)
        except* (OSError, WebSocketException) as group:
            self._lost(session, identity, group)
            hint_ms = retry_after_ms(_first(group))
        except* CorruptionError as group:
            self._show(Mode.FAILED, str(_first(group)))
        else:
            self._lost(session, identity, None)
        finally:
            self._dialling = None
        goodbye = session.goodbye
        if goodbye is None:
            return hint_ms
        if goodbye.code == Overloaded.code:
            # It let us in only to send us away: that ends no row of failures.
            self.report.failures = max(failures, self.report.failures)
        return goodbye.retry_after_ms

    def _lost(self, session: Session, identity: Identity, group: BaseExceptionGroup | None) -> None:
        if session.goodbye is not None:
            mode = _RESTING_CODES.get(session.goodbye.code, Mode.OFFLINE)
            self._show(mode, f"{session.goodbye.code}: {session.goodbye.message}")
        else:
            reason = "the connection ended" if group is None else str(_first(group))
            self._show(Mode.OFFLINE, f"no connection to {identity.url}: {reason}")

    async def _pause(self, hint_ms: int) -> None:
        """Wait before the next connection; a wish for a proof and a stop end the wait."""
        with self._holding.lock:
            if self.report.failures and self._fetches_lost >= CHUNK_FAILURES_MAX:
                # Nobody was there for the log either: no reason to do without bulk.
                self.report.log_serves, self._fetches_lost = False, 0
            self.report.failures += 1
            longest_ms = delay_bound_ms(self.report.failures, hint_ms)
        until_s = time.monotonic() + self._jitter() * longest_ms / 1000
        self.report.changed()
        while not self.report.stopping and self.report.failures:
            try:
                async with asyncio.timeout(until_s - time.monotonic()):
                    await self._bell.wait()
                    self._bell.clear()
            except TimeoutError:
                return

    def _show(self, mode: Mode, text: str) -> None:
        with self._holding.lock:
            self.report.mode, self.report.text = mode, text
        self.report.changed()


def delay_bound_ms(failures: int, hint_ms: int) -> int:
    """What the random delay after ``failures`` in a row, 1 at least, stays below
    (wire-protocol.md §1.2)."""
    doublings = min(failures - 1, RECONNECT_DOUBLINGS_MAX)
    grown_ms = min(RECONNECT_DELAY_MS_MIN << doublings, RECONNECT_DELAY_MS_MAX)
    return max(grown_ms, min(hint_ms, RECONNECT_HINT_MS_MAX))


def retry_after_ms(error: BaseException) -> int:
    """What a refused handshake asks for in ``Retry-After``; 0 when it says nothing of the kind."""
    response = getattr(error, "response", None)
    told = response.headers.get("Retry-After", "") if response is not None else ""
    return int(told) * 1000 if told.isdecimal() and len(told) <= RETRY_AFTER_DIGITS_MAX else 0


def _first(group: BaseException) -> BaseException:
    """The error itself, out of the groups it came in."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
