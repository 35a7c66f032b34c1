"""Group commit: one thread writes what all connections have waiting, in one transaction.

A flush costs the same for one event and for a thousand, so the only way to be durable and fast is
to share it (performance.md §2 "events per fsync"). While a commit is on its way to the disk the
next group gathers; nothing waits on purpose, so a lonely request is not delayed either.

Order of things: commit, then answers and fan-out (architecture.md §4). Everything a commit causes
reaches the event loop in one call.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import NamedTuple, Protocol

from replica.errors import Overloaded, StoreFailed, StoreUnavailable
from replica.events.event import AccountId
from replica.events.ports import Appended, AppendRequest, AppendResult, Log
from replica.events.record import Segment
from replica.limits import (
    CHECKPOINT_IDLE_MS,
    COMMIT_BYTES_MAX,
    COMMIT_QUEUE_BYTES_MAX,
    COMMIT_QUEUE_MAX,
    COMMIT_REQUESTS_MAX,
)

Committed = Sequence[tuple[AccountId, Segment]]
OnCommitted = Callable[[Committed], None]
OnFailed = Callable[[StoreFailed], None]


class WritableLog(Log, Protocol):
    """A log with housekeeping between commits."""

    def maintain(self, *, idle: bool) -> None:
        """Called from the writer's thread after a commit, and with ``idle`` after a quiet time."""
        ...


class _Waiting(NamedTuple):
    request: AppendRequest
    future: asyncio.Future[AppendResult]
    size: int


_Answer = tuple[_Waiting, AppendResult | Exception]


class GroupCommitter:
    """The one writer of a log, spoken to from one event loop.

    ``on_committed`` gets the new segments of each commit in log order, ``on_failed`` an I/O error
    after which nothing more is accepted and the process has to end (reliability D4). Both run on
    the event loop and must not block or raise.
    """

    def __init__(self, log: WritableLog, *, on_committed: OnCommitted, on_failed: OnFailed) -> None:
        self._log = log
        self._on_committed = on_committed
        self._on_failed = on_failed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._run, name="log-writer", daemon=True)
        self._changed = Condition()
        # Guarded by _changed.
        self._queue: deque[_Waiting] = deque()
        self._queue_bytes = 0
        self._closed: Exception | None = StoreUnavailable("the writer is not running")
        self._parked = False

    def start(self) -> None:
        """Begin to write. Call once, inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._closed = None
        self._thread.start()

    async def stop(self) -> None:
        """Write what was accepted, answer it, and end the thread. Later submits are refused."""
        with self._changed:
            self._closed = self._closed or StoreUnavailable("the server is shutting down")
            self._changed.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def submit(self, request: AppendRequest) -> asyncio.Future[AppendResult]:
        """Queue one request; await the result, which comes after the commit is durable.

        Raises at once ``Overloaded`` when the queue is full, ``StoreUnavailable`` when stopped and
        ``StoreFailed`` after a failure. The future raises what :meth:`Log.append` raises. A
        cancelled wait does not take the request back: it may be committed all the same.
        """
        size = len(request.records) + sum(len(aside.event) for aside in request.asides)
        with self._changed:
            if self._closed is not None:
                raise self._closed.with_traceback(None)
            full = self._queue_bytes + size > COMMIT_QUEUE_BYTES_MAX
            if full or len(self._queue) >= COMMIT_QUEUE_MAX:
                raise Overloaded(f"{len(self._queue)} requests wait for the disk")
            future: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
            self._queue.append(_Waiting(request, future, size))
            self._queue_bytes += size
            if self._parked:
                self._changed.notify()
        return future

    @property
    def waiting(self) -> int:
        """Requests that are queued and not yet part of a commit."""
        return len(self._queue)

    # The writer's thread -----------------------------------------------------------------------

    def _run(self) -> None:
        unsettled = False  # whether something was committed since the last idle housekeeping
        while True:
            group = self._take(wait_ms=CHECKPOINT_IDLE_MS if unsettled else None)
            if group is None:
                return
            try:
                if group:
                    self._deliver(self._append(group))
                # A full or busy disk only postpones housekeeping; the next append tells its author.
                with suppress(StoreUnavailable):
                    self._log.maintain(idle=not group)
            except Exception as error:  # noqa: BLE001  a writer that died unnoticed acks nothing
                self._fail(group, error)
                return
            unsettled = bool(group)

    def _take(self, *, wait_ms: int | None) -> list[_Waiting] | None:
        """The next group; empty after ``wait_ms`` of quiet, None when stopped and drained."""
        with self._changed:
            if not self._queue and self._closed is None:
                self._parked = True
                self._changed.wait(None if wait_ms is None else wait_ms / 1_000)
                self._parked = False
            if not self._queue:
                return None if self._closed is not None else []
            group: list[_Waiting] = []
            size = 0
            while self._queue and len(group) < COMMIT_REQUESTS_MAX:
                size += self._queue[0].size
                if group and size > COMMIT_BYTES_MAX:
                    break
                group.append(self._queue.popleft())
                self._queue_bytes -= group[-1].size
            return group

    def _append(self, group: list[_Waiting]) -> list[_Answer]:
        try:
            results = self._log.append([waiting.request for waiting in group])
        except StoreFailed:
            raise
        except StoreUnavailable as error:
            return [(waiting, error) for waiting in group]
        except Exception as error:  # noqa: BLE001  handed to the author of the request, not hidden
            if len(group) == 1:
                return [(group[0], error)]
            # A bug that one request trips over must not take the unrelated ones with it.
            return [answer for waiting in group for answer in self._append([waiting])]
        return list(zip(group, results, strict=True))

    def _deliver(self, answers: list[_Answer]) -> None:
        self._on_loop(lambda: self._settle(answers))

    def _fail(self, group: list[_Waiting], cause: Exception) -> None:
        error = cause if isinstance(cause, StoreFailed) else StoreFailed(f"the writer: {cause!r}")
        with self._changed:
            self._closed = error
            lost = [*group, *self._queue]
            self._queue.clear()
            self._queue_bytes = 0
        answers: list[_Answer] = [(waiting, error) for waiting in lost]

        def tell() -> None:
            self._settle(answers)
            self._on_failed(error)

        self._on_loop(tell)

    def _on_loop(self, call: Callable[[], object]) -> None:
        assert self._loop is not None
        # The loop is gone only when the process ends without `stop`; nobody is left to answer.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)

    # The event loop ----------------------------------------------------------------------------

    def _settle(self, answers: list[_Answer]) -> None:
        committed: list[tuple[AccountId, Segment]] = []
        for waiting, answer in answers:
            if isinstance(answer, Appended) and answer.segment is not None:
                committed.append((waiting.request.account, answer.segment))
            if waiting.future.done():
                continue  # the one who waited has gone
            if isinstance(answer, Exception):
                waiting.future.set_exception(answer)
            else:
                waiting.future.set_result(answer)
        if committed:
            self._on_committed(committed)
