"""The read models as the server uses them, wherever they are written.

Folding the log wants an interpreter for long, and whoever shares it waits. So ``replica serve`` has
a process for it (:mod:`replica.server.model_process`). Without it, threads of this process do the
same work and make room on their way (:mod:`replica.server.giving`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol

from replica.crdt.digest import SectionTotal
from replica.events.event import AccountId, Position
from replica.events.ports import Log
from replica.projections import twins
from replica.projections.pause import Pause, go_on
from replica.projections.runner import Projector
from replica.store.engine import Database


class Looked(NamedTuple):
    """One look for twins. ``decided`` is how far was looked before, None before the first step;
    ``found`` is None when nothing has changed since."""

    decided: int | None
    found: twins.Found | None


class Writing:
    """What writes the read models, each call blocking: the work itself.

    Raises what ``Database.writing`` raises. ``pause`` gives the pause of one piece of work.
    """

    def __init__(
        self, views: Database, log: Log, *, pause: Callable[[], Pause] = lambda: go_on
    ) -> None:
        self._views = views
        self._projector = Projector(views, log, decides=True)
        self._pause = pause

    def step(self, account: AccountId, limit_bytes: int) -> Position:
        """:meth:`Projector.step`."""
        return self._projector.step(account, limit_bytes, self._pause())

    def wait(self, account: AccountId, position: Position, timeout_s: float) -> bool:
        """:meth:`Projector.wait`."""
        return self._projector.wait(account, position, timeout_s)

    def look(self, account: AccountId) -> Looked:
        """What has to be decided next (:func:`replica.projections.twins.look`)."""
        with self._views.reading() as connection:
            before = twins.decided(connection, account)
            if before is None:
                return Looked(None, None)
            return Looked(before, twins.look(connection, account, before, self._pause()))

    def claim(self, account: AccountId, now_ms: int) -> bool:
        """Whether the caller may decide (:func:`replica.projections.twins.claim`)."""
        with self._views.writing() as connection:
            return twins.claim(connection, account, now_ms)

    def put_decided(self, account: AccountId, found: twins.Found) -> bool:
        """Note that what ``found`` is about was said."""
        with self._views.writing() as connection:
            return twins.put_decided(connection, account, found)


class Run(Protocol):
    """Runs a method of :class:`Writing` off the event loop, wherever that object is."""

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


def in_threads(writing: Writing) -> Run:
    """Run it in threads of this process."""

    def run(work: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        return asyncio.to_thread(work, writing, *arguments)

    return run


class ReadModels:
    """The read models of one server, from its event loop. Reading them is nobody's turn."""

    def __init__(self, views: Database, log: Log, run: Run) -> None:
        self._reader = Projector(views, log)
        self._run = run

    async def step(self, account: AccountId, limit_bytes: int) -> Position:
        """Fold the next stretch of the log; the position reached, the same as before at its end."""
        reached: Position = await self._run(Writing.step, account, limit_bytes)
        return reached

    async def wait(self, account: AccountId, position: int, timeout_s: float) -> bool:
        """Whether they include ``position`` by now; the steps towards it are taken at once."""
        try:
            async with asyncio.timeout(timeout_s):
                level: bool = await self._run(Writing.wait, account, Position(position), timeout_s)
        except TimeoutError:
            return False
        return level

    async def look(self, account: AccountId) -> Looked:
        """See :meth:`Writing.look`."""
        looked: Looked = await self._run(Writing.look, account)
        return looked

    async def claim(self, account: AccountId, now_ms: int) -> bool:
        """See :meth:`Writing.claim`."""
        mine: bool = await self._run(Writing.claim, account, now_ms)
        return mine

    async def put_decided(self, account: AccountId, found: twins.Found) -> None:
        """See :meth:`Writing.put_decided`."""
        await self._run(Writing.put_decided, account, found)

    def position(self, account: AccountId) -> Position:
        """How far they have come. Blocking."""
        return self._reader.position(account)

    async def digest(self, account: AccountId) -> tuple[Position, tuple[SectionTotal, ...]]:
        """Section totals and the position they hold for, from one snapshot."""
        return await asyncio.to_thread(self._reader.digest, account)
