"""The real server on an event loop of its own, which can die at any step.

Time is virtual: the loop never sleeps, it moves its clock to the next timer. Threads are gone: what
the server hands to one is done in place, between two pauses, so that a crash can come before it and
after it. The same script gives the same steps, and step *n* is the same moment each time. What a
process had in memory dies with its loop; the log, the read models and the phones live on.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from inspect import iscoroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog
from structlog.typing import FilteringBoundLogger

from replica.events.event import DeviceId
from replica.events.ports import AppendRequest, AppendResult
from replica.server import door, projecting, runtime, sync_endpoint
from replica.server.config import Config
from replica.server.runtime import Runtime
from replica.store.access import Device
from replica.store.engine import Database
from replica.store.writer import GroupCommitter
from tests.simulation.disk import DiskLog
from tests.simulation.server import ID
from tests.simulation.world import START_MS

SILENT: FilteringBoundLogger = structlog.wrap_logger(
    structlog.ReturnLogger(), wrapper_class=structlog.make_filtering_bound_logger(50)
)


class _Clockwork(selectors.SelectSelector):
    """Waits for nothing: whoever would wait finds that the time has come."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everything waits and nothing is going to happen"
        self.now_s += max(timeout, 0)
        return []


class Loop(asyncio.SelectorEventLoop):
    """Counts its steps; at the one numbered ``die_at`` everything in it is over."""

    def __init__(self, die_at: int = 0, start_s: float = 0.0) -> None:
        self._clockwork = _Clockwork()
        self._clockwork.now_s = start_s
        super().__init__(self._clockwork)
        self.die_at = die_at
        self.steps = 0
        self.died = self.killed = False

    def time(self) -> float:
        return self._clockwork.now_s

    def now_ms(self) -> int:
        return START_MS + int(self.time() * 1_000)

    def _counted(self, callback: Callable[..., object], *args: Any) -> None:
        if self.died:
            return
        self.steps += 1
        if self.steps == self.die_at:
            self.died = self.killed = True
            self.stop()
        else:
            callback(*args)

    def _call_soon(self, callback: Any, args: Any, context: Any) -> asyncio.Handle:
        return super()._call_soon(self._counted, (callback, *args), context)  # type: ignore[misc,no-any-return]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self._counted, callback, *args, context=context)

    def live(self, main: Any) -> None:
        """Run ``main`` until it ends or the loop dies; then nothing of it is left."""
        asyncio.set_event_loop(None)
        self.set_exception_handler(lambda *_: None)
        task = self.create_task(main)
        task.add_done_callback(lambda _: self.stop())
        try:
            self.run_forever()
            if not self.died:
                task.result()
        finally:
            self._bury()

    def _bury(self) -> None:
        """Nobody runs what a killed process would not have run: coroutines are closed, and what
        they say about it is not heard."""
        self.died = True
        for task in asyncio.all_tasks(self):
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            outer = task.get_coro()
            assert iscoroutine(outer)
            inner = outer.cr_frame.f_locals.values() if outer.cr_frame else ()
            for one in (outer, *filter(iscoroutine, tuple(inner))):  # some had not begun
                with suppress(Exception):
                    one.close()
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.close()


async def _in_place(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """``asyncio.to_thread`` without a thread."""
    await asyncio.sleep(0)
    result = function(*args, **named)
    await asyncio.sleep(0)
    return result


class Committer(GroupCommitter):
    """The group committer with a task in the place of its thread."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = None
        self._news = asyncio.Event()
        self._writer = asyncio.create_task(self._commit())

    def submit(self, request: AppendRequest) -> asyncio.Future[AppendResult]:
        future = super().submit(request)
        self._news.set()
        return future

    async def _commit(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                await asyncio.sleep(0)  # a group gathers
                answers = self._append(self._take(wait_ms=0) or [])
                await asyncio.sleep(0)  # it is durable, and nobody knows
                self._deliver(answers)


class Log(DiskLog):
    """What the server's log is besides a log."""

    def maintain(self, *, idle: bool) -> None:
        """Memory needs no housekeeping."""

    def killed(self) -> None:
        """Its process is gone: what was committed stays."""


class _Control:
    """Who may come in: everybody who was enrolled."""

    def __init__(self, devices: dict[str, bytes]) -> None:
        self._devices = devices

    def accounts(self) -> Sequence[Any]:
        return [SimpleNamespace(id=ID)]

    def check_token(self, token: str) -> Device:
        return _enrolled(self._devices[token])

    def device(self, _: object, device: bytes) -> tuple[Device, bytes]:
        return _enrolled(device), b""

    def touch(self, touches: object) -> None:
        """Last seen is not what this is about."""


def _enrolled(device: bytes) -> Device:
    return Device(ID, DeviceId(device), "", None, 0, None, None, 0, "")


def process(log: Log, views: Database, devices: dict[str, bytes], loop: Loop) -> Runtime:
    """A server process over what is durable."""
    stores = SimpleNamespace(
        log=log,
        views=views,
        control=_Control(devices),
        database=SimpleNamespace(exclusive=True),
        on_failed=None,
    )
    made = Runtime(
        Config(data=Path("nowhere"), port=0),
        stores,  # type: ignore[arg-type]
        now_ms=loop.now_ms,
        logger=SILENT,
    )
    made.door._read_quarantined = lambda _: set(log.quarantined)
    return made


@contextmanager
def deterministic(loop: Loop) -> Iterator[None]:
    """No threads, and no time but the loop's."""
    clock = SimpleNamespace(
        monotonic=loop.time,
        perf_counter=loop.time,
        monotonic_ns=lambda: loop.now_ms() * 1_000_000,
        time_ns=lambda: loop.now_ms() * 1_000_000,
    )
    with ExitStack() as stack:
        for module in (door, projecting, sync_endpoint, runtime):
            stack.enter_context(patch.object(module, "time", clock))
        stack.enter_context(patch.object(asyncio, "to_thread", _in_place))
        stack.enter_context(patch.object(runtime, "GroupCommitter", Committer))
        yield
